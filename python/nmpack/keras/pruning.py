# SPDX-License-Identifier: BSD-3-Clause
"""Prune a Keras model once, and say what is pruned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nmpack.keras.holding import held, hold, require_free
from nmpack.keras.layers import layers_of, others_of, to_kernel, weights
from nmpack.sparsity.detection import detect_pattern
from nmpack.sparsity.mask import BoolArray, Evidence, compute_mask
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


def prune_(
    model: Any,
    pattern: Patterns,
    *,
    select: Select | None = None,
    exclude: str | Iterable[str] = (),
    score: str = "l1",
    evidence: Mapping[str, Evidence] | None = None,
) -> PruneReport:
    """Prune layers of a built Keras 3 ``model`` in place and hold the masks from then on.

    Arguments, result and errors are those of :func:`nmpack.torch.prune_`; a predicate gets
    ``(name, layer)``. The same weights give the same mask as there.

    Raises:
        PatternError: the pattern does not fit a layer; the model is then unchanged.
        SelectionError: nothing to prune, or a glob matches nothing.
        NmpackError: a layer has no weights yet, or a kernel has another constraint.
    """
    chosen = chosen_layers(model, pattern, select, exclude)
    masks: dict[str, BoolArray] = {}
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
    model: Any, pattern: Patterns, select: Select | None, exclude: str | Iterable[str]
) -> list[Choice]:
    """Decide about every layer of ``model``, as :func:`nmpack.sparsity.selection.choose` does."""
    keep = tuple(getattr(model, "keep_dense", ()))
    return choose(layers_of(model), pattern, select, exclude, keep, others_of(model))


def mask_of(
    layer: Layer,
    pattern: Pattern,
    score: str = "l1",
    evidence: Mapping[str, Evidence] | None = None,
    *,
    values: Any = None,
) -> BoolArray:
    """Compute the mask of one layer, in the kernel's axes; ``values`` are weights to score."""
    mask = compute_mask(
        weights(layer.module) if values is None else values,
        pattern,
        groups=layer.groups,
        layer=layer.name,
        score=score,
        evidence=(evidence or {}).get(layer.name),
    )
    return to_kernel(mask, layer.module)


def inspect(model: Any) -> PruneReport:
    """Say of every convolution and dense layer whether it holds a mask, and if not, why."""
    return PruneReport(tuple(_row(layer) for layer in layers_of(model)))


def _row(layer: Layer) -> LayerReport:
    holder = held(layer.module)
    value = weights(layer.module)
    density = float((value != 0).sum() / value.size)
    pattern = holder.pattern if holder is not None else None
    reason = str(getattr(layer.module, "nmpack_reason", ""))
    if holder is not None:
        reason = ""
    elif (fit := detect_pattern(value, groups=layer.groups)).tile:
        reason = f"no mask is held, but its zeros obey {fit}"
    elif not reason:
        reason = "not pruned"
    return LayerReport(layer.name, layer.shape, layer.groups, pattern, density, reason, layer.kind)
