# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack finetune``."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmpack.cli.common import (
    Subparsers,
    add_plan,
    add_source,
    add_verb,
    open_source,
    positive,
    read_plan,
)
from nmpack.cli.progress import console, counter
from nmpack.errors import NmpackError
from nmpack.sources import save_source

if TYPE_CHECKING:
    from nmpack.training import Recipe

_ABOUT = {
    "pattern": "what to keep: '25%%', '2:4', 'unstructured:25%%', or 'dense' to train all",
    "tile": "output channels a tile",
    "block": "consecutive columns kept or dropped as one",
    "score": "l1, l2, taylor or activation",
    "schedule": "oneshot, gradual or dynamic",
    "every": "steps between two masks",
    "decay": "SR-STE's decay of pruned weights",
    "reestimate": "batches for new batch-norm statistics after the first mask",
    "epochs": "passes over the data",
    "batch": "images a step, over all processes",
    "rate": "peak learning rate",
    "warm_up": "share of the steps that lead to it",
    "optimizer": "sgd or adamw",
    "momentum": "of sgd",
    "weight_decay": "of filters and matrices",
    "clip": "largest norm of the gradients, 0 for none",
    "smoothing": "of labels",
    "distill": "share of the loss that compares with the dense model",
    "temperature": "of the distillation",
    "ema": "decay of the average of weights that is kept, 0 for none",
    "precision": "no, bf16 or fp16",
}


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "finetune",
        "Prune a PyTorch model, train it with its masks and bake them in. Interrupted, the same\n"
        "command goes on where it stopped. Under torchrun several processes share each batch.",
        """
        nmpack finetune fashion_resnet --pattern dense --rate 0.1 -o dense.pt --folder runs/dense
        nmpack finetune dense.pt --pattern 25% --distill 0.5 -o pruned.pt --folder runs/pruned
        nmpack finetune dense.pt --plan plan.json -o p.pt --folder runs/p  # of tune --density
        nmpack finetune pruned.pt --qat --rate 0.003 --epochs 1 -o q.pt --folder runs/qat
        nmpack finetune resnet50 --checkpoint resnet50.pth --data /data/imagenet --permute \\
            --schedule dynamic --epochs 30 -o r50.pt --folder runs/r50
        torchrun --nproc-per-node 4 -m nmpack finetune dense.pt -o pruned.pt --folder runs/ddp
        """,
        execute,
    )
    add_source(parser, keras=False)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the .pt file")
    parser.add_argument(
        "--folder", required=True, metavar="DIR", help="of this training: checkpoints, logs, result"
    )
    parser.add_argument(
        "--data",
        default="fashion",
        metavar="WHERE",
        help="fashion (default), or a folder with train/CLASS/*.jpg and val/CLASS/*.jpg",
    )
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that read")
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="use the first N images only (fashion)"
    )
    parser.add_argument(
        "--memory",
        metavar="BYTES",
        help="auto, or bytes such as 800M, for activations: keep the best checkpoints only",
    )
    parser.add_argument("--permute", action="store_true", help="order the output channels first")
    parser.add_argument(
        "--qat",
        action="store_true",
        help="train with weights and inputs of layers rounded as 'convert --int8' rounds them",
    )
    parser.add_argument("--no-augment", action="store_true", help="neither flips nor crops")
    what = parser.add_mutually_exclusive_group()
    add_plan(what)
    for field in _recipe_fields():
        kind = type(field.default)
        (what if field.name == "pattern" else parser).add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=argparse.SUPPRESS,
            metavar=kind.__name__.upper()[:1],
            help=f"{_ABOUT[field.name]} (default {str(field.default).replace('%', '%%')})",
        )


def execute(arguments: argparse.Namespace) -> None:
    """Train and save."""
    from nmpack.training import TensorImages, fine_tune, open_data

    recipe = _recipe(arguments)
    source = open_source(arguments)
    if source.framework != "torch":
        raise NmpackError("finetune takes PyTorch models: for Keras give fit a nmpack.keras.Pruner")
    train, test = open_data(arguments.data, size=source.input_shape[0])
    if train.classes > source.num_classes:
        raise NmpackError(
            f"the data has {train.classes} classes, the model {source.num_classes} outputs"
        )
    if arguments.limit and isinstance(train, TensorImages) and isinstance(test, TensorImages):
        train, test = train.head(arguments.limit), test.head(arguments.limit)
    folder = Path(arguments.folder)
    with counter("fine-tuning") as progress:
        outcome = fine_tune(
            source.model, train, test, recipe, folder,
            workers=arguments.workers, memory=arguments.memory, progress=progress,
        )  # fmt: skip
    assert outcome is not None
    if int(os.environ.get("RANK", "0")):
        return
    save_source(source, arguments.output)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    console().print(
        f"top-1: dense {100 * result['dense']:.2f} %, after the first mask "
        f"{100 * result['pruned']:.2f} %, fine-tuned {100 * result['tuned']:.2f} %; "
        f"{100 * result['density']:.1f} % of the weights kept"
    )
    console().print(f"wrote {arguments.output}; {folder} has the result and the logs")


def _recipe(arguments: argparse.Namespace) -> Recipe:
    from nmpack.training import Recipe

    given = vars(arguments)
    values = {field.name: given[field.name] for field in _recipe_fields() if field.name in given}
    if arguments.plan is not None:
        values["pattern"] = read_plan(arguments)
    elif values.get("pattern") == "dense":
        values["pattern"] = None
    return Recipe(
        **values,
        permute=arguments.permute,
        augment=not arguments.no_augment,
        seed=arguments.seed,
        qat=arguments.qat,
    )


def _recipe_fields() -> list[Any]:
    from nmpack.training.recipe import Recipe

    return [field for field in fields(Recipe) if field.name in _ABOUT]
