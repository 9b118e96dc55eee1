# SPDX-License-Identifier: BSD-3-Clause
"""Train the small ResNet on Fashion-MNIST, epoch by epoch, so that an interrupted run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.cli.progress import progress
from nmpack.datasets.fashion import Images
from nmpack.files import written_whole

_BATCH = 128


def train(
    model: nn.Module,
    data: Images,
    *,
    epochs: int,
    rate: float,
    seed: int,
    title: str,
    checkpoint: Path,
    key: str,
) -> None:
    """Train ``model`` in place by SGD with a one-cycle schedule and random horizontal flips.

    Args:
        model: takes ``[B, 1, 28, 28]``.
        data: training images (NHWC) and labels.
        epochs: passes over the data.
        rate: peak learning rate.
        seed: of the order and the flips; with it the result is a function of the machine alone.
        title: of the progress bar.
        checkpoint: where every epoch is saved; a checkpoint of the same ``key`` is resumed, and
            removed at the end.
        key: everything that decides the result.
    """
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2)
    labels = torch.from_numpy(data.labels)
    steps = -(-len(labels) // _BATCH)
    model.train()
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=epochs * steps, pct_start=0.2
    )
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    first = _resume(checkpoint, key, parts)
    with progress(title, epochs * steps) as (shown, task):
        for epoch in range(first, epochs):
            generator = torch.Generator().manual_seed(seed * 1000 + epoch)
            order = torch.randperm(len(labels), generator=generator)
            for step in range(steps):
                shown.update(task, completed=epoch * steps + step)
                chosen = order[step * _BATCH : (step + 1) * _BATCH]
                batch = images[chosen]
                flips = torch.rand(len(chosen), 1, 1, 1, generator=generator) < 0.5
                batch = torch.where(flips, batch.flip(3), batch)
                batch = batch.contiguous(memory_format=torch.channels_last)
                loss = F.cross_entropy(model(batch), labels[chosen])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            state = {name: part.state_dict() for name, part in parts.items()}
            with written_whole(checkpoint) as temporary:
                torch.save({"key": key, "epoch": epoch + 1, **state}, temporary)
            shown.console.print(f"      epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}")
    checkpoint.unlink(missing_ok=True)
    model.eval()


def accuracy(model: nn.Module, data: Images) -> float:
    """Return the share of images that ``model`` classifies right."""
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2)
    model.eval()
    with torch.inference_mode():
        guesses = torch.cat([model(batch).argmax(1) for batch in torch.split(images, 500)])
    return float((guesses.numpy() == data.labels).mean())


def _resume(checkpoint: Path, key: str, parts: dict[str, Any]) -> int:
    """Load an unfinished training of the same ``key``; returns the epochs already done."""
    if not checkpoint.is_file():
        return 0
    try:
        state = torch.load(checkpoint, weights_only=True)
        if state["key"] != key:
            return 0
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return int(state["epoch"])
    except (RuntimeError, KeyError, OSError, EOFError, ValueError):
        # A checkpoint of other code; training starts over.
        return 0
