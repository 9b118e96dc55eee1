# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack rvv-report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nmpack.cli.common import Subparsers, add_verb, options, positive, tell_stored_sizes
from nmpack.cli.progress import console, progress
from nmpack.element_types import DTYPES, F32, QS8
from nmpack.errors import MissingError, NmpackError
from nmpack.files import write_json
from nmpack.runtime.qemu import VLENS
from nmpack.rvv import baseline
from nmpack.rvv.baseline import Settings
from nmpack.rvv.report import Report, build, zoo_model
from nmpack.rvv.tables import report_tables
from nmpack.rvv.variants import DENSITIES, TILES, as_it_is, pruned


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "rvv-report",
        "Count what one inference executes on RISC-V with vectors, and model its cycles.\n\n"
        "QEMU runs the model once and counts exactly: instructions by class, bytes loaded and\n"
        "stored, and misses of a model of two caches. At VLEN 256 LLVM 22's model of the SpacemiT\n"
        "X60 prices each piece of code, times how often it ran. The model takes every load for an\n"
        "L1 hit: its cycles are no measurement of a board. Nothing here is time.\n\n"
        "Without --density a file runs as it is; with it, and for --networks, copies are pruned:\n"
        "1 is the dense model, by the unpatched XNNPACK ('upstream dense') and by our kernels in\n"
        "either layout ('own dense'); 0.25 keeps a quarter of each row, once for each --tile.\n"
        "Tables name the element type that kernels multiplied in. At the pin upstream multiplies\n"
        "int8 without vectors on RISC-V, and has no half precision there: it stays in float32.\n"
        "It takes about 10 s for each GFLOP of each variant.",
        """
        nmpack rvv-report r50.tflite --no-upstream
        nmpack rvv-report --networks resnet18,resnet50 --json report.json
        nmpack rvv-report --networks resnet18 --type int8      # copies are pruned, then quantized
        nmpack rvv-report --networks resnet18 --option precision=f16
        nmpack rvv-report r50.tflite --density 1,0.25 --tile 32 --vlen 512
        nmpack rvv-report --baseline tests/baselines/rvv-resnet18.json         # 1 where a row grew
        nmpack rvv-report --write-baseline tests/baselines/rvv-resnet18.json   # renew it
        """,
        execute,
    )
    parser.add_argument("models", nargs="*", metavar="MODEL.tflite")
    parser.add_argument(
        "--networks", type=_words, default=(), metavar="A,B", help="zoo networks, random weights"
    )
    parser.add_argument(
        "--input-size", type=positive, metavar="N", help="image size of --networks (default: own)"
    )
    parser.add_argument(
        "--type", choices=DTYPES, help=f"of --networks (default {F32.dtype}); a file has its own"
    )
    parser.add_argument(
        "--density", type=_numbers, metavar="X,Y", help="shares kept (--networks: 1,0.5,0.25)"
    )
    parser.add_argument(
        "--tile", type=_wholes, metavar="T,U", help="output channels a tile (default 32,8)"
    )
    parser.add_argument("--vlen", type=int, choices=VLENS, help="vector bits (default 256)")
    parser.add_argument(
        "--no-upstream", action="store_true", help="leave the unpatched XNNPACK out"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of our delegate, such as nm=off or layout=nhwc; repeatable",
    )
    parser.add_argument(
        "--timeout", type=float, default=1800.0, metavar="S", help="seconds a run (default 1800)"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--baseline", metavar="FILE", help="compare with this; without a model, of its settings"
    )
    how.add_argument(
        "--write-baseline", metavar="FILE", help="write it; without a model, of its old settings"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=baseline.TOLERANCE,
        metavar="X",
        help="growth over the baseline that is no error (default 0.02)",
    )


def execute(arguments: argparse.Namespace) -> None:
    """Measure, print, compare."""
    settings, rows = _settings(arguments), None
    file = arguments.baseline or arguments.write_baseline
    alone = not arguments.models and not arguments.networks
    if alone and file is None:
        raise NmpackError("expected a MODEL.tflite, --networks or --baseline; see --help")
    if arguments.baseline or (alone and Path(file).exists()):
        kept, rows = baseline.read(file)
        if alone:
            if _named(arguments):
                raise NmpackError(f"{file} has its own settings: {_named(arguments)} is not for it")
            settings = kept
    elif alone:
        raise NmpackError(f"{file} is not there yet: name the --networks that it is to hold")
    if file is not None and arguments.option:
        raise NmpackError("a baseline is of the delegate's defaults: --option is not for it")
    if file is not None and arguments.models:
        raise NmpackError("a baseline is of --networks, which anyone can make: name no file")
    if file is not None and arguments.type:
        raise NmpackError("a baseline is of float32: --type is not for it")
    if arguments.type and arguments.models:
        raise NmpackError("--type is of --networks: a file is counted in the type that it has")
    if _is_int8(arguments) and options(arguments.option).get("precision") == "f16":
        raise NmpackError("precision=f16 halves float32: --type int8 leaves it nothing to halve")
    report = _build(arguments, settings)
    for table in report_tables(report):
        console().print(table)
    tell_stored_sizes(*arguments.models)
    if arguments.json:
        write_json(arguments.json, report.to_dict())
    if arguments.write_baseline:
        write_json(file, baseline.to_dict(report, settings))
        console().print(f"wrote {file}")
    if rows is not None:
        found = baseline.changes(rows, baseline.rows_of(report))
        for change in found:
            console().print(f"changed: {change}", markup=False)
        if arguments.baseline:
            renew = f"nmpack rvv-report --write-baseline {file}"
            baseline.require_no_regression(found, arguments.tolerance, renew)
            console().print(f"no row is worse than in {file}")


def _named(arguments: argparse.Namespace) -> str:
    given = {
        "--density": arguments.density,
        "--tile": arguments.tile,
        "--vlen": arguments.vlen,
        "--input-size": arguments.input_size,
        "--no-upstream": arguments.no_upstream,
        "--option": arguments.option,
    }
    return ", ".join(name for name, value in given.items() if value)


def _settings(arguments: argparse.Namespace) -> Settings:
    densities = arguments.density
    if densities is None and arguments.networks:
        densities = DENSITIES
    return Settings(
        arguments.networks,
        arguments.input_size,
        densities or (),
        arguments.tile or TILES,
        arguments.vlen or 256,
        not arguments.no_upstream,
    )


def _build(arguments: argparse.Namespace, settings: Settings) -> Report:
    if settings.densities:
        variants = pruned(settings.densities, settings.tiles, upstream=settings.upstream)
    else:
        variants = as_it_is(upstream=settings.upstream)
    for path in arguments.models:
        if not Path(path).is_file():
            raise MissingError(f"{path} is not a file")
    with progress("rvv-report") as (shown, task):
        models = [(Path(path).stem, path) for path in arguments.models]
        for name in settings.networks:
            shown.update(task, description=f"converting {name}")
            models.append(zoo_model(name, settings.input_size))
        return build(
            models,
            variants,
            vlen=settings.vlen,
            options=options(arguments.option),
            int8=_is_int8(arguments),
            timeout=arguments.timeout,
            progress=lambda what: shown.update(task, description=f"running {what}"),
        )


def _is_int8(arguments: argparse.Namespace) -> bool:
    return bool(arguments.type == QS8.dtype)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in _words(text))


def _wholes(text: str) -> tuple[int, ...]:
    return tuple(positive(word) for word in _words(text))
