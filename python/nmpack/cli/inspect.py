# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack inspect``."""

from __future__ import annotations

import argparse

from nmpack.cli.common import (
    Subparsers,
    add_engine,
    add_shape,
    add_verb,
    options,
    shapes,
    tell_sizes,
)
from nmpack.cli.progress import console, progress
from nmpack.cli.tables import inspect_table
from nmpack.files import write_json
from nmpack.measure.inspection import inspect
from nmpack.runtime.interpreter import nmpack_engine


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "inspect",
        "Explain every convolution and fully connected layer of a .tflite file: its shape, how\n"
        "many of its weights are not zero, the N:M pattern and tile that fit them, and which\n"
        "operator the delegate chooses, with its reason. Where a file has several subgraphs\n"
        "(signatures, bodies of control flow), each row says which one it belongs to.\n\n"
        "The delegate plans the network in a process of its own. Where it does not tell of every\n"
        "operator then, the network runs once on random inputs, for two minutes at most.",
        """
        nmpack inspect r50.tflite
        nmpack inspect r50.tflite --json report.json --option nm=force
        nmpack inspect segment.tflite --shape 1x480x640x3
        nmpack inspect r50.tflite --no-delegate     # the file alone, nothing is executed
        """,
        execute,
    )
    parser.add_argument("model", metavar="MODEL.tflite")
    parser.add_argument("--json", metavar="FILE", help="write the report there")
    parser.add_argument("--no-delegate", action="store_true", help="read the file only")
    add_engine(parser)
    add_shape(parser)


def execute(arguments: argparse.Namespace) -> None:
    """Inspect and print."""
    engine = None
    if not arguments.no_delegate:
        engine = nmpack_engine(
            interpreter=arguments.interpreter,
            library=arguments.delegate,
            options=options(arguments.option),
            threads=arguments.threads,
            alone=True,
        )
    with progress(f"inspecting {arguments.model}"):
        report = inspect(
            arguments.model,
            delegate=not arguments.no_delegate,
            engine=engine,
            shapes=shapes(arguments.shape),
        )
    console().print(inspect_table(report))
    tell_sizes(report.inputs or ())
    if arguments.json:
        write_json(arguments.json, report.to_dict())
