# SPDX-License-Identifier: BSD-3-Clause
"""Residual networks (He et al. 2015) with the parameter names of torchvision's.

Bottlenecks carry their stride on the 3x3 convolution (the "v1.5" placement), as torchvision's do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.models.parts import classify, damp, initialise


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut: ``[B, inputs, H, W] -> [B, width, H/s, W/s]``."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        """Build the block; the first convolution has the stride."""
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return F.relu(x + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a shortcut: ``[B, inputs, H, W] -> [B, 4 * width, H/s, W/s]``."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        """Build the block; the 3x3 convolution has the stride."""
        super().__init__()
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return F.relu(x + shortcut)


class ResNet(nn.Module):
    """ImageNet ResNet: ``[B, 3, H, W] -> [B, num_classes]`` logits; H and W at least 32."""

    #: The later published list: every convolution of the residual blocks is pruned.
    keep_dense: ClassVar[tuple[str, ...]] = ("conv1", "fc")

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: Sequence[int], num_classes: int
    ) -> None:
        """Build four stages of ``depths`` blocks."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1, width = stage(block, 64, 64, depths[0], 1)
        self.layer2, width = stage(block, width, 128, depths[1], 2)
        self.layer3, width = stage(block, width, 256, depths[2], 2)
        self.layer4, width = stage(block, width, 512, depths[3], 2)
        self.fc = nn.Linear(width, num_classes)
        initialise(self)
        damp(branch_ends(self))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return classify(self.fc, x)


class FashionResNet(nn.Module):
    """Small ResNet for 28x28 images: ``[B, 1, 28, 28] -> [B, num_classes]`` logits.

    The stem halves the image to 14x14; the first stage has two blocks of 64 channels at 7x7, the
    second one block of 128 channels at 4x4.
    """

    keep_dense: ClassVar[tuple[str, ...]] = ("conv1", "fc")

    def __init__(self, num_classes: int) -> None:
        """Build the network."""
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1, width = stage(BasicBlock, 64, 64, 2, 2)
        self.layer2, width = stage(BasicBlock, width, 128, 1, 2)
        self.fc = nn.Linear(width, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        return classify(self.fc, self.layer2(self.layer1(x)))


def stage(
    block: type[BasicBlock | Bottleneck], inputs: int, width: int, depth: int, stride: int
) -> tuple[nn.Sequential, int]:
    """Build ``depth`` blocks, the first with ``stride``; returns them and their output width."""
    outputs = width * block.expansion
    blocks: list[nn.Module] = [block(inputs, width, stride)]
    blocks += [block(outputs, width, 1) for _ in range(depth - 1)]
    return nn.Sequential(*blocks), outputs


def branch_ends(model: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the last batch norm of every residual branch."""
    return [
        module.bn3 if isinstance(module, Bottleneck) else module.bn2
        for module in model.modules()
        if isinstance(module, BasicBlock | Bottleneck)
    ]


def resnet18(num_classes: int = 1000) -> ResNet:
    """Build ResNet-18."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes)


def resnet34(num_classes: int = 1000) -> ResNet:
    """Build ResNet-34."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """Build ResNet-50 v1.5."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes)


def resnet101(num_classes: int = 1000) -> ResNet:
    """Build ResNet-101 v1.5."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes)


def resnet152(num_classes: int = 1000) -> ResNet:
    """Build ResNet-152 v1.5."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes)


def fashion_resnet(num_classes: int = 10) -> FashionResNet:
    """Build the small ResNet for Fashion-MNIST."""
    return FashionResNet(num_classes)
