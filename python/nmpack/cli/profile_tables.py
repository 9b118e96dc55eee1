# SPDX-License-Identifier: BSD-3-Clause
"""Profiles as tables on a terminal, in the columns of TFLite's benchmark_model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from rich.table import Table

from nmpack.cli.tables import measured_on, new_table
from nmpack.measure.profile_report import OperatorRow, ProfileReport, by_operator
from nmpack.rvv.account import Totals, sum_of
from nmpack.rvv.measure import Row
from nmpack.rvv.report import Report
from nmpack.tflite.names import printable


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
        "operator", "kernel", "layout", ">density", ">first ms", ">median ms", ">quartiles",
        *([">calls"] if called else []), ">%", ">cdf %", ">dense GFLOP/s", ">GFLOP/s", ">% of peak",
        *(["partition"] if several else []), "name",
    )  # fmt: skip
    shares = [row.per_inference / report.total for row in rows]
    for row, share, sum_so_far in zip(rows, shares, accumulate(shares), strict=True):
        seconds = row.seconds
        flops = ["", "", ""]
        if row.multiplications:
            peak = f"{100 * row.gflops / report.peak:.0f}" if report.peak else ""
            flops = [f"{row.dense_gflops:.1f}", f"{row.gflops:.1f}", peak]
        table.add_row(
            printable(row.operator),
            printable(row.kernel),
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
    if report.peak is not None:
        yield (
            f"peak: {report.peak:.1f} GFLOP/s, measured with multiply-adds that need no memory, "
            f"on the same {report.threads} thread{'' if report.threads == 1 else 's'}"
        )
    yield "density: weights computed with; dense GFLOP/s count the others too"


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
    return f"{1e3 * seconds:.3f}"


def counted_tables(report: Report) -> Iterator[Table]:
    """Yield what each operator executes on RISC-V under QEMU, and sums: no times."""
    for network in report.networks:
        for result in network.results:
            named = [(row.name if row.convolution else "", row) for row in result.rows]
            yield _counted("operator's kernel", named, [row.kernel for row in result.rows])
            kernels: dict[str, list[Row]] = {}
            for row in result.rows:
                kernels.setdefault(row.kernel, []).append(row)
            table = _counts_table("kernel", ">count")
            _add_counts(
                table,
                [((name, str(len(rows))), sum_of(row.totals for row in rows))
                 for name, rows in sorted(kernels.items(), key=lambda item: -_weight(item[1]))],
            )  # fmt: skip
            cycles = f"; cycles are a model: {report.model}, loads hit L1" if report.model else ""
            table.caption = "\n".join(
                filter(None, [
                    f"one inference at VLEN {report.vlen}, counted under QEMU: no times{cycles}",
                    result.note,
                ])
            )  # fmt: skip
            yield table


def _weight(rows: Sequence[Row]) -> float:
    return sum(_of(row.totals) for row in rows)


def _of(totals: Totals) -> float:
    return float(totals.instructions if totals.cycles is None else totals.cycles)


def _counted(what: str, named: Sequence[tuple[str, Row]], kernels: Sequence[str]) -> Table:
    table = _counts_table(what, "name")
    _add_counts(
        table,
        [((kernel, printable(name[-60:])), row.totals)
         for (name, row), kernel in zip(named, kernels, strict=True)],
    )  # fmt: skip
    return table


def _counts_table(*headers: str) -> Table:
    return new_table(
        *headers, ">M instructions", ">M cycles, modelled", ">%", ">cdf %", ">MB loaded"
    )


def _add_counts(table: Table, rows: Sequence[tuple[tuple[str, str], Totals]]) -> None:
    whole = sum(_of(totals) for _, totals in rows)
    shares = [_of(totals) / whole for _, totals in rows]
    for (cells, totals), share, so_far in zip(rows, shares, accumulate(shares), strict=True):
        table.add_row(
            *cells,
            f"{totals.instructions / 1e6:,.2f}",
            "" if totals.cycles is None else f"{totals.cycles / 1e6:,.2f}",
            f"{100 * share:.2f}",
            f"{100 * so_far:.2f}",
            f"{totals.loaded / 1e6:,.2f}",
        )
