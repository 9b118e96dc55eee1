# SPDX-License-Identifier: BSD-3-Clause
"""How much to prune where: a budget over all layers, spent by measured sensitivity.

1. :func:`costs_of` counts what each layer costs, dense and with each candidate pattern.
2. :func:`sensitivity` measures how far each candidate alone moves the outputs.
3. :func:`distribute` chooses a pattern for each layer, or none, within a budget.
4. :func:`search` does that for many budgets and tile heights, measures accuracy, and returns the
   front of those that no other beats; :func:`plot` draws it.

:func:`search_all` does all of it, and returns a :class:`SearchReport`.
"""

from __future__ import annotations

from nmpack.budget.allocation import Costs, Plan, distribute, latency_costs
from nmpack.budget.front import Point, front_of, plot, search
from nmpack.budget.measure import costs_of, sensitivity
from nmpack.budget.report import SearchReport, search_all

__all__ = [
    "Costs",
    "Plan",
    "Point",
    "SearchReport",
    "costs_of",
    "distribute",
    "front_of",
    "latency_costs",
    "plot",
    "search",
    "search_all",
    "sensitivity",
]
