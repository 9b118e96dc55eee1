# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack bench-layers``."""

from __future__ import annotations

import argparse

from nmpack.cli.common import Subparsers, add_engine, add_verb, options, positive
from nmpack.cli.progress import console, counter
from nmpack.cli.tables import layer_bench_table
from nmpack.element_types import DTYPES, F32, named
from nmpack.errors import NmpackError
from nmpack.files import write_json
from nmpack.measure.layer_bench import LIMIT, bench_layers


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "bench-layers",
        "Look for layers that the delegate slows down. Convolutions are drawn from a seed: images\n"
        "of 1x1 to 112x112, 8 to 2048 channels, kernels of 1x1 to 7x7, strides 1 and 2, several\n"
        "shares of columns kept in tiles of several heights. With --linear they are fully\n"
        "connected: 1 to 512 rows, 8 to 4096 features. Each is a model of its own, timed in\n"
        "turns on the interpreter's built-in XNNPACK and on the delegate. What seems slower than\n"
        "the limit is measured three times more, in new processes, and counts only if it is\n"
        "slower each time. The table says for each layer what was chosen, why, what was predicted\n"
        "and what came of it (above 1 is faster, with quartiles over the rounds); the lines below\n"
        "it list the slower ones. 200 layers take about five minutes.",
        """
        nmpack bench-layers
        nmpack bench-layers --layers 400 --seed 7 --check --json layers.json
        nmpack bench-layers --layers 50 --type int8
        nmpack bench-layers --layers 50 --linear
        nmpack bench-layers --layers 50 --option layout=nhwc --option nm=force
        """,
        execute,
    )
    parser.add_argument(
        "--layers", type=positive, default=200, metavar="N", help="how many (default 200)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which layers (default 0)")
    parser.add_argument(
        "--type", choices=DTYPES, default=F32.dtype,
        help=f"element type of the layers (default {F32.dtype})",
    )  # fmt: skip
    parser.add_argument(
        "--linear", action="store_true", help="draw fully connected layers, not convolutions"
    )
    add_engine(parser)
    parser.add_argument(
        "--rounds", type=positive, default=15, metavar="N", help="turns of each engine (default 15)"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=LIMIT,
        metavar="X",
        help=f"times built-in's time that a layer may take (default {LIMIT})",
    )
    parser.add_argument(
        "--check", action="store_true", help="end with status 1 if any layer is slower"
    )
    parser.add_argument("--json", metavar="FILE", help="write every layer there")


def execute(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    with counter("layers") as progress:
        report = bench_layers(
            arguments.layers,
            arguments.seed,
            interpreter=arguments.interpreter,
            library=arguments.delegate,
            options=options(arguments.option),
            threads=arguments.threads,
            rounds=arguments.rounds,
            limit=arguments.limit,
            kind=named(arguments.type),
            linear=arguments.linear,
            progress=progress,
        )
    console().print(layer_bench_table(report))
    if arguments.json:
        write_json(arguments.json, report.to_dict())
    if arguments.check and report.slower:
        raise NmpackError(
            f"{len(report.slower)} of {len(report.timings)} layers are slower than built-in's "
            f"{arguments.limit:g} times; see the list above"
        )
