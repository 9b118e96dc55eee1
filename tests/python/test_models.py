# SPDX-License-Identifier: BSD-3-Clause
"""The zoo: torchvision's names and shapes, written down here from its published checkpoints."""

from __future__ import annotations

import pytest
import torch

from nmpack.errors import SelectionError
from nmpack.models import ZOO, build
from nmpack.models.resnet import Bottleneck

pytestmark = pytest.mark.torch

# name: (entries of the state dict, parameters), of torchvision's models with 1000 classes.
PUBLISHED = {
    "resnet18": (122, 11_689_512),
    "resnet34": (218, 21_797_672),
    "resnet50": (320, 25_557_032),
    "resnet101": (626, 44_549_160),
    "resnet152": (932, 60_192_808),
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


def test_bottlenecks_stride_on_the_3x3_convolution() -> None:
    block = Bottleneck(256, 128, 2)
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "fashion_resnet"])
def test_forward_gives_logits(name: str) -> None:
    height, width, channels = ZOO[name].input_shape
    model = build(name, num_classes=7).eval()
    with torch.no_grad():
        logits = model(torch.randn(2, channels, height // 2, width // 2))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()


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
