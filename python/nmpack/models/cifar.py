# SPDX-License-Identifier: BSD-3-Clause
"""Residual networks for 32x32 images (He et al. 2015, section 4.2): a 3x3 stem, no pooling."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.models.parts import classify, damp, initialise
from nmpack.models.resnet import BasicBlock, branch_ends, stage


class CifarResNet(nn.Module):
    """Stages at full, half, quarter size ...: ``[B, channels, H, W] -> [B, num_classes]`` logits.

    Shortcuts that change the shape are 1x1 convolutions, as in the ImageNet networks, where the
    paper pads with zeros.
    """

    keep_dense: ClassVar[tuple[str, ...]] = ("conv1", "fc")

    def __init__(
        self, depth: int, num_classes: int, width: int = 16, stages: int = 3, channels: int = 3
    ) -> None:
        """Build ``stages`` stages of ``depth`` basic blocks, each twice as wide as the last."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = stages
        inputs = width
        for index in range(stages):
            blocks, inputs = stage(BasicBlock, inputs, width << index, depth, 1 + (index > 0))
            self.add_module(f"layer{index + 1}", blocks)
        self.fc = nn.Linear(inputs, num_classes)
        initialise(self)
        damp(branch_ends(self))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        for index in range(self.stages):
            x = self.get_submodule(f"layer{index + 1}")(x)
        return classify(self.fc, x)


def resnet20(num_classes: int = 10) -> CifarResNet:
    """Build ResNet-20."""
    return CifarResNet(3, num_classes)


def resnet8(num_classes: int = 10, input_shape: tuple[int, int, int] = (32, 32, 3)) -> CifarResNet:
    """Build MLPerf Tiny's ResNet-8: a block of each of the widths 16, 32 and 64."""
    return CifarResNet(1, num_classes, channels=input_shape[2])


def resnet18_32(
    num_classes: int = 10, input_shape: tuple[int, int, int] = (32, 32, 3)
) -> CifarResNet:
    """Build ResNet-18 for small images: two blocks of each of the widths 64 to 512."""
    return CifarResNet(2, num_classes, 64, 4, input_shape[2])
