# SPDX-License-Identifier: BSD-3-Clause
"""Networks as plain ``torch.nn`` modules; torch is imported when the first one is built.

The ResNets have torchvision's parameter names and shapes, so that its checkpoints load with
``load_state_dict``. The builders take ``num_classes`` and return a module in training mode.
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
    """An entry of the zoo: its input is NHWC ``(height, width, channels)`` once converted."""

    name: str
    input_shape: tuple[int, int, int]
    num_classes: int
    about: str


ZOO: dict[str, ModelSpec] = {
    **{
        f"resnet{depth}": ModelSpec(
            f"resnet{depth}", (224, 224, 3), 1000, f"ResNet-{depth} v1.5, torchvision's names"
        )
        for depth in (18, 34, 50, 101, 152)
    },
    "fashion_resnet": ModelSpec(
        "fashion_resnet", (28, 28, 1), 10, "small ResNet for Fashion-MNIST, blocks 64 to 128 wide"
    ),
}


def build(name: str, *, num_classes: int | None = None) -> nn.Module:
    """Build the zoo's model ``name`` with random weights.

    Raises:
        SelectionError: no such model.
        MissingError: torch is not installed.
    """
    if name not in ZOO:
        raise SelectionError(f"expected one of the models {', '.join(ZOO)}, got {name!r}")
    import_module("torch", "torch")
    from nmpack.models import resnet

    builder: Callable[..., nn.Module] = getattr(resnet, name)
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


def fashion_resnet(*, num_classes: int = 10) -> nn.Module:
    """Build the small ResNet for 28x28x1 images; its residual blocks are at least 64 wide."""
    return build("fashion_resnet", num_classes=num_classes)
