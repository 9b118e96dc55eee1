# SPDX-License-Identifier: BSD-3-Clause
"""Prune a PyTorch model once, and say what is pruned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from nmpack.sparsity.mask import BoolArray, Evidence
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.pruning import Adaptor
from nmpack.sparsity.selection import Layer, Patterns, PruneReport, Select
from nmpack.torch.holding import (
    HoldMask,
    foreign,
    held,
    hold,
    original,
    require_free,
    taken,
)
from nmpack.torch.layers import (
    keep_dense_of,
    layers_of,
    others_of,
    require_real,
    to_array,
    to_tensor,
    weights,
)


def prune_(
    model: nn.Module,
    pattern: Patterns,
    *,
    select: Select | None = None,
    exclude: str | Iterable[str] = (),
    score: str = "l1",
    evidence: Mapping[str, Evidence] | None = None,
) -> PruneReport:
    """Prune layers of ``model`` in place and hold the masks from then on.

    Args:
        model: any module with ``nn.Conv2d`` or ``nn.Linear`` layers.
        pattern: what to keep: one pattern, or globs over names with the pattern of each.
        select: a glob or globs over names (``"layer[234].*"``), a module type, or a predicate
            ``(name, module)``; None takes every convolution but the stem, those that the model's
            own ``keep_dense`` names, grouped ones and those narrower than a tile.
        exclude: globs over names that stay dense whatever ``select`` says.
        score: what makes a weight worth keeping: ``l1``, ``l2``, ``taylor`` or ``activation``.
        evidence: of :func:`collect`, for the last two.

    Returns:
        What was pruned, what was not, and why. Layers pruned before are pruned anew from their
        masked weights, so calling twice with one pattern changes nothing.

    Raises:
        PatternError: the pattern does not fit a layer; the model is then unchanged.
        SelectionError: nothing to prune, or a glob matches nothing.
        ModelError: a layer has no weights yet: a lazy module, or the meta device.
    """
    return TORCH.prune(model, pattern, select, exclude, score, evidence)


def inspect(model: nn.Module) -> PruneReport:
    """Say of every convolution and linear layer whether it holds a mask, and if not, why.

    Raises:
        ModelError: a layer has no weights yet.
    """
    return TORCH.inspect(model)


def mask_of(
    layer: Layer,
    pattern: Pattern,
    score: str = "l1",
    evidence: Mapping[str, Evidence] | None = None,
) -> torch.Tensor:
    """Compute the mask of one layer from its effective weights, as a boolean CPU tensor."""
    return to_tensor(TORCH.mask_of(layer, pattern, score, evidence), layer.module)


def _real_layers(model: nn.Module) -> list[Layer]:
    layers = layers_of(model)
    require_real(layers)
    return layers


def _foreign(module: nn.Module) -> str:
    if foreign(module) is None:
        return ""
    return "pruned by torch's own tools; nmpack.torch.adopt_ takes the mask over"


def _hold(module: nn.Module, mask: BoolArray, pattern: Pattern | None, *, feedback: bool) -> None:
    hold(module, to_tensor(mask, module), pattern, feedback=feedback)


def _renew(holder: HoldMask, module: nn.Module, mask: BoolArray) -> None:
    holder.mask.copy_(to_tensor(mask, module))


TORCH = Adaptor(
    layers=_real_layers,
    others=others_of,
    keep_dense=keep_dense_of,
    taken=taken,
    weights=weights,
    all_weights=lambda module: to_array(original(module)),
    require_free=require_free,
    held=held,
    foreign=_foreign,
    hold=_hold,
    renew=_renew,
)
