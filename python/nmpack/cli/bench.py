# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack bench``."""

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
    tell_sizes,
    tell_stored_sizes,
)
from nmpack.cli.progress import console, counter
from nmpack.cli.tables import bench_table, peer_table
from nmpack.errors import MissingError, NmpackError
from nmpack.files import write_json
from nmpack.measure.amx import deny_amx
from nmpack.measure.benchmark import bench
from nmpack.peers.comparison import compare_peers
from nmpack.peers.contenders import RUNTIMES
from nmpack.runtime.interpreter import DEFAULT_INTERPRETER, Engine, nmpack_engine


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "bench",
        "Time the delegate against the same interpreter's built-in XNNPACK. Each engine has a\n"
        "process of its own and rounds are interleaved, so that drift hits all alike; speed-ups\n"
        "are ratios within a round, with their quartiles over the rounds. Outputs are compared\n"
        "first. With several models, the first one is the baseline of the others.\n\n"
        "--peers times one network in other runtimes beside them, in float32 and int8. What\n"
        "cannot take part stays in the table with the reason. Most need the network in PyTorch:\n"
        "a zoo name or a .pt file instead of a .tflite file. ./scripts/setup.sh --peers installs\n"
        "them.",
        """
        nmpack bench r50.tflite
        nmpack bench r50-dense.tflite r50-50.tflite r50-75.tflite --rounds 20 --json bench.json
        nmpack bench r50.tflite --threads 2 --extra unpatched=build/unpatched/delegate/libnmpack_delegate.so
        nmpack bench segment.tflite --shape 1x480x640x3
        nmpack bench r50.pt --peers
        nmpack bench r50.pt --peers onnxruntime,openvino --threads 2 --json peers.json
        nmpack bench r50.pt --peers --without-amx
        """,  # noqa: E501
        execute,
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a .tflite file; with --peers also a zoo name or a .pt or .keras file",
    )
    add_engine(parser)
    add_shape(parser)
    parser.add_argument(
        "--extra",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="another delegate to time, with nm unset; repeatable",
    )
    parser.add_argument(
        "--peers",
        nargs="?",
        const="",
        metavar="NAME,NAME",
        help=f"also time other runtimes, all that are installed or some of {', '.join(RUNTIMES)}; "
        "'torch eager int8' names one way",
    )
    parser.add_argument(
        "--without-amx",
        action="store_true",
        help="as on an x86-64 processor without AMX, for every runtime",
    )
    parser.add_argument(
        "--rounds", type=positive, default=10, metavar="N", help="interleaved rounds (default 10)"
    )
    parser.add_argument(
        "--repeat", type=positive, default=4, metavar="N", help="runs in a round (default 4)"
    )
    parser.add_argument(
        "--warmup", type=int, default=3, metavar="N", help="unmeasured runs first (default 3)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random inputs (default 0)")
    parser.add_argument(
        "--tolerance", type=float, default=1e-4, metavar="X", help="see 'nmpack run --help'"
    )
    parser.add_argument("--json", metavar="FILE", help="write every measured time there")


def execute(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    if arguments.without_amx:
        deny_amx()
    if arguments.peers is None:
        _execute_engines(arguments)
    else:
        _execute_peers(arguments)


def _execute_engines(arguments: argparse.Namespace) -> None:
    engines = [
        Engine("built-in", arguments.interpreter, threads=arguments.threads),
        nmpack_engine(
            interpreter=arguments.interpreter,
            library=arguments.delegate,
            options=options(arguments.option),
            threads=arguments.threads,
        ),
        *(_extra(text, arguments) for text in arguments.extra),
    ]
    with counter("timing") as progress:
        report = bench(
            arguments.models,
            engines,
            rounds=arguments.rounds,
            repeat=arguments.repeat,
            warmup=arguments.warmup,
            seed=arguments.seed,
            tolerance=arguments.tolerance,
            shapes=shapes(arguments.shape),
            progress=progress,
        )
    console().print(bench_table(report))
    tell_sizes(*report.inputs.values())
    if arguments.json:
        write_json(arguments.json, report.to_dict())


def _execute_peers(arguments: argparse.Namespace) -> None:
    if len(arguments.models) != 1:
        raise NmpackError(f"--peers takes one model, got {len(arguments.models)}")
    if arguments.shape:
        raise NmpackError(
            "--peers and --shape do not go together: convert the network with those sizes"
        )
    if arguments.extra:
        raise NmpackError("--peers and --extra do not go together: time delegates without peers")
    if arguments.interpreter != DEFAULT_INTERPRETER:
        raise NmpackError(
            f"--peers measures our delegate in {DEFAULT_INTERPRETER}, got --interpreter "
            f"{arguments.interpreter}; tflite-runtime is one of the peers"
        )
    with counter("opening peers") as preparing, counter("timing") as progress:
        report = compare_peers(
            arguments.models[0],
            [name.strip() for name in arguments.peers.split(",")] if arguments.peers else None,
            threads=arguments.threads,
            library=arguments.delegate,
            options=options(arguments.option),
            rounds=arguments.rounds,
            repeat=arguments.repeat,
            warmup=arguments.warmup,
            seed=arguments.seed,
            tolerance=arguments.tolerance,
            preparing=preparing,
            progress=progress,
        )
    console().print(peer_table(report))
    tell_stored_sizes(arguments.models[0])
    if arguments.json:
        write_json(arguments.json, report.to_dict())


def _extra(text: str, arguments: argparse.Namespace) -> Engine:
    name, equals, path = text.partition("=")
    if not name or not equals:
        raise NmpackError(f"--extra takes NAME=FILE, got {text!r}")
    try:
        return nmpack_engine(
            interpreter=arguments.interpreter, library=path, threads=arguments.threads, name=name
        )
    except MissingError as error:
        raise MissingError(f"--extra {name}: {error}") from error
