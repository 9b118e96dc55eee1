# SPDX-License-Identifier: BSD-3-Clause
"""A report for other tools: CSV for spreadsheets, node data for Model Explorer."""

from __future__ import annotations

import csv
import io
from typing import Any

from nmpack.report.data import Report
from nmpack.tflite.names import printable

#: A spreadsheet takes text that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@")
_GRADIENT = ({"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#f2994a"})


def csv_text(report: Report) -> str:
    """Return a line for each layer, the fields of the report's JSON; what is unknown is empty.

    Text that a spreadsheet would take for a formula has an apostrophe in front.
    """
    file = io.StringIO()
    rows = [layer.record() for layer in report.layers]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows[0] if rows else ())
    for row in rows:
        writer.writerow(["" if value is None else _cell(value) for value in row.values()])
    return file.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def overlay(report: Report) -> dict[str, Any]:
    """Return Model Explorer's node data: milliseconds of the sparse run, by output tensor.

    Of a file with one subgraph it is that graph's data, else data by graph. Operators that write
    tensors of one name count as one. Conversions of layout are no operators of the file.
    """
    graphs: dict[str, dict[str, float]] = {name: {} for name, _ in report.graphs}
    for row in report.sparse.rows:
        if row.nodes:
            name, written = report.graphs[row.subgraph]
            tensor = written[max(row.nodes)]
            graphs[name][tensor] = graphs[name].get(tensor, 0.0) + 1e3 * row.per_inference
    found = {name: _graph(values) for name, values in graphs.items()}
    return found if len(report.graphs) > 1 else next(iter(found.values()))


def _graph(values: dict[str, float]) -> dict[str, Any]:
    return {
        "results": {name: {"value": value} for name, value in values.items()},
        "gradient": list(_GRADIENT),
    }
