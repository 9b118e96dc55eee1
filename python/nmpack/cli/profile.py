# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack profile``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nmpack.cli.common import (
    Subparsers,
    add_engine,
    add_shape,
    add_verb,
    options,
    positive,
    require_target,
    shapes,
    tell_sizes,
    tell_stored_sizes,
)
from nmpack.cli.profile_tables import counted_tables, profile_tables
from nmpack.cli.progress import console, counter, progress
from nmpack.errors import MissingError, NmpackError
from nmpack.files import write_json
from nmpack.measure.profile import profile
from nmpack.runtime.interpreter import nmpack_engine
from nmpack.runtime.qemu import VLENS
from nmpack.rvv.report import Report, build
from nmpack.rvv.variants import as_it_is

_VLEN = 256


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "profile",
        "Time every operator that the delegate runs: its micro-kernel, the layout of its images,\n"
        "the share of the weights that it computes with, what that makes of the processor's peak,\n"
        "and its share of an inference; then sums by operator, as TFLite's benchmark_model prints\n"
        "them. The model also runs unprofiled, in turns, so that you see what asking costs.\n\n"
        "With --target riscv64 it runs once under QEMU, whose time means nothing: the table has\n"
        "instructions, and at VLEN 256 cycles of a model of a core, as 'nmpack rvv-report'.",
        """
        nmpack profile r50.tflite
        nmpack profile r50.tflite --threads 2 --runs 200 --by-time --json profile.json
        nmpack profile r50.tflite --option layout=nhwc
        nmpack profile segment.tflite --shape 1x480x640x3
        nmpack profile r50.tflite --target riscv64 --vlen 512
        """,
        execute,
    )
    parser.add_argument("model", metavar="MODEL.tflite")
    add_engine(parser)
    add_shape(parser)
    parser.add_argument(
        "--runs", type=positive, default=50, metavar="N", help="inferences that count (default 50)"
    )
    parser.add_argument(
        "--warmup", type=int, default=5, metavar="N", help="inferences before them (default 5)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random inputs (default 0)")
    parser.add_argument(
        "--by-time", action="store_true", help="the longest operator first, not as they run"
    )
    parser.add_argument("--target", choices=("host", "riscv64"), default="host")
    parser.add_argument(
        "--vlen", type=int, choices=VLENS, help=f"riscv64 vector bits (default {_VLEN})"
    )
    parser.add_argument("--json", metavar="FILE", help="write the report there")


def execute(arguments: argparse.Namespace) -> None:
    """Measure, or count, and print."""
    require_target(arguments, vlen="riscv64")
    if arguments.target == "riscv64":
        counted = _count(arguments)
        for table in counted_tables(counted):
            console().print(table)
        tell_stored_sizes(arguments.model)
        if arguments.json:
            write_json(arguments.json, counted.to_dict())
        return
    engine = nmpack_engine(
        interpreter=arguments.interpreter,
        library=arguments.delegate,
        options=options(arguments.option),
        threads=arguments.threads,
    )
    with counter("profiling") as shown:
        report = profile(
            arguments.model,
            engine=engine,
            runs=arguments.runs,
            warmup=arguments.warmup,
            seed=arguments.seed,
            shapes=shapes(arguments.shape),
            progress=shown,
        )
    for table in profile_tables(report, by_time=arguments.by_time):
        console().print(table)
    tell_sizes(report.inputs)
    if arguments.json:
        write_json(arguments.json, report.to_dict())


def _count(arguments: argparse.Namespace) -> Report:
    if arguments.threads != 1 or arguments.delegate:
        raise NmpackError("--target riscv64 runs one thread and the riscv64 build's delegate")
    if arguments.shape:
        raise NmpackError(
            "--target riscv64 counts at the sizes in the file: expected no --shape; convert it "
            "with these sizes"
        )
    if not Path(arguments.model).is_file():
        raise MissingError(f"{arguments.model} is not a file")
    with progress("profiling") as (shown, task):
        return build(
            [(Path(arguments.model).stem, arguments.model)],
            as_it_is(upstream=False),
            vlen=arguments.vlen or _VLEN,
            options=options(arguments.option),
            progress=lambda what: shown.update(task, description=f"running {what}"),
        )
