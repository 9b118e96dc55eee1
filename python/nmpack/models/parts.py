# SPDX-License-Identifier: BSD-3-Clause
"""What several networks share: initialisation and the head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


def initialise(model: nn.Module) -> None:
    """Draw weights that neither damp nor blow up the signal, batch norm or not.

    He's normal initialisation with the fan-in of one group: the fan-out that torchvision takes
    counts every channel of a depthwise convolution, so its signal dies where batch norm does not
    renew it, as in evaluation mode.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def damp(ends: Sequence[nn.BatchNorm2d]) -> None:
    """Scale the ``ends`` of residual branches so that a sum over all of them stays bounded.

    Each of n blocks adds as much variance as comes in; with gains of sqrt(1 / n) the whole network
    multiplies it by at most e.
    """
    for end in ends:
        nn.init.constant_(end.weight, math.sqrt(1.0 / len(ends)))


def classify(classifier: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Average ``[B, C, H, W]`` over the pixels and return the logits."""
    logits: torch.Tensor = classifier(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
    return logits
