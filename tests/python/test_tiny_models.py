# SPDX-License-Identifier: BSD-3-Clause
"""Networks for microcontrollers: published sizes, shapes, and what int8 makes of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import nmpack.torch
from nmpack import NMPattern
from nmpack.convert import torch_to_tflite
from nmpack.errors import ModelError, SelectionError
from nmpack.models import ZOO, build
from nmpack.models.vit import LayerNorm
from nmpack.quantize import Int8
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.runner import run
from nmpack.sources import Source, load_source, save_source
from nmpack.tflite.file import TFLiteFile

pytestmark = pytest.mark.torch

#: Multiply-adds of the filters, for one input, and weights in filters and matrices.
SIZES = {
    "resnet8": (12_501_632, 77_360),
    "ds_cnn": (2_656_768, 22_016),
    "mobilenet_v1_025": (7_489_664, 208_112),
    "autoencoder": (264_192, 264_192),
    "resnet18_32": (555_422_720, 11_164_352),
    "vit_tiny28": (86_856_576, 1_774_464),
}


def products(model: torch.nn.Module, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Count multiply-adds and weights of convolutions and linear layers."""
    found = [0, 0]

    def count(layer: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        weights = layer.weight.numel()
        features = output.shape[1] if output.ndim == 4 else output.shape[-1]
        found[0] += weights * output.numel() // features
        found[1] += weights

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    height, width, channels = shape
    with torch.no_grad():
        model.eval()(torch.zeros(1, channels, height, width))
    return found[0], found[1]


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_published_ones(name: str) -> None:
    assert products(build(name), ZOO[name].input_shape) == SIZES[name]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet8", (28, 28, 1)),
        ("resnet18_32", (32, 32, 1)),
        ("ds_cnn", (28, 28, 1)),
        ("mobilenet_v1_025", (64, 48, 1)),
        ("autoencoder", (2, 3, 50)),
        ("vit_tiny28", (32, 32, 3)),
    ],
)
def test_shapes_and_classes_are_free(
    name: str, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    model = build(name, num_classes=7, input_shape=shape).eval()
    images = torch.randn(2, shape[2], *shape[:2])
    assert model(images).shape == (2, 7)
    save_source(Source("torch", model, name, 7, shape), tmp_path / "model.pt")
    again = load_source(str(tmp_path / "model.pt"))
    assert (again.input_shape, again.num_classes) == (shape, 7)
    assert torch.equal(again.model.eval()(images), model(images))


def test_shapes_that_do_not_fit_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="resnet20: expected images of 3 channels, got 1"):
        build("resnet20", input_shape=(32, 32, 1))
    with pytest.raises(SelectionError, match=r"whole patches of 4 pixels .*, got 30 x 28 pixels"):
        build("vit_tiny28", input_shape=(30, 28, 1))
    torch.save({"arch": "resnet8", "input_shape": [32, 0, 3], "state_dict": {}}, tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"an input shape of three sizes, got \[32, 0, 3\]"):
        load_source(str(tmp_path / "x.pt"))


def test_layer_norm_is_the_same_in_training_and_in_evaluation() -> None:
    torch.manual_seed(0)
    norm, x = LayerNorm(24), 3.0 * torch.randn(2, 5, 24) + 1.0
    assert torch.allclose(norm.train()(x), norm.eval()(x), atol=1e-5)
    assert torch.allclose(norm(x), torch.nn.functional.layer_norm(x, (24,)), atol=1e-5)


#: Operators of the int8 file, where more than convolutions, sums and a classifier are expected.
OPERATORS = {
    "ds_cnn": {"DEPTHWISE_CONV_2D": 5, "CONV_2D": 4, "MEAN": 1, "FULLY_CONNECTED": 1},
    "autoencoder": {"FULLY_CONNECTED": 10},
    "vit_tiny28": {
        "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 25, "BATCH_MATMUL": 8, "SOFTMAX": 4, "GELU": 4,
        "ADD": 18, "SUB": 9, "MUL": 18, "RSQRT": 9, "MEAN": 19, "TRANSPOSE": 16,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_a_pruned_network_is_int8_from_end_to_end(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(name, num_classes=10).eval()
    nmpack.torch.prune_(model, NMPattern(1, 8, tile=4))
    height, width, channels = ZOO[name].input_shape
    images = np.random.default_rng(0).normal(size=(16, height, width, channels)).astype(np.float32)
    path = torch_to_tflite(
        model, tmp_path / "model.tflite", (height, width, channels), int8=Int8(images, io="int8")
    )
    file = TFLiteFile(path)
    graph = file.subgraphs[0]
    counts = Counter(operator.name for operator in graph.operators)
    counts.pop("RESHAPE", None)
    assert counts == OPERATORS[name]
    kinds = {graph.tensors[place].dtype for item in graph.operators for place in item.outputs}
    assert kinds == {"int8"}
    entry = graph.tensors[graph.inputs[0]].quantization
    exit_ = graph.tensors[graph.outputs[0]].quantization
    scaled = np.rint(images / entry.scale[0] + entry.zero_point[0])
    (found,) = run(
        path, np.clip(scaled, -128, 127).astype(np.int8), engine=Engine("built-in")
    ).outputs.values()
    values = (found.astype(np.float32) - exit_.zero_point[0]) * exit_.scale[0]
    with torch.no_grad():
        expected = model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    assert np.corrcoef(values.ravel(), expected.ravel())[0, 1] > 0.97
