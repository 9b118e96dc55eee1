# SPDX-License-Identifier: BSD-3-Clause
"""Train in less memory: keep the best checkpoints, compute the rest again.

>>> from nmpack import checkpointing
>>> chosen = checkpointing.plan(model, images)  # or plan(model, images, budget=800_000_000)
>>> checkpointing.apply_(model, chosen)
>>> # ... train as usual ...
>>> checkpointing.remove_(model)

:func:`fit_` does both in one call. On sizes alone: :func:`revised_linear` and the others of
:mod:`.selection`. docs/checkpointing.md has the formulas and what was measured.
"""

from __future__ import annotations

from nmpack.checkpointing.applying import applied, apply_, fit_, remove_
from nmpack.checkpointing.chain import (
    Chain,
    CheckpointingError,
    Choice,
    keep_every,
    keep_none,
    keep_sqrt,
    revised_cost,
    static_cost,
)
from nmpack.checkpointing.planning import METHODS, Plan, Planner, memory_budget, parse_bytes, plan
from nmpack.checkpointing.reporting import Report, Step, measure_step, plot, report
from nmpack.checkpointing.selection import (
    brute_force,
    revised_linear,
    revised_quadratic,
    static_cubic,
)

__all__ = [
    "METHODS",
    "Chain",
    "CheckpointingError",
    "Choice",
    "Plan",
    "Planner",
    "Report",
    "Step",
    "applied",
    "apply_",
    "brute_force",
    "fit_",
    "keep_every",
    "keep_none",
    "keep_sqrt",
    "measure_step",
    "memory_budget",
    "parse_bytes",
    "plan",
    "plot",
    "remove_",
    "report",
    "revised_cost",
    "revised_linear",
    "revised_quadratic",
    "static_cost",
    "static_cubic",
]
