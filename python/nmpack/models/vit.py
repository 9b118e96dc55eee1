# SPDX-License-Identifier: BSD-3-Clause
"""A small vision transformer (Dosovitskiy et al. 2020) for images of 28x28 or 32x32.

It is written with what int8 files have operators for: linear layers, batched products, softmax,
layer norm and GELU. Weights of a layer norm would be those of the linear layers behind it, so it
has none. The mean of the tokens is classified, so that there is no class token.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.errors import SelectionError


class LayerNorm(nn.Module):
    """Layer norm over the last axis, without weights of its own.

    In evaluation mode it is spelled out, so that a converted file has no product with ones.
    """

    def __init__(self, width: int) -> None:
        """Normalise ``width`` channels."""
        super().__init__()
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``[..., width]`` with mean 0 and variance 1."""
        if self.training:
            return F.layer_norm(x, (self.width,))
        x = x - x.mean(-1, keepdim=True)
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5)


class Attention(nn.Module):
    """Attention among the tokens of an image: ``[B, tokens, width] -> [B, tokens, width]``.

    Scores are not divided by the square root of a head's channels: queries and keys start smaller.
    """

    def __init__(self, width: int, heads: int) -> None:
        """Build four linear layers; each head has ``width / heads`` channels."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what each token gathers from the others."""
        batch, tokens, width = x.shape
        size = width // self.heads

        def split(y: torch.Tensor) -> torch.Tensor:
            return y.reshape(batch, tokens, self.heads, size).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        weights = (query @ key.transpose(2, 3)).softmax(-1)
        joined: torch.Tensor = self.out((weights @ value).transpose(1, 2).reshape(x.shape))
        return joined


class Block(nn.Module):
    """Attention and two linear layers, each behind a layer norm and added to its input."""

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        """Build the block; ``ratio * width`` channels are hidden."""
        super().__init__()
        self.norm1 = LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = LayerNorm(width)
        self.fc1 = nn.Linear(width, ratio * width)
        self.fc2 = nn.Linear(ratio * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block to ``[B, tokens, width]``."""
        x = x + self.attention(self.norm1(x))
        hidden = F.gelu(self.fc1(self.norm2(x)), approximate="tanh")
        out: torch.Tensor = x + self.fc2(hidden)
        return out


class VisionTransformer(nn.Module):
    """``[B, channels, H, W] -> [B, num_classes]`` logits; the size is that it was built for."""

    keep_dense: ClassVar[tuple[str, ...]] = ("patches", "head")

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        *,
        patch: int = 4,
        width: int = 192,
        depth: int = 4,
        heads: int = 4,
        ratio: int = 4,
    ) -> None:
        """Build ``depth`` blocks; a patch of ``patch`` x ``patch`` pixels is a token.

        Raises:
            SelectionError: the image does not divide into patches, or the width into heads.
        """
        super().__init__()
        height, across, channels = input_shape
        if height % patch or across % patch or width % heads:
            raise SelectionError(
                f"expected an image of whole patches of {patch} pixels and a width of whole heads, "
                f"got {height} x {across} pixels, {width} channels and {heads} heads"
            )
        tokens = (height // patch) * (across // patch)
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(torch.zeros(1, tokens, width))
        self.blocks = nn.Sequential(*(Block(width, heads, ratio) for _ in range(depth)))
        self.norm = LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.positions, std=0.02)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                score = name.endswith(("query", "key"))
                gain = (width // heads) ** -0.25 if score else 1.0
                nn.init.xavier_uniform_(module.weight, gain)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        x = self.patches(x).permute(0, 2, 3, 1).flatten(1, 2) + self.positions
        logits: torch.Tensor = self.head(self.norm(self.blocks(x)).mean(1))
        return logits


def vit_tiny28(
    num_classes: int = 10, input_shape: tuple[int, int, int] = (28, 28, 1)
) -> VisionTransformer:
    """Build a ViT of 4 blocks, 192 channels wide, with patches of 4x4 pixels."""
    return VisionTransformer(num_classes, input_shape)
