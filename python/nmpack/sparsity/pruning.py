# SPDX-License-Identifier: BSD-3-Clause
"""Pruning a whole model: what the adaptors of all frameworks share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from nmpack.sparsity.detection import detect_pattern
from nmpack.sparsity.mask import Array, BoolArray, Evidence, compute_mask
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.selection import (
    Choice,
    Layer,
    LayerReport,
    Other,
    Patterns,
    PruneReport,
    Select,
    choose,
)


class Holder(Protocol):
    """A mask that a layer holds; ``pattern`` is what it was made for, where that is known."""

    pattern: Pattern | None


class Hold(Protocol):
    """How a framework makes a layer hold a mask."""

    def __call__(
        self, module: Any, mask: BoolArray, pattern: Pattern | None, *, feedback: bool
    ) -> None:
        """Hold ``mask`` (OHWI) on ``module``; with feedback pruned weights go on learning."""


@dataclass(frozen=True, slots=True)
class Adaptor:
    """What is a framework's own in pruning.

    Attributes:
        layers: of a model, those that can be pruned; an error where one has no weights yet.
        others: of a model, what else has weights.
        keep_dense: globs of the layers that the model's published list keeps dense.
        taken: how others compute the weight of a module, so that it stays dense where no selection
            names it, or nothing.
        weights: of a layer's module, as float32 OHWI, pruned ones at zero.
        all_weights: the same, with the values that pruned ones have meanwhile.
        require_free: an error where others compute the weight of a layer (name, module).
        held: the mask that a module holds, or None.
        foreign: who else prunes a module, in words, or nothing.
        hold: makes a module hold a mask.
        renew: replaces the mask (OHWI) of what ``held`` returned for a module.
    """

    layers: Callable[[Any], list[Layer]]
    others: Callable[[Any], list[Other]]
    keep_dense: Callable[[Any], tuple[str, ...]]
    taken: Callable[[Any], str]
    weights: Callable[[Any], Array]
    all_weights: Callable[[Any], Array]
    require_free: Callable[[str, Any], None]
    held: Callable[[Any], Holder | None]
    foreign: Callable[[Any], str]
    hold: Hold
    renew: Callable[[Any, Any, BoolArray], None]

    def choose(
        self, model: Any, pattern: Patterns, select: Select | None, exclude: str | Iterable[str]
    ) -> list[Choice]:
        """Decide about every layer of ``model``, as :func:`nmpack.sparsity.selection.choose`."""
        layers = self.layers(model)
        taken = {layer.name: how for layer in layers if (how := self.taken(layer.module))}
        keep = self.keep_dense(model)
        return choose(layers, pattern, select, exclude, keep, self.others(model), taken)

    def choose_free(
        self, model: Any, pattern: Patterns, select: Select | None, exclude: str | Iterable[str]
    ) -> list[Choice]:
        """Decide likewise; an error where others compute the weight of a layer to prune."""
        chosen = self.choose(model, pattern, select, exclude)
        for layer, wanted, _ in chosen:
            if wanted is not None:
                self.require_free(layer.name, layer.module)
        return chosen

    def mask_of(
        self,
        layer: Layer,
        pattern: Pattern,
        score: str = "l1",
        evidence: Mapping[str, Evidence] | None = None,
        *,
        values: Array | None = None,
    ) -> BoolArray:
        """Compute the mask of a layer (OHWI) from its effective weights, or from ``values``."""
        return compute_mask(
            self.weights(layer.module) if values is None else values,
            pattern,
            groups=layer.groups,
            layer=layer.name,
            score=score,
            evidence=(evidence or {}).get(layer.name),
        )

    def prune(
        self,
        model: Any,
        pattern: Patterns,
        select: Select | None,
        exclude: str | Iterable[str],
        score: str,
        evidence: Mapping[str, Evidence] | None,
    ) -> PruneReport:
        """Prune ``model`` in place and hold the masks; an error leaves it unchanged."""
        chosen = self.choose_free(model, pattern, select, exclude)
        masks = {
            layer.name: self.mask_of(layer, wanted, score, evidence)
            for layer, wanted, _ in chosen
            if wanted is not None
        }
        self.hold_all(chosen, masks, feedback=False)
        return self.inspect(model)

    def hold_all(
        self, chosen: Iterable[Choice], masks: Mapping[str, BoolArray], *, feedback: bool
    ) -> None:
        """Hold the mask of each layer that was chosen, and note why others stay dense."""
        for layer, wanted, reason in chosen:
            layer.module.nmpack_reason = reason
            if wanted is not None:
                self.hold(layer.module, masks[layer.name], wanted, feedback=feedback)

    def inspect(self, model: Any) -> PruneReport:
        """Say of every layer whether it holds a mask, and if not, why."""
        return PruneReport(tuple(self._row(layer) for layer in self.layers(model)))

    def _row(self, layer: Layer) -> LayerReport:
        holder = self.held(layer.module)
        value = self.weights(layer.module)
        density = float((value != 0).sum() / value.size)
        pattern = holder.pattern if holder is not None else None
        reason = str(getattr(layer.module, "nmpack_reason", ""))
        if holder is not None:
            reason = reason if pattern is None else ""
        elif foreign := self.foreign(layer.module):
            reason = foreign
        elif (fit := detect_pattern(value, groups=layer.groups)).tile:
            reason = f"no mask is held, but its zeros obey {fit}"
        elif not reason:
            reason = "not pruned"
        return LayerReport(
            layer.name, layer.shape, layer.groups, pattern, density, reason, layer.kind
        )
