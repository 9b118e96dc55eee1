# SPDX-License-Identifier: BSD-3-Clause
"""DenseNet-121 (Huang et al. 2016) with the parameter names of torchvision's."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.models.parts import classify, initialise

# The published checkpoint writes denselayer1.norm.1.weight.
_OLD_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)$")


class DenseLayer(nn.Module):
    """Norm, 1x1, norm, 3x3: ``[B, inputs, H, W] -> [B, growth, H, W]``."""

    def __init__(self, inputs: int, growth: int) -> None:
        """Build the layer; the 1x1 convolution has ``4 * growth`` outputs."""
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the new channels alone."""
        x = self.conv1(F.relu(self.norm1(x)))
        new: torch.Tensor = self.conv2(F.relu(self.norm2(x)))
        return new


class DenseBlock(nn.Module):
    """Layers that each see all channels before: ``C -> C + depth * growth`` channels."""

    def __init__(self, inputs: int, growth: int, depth: int) -> None:
        """Build ``depth`` layers named ``denselayer1`` and on."""
        super().__init__()
        for index in range(depth):
            self.add_module(f"denselayer{index + 1}", DenseLayer(inputs + index * growth, growth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layers one after the other."""
        for layer in self.children():
            x = torch.cat((x, layer(x)), 1)
        return x


class Transition(nn.Module):
    """Norm, 1x1 and a mean over 2x2: half the channels, half the size."""

    def __init__(self, inputs: int) -> None:
        """Build the transition."""
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)
        self.pool = nn.AvgPool2d(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the transition."""
        half: torch.Tensor = self.pool(self.conv(F.relu(self.norm(x))))
        return half


class DenseNet(nn.Module):
    """ImageNet DenseNet: ``[B, 3, H, W] -> [B, num_classes]`` logits; H and W at least 32."""

    #: The published list: stem, blocks 1 and 2, transitions 1 and 2 and the classifier stay dense.
    keep_dense: ClassVar[tuple[str, ...]] = (
        "features.conv0",
        "features.denseblock[12].*",
        "features.transition[12].*",
        "classifier",
    )

    def __init__(self, depths: tuple[int, ...], growth: int, stem: int, num_classes: int) -> None:
        """Build a block of each depth with a transition between two."""
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["conv0"] = nn.Conv2d(3, stem, 7, 2, padding=3, bias=False)
        parts["norm0"] = nn.BatchNorm2d(stem)
        parts["relu0"] = nn.ReLU()
        parts["pool0"] = nn.MaxPool2d(3, 2, padding=1)
        width = stem
        for index, depth in enumerate(depths, 1):
            parts[f"denseblock{index}"] = DenseBlock(width, growth, depth)
            width += depth * growth
            if index < len(depths):
                parts[f"transition{index}"] = Transition(width)
                width //= 2
        parts["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(parts)
        self.classifier = nn.Linear(width, num_classes)
        initialise(self)
        self.register_load_state_dict_pre_hook(_rename)  # type: ignore[no-untyped-call]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return classify(self.classifier, F.relu(self.features(x)))


def _rename(_module: nn.Module, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
    for name in list(state):
        if name.startswith(prefix) and (match := _OLD_NAME.match(name)):
            state[match[1] + match[2]] = state.pop(name)


def densenet121(num_classes: int = 1000) -> DenseNet:
    """Build DenseNet-121."""
    return DenseNet((6, 12, 24, 16), 32, 64, num_classes)
