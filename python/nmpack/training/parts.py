# SPDX-License-Identifier: BSD-3-Clause
"""What a training is made of, each for itself: loss, optimizer, accuracy, logs, signals."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.modes import evaluating
from nmpack.quiet import import_module
from nmpack.training.data import Images
from nmpack.training.recipe import Recipe


def count_right(
    model: nn.Module, images: Images, batch: int, rank: int, world: int
) -> tuple[int, int]:
    """Count the right guesses and the images among every ``world``-th batch from ``rank`` on."""
    device = next(model.parameters()).device
    starts = list(range(0, len(images), batch))[rank::world]
    right = seen = 0
    with evaluating(model), torch.no_grad():
        for start in starts:
            x, labels = images.batch(range(start, min(start + batch, len(images))), None)
            x = x.to(device).contiguous(memory_format=torch.channels_last)
            right += int((model(x).argmax(1) == labels.to(device)).sum())
            seen += len(labels)
    return right, seen


def distance(outputs: torch.Tensor, target: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the loss of Hinton et al. 2015: KL at ``temperature``, times its square."""
    log = F.log_softmax(outputs / temperature, 1)
    return F.kl_div(log, F.softmax(target / temperature, 1), reduction="batchmean") * temperature**2


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Decay filters and matrices alone, not batch norm and biases."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=recipe.rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )


@contextmanager
def stopping() -> Iterator[list[int]]:
    """Yield a list that gets the number of each SIGINT or SIGTERM, instead of dying of it."""
    asked: list[int] = []
    kept = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            kept[number] = signal.signal(number, lambda signum, _: asked.append(signum))
        except ValueError:  # not the main thread: leave signals alone
            break
    try:
        yield asked
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def logs(folder: Path, step: int, rank: int) -> Iterator[Any]:
    """Yield a function that writes numbers at a step to TensorBoard, what came after ``step`` gone.

    Of several processes the first alone writes.
    """
    if rank:
        yield lambda *_, **__: None
        return
    # Without it tensorboard imports TensorFlow, where that is installed.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    tensorboard = import_module("torch.utils.tensorboard", "train")
    with tensorboard.SummaryWriter(str(folder / "logs"), purge_step=step) as writer:

        def log(step: int, **values: float) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        yield log
