# SPDX-License-Identifier: BSD-3-Clause
"""The whole search: costs, sensitivity, plans, accuracy and the front, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from nmpack.budget.allocation import Costs, latency_costs
from nmpack.budget.front import Point, front_of, search
from nmpack.budget.measure import costs_of, sensitivity
from nmpack.plans import PREDICTED
from nmpack.progress import Progress, silent
from nmpack.sparsity.pattern import Pattern


class Shown(Protocol):
    """Shows how far a step is: yields what the step calls."""

    def __call__(self, what: str, /) -> AbstractContextManager[Progress]:
        """Begin the step ``what``."""


def _unshown(_what: str) -> AbstractContextManager[Progress]:
    return nullcontext(silent)


@dataclass(frozen=True, slots=True)
class SearchReport:
    """What :func:`search_all` found.

    Attributes:
        dense: accuracy of the model as it was.
        points: all plans, the cheapest first.
        harm: how far each candidate alone moves the outputs, of :func:`sensitivity`.
    """

    dense: float
    points: tuple[Point, ...]
    harm: Costs

    @property
    def front(self) -> list[Point]:
        """Those that no other beats."""
        return front_of(self.points)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``schema`` is 1."""
        best = self.front
        rows = [_row(point) | {"front": point in best} for point in self.points]
        return {"schema": 1, "dense": self.dense, "plans": rows}


def search_all(
    model: nn.Module,
    batches: Sequence[torch.Tensor],
    evaluate: Callable[[nn.Module], float],
    candidates: Sequence[Pattern],
    budgets: Sequence[float],
    *,
    what: str = "macs",
    record: str | Path | None = None,
    target: str = "xcv",
    shown: Shown = _unshown,
) -> SearchReport:
    """Count costs, measure sensitivity, plan for every budget, prune in one shot, and evaluate.

    Args:
        model: is not changed.
        batches: at least one, to measure sensitivity and to re-estimate batch norm with.
        evaluate: returns accuracy, higher is better.
        candidates: what a layer may be pruned to.
        budgets: shares of the dense cost.
        what: the cost, as for :func:`costs_of`.
        record: a tuning record, whose seconds are the cost instead.
        target: the microcontroller of ``cycles`` and ``flash``; the other of the two stands beside
            the cost, so that accuracy, speed and size are one front.
        shown: shows how far the two long steps are.

    Raises:
        PatternError: no budget can be met.
        ModelError: the record cannot be read.
    """
    costs = costs_of(model, batches[0][:1], candidates, what=what, target=target)
    beside: dict[str, Costs] = {}
    if record is not None:
        costs = latency_costs(record, costs)
    elif what in PREDICTED:
        (other,) = set(PREDICTED) - {what}
        beside = {other: costs_of(model, batches[0][:1], candidates, what=other, target=target)}
    with shown("measuring sensitivity") as progress:
        harm = sensitivity(model, batches, costs, progress=progress)
    dense = evaluate(model)
    with shown("evaluating plans") as progress:
        points = search(
            model, costs, harm, budgets, evaluate, batches=batches, beside=beside,
            progress=progress,
        )  # fmt: skip
    return SearchReport(dense, tuple(points), harm)


def _row(point: Point) -> dict[str, Any]:
    patterns = {name: item and str(item) for name, item in point.plan.patterns.items()}
    return {
        "share": point.plan.share, "cost": point.plan.cost, "tile": point.tile,
        "accuracy": point.accuracy, "harm": point.plan.harm, "patterns": patterns,
        "beside": dict(point.beside),
    }  # fmt: skip
