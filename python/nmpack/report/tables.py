# SPDX-License-Identifier: BSD-3-Clause
"""The tables of a report's page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nmpack.report.accuracy import Accuracy
from nmpack.report.data import OWN, Report
from nmpack.report.markup import Markup, element


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of layers: its head, a field of a layer's record, and a number's form.

    The page has all columns in this order, the terminal those of ``on_terminal``.
    """

    head: str
    field: str
    form: Callable[[Any], str] | None = None
    on_terminal: bool = True

    def text(self, value: Any) -> str:
        """Return what stands in a cell; nothing is known of None."""
        if value is None:
            return ""
        return str(value) if self.form is None else self.form(value)


def _fixed(value: float) -> str:
    return f"{value:.3f}"


COLUMNS = (
    Column("layer", "layer"),
    Column("type", "element_type"),
    Column("weights OHWI", "weights", on_terminal=False),
    Column("kept", "kept", lambda value: f"{100 * value:.1f} %"),
    Column("pattern", "pattern", on_terminal=False),
    Column("layout", "layout"),
    Column("kernel", "kernel"),
    Column("reason", "reason"),
    Column("predicted", "predicted_speedup", lambda value: f"{value:.2f}x", on_terminal=False),
    Column("measured", "speedup", lambda value: f"{value:.2f}x"),
    Column("sparse ms", "sparse_ms", _fixed),
    Column("upstream ms", "upstream_dense_ms", _fixed),
    Column("own dense ms", "own_dense_ms", _fixed),
    Column("bound ms", "bound_ms", _fixed),
)


def choices_table(report: Report) -> Markup:
    """Return a row for each layer; columns of which nothing is known are left out."""
    records = [layer.record() for layer in report.layers]
    columns = [one for one in COLUMNS if any(record[one.field] is not None for record in records)]
    head = [
        element(
            "th", element("button", one.head, type="button"), scope="col",
            class_="number" if one.form else None,
        )
        for one in columns
    ]  # fmt: skip
    rows = [
        element("tr", *(_cell(one, record[one.field]) for one in columns)) for record in records
    ]
    return _scrolled("Layers", element("tr", *head), *rows)


def _cell(column: Column, value: Any) -> Markup:
    if column.field == "layer":
        return element("th", value, scope="row")
    if column.form is None:
        wide = column.field in ("reason", "pattern")
        return element("td", column.text(value), class_="text" if wide else "word")
    shown = column.text(value)
    return element("td", shown, class_="number", data_value="" if value is None else repr(value))


def _scrolled(caption: str, head: Markup, *rows: Markup) -> Markup:
    """Return a table that scrolls by itself where the screen is narrow."""
    return element(
        "div",
        element(
            "table", element("thead", head), element("tbody", *rows), aria_label=caption
        ),
        class_="scroll", tabindex="0", role="region", aria_label=f"{caption}, a table",
    )  # fmt: skip


def _pairs(caption: str, first: str, second: str, pairs: dict[str, str]) -> Markup:
    head = element("tr", *(element("th", text, scope="col") for text in (first, second)))
    rows = [
        element("tr", element("th", key, scope="row"), element("td", value))
        for key, value in pairs.items()
    ]
    return _scrolled(caption, head, *rows)


def accuracy_table(accuracy: Accuracy) -> Iterator[Markup]:
    """Yield what is known, and where it is from."""
    yield element(
        "p",
        f"Top-1, from {accuracy.source}; nothing in that file says which model file it is about.",
    )
    values = {"dense": accuracy.dense} | {
        name: value
        for name, value in (
            ("after the first mask", accuracy.pruned),
            ("fine-tuned", accuracy.tuned),
        )
        if value is not None
    }
    values |= {
        f"plan of {100 * cost:.1f} % of the cost, not fine-tuned": value
        for cost, value in accuracy.plans
    }
    shown = {name: f"{100 * value:.2f} %" for name, value in values.items()}
    yield _pairs("Accuracy", "model", "accuracy", shown)


def machine_table(report: Report) -> Markup:
    """Return what the times were measured on."""
    one, machine = report.sparse, report.sparse.machine
    features = machine["features"]
    pairs = {
        "processor": str(machine["processor"]),
        "features": features if isinstance(features, str) else " ".join(features),
        "cores": f"{machine['cores']}{', in a virtual machine' if machine['hypervisor'] else ''}",
        "threads": str(one.threads),
        "memory": f"{machine['memory_bytes'] / 2**30:.1f} GiB",
        "system": f"{machine['system']}, Python {machine['python']}",
        "load at the start": str(machine["load_average"]),
        "versions": ", ".join(f"{key} {value}" for key, value in sorted(one.versions.items())),
        "cost of profiling": f"{100 * (one.profiled.median / one.plain.median - 1):+.1f} %",
    }
    if OWN in report.profiles and report.baseline:
        pairs["baseline"] = report.baseline
    return _pairs("Machine and versions", "what", "value", pairs)
