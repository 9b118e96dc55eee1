# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack tune``."""

from __future__ import annotations

import argparse
import math
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from nmpack.cli.common import (
    Subparsers,
    add_shape,
    add_verb,
    positive,
    require_target,
    shapes,
    tell_sizes,
)
from nmpack.cli.progress import console, progress
from nmpack.cli.tune_plan import add_plan, execute_plan, refuse_plan_options
from nmpack.cli.tune_table import tune_table
from nmpack.errors import MissingError, NmpackError
from nmpack.files import write_json
from nmpack.locations import find_measure
from nmpack.runtime.qemu import VLENS
from nmpack.runtime.sizes import shapes_of
from nmpack.tune.embedding import embed
from nmpack.tune.exchange import export_records, import_records
from nmpack.tune.layers import ModelLayers, layers_of
from nmpack.tune.records import default_database
from nmpack.tune.ssh import Board, SshTarget, parse_host, read_board
from nmpack.tune.store import Store
from nmpack.tune.table import save_table
from nmpack.tune.tabulate import table_of
from nmpack.tune.targets import NativeTarget, Target, native_target, qemu_target
from nmpack.tune.tuner import TuneReport, tune

_BUDGET = 120.0
_VLEN = 256
_SHOWN_BAD_LINES = 5
_DURATION = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)(ms|s|m|h|)")
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "tune",
        "Time what each layer of a model may run on, on the machine it is to run on.\n\n"
        "Every distinct layer is timed on each micro-kernel and layout, in rounds of turns, until\n"
        "the best two are told apart or the budget is spent; what takes most of the network comes\n"
        "first. The default choice stays unless another gains more than the spread of the gain.\n"
        "Every trial is kept in a database, and a second run takes from it what it can.\n"
        "--output writes the table that the delegate reads (option tuning), --embed puts it into\n"
        "the model. Under --target qemu instructions are counted, and at VLEN 256 cycles of a\n"
        "SpacemiT X60 modelled: nothing there is time, and no table comes of it.\n\n"
        "With --density an unpruned network is tuned before it is pruned: every layer is timed\n"
        "with each tile, and the plan says which one nmpack prune --plan is to take.",
        """
        nmpack tune r50.tflite --output r50.tuning
        nmpack tune r50.tflite --budget 30s --threads 2 --embed
        nmpack tune segment.tflite --shape 1x480x640x3 --output segment.tuning
        nmpack tune r50.tflite --target ssh:me@board --output board.tuning
        nmpack tune r50.tflite --target ssh:board --board board.toml   # port, user, key, folder, …
        nmpack tune r50.tflite --target qemu --vlen 256 --budget 10m
        nmpack tune resnet50 --density 0.25 --tiles 8,16,32 --output plan.json
        nmpack tune --export trials.jsonl       # on one machine; on another:
        nmpack tune --import trials.jsonl
        """,
        execute,
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help=".tflite")
    add_shape(parser)
    parser.add_argument(
        "--target", default="native", metavar="WHERE",
        help="native, qemu or ssh:[USER@]HOST[:PORT] (default native)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=positive, default=1, metavar="N", help="threads of a layer (default 1)"
    )
    parser.add_argument(
        "--budget", type=duration, default=_BUDGET, metavar="TIME",
        help=f"for what is not in the records, as 60s or 5m (default {_BUDGET:g}s)",
    )  # fmt: skip
    parser.add_argument(
        "--database", type=Path, metavar="FILE", help="the records (default in the user's data)"
    )
    parser.add_argument("--note", default="", metavar="TEXT", help="kept with each new trial")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write the delegate's table, or the plan, there"
    )
    parser.add_argument("--embed", action="store_true", help="put the table into the model's file")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    parser.add_argument(
        "--vlen", type=int, choices=VLENS, help=f"vector bits under QEMU (default {_VLEN})"
    )
    add_plan(parser)
    _add_board(parser)
    moving = parser.add_mutually_exclusive_group()
    moving.add_argument("--export", metavar="FILE", help="write all trials as lines of JSON")
    moving.add_argument(
        "--import", dest="source", metavar="FILE", help="take in the trials of such a file"
    )


def _add_board(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("boards (ssh:HOST)")
    group.add_argument(
        "--board", metavar="FILE",
        help="TOML with port, user, key, folder, wrapper, options; what is given here goes first",
    )  # fmt: skip
    group.add_argument("--key", metavar="FILE", help="key for ssh -i")
    group.add_argument("--folder", metavar="FOLDER", help="there (default .cache/nmpack)")
    group.add_argument(
        "--run-with", metavar="WORDS", help="in front of the program there, as an emulator"
    )
    group.add_argument(
        "--program", type=Path, metavar="FILE",
        help="nmpack-measure for the target (default: the one that is built here)",
    )  # fmt: skip


def duration(text: str) -> float:
    """Read seconds: ``90``, ``60s``, ``5m``."""
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else math.nan
    if not seconds > 0.0:
        raise argparse.ArgumentTypeError(f"expected a time as 60s or 5m, got {text!r}")
    return seconds


def execute(arguments: argparse.Namespace) -> None:
    """Tune, print, write; or move records."""
    require_target(arguments, vlen="qemu")
    database = arguments.database or default_database()
    if arguments.export or arguments.source:
        if arguments.model or arguments.shape:
            raise NmpackError("--export and --import move records: name no model and no shape")
        _move(arguments, database)
        return
    if not arguments.model:
        raise NmpackError("expected a MODEL.tflite, --export or --import; see --help")
    if arguments.output and Path(arguments.output).suffix == ".tflite":
        table = arguments.density is None
        kind = "the table, such as model.tuning" if table else "the plan, such as plan.json"
        more = "; --embed puts the table into the model" if table else ""
        raise NmpackError(
            f"--output: expected a name for {kind}, got a model's, {arguments.output}{more}"
        )
    if arguments.density is not None:
        if arguments.shape:
            raise NmpackError("--shape is for a .tflite file; with --density the network has sizes")
        execute_plan(arguments, lambda work: _tune(arguments, work, database))
        return
    refuse_plan_options(arguments)
    with progress(f"reading {arguments.model}"):
        found = layers_of(arguments.model, shapes=shapes(arguments.shape))
    report = _tune(arguments, found, database)
    console().print(tune_table(report, found.skipped))
    tell_sizes(found.inputs)
    if arguments.json:
        model = {"skipped": dict(found.skipped), "inputs": shapes_of(found.inputs)}
        write_json(arguments.json, report.to_dict() | model)
    if report.error and not any(item.decision for item in report.results):
        raise NmpackError(report.error)
    if arguments.output or arguments.embed:
        _write(arguments, report)
    if report.error:
        raise NmpackError(f"{report.error}; what is known so far is above, and in the records")


def _tune(arguments: argparse.Namespace, found: ModelLayers, database: Path) -> TuneReport:
    target = _target(arguments)
    if not target.timed and (arguments.output or arguments.embed):
        raise NmpackError("a table is of times, and QEMU has none: leave --output and --embed out")
    if len(arguments.note) > 200 or not arguments.note.isprintable():
        raise NmpackError("a note is of at most 200 characters on one line")
    store = Store(database, _warn, arguments.note)
    try:
        with progress("tuning", len(found.layers)) as (shown, task):
            return tune(
                found.layers,
                target,
                store,
                threads=arguments.threads,
                budget=arguments.budget,
                kernels=target.expected_kernels(),
                tell=lambda done, total, what: shown.update(
                    task, completed=done, total=total, description=what
                ),
            )
    finally:
        store.close()


def _target(arguments: argparse.Namespace) -> Target:
    kind, colon, host = arguments.target.partition(":")
    program: Path | None = arguments.program
    if program is not None and not program.is_file():
        raise MissingError(f"{program} is not a file")
    if kind == "ssh" and colon:
        return SshTarget(_board(arguments, host), program or find_measure("riscv64"))
    given = (arguments.board, arguments.key, arguments.folder, arguments.run_with)
    if any(value is not None for value in given):
        raise NmpackError("--board, --key, --folder and --run-with are for --target ssh:HOST")
    if arguments.target == "native":
        return NativeTarget(program) if program else native_target()
    if arguments.target == "qemu":
        target = qemu_target(arguments.vlen or _VLEN)
        return replace(target, program=program) if program else target
    raise NmpackError(f"expected --target native, qemu or ssh:HOST, got {arguments.target!r:.80}")


def _board(arguments: argparse.Namespace, host: str) -> Board:
    board = parse_host(host, read_board(arguments.board, "board") if arguments.board else None)
    changes: dict[str, object] = {}
    if arguments.key is not None:
        changes["key"] = arguments.key
    if arguments.folder is not None:
        changes["folder"] = arguments.folder
    if arguments.run_with is not None:
        try:
            changes["wrapper"] = tuple(shlex.split(arguments.run_with))
        except ValueError as error:
            raise NmpackError(f"--run-with: {error}") from error
    return replace(board, **changes)  # type: ignore[arg-type]


def _write(arguments: argparse.Namespace, report: TuneReport) -> None:
    """Write the table where it is wanted."""
    table = table_of(report)
    if arguments.output:
        save_table(arguments.output, table)
        console().print(f"wrote {arguments.output}: {len(table.layers)} layers")
    if arguments.embed:
        embed(arguments.model, table)
        console().print(f"{arguments.model} carries a table of {len(table.layers)} layers")


def _move(arguments: argparse.Namespace, database: Path) -> None:
    if arguments.export:
        count = export_records(database, arguments.export)
        console().print(f"wrote {arguments.export}: {count} trials")
        return
    report = import_records(database, arguments.source)
    console().print(
        f"took {report.taken} trials from {arguments.source}; {report.known} were known"
    )
    for number, reason in report.bad[:_SHOWN_BAD_LINES]:
        _warn(f"{arguments.source}, line {number}: not taken: {reason}")
    if report.bad:
        raise NmpackError(f"{arguments.source}: {len(report.bad)} lines are no trials")


def _warn(text: str) -> None:
    print(f"nmpack tune: warning: {text}", file=sys.stderr)
