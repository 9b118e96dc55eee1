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
    ``size`` is ``any`` where the channels are fixed and the rest is not, ``built`` where
    :func:`build` takes a shape, channels included, and ``fixed`` where that one alone fits then.
    """

    name: str
    module: str
    head: str
    input_shape: tuple[int, int, int]
    num_classes: int
    about: str
    size: str = "any"


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
    ModelSpec(
        "resnet18_32",
        "cifar",
        "fc",
        (32, 32, 3),
        10,
        "ResNet-18 for 32x32 images, 3x3 stem",
        "built",
    ),
    ModelSpec("resnet8", "cifar", "fc", (32, 32, 3), 10, "ResNet-8 of MLPerf Tiny", "built"),
    ModelSpec(
        "ds_cnn", "tiny", "fc", (49, 10, 1), 12, "DS-CNN of MLPerf Tiny, keyword spotting", "built"
    ),
    ModelSpec(
        "mobilenet_v1_025",
        "tiny",
        "fc",
        (96, 96, 3),
        2,
        "MobileNet-V1, a quarter of its channels, of MLPerf Tiny",
        "built",
    ),
    ModelSpec(
        "autoencoder",
        "tiny",
        "layers.27",
        (1, 1, 640),
        640,
        "autoencoder of MLPerf Tiny, linear layers",
        "fixed",
    ),
    ModelSpec(
        "vit_tiny28",
        "vit",
        "head",
        (28, 28, 1),
        10,
        "ViT for 28x28 images: 4 blocks, 192 wide, patches of 4x4",
        "fixed",
    ),
    ModelSpec("deit_tiny", "deit", "head", *_IMAGENET, "DeiT-tiny, timm's names", "fixed"),
    ModelSpec("deit_small", "deit", "head", *_IMAGENET, "DeiT-small, timm's names", "fixed"),
    ModelSpec(
        "vit_b_16", "vit_b", "heads.head", *_IMAGENET, "ViT-B/16, torchvision's names", "fixed"
    ),
)
ZOO: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}


def build(
    name: str,
    *,
    num_classes: int | None = None,
    input_shape: tuple[int, int, int] | None = None,
) -> nn.Module:
    """Build the zoo's model ``name`` with random weights.

    Args:
        name: of :data:`ZOO`.
        num_classes: outputs, None for the zoo's.
        input_shape: height, width and channels that it is for, None for the zoo's.

    Raises:
        SelectionError: no such model, or it cannot be built for that shape.
        MissingError: torch is not installed.
    """
    if name not in ZOO:
        raise SelectionError(f"expected one of the models {', '.join(ZOO)}, got {name!r}")
    import_module("torch", "torch")
    module = import_module(f"nmpack.models.{ZOO[name].module}", "torch")
    builder: Callable[..., nn.Module] = getattr(module, name)
    spec = ZOO[name]
    options: dict[str, tuple[int, int, int]] = {}
    if spec.size != "any":
        options = {"input_shape": input_shape or spec.input_shape}
    elif input_shape is not None and input_shape[2] != spec.input_shape[2]:
        raise SelectionError(
            f"{name}: expected images of {spec.input_shape[2]} channels, got {input_shape[2]}"
        )
    return builder(num_classes=num_classes or spec.num_classes, **options)


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


def resnet18_32(
    *, num_classes: int = 10, input_shape: tuple[int, int, int] = (32, 32, 3)
) -> nn.Module:
    """ResNet-18 for 32x32 images: 8 basic blocks behind a 3x3 stem, 11.2 million parameters."""
    return build("resnet18_32", num_classes=num_classes, input_shape=input_shape)


def resnet8(*, num_classes: int = 10, input_shape: tuple[int, int, int] = (32, 32, 3)) -> nn.Module:
    """ResNet-8 of MLPerf Tiny: 3 basic blocks, 78 thousand parameters."""
    return build("resnet8", num_classes=num_classes, input_shape=input_shape)


def ds_cnn(*, num_classes: int = 12, input_shape: tuple[int, int, int] = (49, 10, 1)) -> nn.Module:
    """DS-CNN of MLPerf Tiny: 4 depthwise-separable blocks, 22 thousand parameters."""
    return build("ds_cnn", num_classes=num_classes, input_shape=input_shape)


def mobilenet_v1_025(
    *, num_classes: int = 2, input_shape: tuple[int, int, int] = (96, 96, 3)
) -> nn.Module:
    """MobileNet-V1 of MLPerf Tiny: 13 depthwise-separable blocks, 0.2 million parameters."""
    return build("mobilenet_v1_025", num_classes=num_classes, input_shape=input_shape)


def autoencoder(
    *, num_classes: int = 640, input_shape: tuple[int, int, int] = (1, 1, 640)
) -> nn.Module:
    """Autoencoder of MLPerf Tiny: 10 linear layers, 0.27 million parameters."""
    return build("autoencoder", num_classes=num_classes, input_shape=input_shape)


def vit_tiny28(
    *, num_classes: int = 10, input_shape: tuple[int, int, int] = (28, 28, 1)
) -> nn.Module:
    """ViT for 28x28 images: 4 blocks of 192 channels, 49 tokens, 1.8 million parameters."""
    return build("vit_tiny28", num_classes=num_classes, input_shape=input_shape)


def deit_tiny(
    *, num_classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3)
) -> nn.Module:
    """DeiT-tiny: 12 blocks of 192 channels, 197 tokens, 5.7 million parameters."""
    return build("deit_tiny", num_classes=num_classes, input_shape=input_shape)


def deit_small(
    *, num_classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3)
) -> nn.Module:
    """DeiT-small: 12 blocks of 384 channels, 197 tokens, 22.1 million parameters."""
    return build("deit_small", num_classes=num_classes, input_shape=input_shape)


def vit_b_16(
    *, num_classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3)
) -> nn.Module:
    """ViT-B/16: 12 blocks of 768 channels, 197 tokens, 86.6 million parameters."""
    return build("vit_b_16", num_classes=num_classes, input_shape=input_shape)
