# SPDX-License-Identifier: BSD-3-Clause
"""The zoo: torchvision's names and shapes, written down here from its published checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import nmpack.torch
from nmpack.convert import torch_to_tflite
from nmpack.errors import SelectionError
from nmpack.models import ZOO, build
from nmpack.models.resnet import Bottleneck
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.runner import run
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.file import TFLiteFile

pytestmark = pytest.mark.torch

# name: (entries of the state dict, parameters), of torchvision's or timm's with 1000 classes.
PUBLISHED = {
    "resnet18": (122, 11_689_512),
    "resnet34": (218, 21_797_672),
    "resnet50": (320, 25_557_032),
    "resnet101": (626, 44_549_160),
    "resnet152": (932, 60_192_808),
    "densenet121": (727, 7_978_856),
    "mobilenet_v2": (314, 3_504_872),
    "vgg16": (32, 138_357_544),
    "deit_tiny": (152, 5_717_416),
    "deit_small": (152, 22_050_664),
    "vit_b_16": (152, 86_567_656),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_state_dict_has_the_published_size(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
    entries, parameters = PUBLISHED[name]
    assert len(model.state_dict()) == entries
    assert sum(item.numel() for item in model.parameters()) == parameters


def test_resnet50_has_torchvision_names_and_shapes() -> None:
    with torch.device("meta"):
        state = {name: tuple(v.shape) for name, v in build("resnet50").state_dict().items()}
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 2048), "fc.bias": (1000,)}
    expected |= {f"bn1.{field}": (64,) for field in norm}
    inputs = 64
    for stage, (depth, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], 1):
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            shapes = [(width, inputs, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            for index, shape in enumerate(shapes, 1):
                expected[f"{prefix}.conv{index}.weight"] = shape
                expected |= {f"{prefix}.bn{index}.{field}": shape[:1] for field in norm}
            if block == 0:
                expected[f"{prefix}.downsample.0.weight"] = (4 * width, inputs, 1, 1)
                expected |= {f"{prefix}.downsample.1.{field}": (4 * width,) for field in norm}
            inputs = 4 * width
    expected = {k: () if k.endswith("tracked") else v for k, v in expected.items()}
    assert state == expected


def test_resnet18_has_torchvision_names() -> None:
    with torch.device("meta"):
        names = set(build("resnet18").state_dict())
    for name in ("layer1.1.conv2.weight", "layer2.0.downsample.1.running_var", "layer4.1.bn2.bias"):
        assert name in names
    assert "layer1.0.downsample.0.weight" not in names
    assert not any("conv3" in name for name in names)


def test_the_other_networks_have_torchvision_names_and_shapes() -> None:
    expected = {
        "densenet121": {
            "features.conv0.weight": (64, 3, 7, 7),
            "features.norm0.running_mean": (64,),
            "features.denseblock1.denselayer1.norm1.weight": (64,),
            "features.denseblock3.denselayer24.conv1.weight": (128, 992, 1, 1),
            "features.denseblock4.denselayer16.norm2.bias": (128,),
            "features.denseblock4.denselayer16.conv2.weight": (32, 128, 3, 3),
            "features.transition3.norm.weight": (1024,),
            "features.transition3.conv.weight": (512, 1024, 1, 1),
            "features.norm5.bias": (1024,),
            "classifier.weight": (1000, 1024),
        },
        "mobilenet_v2": {
            "features.0.0.weight": (32, 3, 3, 3),
            "features.0.1.running_var": (32,),
            "features.1.conv.0.0.weight": (32, 1, 3, 3),
            "features.1.conv.1.weight": (16, 32, 1, 1),
            "features.1.conv.2.bias": (16,),
            "features.17.conv.0.0.weight": (960, 160, 1, 1),
            "features.17.conv.1.0.weight": (960, 1, 3, 3),
            "features.17.conv.2.weight": (320, 960, 1, 1),
            "features.17.conv.3.weight": (320,),
            "features.18.0.weight": (1280, 320, 1, 1),
            "classifier.1.weight": (1000, 1280),
        },
        "vgg16": {
            "features.0.weight": (64, 3, 3, 3),
            "features.28.bias": (512,),
            "features.28.weight": (512, 512, 3, 3),
            "classifier.0.weight": (4096, 25088),
            "classifier.3.weight": (4096, 4096),
            "classifier.6.weight": (1000, 4096),
        },
    }
    for name, entries in expected.items():
        with torch.device("meta"):
            state = {key: tuple(v.shape) for key, v in build(name).state_dict().items()}
        assert entries.items() <= state.items(), name


def test_the_old_names_of_the_published_densenet_load() -> None:
    model = build("densenet121", num_classes=2)
    state = model.state_dict()
    dot = re.compile(r"(denselayer\d+\.(?:norm|conv))([12]\.)")
    old = {dot.sub(r"\1.\2", name): value for name, value in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    model.load_state_dict(old)


STAY_DENSE = {
    # conv0; blocks 1 and 2 (6 + 12 layers of two); transitions 1 and 2.
    "densenet121": (120, 1 + 36 + 2),
    # 17 depthwise ones, the stem, the 1x1 of features.1 to 3 (1 + 2 + 2).
    "mobilenet_v2": (52, 17 + 1 + 5),
    "vgg16": (13, 1),
    "resnet20": (21, 1),
    "resnet152": (155, 1),
}


@pytest.mark.parametrize("name", STAY_DENSE)
def test_the_published_layers_stay_dense_by_default(name: str) -> None:
    model = build(name, num_classes=10)
    report = nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=8))
    convolutions, dense = STAY_DENSE[name]
    assert len(report.convolutions) == convolutions
    assert len(report.pruned) == convolutions - dense
    assert all(row.reason for row in report if row.pattern is None)


def test_bottlenecks_stride_on_the_3x3_convolution() -> None:
    block = Bottleneck(256, 128, 2)
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


@pytest.mark.parametrize(
    "name", [name for name in ZOO if name not in ("resnet101", "resnet34", "autoencoder")]
)
def test_activations_stay_alive_with_random_weights(name: str) -> None:
    height, width, channels = ZOO[name].input_shape
    torch.manual_seed(0)
    model = build(name, num_classes=7).eval()
    deviations = []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda *a: deviations.append(a[2].std().item()))
    with torch.no_grad():
        half = 2 if ZOO[name].size == "any" else 1
        logits = model(torch.randn(2, channels, height // half, width // half))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()
    assert not torch.allclose(logits[0], logits[1], rtol=1e-3)
    # Thirteen depthwise layers of few channels leave more to chance.
    assert min(deviations) > (0.02 if name == "mobilenet_v1_025" else 0.1)
    assert max(deviations) < 10.0


@pytest.mark.parametrize(
    ("name", "convolutions"),
    [
        ("resnet20", 21),
        pytest.param("mobilenet_v2", 52, marks=pytest.mark.slow),
        pytest.param("densenet121", 120, marks=pytest.mark.slow),
    ],
)
def test_conversion_keeps_the_function(name: str, convolutions: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(name, num_classes=7).eval()
    path = torch_to_tflite(model, tmp_path / "model.tflite", (64, 64, 3))
    file = TFLiteFile(path)
    assert len(file.convolutions) == convolutions
    assert sum(item.depthwise for item in file.convolutions) == 17 * (name == "mobilenet_v2")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model(images).numpy()
    result = run(path, images.permute(0, 2, 3, 1).numpy(), engine=Engine("built-in"))
    np.testing.assert_allclose(next(iter(result.outputs.values())), expected, rtol=0, atol=1e-4)


def test_fashion_resnet_blocks_are_at_least_64_wide() -> None:
    blocks = [
        module
        for name, module in build("fashion_resnet").named_modules()
        if isinstance(module, torch.nn.Conv2d) and name.startswith("layer")
    ]
    assert len(blocks) == 8
    assert min(layer.out_channels for layer in blocks) >= 64


def test_an_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(SelectionError, match=r"resnet18, .*got 'resnet51'"):
        build("resnet51")
