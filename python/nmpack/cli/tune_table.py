# SPDX-License-Identifier: BSD-3-Clause
"""What a tuning found, as a table on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from nmpack.cli.tables import new_table
from nmpack.measure.stats import Summary
from nmpack.terminal import Table
from nmpack.tflite.names import printable
from nmpack.tune.counting import CYCLES
from nmpack.tune.tuner import TIME, Result, TuneReport

_MOST_NOTES = 6


def tune_table(report: TuneReport, skipped: Mapping[str, str]) -> Table:
    """Tabulate the layers: the default choice, the best candidate, and what it gains."""
    unit = report.results[0].unit if report.results else TIME
    shown = {TIME: "ms", CYCLES: "X60 Mcycles"}.get(unit, "M instructions")
    table = new_table(
        "layer", "type", "kept", ">times", "default", f">{shown}", "best", f">{shown}", ">gain",
        ">n", "of",
    )  # fmt: skip
    for result in report.results:
        table.add_row(*_row(result))
    table.caption = "\n".join(_lines(report, skipped))
    return table


def _row(result: Result) -> list[str]:
    layer = result.item.layer
    row = [layer.label, layer.dtype, layer.pattern, str(len(result.item.names))]
    decision = result.decision
    if decision is None or decision.default is None or decision.choice is None:
        return row
    default, choice = decision.default.name, decision.choice.name
    levels = decision.levels
    origin = " + ".join(
        word for word, count in (("records", result.recorded), ("new", result.measured)) if count
    )
    return [
        *row,
        default,
        _level(levels.get(default)),
        choice if choice != default else "default",
        _level(levels.get(choice)) if choice != default else "",
        _gain(decision.gain) if choice != default else "",
        str(levels[choice].n) if choice in levels else "",
        origin,
    ]


def _level(summary: Summary | None) -> str:
    if summary is None:
        return "?"
    spread = f" ±{50.0 * summary.iqr / summary.median:.1f}%" if summary.n > 1 else ""
    return f"{1e-6 * summary.median:.4g}{spread}"


def _gain(gain: Summary | None) -> str:
    return f"{gain.median:.2f}x" if gain is not None else ""


def _lines(report: TuneReport, skipped: Mapping[str, str]) -> list[str]:
    """Say what was measured on, what the network gains, and what is missing."""
    machine = report.machine
    vlen = f", VLEN {machine.vlen}" if machine.vlen else ""
    threads = f"{report.setting.threads} thread{'' if report.setting.threads == 1 else 's'}"
    lines = [
        f"{machine.cpu} ({machine.isa}{vlen}), {threads}; kernels {machine.kernels}, "
        f"{machine.compiler}; {report.seconds:.1f} s",
        f"{report.used} trials from the records, {sum(x.measured for x in report.results)} new; "
        f"{report.stale} of other builds were not used",
    ]
    before, after = (_total(report, best=best) for best in (False, True))
    if after:
        lines.append(
            f"all layers that were measured, conversions of layout aside: "
            f"{before / after:.3f}x the default's speed"
        )
    notes = [
        f"{result.item.layer.label}: {result.note}" for result in report.results if result.note
    ]
    for result in report.results:
        if not result.alike:
            notes.append(f"{result.item.layer.label}: a filter of its densities could not be drawn")
        notes += [
            f"{result.item.layer.label}, {name}: {why}" for name, why in result.failed.items()
        ]
    notes += [f"{name}: {why}" for name, why in skipped.items()]
    more = [f"… {len(notes) - _MOST_NOTES} more"] if len(notes) > _MOST_NOTES else []
    return [*lines, *map(printable, notes[:_MOST_NOTES]), *more]


def _total(report: TuneReport, *, best: bool) -> float:
    """Return the time of all layers that were measured, as often as they occur."""
    total = 0.0
    for result in report.results:
        decision = result.decision
        if decision is None or decision.default is None or decision.choice is None:
            continue
        names = decision.default.name, decision.choice.name
        if all(name in decision.levels for name in names):
            total += len(result.item.names) * decision.levels[names[best]].median
    return total
