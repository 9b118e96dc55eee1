# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack report``."""

from __future__ import annotations

import argparse

from nmpack.cli.common import (
    Subparsers,
    add_engine,
    add_shape,
    add_verb,
    options,
    positive,
    shapes,
)
from nmpack.cli.progress import console, counter
from nmpack.cli.tables import measured_on, new_table
from nmpack.files import write_json, write_text
from nmpack.report.data import Report
from nmpack.report.tables import COLUMNS
from nmpack.terminal import Table
from nmpack.tflite.names import printable


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "report",
        "Show how a model runs on one page: for each layer the time of XNNPACK's dense kernels,\n"
        "of ours with all weights (with --baseline) and of the pruned one, beside the time that\n"
        "the multiply-adds left would take at the processor's peak; a roofline; the layouts along\n"
        "the graph; what the delegate chose and why; accuracy, machine and versions. The page is\n"
        "one HTML file that loads nothing. The ways of running take turns while they are timed.",
        """
        nmpack report r50.tflite
        nmpack report r50.tflite --baseline dense.tflite -o r50.html --csv r50.csv --json r50.json
        nmpack report r50.tflite --accuracy runs/pruned/result.json --overlay r50-nodes.json
        """,
        execute,
    )
    parser.add_argument("model", metavar="MODEL.tflite")
    parser.add_argument(
        "-o", "--output", default="report.html", metavar="FILE", help="the page (report.html)"
    )
    parser.add_argument("--csv", metavar="FILE", help="a line for each layer")
    parser.add_argument("--json", metavar="FILE", help="everything that was measured")
    parser.add_argument(
        "--overlay", metavar="FILE", help="node data for Model Explorer: milliseconds by tensor"
    )
    parser.add_argument("--baseline", metavar="DENSE.tflite", help="the same model, unpruned")
    parser.add_argument(
        "--accuracy", metavar="FILE", help="result.json of finetune, or the JSON of search"
    )
    add_engine(parser)
    add_shape(parser)
    parser.add_argument(
        "--runs", type=positive, default=30, metavar="N", help="inferences that count (default 30)"
    )
    parser.add_argument(
        "--warmup", type=int, default=3, metavar="N", help="inferences before them (default 3)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random inputs (default 0)")


def execute(arguments: argparse.Namespace) -> None:
    """Measure, print and write."""
    from nmpack import report as reports

    with counter("measuring") as shown:
        report = reports.build(
            arguments.model,
            baseline=arguments.baseline,
            accuracy=arguments.accuracy,
            interpreter=arguments.interpreter,
            library=arguments.delegate,
            options=options(arguments.option),
            threads=arguments.threads,
            runs=arguments.runs,
            warmup=arguments.warmup,
            seed=arguments.seed,
            shapes=shapes(arguments.shape),
            progress=shown,
        )
    console().print(_table(report))
    write_text(arguments.output, reports.page(report))
    if arguments.csv:
        write_text(arguments.csv, reports.csv_text(report))
    if arguments.json:
        write_json(arguments.json, report.to_dict())
    if arguments.overlay:
        write_json(arguments.overlay, reports.overlay(report))
    console().print(f"wrote {arguments.output}")


def _table(report: Report) -> Table:
    """Tabulate the layers, and say what is missing."""
    columns = [column for column in COLUMNS if column.on_terminal]
    table = new_table(*((">" if column.form else "") + column.head for column in columns))
    for layer in report.layers:
        record = layer.record()
        table.add_row(*(printable(column.text(record[column.field])) for column in columns))
    whole = ", ".join(
        f"{way} {1e3 * one.plain.median:.3f} ms" for way, one in report.profiles.items()
    )
    table.caption = "\n".join(
        [f"one inference, not profiled: {whole}", *report.gaps, measured_on(report.sparse)]
    )
    return table
