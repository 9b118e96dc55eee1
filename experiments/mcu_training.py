# SPDX-License-Identifier: BSD-3-Clause
"""One training of :mod:`mcu_networks`, made to be quick on a GPU: torch, numpy and nmpack alone."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

import nmpack.torch
from nmpack import NMPattern
from nmpack.datasets import fashion
from nmpack.files import write_json, written_whole
from nmpack.models import build
from nmpack.modes import evaluating
from nmpack.sparsity.schedule import Gradual, OneShot

#: By the names of files and tables; None is not pruned. What comes first is trained first.
PATTERNS: dict[str, NMPattern | None] = {
    "dense": None,
    "1-16-t4": NMPattern(1, 16, tile=4),
    "1-16-row": NMPattern(1, 16, tile=1),
    "1-8-t4": NMPattern(1, 8, tile=4),
    "1-8-row": NMPattern(1, 8, tile=1),
    "1-4-t4": NMPattern(1, 4, tile=4),
}
_SHIFT = 2  # pixels that a training image moves by, at most, to each side
_BATCH = 512
_TEMPERATURE = 4.0
_MASKS = 20  # computed on the way to a pattern


@dataclass(frozen=True, slots=True)
class Network:
    """How a network is trained on Fashion-MNIST.

    Attributes:
        shape: of its images, HWC; 28x28 pixels lie in their middle.
        epochs: of the dense network.
        tune: epochs after it was pruned.
        rate, tune_rate: the largest learning rates of both.
        decay: of weights.
        distill: share of the loss after pruning that is the distance from the dense network.
        gradual: whether it is pruned by and by, in the first half of the steps, or at once.
        adam: AdamW instead of momentum.
    """

    shape: tuple[int, int, int]
    epochs: int
    tune: int
    rate: float
    tune_rate: float
    decay: float
    distill: float = 0.0
    gradual: bool = False
    adam: bool = False


NETWORKS = {
    "resnet18_32": Network((32, 32, 1), 12, 8, 0.2, 0.1, 5e-4),
    "vit_tiny28": Network((28, 28, 1), 30, 20, 1e-3, 1e-3, 0.05, 0.5, gradual=True, adam=True),
    "resnet8": Network((32, 32, 1), 20, 14, 0.2, 0.2, 2e-4, 0.5, gradual=True),
    "ds_cnn": Network((28, 28, 1), 20, 14, 0.2, 0.2, 2e-4, 0.5, gradual=True),
}


@dataclass(frozen=True, slots=True)
class Task:
    """A network, a pattern and a seed; ``name`` is that of its files."""

    model: str
    pattern: str
    seed: int

    @property
    def name(self) -> str:
        """Return ``MODEL-PATTERN-sSEED``."""
        return f"{self.model}-{self.pattern}-s{self.seed}"


@dataclass(frozen=True, slots=True)
class Setting:
    """What all trainings share.

    Attributes:
        folder: of the results: ``NAME.pt``, the state dict, and ``NAME.json``.
        data: folder of Fashion-MNIST.
        deadline: seconds since 1970 after which a training stops, without a result.
        images: how many to train on.
        scale: what numbers of epochs are multiplied by.
    """

    folder: Path
    data: Path
    deadline: float = math.inf
    images: int = 60_000
    scale: float = 1.0


def train(task: Task, setting: Setting) -> dict[str, Any] | None:
    """Train, or prune and fine-tune the dense network of the seed, and write what came out.

    Returns:
        What ``NAME.json`` holds; None when time ran out.
    """
    start = time.time()
    how, pattern = NETWORKS[task.model], PATTERNS[task.pattern]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(task.seed)
    model = build(task.model, num_classes=10, input_shape=how.shape)
    teacher = None
    if pattern is not None:
        dense = setting.folder / f"{Task(task.model, 'dense', task.seed).name}.pt"
        model.load_state_dict(torch.load(dense, map_location="cpu", weights_only=True))
        if how.distill:
            teacher = _placed(copy.deepcopy(model), device).eval().requires_grad_(False)
    images, labels = _images("train", how.shape, _SHIFT, setting.data, device.type)
    images, labels = images[: setting.images], labels[: setting.images]
    epochs = max(1, round((how.tune if pattern else how.epochs) * setting.scale))
    steps = epochs * max(1, len(images) // _BATCH)
    pruner = None
    if pattern is not None:
        end = steps // 2
        gradual = how.gradual and end > 0
        schedule = Gradual(end, every=max(1, end // _MASKS)) if gradual else OneShot()
        pruner = nmpack.torch.Pruner(model, pattern, schedule)
    model = _placed(model, device)
    optimizer, rates = _optimizer(model, how, how.tune_rate if pattern else how.rate, steps)
    if pruner is not None:
        pruner.attach(optimizer)
    generator = torch.Generator(device).manual_seed(1000 + task.seed)
    for _ in range(epochs):
        for x, y in _batches(images, labels, how.shape, generator):
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                outputs = model(x).float()
                guide = None if teacher is None else teacher(x).float()
            loss = F.cross_entropy(outputs, y)
            if guide is not None:
                loss = torch.lerp(loss, _distance(outputs, guide), how.distill)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rates.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if time.time() > setting.deadline:
            return None
    kept = _kept(model)
    nmpack.torch.finalize_(model)
    found = {
        "model": task.model,
        "pattern": task.pattern,
        "seed": task.seed,
        "epochs": epochs,
        "kept": kept,
        "float": accuracy(model, how.shape, setting.data, device.type),
        "seconds": round(time.time() - start, 1),
    }
    with written_whole(setting.folder / f"{task.name}.pt") as path:
        state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
        torch.save(state, path)
    write_json(setting.folder / f"{task.name}.json", found)
    return found


def _placed(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model to the device, its filters channels last."""
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _kept(model: nn.Module) -> float:
    """Return the share of the weights of pruned layers that is kept; 1 where none is pruned."""
    pruned = nmpack.torch.inspect(model).pruned
    total = sum(math.prod(row.shape) for row in pruned)
    return sum(row.density * math.prod(row.shape) for row in pruned) / total if total else 1.0


def result(task: Task, setting: Setting) -> dict[str, Any] | None:
    """Return what ``NAME.json`` of an earlier training holds, None where there was none."""
    path = setting.folder / f"{task.name}.json"
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found


def accuracy(model: nn.Module, shape: tuple[int, int, int], data: Path, device: str) -> float:
    """Return top-1 in percent of the test images, in float32."""
    images, labels = _images("test", shape, 0, data, device)
    right = 0
    with evaluating(model), torch.no_grad():
        for x, y in zip(*(torch.split(item, 1000) for item in (images, labels)), strict=True):
            right += int((model(x[:, None]).argmax(1) == y).sum())
    return 100.0 * right / len(labels)


def padded(
    images: npt.NDArray[np.float32], shape: tuple[int, int, int], extra: int = 0
) -> npt.NDArray[np.float32]:
    """Put ``[N, 28, 28, 1]`` in the middle of black images of ``shape``, and ``extra`` around."""
    rows, columns = (size - 28 + 2 * extra for size in shape[:2])
    sides = ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0))
    return np.pad(images, sides, constant_values=images.min())


@lru_cache(maxsize=8)
def _images(
    part: str, shape: tuple[int, int, int], extra: int, data: Path, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``[N, H, W]`` float32 and the labels, on the device."""
    found = fashion.load(part, data)
    images = torch.from_numpy(padded(found.images, shape, extra)[..., 0])
    return images.to(device), torch.from_numpy(found.labels).to(device)


def _batches(
    images: torch.Tensor, labels: torch.Tensor, shape: tuple[int, int, int],
    generator: torch.Generator,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:  # fmt: skip
    """Yield whole batches ``[B, 1, H, W]`` of all images, shifted, half of them flipped."""
    device = images.device
    height, width = (torch.arange(size, device=device) for size in shape[:2])
    order = torch.randperm(len(images), generator=generator, device=device)
    for index in torch.split(order[: max(_BATCH, len(order) // _BATCH * _BATCH)], _BATCH):
        draw = torch.randint(0, 2 * _SHIFT + 1, (3, len(index), 1), generator=generator,
                             device=device)  # fmt: skip
        flips = torch.rand(len(index), 1, generator=generator, device=device) < 0.5
        rows = height + draw[0]
        columns = torch.where(flips, width.flip(0), width) + draw[1]
        x = images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        yield x[:, None], labels[index]


def _optimizer(
    model: nn.Module, how: Network, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Return an optimizer whose rate rises for a tenth of the steps, then falls as a cosine."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": how.decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer: torch.optim.Optimizer
    fused = next(model.parameters()).is_cuda
    if how.adam:
        optimizer = torch.optim.AdamW(groups, lr=rate, fused=fused)
    else:
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, fused=fused)
    warm = max(1, steps // 10)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _distance(outputs: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """Return the loss of Hinton et al. 2015 at a temperature."""
    log = F.log_softmax(outputs / _TEMPERATURE, 1)
    target = F.softmax(guide / _TEMPERATURE, 1)
    return F.kl_div(log, target, reduction="batchmean") * _TEMPERATURE**2
