# SPDX-License-Identifier: BSD-3-Clause
"""From what was measured of a model's layers to the table that the delegate reads."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from nmpack.errors import NmpackError
from nmpack.tune.rounds import by_layout
from nmpack.tune.table import Table, TableLayer, table_sizes
from nmpack.tune.tuner import TIME, Result, TuneReport

# What gains no more than its spread is stated as slower than the choice by this.
_BEHIND = 1.001


def table_of(report: TuneReport) -> Table:
    """Return the table of a tuning.

    The delegate takes the least time of a layout. So that this is what was decided, a candidate
    that seems faster by no more than chance is stated as a little slower than the choice.
    A layer whose pattern could not be drawn is left out: its times are of another filter.

    Raises:
        NmpackError: nothing was timed.
    """
    layers: dict[object, TableLayer] = {}
    for result in report.results:
        if result.unit != TIME:
            raise NmpackError(
                "a table is of times, and QEMU has none: tune on a board with --target ssh:HOST"
            )
        if result.alike and (times := stated_times(result)):
            densities = tuple(round(value, 4) for value in result.item.densities)
            sizes, dtype = table_sizes(result.item.layer), result.item.layer.dtype
            layers.setdefault(
                (dtype, sizes, densities), TableLayer(sizes, result.item.densities, times, dtype)
            )
    units = list(_units(report.results))
    if not units:
        raise NmpackError("nothing was timed: there is no table to write")
    machine = report.machine
    return Table(
        machine.isa, machine.vlen, machine.kernels, machine.cpu, report.setting.threads,
        statistics.median(units), tuple(layers.values()),
    )  # fmt: skip


def stated_times(result: Result) -> dict[str, float]:
    """Return nanoseconds by candidate, the choice of each layout first and fastest."""
    if result.definition is None or result.decision is None:
        return {}
    levels, times = result.decision.levels, dict[str, float]()
    for layout, items in by_layout(result.definition).items():
        choice = result.decision.choices.get(layout)
        if choice is None or choice.name not in levels:
            continue
        least = times[choice.name] = levels[choice.name].median
        for item in items:
            if item is not choice and item.name in levels:
                times[item.name] = max(levels[item.name].median, _BEHIND * least)
    return times


def _units(results: Iterable[Result]) -> Iterable[float]:
    """Yield picoseconds of one unit of the costs, by the dense operators, else by all."""
    for names in ({"dense"}, None):
        found = [
            1000.0 * result.decision.levels[item.name].median / item.predicted
            for result in results
            if result.definition is not None and result.decision is not None
            for item in result.definition.candidates
            if item.name in result.decision.levels and (names is None or item.name in names)
        ]
        if found:
            return found
    return []
