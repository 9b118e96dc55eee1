# SPDX-License-Identifier: BSD-3-Clause
"""Networks of MLPerf Tiny (Banbury et al. 2021); its ResNet-8 is in :mod:`nmpack.models.cifar`."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from nmpack.models.parts import classify, initialise

Shape = tuple[int, int, int]


def _unit(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Build 3x3 depthwise, then 1x1: ``[B, inputs, H, W] -> [B, outputs, H/s, W/s]``."""
    depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
    return nn.Sequential(*_unit(depthwise), *_unit(nn.Conv2d(inputs, outputs, 1, bias=False)))


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after that makes ``ceil(size / stride)`` outputs."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class DsCnn(nn.Module):
    """Keyword spotting on spectrograms: ``[B, channels, H, W] -> [B, num_classes]`` logits.

    The stem is 10x4 with stride 2; four depthwise-separable blocks of 64 channels follow.
    """

    keep_dense: ClassVar[tuple[str, ...]] = ("stem.*", "fc")

    def __init__(self, num_classes: int, input_shape: Shape, width: int = 64) -> None:
        """Build the network; the padding of its stem is that of ``input_shape``, HWC."""
        super().__init__()
        height, sides = _same(input_shape[0], 10, 2), _same(input_shape[1], 4, 2)
        stem = nn.Conv2d(input_shape[2], width, (10, 4), 2, bias=False)
        self.stem = nn.Sequential(nn.ZeroPad2d((*sides, *height)), *_unit(stem))
        self.blocks = nn.Sequential(*(_separable(width, width) for _ in range(4)))
        self.fc = nn.Linear(width, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return classify(self.fc, self.blocks(self.stem(x)))


class MobileNetV1(nn.Module):
    """MobileNet (Howard et al. 2017): ``[B, channels, H, W] -> [B, num_classes]`` logits."""

    keep_dense: ClassVar[tuple[str, ...]] = ("stem.*", "fc")

    def __init__(self, num_classes: int, channels: int, base: int) -> None:
        """Build 13 depthwise-separable blocks, ``base`` channels in the stem, 32 times at the end.

        The published network is ``base`` 32 at width 1; 8 is a quarter of it.
        """
        super().__init__()
        stem = nn.Conv2d(channels, base, 3, 2, padding=1, bias=False)
        self.stem = nn.Sequential(*_unit(stem))
        wide = [(2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1)]
        blocks, inputs = [], base
        for times, stride in wide:
            blocks.append(_separable(inputs, base * times, stride))
            inputs = base * times
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(inputs, num_classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return classify(self.fc, self.blocks(self.stem(x)))


class Autoencoder(nn.Module):
    """Find anomalies in sounds: ``[B, features]``, or any shape of as many, to ``[B, outputs]``.

    Four layers of 128, one of 8, four of 128, and one that returns the features.
    """

    #: What leads into the bottleneck of 8 channels, and out of it.
    keep_dense: ClassVar[tuple[str, ...]] = ("layers.12", "layers.15")

    def __init__(self, features: int, outputs: int) -> None:
        """Build ten linear layers; batch norm and ReLU follow all but the last."""
        super().__init__()
        widths = [features, *[128] * 4, 8, *[128] * 4]
        layers: list[nn.Module] = []
        for inputs, width in pairwise(widths):
            layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features as the network would have them."""
        result: torch.Tensor = self.layers(torch.flatten(x, 1))
        return result


def ds_cnn(num_classes: int = 12, input_shape: Shape = (49, 10, 1)) -> DsCnn:
    """Build DS-CNN."""
    return DsCnn(num_classes, input_shape)


def mobilenet_v1_025(num_classes: int = 2, input_shape: Shape = (96, 96, 3)) -> MobileNetV1:
    """Build MobileNet-V1 with a quarter of the channels."""
    return MobileNetV1(num_classes, input_shape[2], 8)


def autoencoder(num_classes: int = 640, input_shape: Shape = (1, 1, 640)) -> Autoencoder:
    """Build the autoencoder; ``num_classes`` are its outputs."""
    height, width, channels = input_shape
    return Autoencoder(height * width * channels, num_classes)
