# SPDX-License-Identifier: BSD-3-Clause
"""Profiles as tables on a terminal, in the columns of TFLite's benchmark_model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from nmpack.cli.tables import measured_on, new_table
from nmpack.element_types import named
from nmpack.measure.profile_report import OperatorRow, ProfileReport, by_operator
from nmpack.rvv.account import Totals, sum_of
from nmpack.rvv.measure import Result
from nmpack.rvv.report import Report
from nmpack.terminal import Table
from nmpack.tflite.names import printable, short_names


def profile_tables(report: ProfileReport, *, by_time: bool) -> Iterator[Table]:
    """Yield the operators, in the order in which they run or the longest first, and their sums."""
    rows = list(report.rows)
    if by_time:
        rows.sort(key=lambda row: -row.per_inference)
    yield _operators(report, rows)
    yield _summary(report)


def _operators(report: ProfileReport, rows: Sequence[OperatorRow]) -> Table:
    several = len({(row.subgraph, row.partition) for row in rows}) > 1
    called = any(row.calls != 1.0 for row in rows)
    table = new_table(
        "operator", "kernel", "type", "layout", ">density", ">first ms", ">median ms", ">quartiles",
        *([">calls"] if called else []), ">%", ">cdf %", ">dense Gop/s", ">Gop/s", ">% of peak",
        *(["partition"] if several else []), "name",
    )  # fmt: skip
    shares = [row.per_inference / report.total for row in rows]
    for row, share, sum_so_far in zip(rows, shares, accumulate(shares), strict=True):
        seconds = row.seconds
        flops = ["", "", ""]
        if row.multiplications:
            reached = report.share_of_peak(row)
            peak = f"{100 * reached:.0f}" if reached is not None else ""
            flops = [f"{row.dense_gflops:.1f}", f"{row.gflops:.1f}", peak]
        table.add_row(
            printable(row.operator),
            printable(row.kernel),
            row.element_type,
            row.layout,
            "" if row.density is None else f"{100 * row.density:.1f}%",
            _ms(row.first),
            _ms(seconds.median),
            f"{_ms(seconds.q1)} to {_ms(seconds.q3)}",
            *([f"{row.calls:.4g}"] if called else []),
            f"{100 * share:.2f}",
            f"{100 * sum_so_far:.2f}",
            *flops,
            *([f"{row.subgraph}/{row.partition}"] if several else []),
            row.name,
        )
    table.caption = "\n".join([*_lines(report), measured_on(report)])
    return table


def _lines(report: ProfileReport) -> Iterator[str]:
    inference, plain = report.profiled, report.plain
    cost = 100.0 * (inference.median / plain.median - 1.0)
    yield (
        f"one inference takes {_ms(inference.median)} ms ({_ms(inference.q1)} to "
        f"{_ms(inference.q3)}) while it is profiled and {_ms(plain.median)} ms "
        f"({_ms(plain.q1)} to {_ms(plain.q3)}) while it is not: {cost:+.1f} %"
    )
    yield (
        f"in no operator of the delegate: {_ms(report.within)} ms of its partitions, "
        f"{_ms(report.outside)} ms outside of them ({report.left} operators of the file, "
        "the interpreter)"
    )
    types = {row.element_type for row in report.rows if row.multiplications}
    if known := {name: peak for name, peak in report.peaks.items() if name in types}:
        peaks = ", ".join(f"{peak:.1f} {named(x).operations} of {x}" for x, peak in known.items())
        yield (
            f"peak: {peaks}, measured with multiply-adds that need no memory, "
            f"on the same {report.threads} thread{'' if report.threads == 1 else 's'}"
        )
    yield "density: weights computed with; dense Gop/s count the others too"


def _summary(report: ProfileReport) -> Table:
    table = new_table("operator", "kernel", ">count", ">ms", ">%", ">cdf %", ">times called")
    sums = by_operator(report)
    shares = [seconds / report.total for _, _, seconds in sums.values()]
    for (key, (count, calls, seconds)), share, so_far in zip(
        sums.items(), shares, accumulate(shares), strict=True
    ):
        table.add_row(
            *map(printable, key), str(count), _ms(seconds),
            f"{100 * share:.2f}", f"{100 * so_far:.2f}", f"{calls:.4g}",
        )  # fmt: skip
    return table


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.4f}"


def counted_tables(report: Report) -> Iterator[Table]:
    """Yield what each operator executes on RISC-V under QEMU, and sums: no times."""
    for network in report.networks:
        for result in network.results:
            yield _counts("operator's kernel", "name", _by_place(result))
            table = _counts("kernel", ">count", _by_kernel(result))
            cycles = f"; cycles are a model: {report.model}, loads hit L1" if report.model else ""
            table.caption = (
                f"one inference at VLEN {report.vlen}, counted under QEMU: no times{cycles}"
                + (f"\n{result.note}" if result.note else "")
            )
            yield table


Counted = tuple[str, str, Totals]


def _by_place(result: Result) -> list[Counted]:
    names = iter(short_names([row.name for row in result.rows if row.convolution]))
    return [(row.kernel, next(names) if row.convolution else "", row.totals) for row in result.rows]


def _by_kernel(result: Result) -> list[Counted]:
    kernels: dict[str, list[Totals]] = {}
    for row in result.rows:
        kernels.setdefault(row.kernel, []).append(row.totals)
    sums = [(name, str(len(each)), sum_of(each)) for name, each in kernels.items()]
    return sorted(sums, key=lambda item: -_weight(item[2]))


def _weight(totals: Totals) -> float:
    return float(totals.instructions if totals.cycles is None else totals.cycles)


def _counts(first: str, second: str, rows: Sequence[Counted]) -> Table:
    table = new_table(
        first, second, ">M instructions", ">M cycles, modelled", ">%", ">cdf %", ">MB loaded"
    )
    whole = sum(_weight(totals) for _, _, totals in rows)
    shares = [_weight(totals) / whole for _, _, totals in rows]
    for (kernel, what, totals), share, so_far in zip(rows, shares, accumulate(shares), strict=True):
        table.add_row(
            printable(kernel),
            what,
            f"{totals.instructions / 1e6:,.3f}",
            "" if totals.cycles is None else f"{totals.cycles / 1e6:,.3f}",
            f"{100 * share:.2f}",
            f"{100 * so_far:.2f}",
            f"{totals.loaded / 1e6:,.2f}",
        )
    return table
