# SPDX-License-Identifier: BSD-3-Clause
"""Prune a PyTorch model once, and say what is pruned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from nmpack.sparsity.detection import detect_pattern
from nmpack.sparsity.mask import Evidence, compute_mask
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.selection import (
    Choice,
    Layer,
    LayerReport,
    Patterns,
    PruneReport,
    Select,
    choose,
)
from nmpack.torch.holding import foreign, held, hold, require_free
from nmpack.torch.layers import (
    keep_dense_of,
    layers_of,
    others_of,
    require_real,
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
    chosen = chosen_layers(model, pattern, select, exclude)
    masks: dict[str, torch.Tensor] = {}
    for layer, wanted, _ in chosen:
        if wanted is not None:
            require_free(layer.name, layer.module)
            masks[layer.name] = mask_of(layer, wanted, score, evidence)
    for layer, wanted, reason in chosen:
        layer.module.nmpack_reason = reason
        if wanted is not None:
            hold(layer.module, masks[layer.name], wanted)
    return inspect(model)


def chosen_layers(
    model: nn.Module, pattern: Patterns, select: Select | None, exclude: str | Iterable[str]
) -> list[Choice]:
    """Decide about every layer of ``model``, as :func:`nmpack.sparsity.selection.choose` does.

    Raises:
        ModelError: a layer has no weights yet.
    """
    layers = layers_of(model)
    require_real(layers)
    keep = keep_dense_of(model)
    return choose(layers, pattern, select, exclude, keep, others_of(model))


def mask_of(
    layer: Layer,
    pattern: Pattern,
    score: str = "l1",
    evidence: Mapping[str, Evidence] | None = None,
) -> torch.Tensor:
    """Compute the mask of one layer from its effective weights, as a boolean CPU tensor."""
    mask = compute_mask(
        weights(layer.module),
        pattern,
        groups=layer.groups,
        layer=layer.name,
        score=score,
        evidence=(evidence or {}).get(layer.name),
    )
    return to_tensor(mask, layer.module)


def inspect(model: nn.Module) -> PruneReport:
    """Say of every convolution and linear layer whether it holds a mask, and if not, why.

    Raises:
        ModelError: a layer has no weights yet.
    """
    layers = layers_of(model)
    require_real(layers)
    return PruneReport(tuple(_row(layer) for layer in layers))


def _row(layer: Layer) -> LayerReport:
    holder = held(layer.module)
    value = weights(layer.module)
    density = float((value != 0).sum() / value.size)
    pattern = holder.pattern if holder else None
    reason = str(getattr(layer.module, "nmpack_reason", ""))
    if holder is not None:
        reason = reason if pattern is None else ""
    elif foreign(layer.module) is not None:
        reason = "pruned by torch's own tools; nmpack.torch.adopt_ takes the mask over"
    elif (fit := detect_pattern(value, groups=layer.groups)).tile:
        reason = f"no mask is held, but its zeros obey {fit}"
    elif not reason:
        reason = "not pruned"
    return LayerReport(layer.name, layer.shape, layer.groups, pattern, density, reason, layer.kind)
