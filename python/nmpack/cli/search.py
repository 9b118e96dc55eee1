# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack search``."""

from __future__ import annotations

import argparse
from typing import Any

from rich.table import Table

from nmpack.cli.common import Subparsers, add_source, add_verb, positive
from nmpack.cli.progress import console, counter
from nmpack.errors import NmpackError
from nmpack.files import write_json
from nmpack.sources import load_source
from nmpack.sparsity.pattern import NMPattern


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "search",
        "Find out how much to prune where: measure each layer's sensitivity, plan a pattern for\n"
        "each layer within every budget, prune in one shot, estimate batch norm anew, and print\n"
        "the plans that no other beats in cost and accuracy. Fine-tuning is not part of it.",
        """
        nmpack search dense.pt --budgets 0.25,0.35,0.5 --plot front.png --json front.json
        nmpack search r50.pt --data /data/imagenet --tiles 32 --densities 0.125,0.25,0.5
        """,
        execute,
    )
    add_source(parser)
    parser.add_argument("--data", default="fashion", metavar="WHERE", help="as for finetune")
    parser.add_argument(
        "--budgets", type=_shares, default="0.25,0.4,0.6", metavar="B,B", help="shares of the cost"
    )
    parser.add_argument(
        "--densities", type=_shares, default="0.125,0.25,0.5", metavar="D,D", help="kept of a row"
    )
    parser.add_argument("--tiles", type=_heights, default="8,32", metavar="T,T", help="heights")
    parser.add_argument(
        "--cost", choices=("macs", "weights"), default="macs", help="what a budget counts"
    )
    parser.add_argument("--record", metavar="FILE", help="tuning record: seconds instead of counts")
    parser.add_argument(
        "--images", type=positive, default=512, metavar="N", help="to measure with (default 512)"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the front: .png, .svg or .pdf")
    parser.add_argument("--json", metavar="FILE", help="write every plan there")


def execute(arguments: argparse.Namespace) -> None:
    """Measure, plan, evaluate, print."""
    from nmpack import budget
    from nmpack.training import open_data
    from nmpack.training.data import Part
    from nmpack.training.loop import accuracy

    source = load_source(
        arguments.model,
        arch=arguments.arch,
        checkpoint=arguments.checkpoint,
        num_classes=arguments.classes,
        seed=arguments.seed,
    )
    if source.framework != "torch":
        raise NmpackError("search takes PyTorch models")
    train, test = open_data(arguments.data, size=source.input_shape[0])
    test = Part(test, arguments.images)
    count = min(len(train), arguments.images)
    batches = [
        train.batch(range(start, min(start + 128, count)), None)[0]
        for start in range(0, count, 128)
    ]
    candidates = [
        NMPattern.from_density(share, tile=tile)
        for tile in arguments.tiles
        for share in arguments.densities
    ]
    costs = budget.costs_of(source.model, batches[0][:1], candidates, what=arguments.cost)
    if arguments.record:
        costs = budget.latency_costs(arguments.record, costs)
    with counter("measuring sensitivity") as progress:
        harm = budget.sensitivity(source.model, batches, costs, progress=progress)
    dense = accuracy(source.model, test)
    with counter("evaluating plans") as progress:
        points = budget.search(
            source.model, costs, harm, arguments.budgets, lambda twin: accuracy(twin, test),
            batches=batches, progress=progress,
        )  # fmt: skip
    front = budget.front_of(points)
    table = Table("cost", "tile", "accuracy", "pruned layers", header_style="bold")
    for point in front:
        table.add_row(
            f"{100 * point.plan.share:.1f}%", str(point.tile or "mixed"),
            f"{100 * point.accuracy:.2f}%",
            str(sum(item is not None for item in point.plan.patterns.values())),
        )  # fmt: skip
    table.caption = (
        f"{len(points)} plans evaluated on {len(test)} images, not fine-tuned; "
        f"dense {100 * dense:.2f}%"
    )
    console().print(table)
    if arguments.plot:
        unit = "seconds" if arguments.record else arguments.cost
        budget.plot(points, arguments.plot, dense=dense, unit=unit)
    if arguments.json:
        rows = [_row(point, point in front) for point in points]
        write_json(arguments.json, {"schema": 1, "dense": dense, "plans": rows})


def _row(point: Any, best: bool) -> dict[str, Any]:
    patterns = {name: item and str(item) for name, item in point.plan.patterns.items()}
    return {
        "front": best, "share": point.plan.share, "cost": point.plan.cost, "tile": point.tile,
        "accuracy": point.accuracy, "harm": point.plan.harm, "patterns": patterns,
    }  # fmt: skip


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected shares such as 0.25,0.5, got {text!r}"
        ) from error


def _heights(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]
