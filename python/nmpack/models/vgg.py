# SPDX-License-Identifier: BSD-3-Clause
"""VGG-16 (Simonyan & Zisserman 2014), without batch norm, with torchvision's parameter names."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from nmpack.models.parts import initialise

# Output channels of each convolution; 0 is a pooling.
_LAYERS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


class VGG(nn.Module):
    """ImageNet VGG: ``[B, 3, 224, 224] -> [B, num_classes]`` logits; other sizes are averaged."""

    #: No list was published: the stem and the fully connected layers stay dense.
    keep_dense: ClassVar[tuple[str, ...]] = ("features.0", "classifier.*")

    def __init__(self, num_classes: int, hidden: int = 4096) -> None:
        """Build 13 convolutions and 3 linear layers, the two inner ones ``hidden`` wide."""
        super().__init__()
        parts: list[nn.Module] = []
        width = 3
        for outputs in _LAYERS:
            if outputs == 0:
                parts.append(nn.MaxPool2d(2, 2))
                continue
            parts += [nn.Conv2d(width, outputs, 3, padding=1), nn.ReLU()]
            width = outputs
        self.features = nn.Sequential(*parts)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(hidden, num_classes),
        )
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        x = self.features(x)
        if x.shape[2:] != (7, 7):
            x = self.avgpool(x)
        logits: torch.Tensor = self.classifier(torch.flatten(x, 1))
        return logits


def vgg16(num_classes: int = 1000) -> VGG:
    """Build VGG-16."""
    return VGG(num_classes)
