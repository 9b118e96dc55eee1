# SPDX-License-Identifier: BSD-3-Clause
"""The report as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nmpack.rvv.account import Totals
from nmpack.rvv.isa import CLASSES
from nmpack.rvv.measure import Result
from nmpack.rvv.report import Network, Report, by_layer
from nmpack.terminal import Table

_SMALL = 0.005


def report_tables(report: Report) -> Iterator[Table]:
    """Yield the tables of each network: whole, by class, by layer, by function."""
    for network in report.networks:
        yield _whole(report, network)
        yield _classes(network)
        yield _rows(
            f"{network.name}: {_what(report)} by layer",
            "layer: kernel, input-output channels @output",
            [by_layer(result) for result in network.results],
            network.results,
        )
        yield _rows(
            f"{network.name}: {_what(report)} by function",
            "function",
            [_largest(result) for result in network.results],
            network.results,
        )


def _what(report: Report) -> str:
    return "modelled million cycles" if report.model else "million instructions"


def _whole(report: Report, network: Network) -> Table:
    headers = ["variant, element type", "M instructions", "times fewer"]
    if report.model:
        headers += ["M cycles, modelled", "times fewer", "priced"]
    table = _table(
        f"{network.name}: one inference at VLEN {report.vlen}",
        *headers, "MB loaded", "MB stored", "M L1 misses", "M L2 misses",
    )  # fmt: skip
    first = network.results[0].totals
    for result in network.results:
        totals = result.totals
        cells = [_millions(totals.instructions), f"{first.instructions / totals.instructions:.2f}"]
        if totals.cycles is not None and first.cycles is not None:
            priced = 1.0 - totals.unpriced / totals.instructions
            cells += [
                _millions(totals.cycles),
                f"{first.cycles / totals.cycles:.2f}",
                f"{100 * priced:.1f}%",
            ]
        moved = (totals.loaded, totals.stored, totals.l1_misses, totals.l2_misses)
        table.add_row(result.label, *cells, *map(_millions, moved))
    notes = [f"{result.label}: {result.note}" for result in network.results if result.note]
    if report.model:
        notes.insert(0, f"cycles: a model ({report.model}), loads hit L1, branches are predicted")
    notes.append("misses: a model, 32 KiB 8-way and 512 KiB 16-way, LRU, no prefetch")
    table.caption = "\n".join(notes)
    return table


def _classes(network: Network) -> Table:
    names = [result.label for result in network.results]
    table = _table(f"{network.name}: million instructions by class", "class", *names)
    for name in CLASSES:
        counts = [result.totals.classes[name] for result in network.results]
        if any(counts):
            table.add_row(name, *map(_millions, counts))
    return table


def _rows(
    title: str, what: str, columns: Sequence[dict[str, Totals]], results: Sequence[Result]
) -> Table:
    table = _table(title, what, *(result.label for result in results))
    for label in dict.fromkeys(label for column in columns for label in column):
        cells = []
        for column in columns:
            found, first = column.get(label), columns[0].get(label)
            cell = "" if found is None else _millions(_weight(found))
            if found is not None and first is not None and column is not columns[0]:
                cell += f" ({_weight(first) / max(_weight(found), 1.0):.2f}x)"
            cells.append(cell)
        table.add_row(label, *cells)
    return table


def _largest(result: Result) -> dict[str, Totals]:
    whole, functions = _weight(result.totals), result.functions
    ordered = sorted(functions.items(), key=lambda item: -_weight(item[1]))
    return {name: totals for name, totals in ordered if _weight(totals) > _SMALL * whole}


def _weight(totals: Totals) -> float:
    return float(totals.instructions if totals.cycles is None else totals.cycles)


def _millions(value: float) -> str:
    return f"{value / 1e6:,.2f}"


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", header_style="bold")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right")
    return table
