# SPDX-License-Identifier: BSD-3-Clause
"""What several networks share: initialisation, the head, tokens and attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.errors import SelectionError


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


def initialise_transformer(model: nn.Module) -> None:
    """Draw the weights of linear layers by Glorot's uniform initialisation.

    Biases are near 0 and factors of layer norms near 1, but not equal: a converter leaves out
    additions of 0 and products with 1, which a trained network has.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.normal_(module.bias, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, mean=1.0, std=0.02)
            nn.init.normal_(module.bias, std=0.02)


def patches_of(input_shape: tuple[int, int, int], patch: int) -> int:
    """Return how many patches of ``patch`` x ``patch`` pixels an image ``(H, W, C)`` has.

    Raises:
        SelectionError: it does not divide into them.
    """
    height, width, _ = input_shape
    if height % patch or width % patch:
        raise SelectionError(
            f"expected an image of whole patches of {patch} x {patch} pixels, "
            f"got {height} x {width} pixels"
        )
    return (height // patch) * (width // patch)


def tokens_of(x: torch.Tensor) -> torch.Tensor:
    """Return the pixels of ``[B, C, H, W]`` as tokens ``[B, H * W, C]``."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def attend(qkv: torch.Tensor, heads: int) -> torch.Tensor:
    """Attend among tokens: ``[B, tokens, 3 * width] -> [B, tokens, width]``.

    The channels of ``qkv`` are queries, keys and values, each head by head.
    """
    batch, tokens, channels = qkv.shape
    width = channels // 3
    query, key, value = (
        part.reshape(batch, tokens, heads, width // heads).transpose(1, 2)
        for part in qkv.chunk(3, -1)
    )
    # Matrix products of four axes become products of three when they are exported, with copies.
    scores = torch.einsum("bhqd,bhkd->bhqk", query * (width // heads) ** -0.5, key)
    joined = torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), value)
    return joined.transpose(1, 2).reshape(batch, tokens, width)
