# SPDX-License-Identifier: BSD-3-Clause
"""Search for patterns that trade accuracy against cost best, and draw what was found."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nmpack.budget.allocation import Costs, Plan, distribute
from nmpack.errors import PatternError
from nmpack.files import written_whole
from nmpack.progress import Progress, silent
from nmpack.quiet import import_module
from nmpack.sparsity.pattern import Pattern
from nmpack.torch import prune_, reestimate_batch_norm_


@dataclass(frozen=True, slots=True)
class Point:
    """One plan and what it gives.

    Attributes:
        plan: a pattern for each layer, or none.
        tile: the tile height it was planned with; 0 when heights were mixed.
        accuracy: as the caller measures it, higher is better.
        beside: other costs of the plan, by name.
    """

    plan: Plan
    tile: int
    accuracy: float
    beside: Mapping[str, float] = field(default_factory=dict)


def search(
    model: nn.Module,
    costs: Costs,
    harm: Costs,
    budgets: Sequence[float],
    evaluate: Callable[[nn.Module], float],
    *,
    batches: Iterable[torch.Tensor] = (),
    score: str = "l1",
    beside: Mapping[str, Costs] | None = None,
    progress: Progress = silent,
) -> list[Point]:
    """Plan for every budget, with each tile height alone and with all mixed, and evaluate.

    Each plan prunes a copy of ``model`` in one shot. ``evaluate`` may fine-tune it before it
    measures; with ``batches`` batch norm is re-estimated first. A budget that some height cannot
    meet is left out there. ``beside`` has other costs, by name, that a point states and the front
    looks at. ``progress`` is called with (plans done, plans).

    Returns:
        All points, the cheapest first; :func:`front_of` picks the best.

    Raises:
        PatternError: no budget can be met with any height.
    """
    heights = sorted({item.tile for row in costs.values() for item in row if item is not None})
    pools = [(height, _with_tile(harm, height)) for height in heights]
    if len(heights) > 1:
        pools.append((0, harm))
    plans: dict[tuple[tuple[str, Pattern | None], ...], tuple[int, Plan]] = {}
    refused = ""
    for height, pool in pools:
        for budget in budgets:
            try:
                plan = distribute(costs, pool, budget)
            except PatternError as error:
                refused = str(error)
                continue
            if any(item is not None for item in plan.patterns.values()):
                plans.setdefault(tuple(plan.patterns.items()), (height, plan))
    if not plans:
        raise PatternError(
            refused or "no budget asks for pruning: the dense model fits all of them"
        )
    inputs = list(batches)
    points = []
    for done, (height, plan) in enumerate(plans.values(), 1):
        twin = copy.deepcopy(model)
        prune_(twin, plan.mapping, score=score)
        if inputs:
            reestimate_batch_norm_(twin, inputs)
        others = {
            name: sum(other[layer][item] for layer, item in plan.patterns.items())
            for name, other in (beside or {}).items()
        }
        points.append(Point(plan, height, float(evaluate(twin)), others))
        progress(done, len(plans))
    return sorted(points, key=lambda point: (point.plan.cost, -point.accuracy))


def front_of(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in every cost and accuracy, the cheapest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda item: (item.plan.cost, -item.accuracy)):
        # What comes first costs no more by the first cost; of equals the first stays.
        if not any(
            other.accuracy >= point.accuracy
            and all(cost <= point.beside[name] for name, cost in other.beside.items())
            for other in best
        ):
            best.append(point)
    return best


def plot(
    points: Sequence[Point], path: str | Path, *, dense: float | None = None, unit: str = "cost"
) -> Path:
    """Draw all points and their front to ``path`` (.png, .svg or .pdf).

    Args:
        points: of :func:`search`.
        path: the file to write.
        dense: accuracy of the dense model, for a line.
        unit: what the cost is, for the axis.
    """
    matplotlib = import_module("matplotlib.figure", "train")
    figure: Any = matplotlib.Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for tile in sorted({point.tile for point in points}):
        mine = [point for point in points if point.tile == tile]
        axes.scatter(
            [100 * point.plan.share for point in mine],
            [point.accuracy for point in mine],
            label=f"tile {tile}" if tile else "tiles mixed",
        )
    front = front_of(points)
    axes.plot(
        [100 * p.plan.share for p in front], [p.accuracy for p in front], "k-", lw=1, label="front"
    )
    if dense is not None:
        axes.axhline(dense, color="gray", ls="--", lw=1, label="dense")
    axes.set_xlabel(f"{unit}, % of dense")
    axes.set_ylabel("accuracy")
    axes.legend()
    with written_whole(path) as temporary:
        figure.savefig(temporary)
    return Path(path)


def _with_tile(harm: Costs, tile: int) -> Costs:
    return {
        name: {item: value for item, value in row.items() if item is not None and item.tile == tile}
        for name, row in harm.items()
    }
