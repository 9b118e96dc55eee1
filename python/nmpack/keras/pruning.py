# SPDX-License-Identifier: BSD-3-Clause
"""Prune a Keras model once, and say what is pruned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nmpack.keras.holding import HoldMask, all_weights, held, hold, require_free, taken
from nmpack.keras.layers import layers_of, others_of, to_kernel, weights
from nmpack.sparsity.mask import BoolArray, Evidence
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.pruning import Adaptor
from nmpack.sparsity.selection import Patterns, PruneReport, Select


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
    return KERAS.prune(model, pattern, select, exclude, score, evidence)


def inspect(model: Any) -> PruneReport:
    """Say of every convolution and dense layer whether it holds a mask, and if not, why."""
    return KERAS.inspect(model)


def _keep_dense_of(model: Any) -> tuple[str, ...]:
    return tuple(getattr(model, "keep_dense", ()))


def _hold(module: Any, mask: BoolArray, pattern: Pattern | None, *, feedback: bool) -> None:
    hold(module, to_kernel(mask, module), pattern, feedback=feedback)


def _renew(holder: HoldMask, module: Any, mask: BoolArray) -> None:
    holder.renew(module.kernel, to_kernel(mask, module))


KERAS = Adaptor(
    layers=layers_of,
    others=others_of,
    keep_dense=_keep_dense_of,
    taken=taken,
    weights=weights,
    all_weights=all_weights,
    require_free=require_free,
    held=held,
    foreign=lambda _: "",
    hold=_hold,
    renew=_renew,
)
