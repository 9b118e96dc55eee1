# SPDX-License-Identifier: BSD-3-Clause
"""Networks as plain ``torch.nn`` modules; torch is imported when the first one is built.

The ImageNet models have torchvision's parameter names and shapes, so that its checkpoints load with
``load_state_dict``. The builders take ``num_classes`` and return a module in training mode. Its
attribute ``keep_dense`` names the layers that stay dense by default, as published for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nmpack.errors import SelectionError
from nmpack.quiet import import_module

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """An entry of the zoo: its input is NHWC ``(height, width, channels)`` once converted.

    ``module`` is the module of this package that builds it; ``head`` names its last linear layer.
    """

    name: str
    module: str
    head: str
    input_shape: tuple[int, int, int]
    num_classes: int
    about: str


_IMAGENET = ((224, 224, 3), 1000)
_SPECS = (
    *(
        ModelSpec(f"resnet{n}", "resnet", "fc", *_IMAGENET, f"ResNet-{n} v1.5, torchvision's names")
        for n in (18, 34, 50, 101, 152)
    ),
    ModelSpec(
        "densenet121", "densenet", "classifier", *_IMAGENET, "DenseNet-121, torchvision's names"
    ),
    ModelSpec(
        "mobilenet_v2", "mobilenet", "classifier.1", *_IMAGENET, "MobileNet-V2, torchvision's names"
    ),
    ModelSpec("vgg16", "vgg", "classifier.6", *_IMAGENET, "VGG-16, torchvision's names"),
    ModelSpec("resnet20", "cifar", "fc", (32, 32, 3), 10, "ResNet-20 for CIFAR's 32x32 images"),
    ModelSpec(
        "fashion_resnet",
        "resnet",
        "fc",
        (28, 28, 1),
        10,
        "small ResNet for Fashion-MNIST, blocks 64 to 128 wide",
    ),
)
ZOO: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}


def build(name: str, *, num_classes: int | None = None) -> nn.Module:
    """Build the zoo's model ``name`` with random weights.

    Raises:
        SelectionError: no such model.
        MissingError: torch is not installed.
    """
    if name not in ZOO:
        raise SelectionError(f"expected one of the models {', '.join(ZOO)}, got {name!r}")
    import_module("torch", "torch")
    module = import_module(f"nmpack.models.{ZOO[name].module}", "torch")
    builder: Callable[..., nn.Module] = getattr(module, name)
    return builder(num_classes=num_classes or ZOO[name].num_classes)


def resnet18(*, num_classes: int = 1000) -> nn.Module:
    """ResNet-18: 8 basic blocks, 11.7 million parameters."""
    return build("resnet18", num_classes=num_classes)


def resnet34(*, num_classes: int = 1000) -> nn.Module:
    """ResNet-34: 16 basic blocks, 21.8 million parameters."""
    return build("resnet34", num_classes=num_classes)


def resnet50(*, num_classes: int = 1000) -> nn.Module:
    """ResNet-50 v1.5: 16 bottlenecks, 25.6 million parameters."""
    return build("resnet50", num_classes=num_classes)


def resnet101(*, num_classes: int = 1000) -> nn.Module:
    """ResNet-101 v1.5: 33 bottlenecks, 44.5 million parameters."""
    return build("resnet101", num_classes=num_classes)


def resnet152(*, num_classes: int = 1000) -> nn.Module:
    """ResNet-152 v1.5: 50 bottlenecks, 60.2 million parameters."""
    return build("resnet152", num_classes=num_classes)


def densenet121(*, num_classes: int = 1000) -> nn.Module:
    """DenseNet-121: 58 dense layers of growth 32, 8.0 million parameters."""
    return build("densenet121", num_classes=num_classes)


def mobilenet_v2(*, num_classes: int = 1000) -> nn.Module:
    """MobileNet-V2: 17 inverted residuals, 3.5 million parameters."""
    return build("mobilenet_v2", num_classes=num_classes)


def vgg16(*, num_classes: int = 1000) -> nn.Module:
    """VGG-16 without batch norm: 138.4 million parameters, most of them fully connected."""
    return build("vgg16", num_classes=num_classes)


def resnet20(*, num_classes: int = 10) -> nn.Module:
    """ResNet-20 for 32x32 images: 9 basic blocks, 0.27 million parameters."""
    return build("resnet20", num_classes=num_classes)


def fashion_resnet(*, num_classes: int = 10) -> nn.Module:
    """Build the small ResNet for 28x28x1 images; its residual blocks are at least 64 wide."""
    return build("fashion_resnet", num_classes=num_classes)
