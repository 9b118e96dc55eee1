# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack prune``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from nmpack.cli.common import (
    Subparsers,
    add_plan,
    add_source,
    add_verb,
    open_source,
    positive,
    read_plan,
)
from nmpack.cli.progress import console, progress
from nmpack.cli.tables import prune_table
from nmpack.errors import PatternError
from nmpack.files import write_json
from nmpack.sources import Source, save_source
from nmpack.sparsity.pattern import NMPattern
from nmpack.sparsity.selection import Patterns, PruneReport

_TILE = 32


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "prune",
        "Prune a model once by magnitude: in every tile of output channels, keep the columns of\n"
        "the weight matrix with the largest sum of |w|. Patterns count what is KEPT. Without\n"
        "--select, every convolution but the stem, grouped ones and narrow ones is pruned.",
        """
        nmpack prune resnet50 --checkpoint resnet50.pth --sparsity 0.75 --tile 32 -o r50.pt
        nmpack prune keras:ResNet50 --pattern 2:4 --tile 8 -o r50.keras
        nmpack prune resnet50 --plan plan.json -o r50.pt        # of nmpack tune --density
        nmpack prune model.keras --pattern 25% --select '*block4*' -o pruned.keras
        """,
        execute,
    )
    add_source(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=".pt or .keras")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--sparsity", type=float, metavar="S", help="share of each whole row to prune, such as 0.75"
    )
    what.add_argument(
        "--pattern", metavar="P", help="what to keep: N:M such as 2:4, or a share such as 25%%"
    )
    add_plan(what)
    parser.add_argument(
        "--tile", type=positive, metavar="T", help=f"output channels a tile (default {_TILE})"
    )
    parser.add_argument(
        "--block",
        type=positive,
        metavar="B",
        help="consecutive columns that are kept or dropped as one (default 1)",
    )
    parser.add_argument(
        "--score",
        choices=("l1", "l2"),
        default="l1",
        help="of a column in a tile: the sum of |w| (default) or of w squared",
    )
    parser.add_argument(
        "--select", action="append", metavar="GLOB", help="prune only these layers; repeatable"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="keep these dense"
    )
    parser.add_argument("--json", metavar="FILE", help="write the report there")


def execute(arguments: argparse.Namespace) -> None:
    """Prune and save."""
    pattern = _patterns(arguments)
    what = arguments.plan if arguments.plan is not None else pattern
    with progress(f"pruning {arguments.model}: {what}"):
        source = open_source(arguments)
        report = _prune(source, pattern, arguments)
        save_source(source, arguments.output)
    console().print(prune_table(report))
    if arguments.json:
        layers = [asdict(row) | {"pattern": row.pattern and str(row.pattern)} for row in report]
        write_json(arguments.json, {"schema": 1, "density": report.density, "layers": layers})
    console().print(f"wrote {arguments.output}")


def _patterns(arguments: argparse.Namespace) -> Patterns:
    if arguments.plan is not None:
        return read_plan(arguments)
    shape = {"tile": arguments.tile or _TILE, "block": arguments.block or 1}
    if arguments.pattern is not None:
        return NMPattern.parse(arguments.pattern, **shape)
    if 0.0 < arguments.sparsity < 1.0:
        return NMPattern.from_sparsity(arguments.sparsity, **shape)
    raise PatternError(f"--sparsity must be above 0 and below 1, got {arguments.sparsity}")


def _prune(source: Source, pattern: Patterns, arguments: argparse.Namespace) -> PruneReport:
    how = {"select": arguments.select, "exclude": arguments.exclude, "score": arguments.score}
    if source.framework == "torch":
        from nmpack import torch as torch_side

        report = torch_side.prune_(source.model, pattern, **how)
        torch_side.finalize_(source.model)
        return report
    from nmpack import keras as keras_side

    report = keras_side.prune_(source.model, pattern, **how)
    keras_side.finalize_(source.model)
    return report
