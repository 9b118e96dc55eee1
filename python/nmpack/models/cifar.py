# SPDX-License-Identifier: BSD-3-Clause
"""ResNet-20 for 32x32 images (He et al. 2015, section 4.2), small enough for tests."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.models.parts import classify, damp, initialise
from nmpack.models.resnet import BasicBlock, branch_ends, stage


class CifarResNet(nn.Module):
    """Three stages at full, half and quarter size: ``[B, 3, 32, 32] -> [B, num_classes]`` logits.

    Shortcuts that change the shape are 1x1 convolutions, as in the ImageNet networks, where the
    paper pads with zeros.
    """

    keep_dense: ClassVar[tuple[str, ...]] = ("conv1", "fc")

    def __init__(self, depth: int, num_classes: int, width: int = 16) -> None:
        """Build ``depth`` basic blocks of each of the widths ``width``, twice and four times it."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1, inputs = stage(BasicBlock, width, width, depth, 1)
        self.layer2, inputs = stage(BasicBlock, inputs, 2 * width, depth, 2)
        self.layer3, inputs = stage(BasicBlock, inputs, 4 * width, depth, 2)
        self.fc = nn.Linear(inputs, num_classes)
        initialise(self)
        damp(branch_ends(self))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        return classify(self.fc, self.layer3(self.layer2(self.layer1(x))))


def resnet20(num_classes: int = 10) -> CifarResNet:
    """Build ResNet-20."""
    return CifarResNet(3, num_classes)
