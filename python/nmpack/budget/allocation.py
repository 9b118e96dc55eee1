# SPDX-License-Identifier: BSD-3-Clause
"""Choose one pattern for each layer so that the sum of costs fits and the sum of harm is least."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmpack.errors import ModelError, PatternError
from nmpack.plans import DENSE, load_seconds
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.selection import literal_glob

#: By layer, then by pattern (None is dense): what it costs, or how much it harms.
Costs = Mapping[str, Mapping[Pattern | None, float]]

_STEPS = 4000  # parts of the budget; each layer's cost is rounded up to one


@dataclass(frozen=True, slots=True)
class Plan:
    """What :func:`distribute` chose.

    Attributes:
        patterns: by layer; None stays dense. :func:`nmpack.torch.prune_` takes :attr:`mapping`.
        cost, dense_cost: of all layers, with the patterns and without.
        harm: the sum of the layers' sensitivities.
    """

    patterns: Mapping[str, Pattern | None]
    cost: float
    dense_cost: float
    harm: float

    @property
    def share(self) -> float:
        """Cost as a share of the dense model's."""
        return self.cost / self.dense_cost

    @property
    def mapping(self) -> dict[str, Pattern | None]:
        """The patterns by globs that match one layer each."""
        return {literal_glob(name): pattern for name, pattern in self.patterns.items()}


def distribute(costs: Costs, harm: Costs, budget: float) -> Plan:
    """Spend ``budget`` (a share of the dense cost, above 0) where it harms least.

    A multiple-choice knapsack, solved exactly but for costs rounded up to a 4000th of the budget;
    the plan never costs more than the budget.

    Args:
        costs: of every layer with every candidate; each has ``None``.
        harm: the same layers and candidates, or fewer; not negative.
        budget: share of the sum of dense costs.

    Raises:
        PatternError: the budget is not above 0, or the cheapest choice costs more; the message says
            how much.
    """
    if not (budget > 0.0 and math.isfinite(budget)):
        raise PatternError(f"a budget is a share of the dense cost above 0, got {budget}")
    dense = sum(costs[name][None] for name in costs)
    limit = budget * dense
    choices: list[tuple[str, list[Pattern | None]]] = []
    for name in costs:
        known = [item for item in costs[name] if item is None or item in harm.get(name, {})]
        choices.append((name, known))
    least = sum(min(costs[name][item] for item in known) for name, known in choices)
    if least > limit * (1 + 1e-12):
        raise PatternError(
            f"a budget of {100 * budget:.1f} % cannot be met: the cheapest patterns of all layers "
            f"cost {100 * least / dense:.1f} % of the dense model"
        )
    unit = limit / _STEPS
    best = np.zeros(_STEPS + 1)
    taken: list[np.ndarray] = []
    for name, known in choices:
        rows = np.full((len(known), _STEPS + 1), np.inf)
        for row, item in enumerate(known):
            steps = math.ceil(costs[name][item] / unit - 1e-9)
            if steps <= _STEPS:
                extra = harm.get(name, {}).get(item, 0.0) if item is not None else 0.0
                rows[row, steps:] = best[: _STEPS + 1 - steps] + extra
        taken.append(rows.argmin(axis=0))
        best = rows.min(axis=0)
    if not np.isfinite(best[-1]):  # the cheapest plan fits, but not when rounded up
        return _plan({name: min(known, key=lambda i: costs[name][i]) for name, known in choices},
                     costs, harm, dense)  # fmt: skip
    patterns: dict[str, Pattern | None] = {}
    left = _STEPS
    for (name, known), row in zip(reversed(choices), reversed(taken), strict=True):
        item = known[int(row[left])]
        patterns[name] = item
        left -= math.ceil(costs[name][item] / unit - 1e-9)
    return _plan({name: patterns[name] for name in costs}, costs, harm, dense)


def latency_costs(path: str | Path, costs: Costs) -> Costs:
    """Replace counted costs by the seconds of a tuning record (:mod:`nmpack.plans`).

    Candidates that the record does not know are left out. So are layers that it does not know and
    that have no candidate: they cost the same whatever is chosen.

    Raises:
        ModelError: it cannot be read, knows no layer, or not the dense time of one with candidates.
    """
    record = load_seconds(path)
    found: dict[str, dict[Pattern | None, float]] = {}
    for name, known in costs.items():
        times = record.get(name, {})
        if DENSE in times:
            keys = {item: DENSE if item is None else str(item) for item in known}
            found[name] = {item: times[key] for item, key in keys.items() if key in times}
        elif len(known) > 1:
            raise ModelError(
                f"{path}: expected the dense time of every layer that may be pruned, "
                f"found none of {name}"
            )
    if not found:
        raise ModelError(f"{path}: knows none of the {len(costs)} layers")
    return found


def _plan(patterns: dict[str, Pattern | None], costs: Costs, harm: Costs, dense: float) -> Plan:
    cost = sum(costs[name][item] for name, item in patterns.items())
    hurt = sum(harm[name][item] for name, item in patterns.items() if item is not None)
    return Plan(patterns, cost, dense, hurt)
