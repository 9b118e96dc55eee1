# SPDX-License-Identifier: BSD-3-Clause
"""MobileNet-V2 (Sandler et al. 2018) with the parameter names of torchvision's."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from nmpack.models.parts import classify, initialise

# expansion, output channels, blocks, stride of the first
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _unit(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(
        inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Widen by 1x1, 3x3 depthwise, narrow by 1x1: ``[B, inputs, H, W] -> [B, outputs, H/s, W/s]``.

    Where the shape stays, the input is added.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        """Build the block; the depthwise convolution has the stride."""
        super().__init__()
        hidden = inputs * expansion
        parts: list[nn.Module] = [_unit(inputs, hidden, 1)] if expansion != 1 else []
        parts += [
            _unit(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*parts)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        result: torch.Tensor = self.conv(x)
        return x + result if self.adds else result


class MobileNetV2(nn.Module):
    """ImageNet MobileNet-V2: ``[B, 3, H, W] -> [B, num_classes]`` logits; H and W at least 32."""

    #: Stem, early blocks (16 and 24 channels) and classifier, as published; depthwise ones anyway.
    keep_dense: ClassVar[tuple[str, ...]] = ("features.[0-3].*", "classifier.1")

    def __init__(self, num_classes: int) -> None:
        """Build the 17 blocks between the stem and the last 1x1 convolution."""
        super().__init__()
        parts: list[nn.Module] = [_unit(3, 32, 3, 2)]
        width = 32
        for expansion, outputs, depth, stride in _STAGES:
            for index in range(depth):
                parts.append(
                    InvertedResidual(width, outputs, stride if index == 0 else 1, expansion)
                )
                width = outputs
        parts.append(_unit(width, 1280, 1))
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes))
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return classify(self.classifier, self.features(x))


def mobilenet_v2(num_classes: int = 1000) -> MobileNetV2:
    """Build MobileNet-V2, width 1."""
    return MobileNetV2(num_classes)
