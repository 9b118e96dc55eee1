# SPDX-License-Identifier: BSD-3-Clause
"""DeiT (Touvron et al. 2020) without its distillation token, with timm's parameter names.

Checkpoints of timm's ``deit_tiny_patch16_224`` and ``deit_small_patch16_224``, and of its ViTs of
the same sizes, load with ``load_state_dict``.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from nmpack.models.parts import attend, initialise_transformer, patches_of, tokens_of

_EPS = 1e-6


class PatchEmbed(nn.Module):
    """The convolution that makes a token of each patch."""

    def __init__(self, channels: int, patch: int, width: int) -> None:
        """Build the convolution of ``patch`` x ``patch`` pixels."""
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tokens of ``[B, channels, H, W]``, ``[B, tokens, width]``."""
        return tokens_of(self.proj(x))


class Attention(nn.Module):
    """Attention among tokens; queries, keys and values come from one linear layer."""

    def __init__(self, width: int, heads: int) -> None:
        """Build two linear layers; each head has ``width / heads`` channels."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what each token of ``[B, tokens, width]`` gathers from the others."""
        out: torch.Tensor = self.proj(attend(self.qkv(x), self.heads))
        return out


class Mlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        """Build the layers ``width`` to ``hidden`` and back."""
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layers to ``[B, tokens, width]``."""
        out: torch.Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and added to its input."""

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        """Build the block; ``ratio * width`` channels are hidden."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = Mlp(width, ratio * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block to ``[B, tokens, width]``."""
        x = x + self.attn(self.norm1(x))
        out: torch.Tensor = x + self.mlp(self.norm2(x))
        return out


class DeiT(nn.Module):
    """``[B, channels, H, W] -> [B, num_classes]`` logits; the size is that it was built for.

    A class token is beside those of the patches.
    """

    keep_dense: ClassVar[tuple[str, ...]] = ("patch_embed.proj", "head")

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        *,
        width: int,
        heads: int,
        depth: int = 12,
        ratio: int = 4,
        patch: int = 16,
    ) -> None:
        """Build ``depth`` blocks; a patch of ``patch`` x ``patch`` pixels is a token.

        Raises:
            SelectionError: the image does not divide into patches.
        """
        super().__init__()
        tokens = 1 + patches_of(input_shape, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.patch_embed = PatchEmbed(input_shape[2], patch, width)
        self.blocks = nn.Sequential(*(Block(width, heads, ratio) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.head = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        initialise_transformer(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        # What follows the blocks looks at one token alone.
        logits: torch.Tensor = self.head(self.norm(self.blocks(x)[:, 0]))
        return logits


def deit_tiny(num_classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3)) -> DeiT:
    """Build DeiT-tiny: 12 blocks of 192 channels and 3 heads."""
    return DeiT(num_classes, input_shape, width=192, heads=3)


def deit_small(num_classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3)) -> DeiT:
    """Build DeiT-small: 12 blocks of 384 channels and 6 heads."""
    return DeiT(num_classes, input_shape, width=384, heads=6)
