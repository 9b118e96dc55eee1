# SPDX-License-Identifier: BSD-3-Clause
"""ViT-B (Dosovitskiy et al. 2020) with torchvision's parameter names."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar

import torch
from torch import nn

from nmpack.models.parts import attend, initialise_transformer, patches_of, tokens_of

_EPS = 1e-6
#: Names in torchvision's checkpoints, and ours: its projection is a bare parameter.
_NAMES = {"in_proj_weight": "in_proj.weight", "in_proj_bias": "in_proj.bias"}


class SelfAttention(nn.Module):
    """What ``nn.MultiheadAttention`` computes, as two linear layers, which can be pruned.

    There the projection to queries, keys and values is a parameter of its own. Here it is the
    linear layer ``in_proj``; state dicts have torchvision's names for it, both ways. While it holds
    a mask, its entries have the names of the parametrization.
    """

    def __init__(self, width: int, heads: int) -> None:
        """Build two linear layers; each head has ``width / heads`` channels."""
        super().__init__()
        self.heads = heads
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.register_state_dict_post_hook(_to_published)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_from_published)  # type: ignore[no-untyped-call]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what each token of ``[B, tokens, width]`` gathers from the others."""
        out: torch.Tensor = self.out_proj(attend(self.in_proj(x), self.heads))
        return out


def _to_published(_module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    _rename(state, prefix, {own: published for published, own in _NAMES.items()})


def _from_published(_module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    _rename(state, prefix, _NAMES)


def _rename(state: dict[str, Any], prefix: str, names: dict[str, str]) -> None:
    for old, new in names.items():
        if prefix + old in state:
            state[prefix + new] = state.pop(prefix + old)


class EncoderBlock(nn.Module):
    """Attention and MLP, each behind a layer norm and added to its input."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        """Build the block; its MLP is ``hidden`` channels wide."""
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=_EPS)
        self.self_attention = SelfAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width, eps=_EPS)
        # torchvision's have dropout in the third and fifth place, of probability 0.
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block to ``[B, tokens, width]``."""
        x = x + self.self_attention(self.ln_1(x))
        out: torch.Tensor = x + self.mlp(self.ln_2(x))
        return out


class Encoder(nn.Module):
    """Positions, blocks and a layer norm."""

    def __init__(self, tokens: int, width: int, heads: int, depth: int, hidden: int) -> None:
        """Build ``depth`` blocks for ``tokens`` tokens."""
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.zeros(1, tokens, width))
        self.layers = nn.Sequential(
            OrderedDict(
                (f"encoder_layer_{i}", EncoderBlock(width, heads, hidden)) for i in range(depth)
            )
        )
        self.ln = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the class token, the first of ``[B, tokens, width]``, as ``[B, width]``."""
        out: torch.Tensor = self.ln(self.layers(x + self.pos_embedding)[:, 0])
        return out


class ViT(nn.Module):
    """``[B, channels, H, W] -> [B, num_classes]`` logits; the size is that it was built for.

    A class token is beside those of the patches.
    """

    keep_dense: ClassVar[tuple[str, ...]] = ("conv_proj", "heads.head")

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, int, int],
        *,
        width: int = 768,
        heads: int = 12,
        depth: int = 12,
        patch: int = 16,
    ) -> None:
        """Build ``depth`` blocks; a patch of ``patch`` x ``patch`` pixels is a token.

        Raises:
            SelectionError: the image does not divide into patches.
        """
        super().__init__()
        tokens = 1 + patches_of(input_shape, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.conv_proj = nn.Conv2d(input_shape[2], width, patch, patch)
        self.encoder = Encoder(tokens, width, heads, depth, 4 * width)
        self.heads = nn.Sequential(OrderedDict(head=nn.Linear(width, num_classes)))
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.encoder.pos_embedding, std=0.02)
        initialise_transformer(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        x = tokens_of(self.conv_proj(x))
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1)
        logits: torch.Tensor = self.heads(self.encoder(x))
        return logits


def vit_b_16(num_classes: int = 1000, input_shape: tuple[int, int, int] = (224, 224, 3)) -> ViT:
    """Build ViT-B/16: 12 blocks of 768 channels and 12 heads."""
    return ViT(num_classes, input_shape)
