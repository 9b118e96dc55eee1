# SPDX-License-Identifier: BSD-3-Clause
"""Results as tables on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nmpack.measure.benchmark import BenchReport
from nmpack.measure.decisions import CHOSEN, LeftReport
from nmpack.measure.inspection import LayerRow, ModelReport, SubgraphReport
from nmpack.measure.layer_bench import LayerBenchReport, geometric_mean
from nmpack.measure.machine import busy_note
from nmpack.measure.profile_report import ProfileReport
from nmpack.measure.stats import Summary
from nmpack.peers.report import PeerReport, PeerTiming
from nmpack.sparsity.selection import LINEAR, PruneReport
from nmpack.terminal import Table
from nmpack.tflite.names import printable

# What is left is said in a few lines; the JSON report has all of it.
_MOST_REASONS = _MOST_KINDS = 4


def prune_table(report: PruneReport) -> Table:
    """Tabulate what was pruned, what was not, and why."""
    table = new_table("layer", "weights", ">density", "pattern", "why not")
    for row in report:
        pattern = str(row.pattern) if row.pattern else "dense"
        shape = _shape(row.shape, linear=row.kind == LINEAR)
        table.add_row(row.name, shape, _percent(row.density), pattern, row.reason)
    table.caption = (
        f"{len(report.pruned)} of {len(report.layers)} layers pruned; "
        f"{_percent(report.density)} of the weights of {report.counted} are kept"
    )
    return table


def inspect_table(report: ModelReport) -> Table:
    """Tabulate the layers of a model, and say what the delegate leaves."""
    several = len(report.subgraphs) > 1
    table = new_table(
        *(["subgraph"] if several else []), "layer", "weights", "stride, rows", ">non-zero",
        "pattern that fits", ">columns", ">tile", "operator", "layout", ">predicted", "reason",
    )  # fmt: skip
    for row in report.layers:
        grouped = f" /{row.groups}" if row.groups > 1 and not row.depthwise else ""
        kind = f" {row.dtype}" if row.dtype not in ("float32", "computed") else ""
        table.add_row(
            *([_subgraph(report.subgraphs[row.subgraph])] if several else []),
            row.name,
            _shape(row.shape, linear=row.linear)
            + kind
            + (" depthwise" if row.depthwise else grouped),
            _steps(row),
            _percent(row.fit.element_density) if row.fit else "?",
            str(row.fit) if row.fit else "?",
            _percent(row.column_density) if row.column_density is not None else "",
            str(row.tile_height) if row.tile_height else "",
            (row.operator or "") + (" + add" if row.fused_addition else ""),
            row.layout or "",
            f"{row.predicted_speedup:.2f}x" if row.predicted_speedup is not None else "",
            printable(row.reason),
        )
    chosen = sum(row.reason == CHOSEN for row in report.layers)
    caption = f"{len(report.layers)} layers among {report.operators} operators"
    if several:
        caption += f" of {len(report.subgraphs)} subgraphs"
    if report.partitions is not None:
        caption += (
            f"; the delegate takes {report.delegated} operators in {report.partitions} "
            f"partition{'' if report.partitions == 1 else 's'}, with {report.conversions} "
            f"conversion{'' if report.conversions == 1 else 's'} of layout; N:M is chosen for "
            f"{chosen} layer{'' if chosen == 1 else 's'}"
        )
    table.caption = "\n".join([caption, *_left_lines(report.left or ())])
    return table


def _subgraph(graph: SubgraphReport) -> str:
    """Return its number, and who runs it: signatures, or the name of a body of control flow."""
    names = ", ".join(graph.signatures) or graph.name
    return printable(f"{graph.index} {names}"[:40]).strip()


def _left_lines(left: Sequence[LeftReport]) -> list[str]:
    """Say what was left and why, a line for each reason, most operators first."""
    reasons: dict[str, Counter[str]] = {}
    for item in left:
        reasons.setdefault(item.reason, Counter())[item.operator] += 1
    ordered = sorted(reasons.items(), key=lambda item: -item[1].total())
    lines = []
    for reason, operators in ordered[:_MOST_REASONS]:
        kinds = [f"{count} {name}" for name, count in operators.most_common(_MOST_KINDS)]
        if len(operators) > _MOST_KINDS:
            kinds.append(f"{len(operators) - _MOST_KINDS} other kinds")
        lines.append(f"left to the interpreter: {', '.join(kinds)}: {printable(reason[:200])}")
    if rest := ordered[_MOST_REASONS:]:
        count = sum(operators.total() for _, operators in rest)
        lines.append(f"left to the interpreter: {count} more for {len(rest)} other reasons")
    return lines


def bench_table(report: BenchReport) -> Table:
    """Tabulate timings: medians with quartiles, and speed-ups with the spread over rounds."""
    first = report.timings[0]
    several = any(item.model != first.model for item in report.timings)
    label = f"{first.model}/{first.engine.name}"
    headers = ["model", "engine", ">median ms", ">quartiles", ">n", f">over {first.engine.name}"]
    table = new_table(*headers, *([f">over {label}"] if several else []), ">peak MiB")
    ratios = {(item.contender, item.baseline): item.speedup for item in report.ratios}
    for item in report.timings:
        own = f"{item.model}/{item.engine.name}"
        bases = [f"{item.model}/{first.engine.name}", *([label] if several else [])]
        seconds = item.seconds
        table.add_row(
            item.model,
            item.engine.name,
            f"{1e3 * seconds.median:.3f}",
            f"{1e3 * seconds.q1:.3f} to {1e3 * seconds.q3:.3f}",
            str(seconds.n),
            *(_ratio(ratios[own, base]) if (own, base) in ratios else "" for base in bases),
            f"{item.peak_memory / 2**20:.0f}",
        )
    table.caption = measured_on(report)
    return table


def peer_table(report: PeerReport) -> Table:
    """Tabulate a comparison with peers; who was not timed has the reason in its place."""
    table = new_table(
        "runtime", "precision", ">median ms", ">quartiles", ">n", ">over built-in",
        ">nmpack over it", ">cores", ">difference", ">peak MiB", "remark",
    )  # fmt: skip
    built_in, delegated = (item.contender for item in report.timings[:2])
    for item in report.timings:
        who = item.contender
        precision = item.settings.get("precision")
        named = f"{who.precision} ({precision})" if who.precision == "own" else who.precision
        over, ours = report.speedup(who, built_in), report.speedup(delegated, who)
        seconds = item.seconds
        table.add_row(
            f"{who.runtime} {who.mode}".strip(),
            named if precision else who.precision,
            f"{1e3 * seconds.median:.3f}" if seconds else "",
            f"{1e3 * seconds.q1:.3f} to {1e3 * seconds.q3:.3f}" if seconds else "",
            str(seconds.n) if seconds else "",
            _ratio(over) if over and who != built_in else "",
            _ratio(ours) if ours and who != delegated else "",
            f"{item.cores_used:.2f}" if seconds else "",
            f"{item.difference:.1e}" if item.difference is not None else "",
            f"{item.peak_memory / 2**20:.0f}" if seconds else "",
            printable(item.reason[:300]) or _cores_remark(item, report.threads),
        )
    table.caption = (
        "cores: processor time over time, below the threads where others took the processor; "
        "difference: of the output from\nbuilt-in's, out of its largest value; int8 networks are "
        f"calibrated on random images, only their speed is meant\n{measured_on(report)}"
    )
    return table


def _cores_remark(item: PeerTiming, threads: int) -> str:
    if not item.used_more_cores(threads):
        return ""
    return f"kept {item.cores_used:.2f} cores busy with {threads} asked for: does not compare"


def layer_bench_table(report: LayerBenchReport) -> Table:
    """Tabulate the layers of a layer benchmark, and sum them up."""
    table = new_table(
        "layer", "type", "kept", "operator", "layout", ">predicted", ">built-in ms", ">nmpack ms",
        ">over built-in", "reason",
    )  # fmt: skip
    for item in report.timings:
        choice = item.choice
        predicted = choice.predicted_speedup
        table.add_row(
            item.layer.shape,
            item.layer.dtype,
            item.layer.pattern,
            choice.operator,
            choice.layout,
            f"{predicted:.2f}x" if predicted is not None else "",
            f"{1e3 * item.built_in.median:.4g}",
            f"{1e3 * item.nmpack.median:.4g}",
            _ratio(max(item.speedups, key=lambda summary: summary.median)),
            printable(choice.reason),
        )
    table.caption = "\n".join([*_layer_lines(report), measured_on(report)])
    return table


def _layer_lines(report: LayerBenchReport) -> list[str]:
    """Say for how many layers N:M was chosen, what they gain, and which are slower."""
    lines = []
    others = [item for item in report.timings if not item.chosen]
    for what, items in (("N:M is chosen", report.chosen), ("N:M is not chosen", others)):
        gain = geometric_mean([item.speedup for item in items])
        mean = f", {gain:.2f}x built-in's speed in the geometric mean" if gain is not None else ""
        lines.append(f"{what} for {len(items)} of {len(report.timings)} layers{mean}")
    limit = f"{100.0 * (report.limit - 1.0):.4g} %"
    slower = report.slower
    chosen = sum(item.chosen for item in slower)
    lines.append(
        f"{len(slower)} slower than built-in by more than {limit}, each time measured: "
        f"{chosen} where N:M is chosen, {len(slower) - chosen} where it is not"
    )
    for item in slower:
        operator = f"{item.choice.operator}, {item.choice.layout}"
        lines.append(
            f"  {item.speedup:.3f}x  {item.layer.shape}, {item.layer.pattern} ({operator})"
        )
    return [*lines, f"drawn from seed {report.seed}"]


def measured_on(report: BenchReport | LayerBenchReport | PeerReport | ProfileReport) -> str:
    """Say what a table was measured on."""
    threads = f"{report.threads} thread{'' if report.threads == 1 else 's'}"
    versions = ", ".join(f"{key} {value}" for key, value in sorted(report.versions.items()))
    machine = report.machine
    features = " ".join(machine["features"])
    return (
        f"{machine['processor']} ({features}), {machine['cores']} cores, {threads}; {versions}; "
        + load_note(machine)
    )


def load_note(machine: Mapping[str, Any]) -> str:
    """Say how busy the machine was, and what follows from that."""
    return f"load average at the start {machine['load_average']}\n{busy_note(machine)}".rstrip()


def new_table(*headers: str) -> Table:
    """Return an empty table; columns whose header begins with ``>`` are numbers."""
    table = Table(caption_justify="left", header_style="bold")
    for header in headers:
        right = header.startswith(">")
        table.add_column(
            header.lstrip(">"),
            justify="right" if right else "left",
            no_wrap=right or "pattern" in header,
            overflow="fold",
        )
    return table


def _ratio(summary: Summary) -> str:
    return f"{summary.median:.2f}x ({summary.q1:.2f} to {summary.q3:.2f})"


def _percent(value: float) -> str:
    return f"{100.0 * value:.1f}%"


def _steps(row: LayerRow) -> str:
    """Return the stride of a convolution, the rows of a fully connected layer."""
    if not row.linear:
        return f"{row.stride[0]}x{row.stride[1]}"
    if row.rows is None:
        return "? rows"
    return f"{row.rows} row{'' if row.rows == 1 else 's'}"


def _shape(shape: tuple[int, ...], *, linear: bool = False) -> str:
    """Return OHWI of a filter, OI of a matrix."""
    return "x".join(map(str, (shape[0], shape[3]) if linear else shape))
