# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack mcu``."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from nmpack.cli.common import Subparsers, add_verb, positive, whole
from nmpack.cli.progress import console, progress
from nmpack.cli.tables import new_table
from nmpack.files import write_json
from nmpack.mcu.compiler import compile_model
from nmpack.mcu.emit import SEED, VECTORS, emit, find_kernels, golden_of, require_ours
from nmpack.mcu.operators.context import TARGETS
from nmpack.mcu.table import report
from nmpack.terminal import Table
from nmpack.tflite.names import printable


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "mcu",
        "Write an int8 .tflite file as a directory of plain C99 for microcontrollers: no heap, no\n"
        "threads, no floating point in integer networks, results bit for bit those of TFLite's\n"
        "reference kernels. Zeros are found in the weights, whatever pruned them: filters whose\n"
        "rows, or groups of rows, keep few of their columns are packed and computed without the\n"
        "zeros. Memory is laid out here: the arena's bytes are in the table and in NAME.h.\n"
        "\n"
        "The directory holds NAME.h, NAME.c, NAME_weights.c, the kernels that they call, golden\n"
        "vectors with a self-test, and a Makefile that builds for every target. It is written\n"
        "whole or not at all; an operator that is not supported is named before that.",
        """
        nmpack mcu kws.tflite -o kws && make -C kws test
        make -C kws && kws/kws < input.bin > output.bin      # raw bytes in, raw bytes out
        nmpack mcu kws.tflite -o kws --target xcv            # kernels for CV32E40P
        make -C kws TARGET=xcv                               # kws/build/xcv/libkws.a
        nmpack mcu kws.tflite --json kws.json                # the table alone, writes no directory
        """,
        execute,
    )
    parser.add_argument("model", metavar="MODEL.tflite")
    parser.add_argument("-o", "--output", metavar="DIR", help="the directory to write")
    parser.add_argument(
        "--target",
        choices=TARGETS,
        default="xcv",
        help="what kernels are chosen and cycles predicted for (default xcv); the directory builds "
        "for every one, but of the kernels' formats some serve xcv-nm alone",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="what C identifiers begin with (default: the file's name)"
    )
    parser.add_argument(
        "--kernel-choice",
        metavar="KERNEL",
        help="the kernel that filters get wherever it fits, as dense4x2, instead of the one that "
        "takes the fewest cycles",
    )
    parser.add_argument(
        "--golden",
        type=positive,
        default=VECTORS,
        metavar="N",
        help=f"golden vectors of the self-test, their inputs drawn from a seed (default {VECTORS})",
    )
    parser.add_argument(
        "--seed", type=whole, default=SEED, help=f"of the golden inputs (default {SEED})"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="write into a directory that this command did not make; other files in it stay",
    )
    parser.add_argument("--json", metavar="FILE", help="write the table there, for programs")


def execute(arguments: argparse.Namespace) -> None:
    """Compile, write and print."""
    find_kernels()
    if arguments.output is not None:
        require_ours(arguments.output, force=arguments.force)
    with progress(f"compiling {arguments.model}", 1) as (shown, task):

        def tell(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        program = compile_model(
            arguments.model,
            target=arguments.target,
            name=arguments.name,
            kernel=arguments.kernel_choice,
            progress=tell,
        )
    numbers = report(program)
    written = None
    if arguments.output is not None:
        with progress("running TFLite's reference kernels for golden vectors", None):
            golden = golden_of(program, arguments.golden, arguments.seed)
        with progress(f"writing {arguments.output}", None):
            written = emit(program, arguments.output, golden, force=arguments.force)
    console().print(mcu_table(numbers))
    if written is not None:
        folder = shlex.quote(arguments.output)
        console().print(f"wrote {arguments.output}: next, make -C {folder} test")
    if arguments.json:
        write_json(arguments.json, numbers)


def mcu_table(numbers: dict[str, Any]) -> Table:
    """Tabulate a program, from the plain values of :func:`nmpack.mcu.table.report`."""
    table = new_table(
        "", "layer", "operator", "kernel", "pattern", ">weights B", ">MACs", ">of dense",
        ">scratch B", ">cycles",
    )  # fmt: skip
    for row in numbers["layers"]:
        dense = row["dense_macs"]
        table.add_row(
            str(row["index"]),
            printable(row["layer"]),
            row["kind"],
            row["kernel"],
            row["pattern"],
            f"{row['weight_bytes']:,}",
            f"{row['macs']:,}" if row["macs"] else "",
            f"{100.0 * row['macs'] / dense:.1f}%" if dense else "",
            f"{row['scratch_bytes']:,}" if row["scratch_bytes"] else "",
            f"{row['cycles']:,}" if row["cycles"] is not None else "",
        )
    table.caption = "\n".join(_totals(numbers))
    return table


def _totals(numbers: dict[str, Any]) -> list[str]:
    """Say flash, arena, multiply-adds and cycles in all."""
    arena, bound = numbers["arena_bytes"], numbers["arena_lower_bound"]
    peak = numbers["arena_peak_layer"]
    at = f", that of layer {peak}" if peak is not None else ""
    best = (
        f"the least that any layout could have{at}"
        if arena <= bound
        else f"no layout has fewer than {bound:,}{at}"
    )
    lines = [
        f"flash: {numbers['weight_bytes']:,} bytes of constants, beside the code",
        f"arena: {arena:,} bytes ({best}); input {numbers['input_bytes']:,}, "
        f"output {numbers['output_bytes']:,}",
    ]
    if dense := numbers["dense_macs"]:
        share = 100.0 * numbers["macs"] / dense
        lines.append(f"multiply-adds: {numbers['macs']:,} of {dense:,} ({share:.1f}%)")
    if numbers["cycles"] is not None:
        unknown = len(numbers["layers"]) - numbers["layers_with_cycles"]
        rest = f", without {unknown} layers that have no prediction" if unknown else ""
        lines.append(f"cycles predicted for {numbers['target']}: {numbers['cycles']:,}{rest}")
    return lines
