# SPDX-License-Identifier: BSD-3-Clause
"""Vision transformers: names of their publishers, what is pruned, and what conversion makes."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import nmpack.torch
from nmpack.cli.tables import inspect_table
from nmpack.convert import torch_to_tflite
from nmpack.errors import SelectionError
from nmpack.measure.inspection import inspect
from nmpack.models import build
from nmpack.models.deit import DeiT
from nmpack.models.vit_b import SelfAttention, ViT
from nmpack.quantize import Int8
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.runner import run
from nmpack.rvv.variants import prune_file
from nmpack.sources import load_source
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.file import TFLiteFile
from nmpack.training import Recipe, fine_tune
from nmpack.training.data import TensorImages
from nmpack.tune.calls import calls_of
from nmpack.tune.layers import layers_of

pytestmark = pytest.mark.torch


def small(name: str, classes: int = 7) -> DeiT | ViT:
    """Build two blocks of a published network's kind, 64 wide, for 32x32 images."""
    torch.manual_seed(0)
    if name == "deit":
        return DeiT(classes, (32, 32, 3), width=64, heads=4, depth=2).eval()
    return ViT(classes, (32, 32, 3), width=64, heads=4, depth=2).eval()


def test_deit_small_has_timms_names_and_shapes() -> None:
    with torch.device("meta"):
        state = {name: tuple(v.shape) for name, v in build("deit_small").state_dict().items()}
    expected = {
        "cls_token": (1, 1, 384),
        "pos_embed": (1, 197, 384),
        "patch_embed.proj.weight": (384, 3, 16, 16),
        "patch_embed.proj.bias": (384,),
        "norm.weight": (384,),
        "norm.bias": (384,),
        "head.weight": (1000, 384),
        "head.bias": (1000,),
    }
    layers = {"attn.qkv": (1152, 384), "attn.proj": (384, 384), "mlp.fc1": (1536, 384)}
    for block in range(12):
        for layer, shape in (layers | {"mlp.fc2": (384, 1536)}).items():
            expected[f"blocks.{block}.{layer}.weight"] = shape
            expected[f"blocks.{block}.{layer}.bias"] = shape[:1]
        for norm in ("norm1", "norm2"):
            expected |= {f"blocks.{block}.{norm}.{field}": (384,) for field in ("weight", "bias")}
    assert state == expected


def test_vit_b_16_has_torchvisions_names_and_shapes() -> None:
    with torch.device("meta"):
        state = {name: tuple(v.shape) for name, v in build("vit_b_16").state_dict().items()}
    expected = {
        "class_token": (1, 1, 768),
        "conv_proj.weight": (768, 3, 16, 16),
        "conv_proj.bias": (768,),
        "encoder.pos_embedding": (1, 197, 768),
        "encoder.ln.weight": (768,),
        "encoder.ln.bias": (768,),
        "heads.head.weight": (1000, 768),
        "heads.head.bias": (1000,),
    }
    for block in range(12):
        prefix = f"encoder.layers.encoder_layer_{block}"
        expected[f"{prefix}.self_attention.in_proj_weight"] = (2304, 768)
        expected[f"{prefix}.self_attention.in_proj_bias"] = (2304,)
        layers = {"self_attention.out_proj": (768, 768), "mlp.0": (3072, 768), "mlp.3": (768, 3072)}
        for layer, shape in layers.items():
            expected[f"{prefix}.{layer}.weight"] = shape
            expected[f"{prefix}.{layer}.bias"] = shape[:1]
        for norm in ("ln_1", "ln_2"):
            expected |= {f"{prefix}.{norm}.{field}": (768,) for field in ("weight", "bias")}
    assert state == expected


def test_self_attention_loads_and_computes_what_multihead_attention_does() -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(64, 4, batch_first=True).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.1)
    ours = SelfAttention(64, 4).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 9, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x, x, x)[0], rtol=0, atol=1e-5)
    back = nn.MultiheadAttention(64, 4, batch_first=True)
    back.load_state_dict(ours.state_dict())
    torch.testing.assert_close(back.in_proj_weight, theirs.in_proj_weight, rtol=0, atol=0)


def test_published_names_survive_pruning() -> None:
    model = small("vit_b")
    names = set(model.state_dict())
    nmpack.torch.prune_(model, NMPattern.from_density(0.25, tile=32))
    copy = small("vit_b")
    nmpack.torch.prune_(copy, NMPattern.from_density(0.25, tile=32))
    copy.load_state_dict(model.state_dict())  # with the masks
    nmpack.torch.finalize_(model)
    assert set(model.state_dict()) == names
    weight = model.state_dict()["encoder.layers.encoder_layer_1.self_attention.in_proj_weight"]
    assert (weight == 0).float().mean() == 0.75


def test_an_image_of_broken_patches_is_refused() -> None:
    with pytest.raises(SelectionError, match="whole patches of 16 x 16 pixels, got 30 x 32 pixels"):
        build("deit_tiny", input_shape=(30, 32, 3))


@pytest.mark.parametrize("name", ["deit", "vit_b"])
def test_conversion_keeps_function_and_zeros(name: str, tmp_path: Path) -> None:
    model = small(name)
    report = nmpack.torch.prune_(model, NMPattern.from_density(0.25, tile=32))
    dense = [row.name for row in report if row.pattern is None]
    assert dense == list(model.keep_dense)
    assert len(report.pruned) == 8
    path = torch_to_tflite(model, tmp_path / "model.tflite", (32, 32, 3))
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = model(images).numpy()
    result = run(path, images.permute(0, 2, 3, 1).numpy(), engine=Engine("built-in"))
    np.testing.assert_allclose(next(iter(result.outputs.values())), expected, rtol=0, atol=1e-5)
    file = TFLiteFile(path)
    graph = file.subgraphs[0]
    filters = [
        file.array(graph.tensors[item.inputs[1]])
        for item in graph.operators
        if item.name == "FULLY_CONNECTED"
    ]
    assert [np.count_nonzero(item) / item.size for item in filters] == [0.25] * 8 + [1.0]


def test_layers_to_tune_are_those_of_the_converted_file(tmp_path: Path) -> None:
    model = build("vit_tiny28").eval()
    path = torch_to_tflite(model, tmp_path / "model.tflite", (28, 28, 1))
    found = layers_of(path)
    rows = {row.layer.label: len(row.names) for row in found.layers}
    assert rows == {
        "49 rows, 192 to 192": 16,
        "49 rows, 192 to 768": 4,
        "49 rows, 768 to 192": 4,
        "1 row, 192 to 10": 1,
    }
    assert found.skipped == {}
    calls = [layer for item in calls_of(load_source("vit_tiny28")) for layer in item.layers]
    assert {layer.label for layer in calls} == set(rows)


def test_a_transformer_is_explained_layer_by_layer(tmp_path: Path) -> None:
    model = small("deit")
    nmpack.torch.prune_(model, NMPattern.from_density(0.25, tile=32))
    path = torch_to_tflite(model, tmp_path / "model.tflite", (32, 32, 3))
    report = inspect(path, delegate=False)
    linear = [row for row in report.layers if row.linear]
    assert len(report.layers) == len(linear) + 1 == 10
    assert [(row.name, row.rows, row.shape) for row in linear[:2]] == [
        ("blocks.0.attn.qkv", 5, (192, 1, 1, 64)),
        ("blocks.0.attn.proj", 5, (64, 1, 1, 64)),
    ]
    assert {str(row.fit) for row in linear[:-1]} == {"25.0% of the row kept, tile 32"}
    console = Console(width=200, record=True, file=StringIO())
    console.print(inspect_table(report))
    text = console.export_text()
    assert "192x64" in text
    assert "5 rows" in text
    assert "10 layers among" in text


def test_fine_tuning_states_the_share_of_the_pruned_matrices(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = TensorImages(torch.randn(16, 3, 32, 32, generator=generator), torch.arange(16) % 7, 7)
    recipe = Recipe(pattern="25%", tile=32, epochs=1, batch=8, optimizer="adamw", rate=1e-3)
    model = small("vit_b")
    outcome = fine_tune(model, images, images, recipe, tmp_path / "run")
    assert outcome is not None
    patches = model.conv_proj.weight.numel()
    matrices = 2 * 12 * 64 * 64
    assert outcome.density == pytest.approx((patches + matrices / 4) / (patches + matrices))
    weight = model.encoder.layers[1].self_attention.in_proj.weight  # type: ignore[index,union-attr]
    assert (weight == 0).float().mean() == 0.75


@pytest.mark.parametrize("name", ["deit", "vit_b"])
def test_a_pruned_transformer_is_int8_from_end_to_end(name: str, tmp_path: Path) -> None:
    model = small(name)
    nmpack.torch.prune_(model, NMPattern.from_density(0.25, tile=32))
    images = np.random.default_rng(0).normal(size=(16, 32, 32, 3)).astype(np.float32)
    path = torch_to_tflite(model, tmp_path / "model.tflite", (32, 32, 3), int8=Int8(images))
    graph = TFLiteFile(path).primary
    kinds = {graph.tensors[place].dtype for item in graph.operators for place in item.outputs}
    assert kinds == {"int8", "float32"}
    assert [item.name for item in graph.operators if item.name == "DEQUANTIZE"] == ["DEQUANTIZE"]
    report = inspect(path, delegate=False)
    fits = [str(row.fit) for row in report.layers if row.linear and row.shape[0] > 7]
    assert fits == ["25.0% of the row kept, tile 32"] * 8
    with torch.no_grad():
        expected = model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    (found,) = run(path, images, engine=Engine("built-in")).outputs.values()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


def test_a_copy_is_pruned_for_the_report_as_the_model_would_be(tmp_path: Path) -> None:
    path = torch_to_tflite(small("deit"), tmp_path / "dense.tflite", (32, 32, 3))
    assert prune_file(path, tmp_path / "pruned.tflite", NMPattern.from_density(0.25, tile=32)) == 8
    report = inspect(tmp_path / "pruned.tflite", delegate=False)
    fits = [str(row.fit) for row in report.layers]
    assert fits == ["dense", *["25.0% of the row kept, tile 32"] * 8, "dense"]
