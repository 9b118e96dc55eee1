# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack search``."""

from __future__ import annotations

import argparse

from nmpack.cli.common import Subparsers, add_source, add_verb, open_source, positive
from nmpack.cli.progress import console, counter
from nmpack.errors import NmpackError
from nmpack.files import write_json
from nmpack.plans import COUNTED, PREDICTED, save_sensitivity
from nmpack.sparsity.pattern import NMPattern
from nmpack.terminal import Table


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
        nmpack search resnet8.pt --cost cycles --target xcv     # for nmpack mcu
        """,
        execute,
    )
    add_source(parser, keras=False)
    parser.add_argument("--data", default="fashion", metavar="WHERE", help="as for finetune")
    parser.add_argument(
        "--budgets", type=_shares, default="0.25,0.4,0.6", metavar="B,B", help="shares of the cost"
    )
    parser.add_argument(
        "--densities", type=_shares, default="0.125,0.25,0.5", metavar="D,D", help="kept of a row"
    )
    parser.add_argument(
        "--patterns",
        metavar="P,P",
        help="what to keep, as 1:4,1:8, instead of --densities; the default for cycles and flash "
        "is 1:4,1:8,1:16",
    )
    parser.add_argument(
        "--tiles",
        type=_heights,
        metavar="T,T",
        help="heights (default 8,32; for cycles and flash 1,4)",
    )
    parser.add_argument(
        "--cost",
        choices=COUNTED + PREDICTED,
        default="macs",
        help="what a budget counts: multiply-adds, weights, or of the int8 network on a "
        "microcontroller the predicted cycles or the bytes of flash",
    )
    parser.add_argument(
        "--target",
        choices=("xcv", "xcv-nm", "rv32imc"),
        default="xcv",
        help="of cycles and flash, as for nmpack mcu (default xcv)",
    )
    parser.add_argument("--record", metavar="FILE", help="tuning record: seconds, not counts")
    parser.add_argument(
        "--images", type=positive, default=512, metavar="N", help="to measure with (default 512)"
    )
    parser.add_argument(
        "--sensitivity", metavar="FILE", help="write each layer's there, for nmpack tune --density"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the front: .png, .svg or .pdf")
    parser.add_argument("--json", metavar="FILE", help="write every plan there")


def execute(arguments: argparse.Namespace) -> None:
    """Search, print, draw."""
    from nmpack import budget
    from nmpack.training import open_data
    from nmpack.training.data import Part
    from nmpack.training.loop import accuracy

    source = open_source(arguments)
    if source.framework != "torch":
        raise NmpackError("search takes PyTorch models")
    train, test = (
        Part(images, arguments.images)
        for images in open_data(arguments.data, size=source.input_shape[0])
    )
    batches = [
        train.batch(range(start, min(start + 128, len(train))), None)[0]
        for start in range(0, len(train), 128)
    ]
    candidates = _candidates(arguments)
    report = budget.search_all(
        source.model, batches, lambda model: accuracy(model, test), candidates, arguments.budgets,
        what=arguments.cost, record=arguments.record, target=arguments.target, shown=counter,
    )  # fmt: skip
    others = list(report.front[0].beside)
    table = Table("cost", "tile", "accuracy", "pruned layers", header_style="bold")
    for name in (arguments.cost, *others) if others else ():
        table.add_column(name, justify="right")
    for point in report.front:
        table.add_row(
            f"{100 * point.plan.share:.1f}%", str(point.tile or "mixed"),
            f"{100 * point.accuracy:.2f}%",
            str(sum(item is not None for item in point.plan.patterns.values())),
            *((f"{point.plan.cost:,.0f}",) if others else ()),
            *(f"{point.beside[name]:,.0f}" for name in others),
        )  # fmt: skip
    table.caption = (
        f"{len(report.points)} plans evaluated on {len(test)} images, not fine-tuned; "
        f"dense {100 * report.dense:.2f}%"
    )
    console().print(table)
    if arguments.plot:
        unit = "seconds" if arguments.record else arguments.cost
        budget.plot(report.points, arguments.plot, dense=report.dense, unit=unit)
    if arguments.sensitivity:
        save_sensitivity(arguments.sensitivity, report.harm)
    if arguments.json:
        write_json(arguments.json, report.to_dict())


def _candidates(arguments: argparse.Namespace) -> list[NMPattern]:
    predicted = arguments.cost in PREDICTED and not arguments.record
    tiles = arguments.tiles or ([1, 4] if predicted else [8, 32])
    text = arguments.patterns or ("1:4,1:8,1:16" if predicted else None)
    if text is None:
        shares = arguments.densities
        return [NMPattern.from_density(share, tile=tile) for tile in tiles for share in shares]
    return [NMPattern.parse(part, tile=tile) for tile in tiles for part in text.split(",")]


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected shares such as 0.25,0.5, got {text!r}"
        ) from error


def _heights(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]
