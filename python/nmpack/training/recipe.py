# SPDX-License-Identifier: BSD-3-Clause
"""Everything that decides what a fine-tuning gives, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nmpack.errors import NmpackError, PatternError, SelectionError
from nmpack.sparsity.mask import SCORES
from nmpack.sparsity.pattern import NMPattern, Pattern, Unstructured
from nmpack.sparsity.schedule import Dynamic, Gradual, OneShot, Schedule
from nmpack.sparsity.selection import Patterns

SCHEDULES = ("oneshot", "gradual", "dynamic")
PRECISIONS = ("no", "bf16", "fp16")
OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to prune and how to train. Defaults suit a few epochs after one-shot pruning.

    Attributes:
        pattern: ``"25%"`` or ``"2:4"`` (kept), ``"unstructured:25%"``, or None to train dense; or
            globs over names with the pattern of each layer (None: stays dense), as a plan has. A
            mapping of any kind is copied; pairs as :meth:`to_dict` returns them become one again.
        tile, block: output channels and columns of a block of the pattern, where that is a text.
        score: of :data:`nmpack.sparsity.mask.SCORES`; ``taylor`` and ``activation`` look at the
            first training batches.
        schedule: ``oneshot``; ``gradual`` over the first half of the steps; ``dynamic``, with
            feedback over the first three quarters.
        every: steps between two masks; ``decay``: SR-STE's.
        permute: order the output channels first.
        reestimate: batches for new batch-norm statistics after the first mask; 0 for none.
        epochs, batch: passes over the data, images of a step over all processes.
        rate, warm_up: peak of the learning rate and the share of steps that lead to it; a cosine
            leads to zero.
        optimizer, momentum, weight_decay: ``sgd`` (Nesterov) or ``adamw``.
        clip: largest norm of all gradients; 0 for none.
        smoothing: of labels.
        distill, temperature: share of the loss that compares with the dense model; 0 for none.
        ema: decay of the moving average of weights that is kept in the end; 0 for none.
        precision: ``no`` (float32), ``bf16`` or ``fp16`` mixed.
        seed: of order, augmentation, dropout and fresh weights.
        augment: flips and, for folders, random crops.
        qat: quantization-aware: train with weights and layers' inputs rounded as int8 rounds them.

    Raises:
        NmpackError: a value is out of its range.
        PatternError, SelectionError: the pattern is none of these.
    """

    pattern: str | Mapping[str, Pattern | None] | None = "25%"
    tile: int = 32
    block: int = 1
    score: str = "l1"
    schedule: str = "oneshot"
    every: int = 50
    decay: float = 2e-4
    permute: bool = False
    reestimate: int = 0
    epochs: int = 4
    batch: int = 128
    rate: float = 0.03
    warm_up: float = 0.1
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip: float = 1.0
    smoothing: float = 0.0
    distill: float = 0.0
    temperature: float = 4.0
    ema: float = 0.0
    precision: str = "no"
    seed: int = 0
    augment: bool = True
    qat: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        for name, known in (
            ("score", SCORES), ("schedule", SCHEDULES), ("optimizer", OPTIMIZERS),
            ("precision", PRECISIONS),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise NmpackError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        for name in ("epochs", "batch", "every"):
            if getattr(self, name) < 1:
                raise NmpackError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, top in (("distill", 1.0), ("ema", 1.0), ("warm_up", 1.0), ("smoothing", 1.0)):
            if not 0.0 <= getattr(self, name) < top + (name == "distill") * 1e-9:
                value = getattr(self, name)
                raise NmpackError(f"{name} must be at least 0 and below 1, got {value}")
        for name in ("rate", "temperature"):
            value = getattr(self, name)
            if not (value > 0.0 and math.isfinite(value)):
                raise NmpackError(f"{name} must be above 0, got {value}")
        object.__setattr__(self, "pattern", _read(self.pattern))
        self.what()

    def what(self) -> Patterns | None:
        """Return the pattern, or those of the layers; None trains dense.

        Raises:
            PatternError: it cannot be read.
        """
        if self.pattern is None or isinstance(self.pattern, Mapping):
            return self.pattern
        if self.pattern.startswith("unstructured:"):
            share = NMPattern.parse(self.pattern.removeprefix("unstructured:")).density
            assert share is not None
            return Unstructured(share)
        return NMPattern.parse(self.pattern, tile=self.tile, block=self.block)

    def when(self, steps: int) -> Schedule:
        """Return the schedule for a training of ``steps`` steps."""
        if self.schedule == "gradual":
            return Gradual(end=max(1, steps // 2), every=self.every)
        if self.schedule == "dynamic":
            return Dynamic(end=max(1, 3 * steps // 4), every=self.every, decay=self.decay)
        return OneShot()

    def rate_at(self, step: int, steps: int) -> float:
        """Return the share of the peak learning rate at ``step`` of ``steps``."""
        up = self.warm_up * steps
        if step < up:
            return (step + 1) / (up + 1)
        return 0.5 * (1.0 + math.cos(math.pi * (step - up) / max(steps - up, 1.0)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON has; ``Recipe(**values)`` is the same recipe again.

        Without ``qat`` they are those of a recipe that never heard of it.
        """
        values = asdict(self)
        if isinstance(self.pattern, Mapping):  # a list, for the first glob that matches decides
            values["pattern"] = list(values["pattern"].items())
        return values if self.qat else {k: v for k, v in values.items() if k != "qat"}


def _read(pattern: object) -> str | dict[str, Pattern | None] | None:
    if pattern is None or isinstance(pattern, str):
        return pattern
    if isinstance(pattern, Mapping):
        rows = list(pattern.items())
    elif isinstance(pattern, list):
        rows = pattern
    else:
        raise PatternError(
            "expected a pattern such as '2:4', a mapping of globs to patterns, or None, "
            f"got {pattern!r}"
        )
    found: dict[str, Pattern | None] = {}
    for row in rows:
        if not (isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[0], str)):
            raise SelectionError(f"expected a glob, which is a text, with its pattern, got {row!r}")
        glob, item = row
        found.setdefault(glob, _read_one(glob, item))
    return found


def _read_one(glob: str, item: object) -> Pattern | None:
    if item is None or isinstance(item, NMPattern | Unstructured):
        return item
    if isinstance(item, Mapping):
        try:
            return Unstructured(**item) if "density" in item else NMPattern(**item)
        except TypeError:  # other fields than those of a pattern
            pass
    raise SelectionError(f"expected a pattern or None for {glob!r}, got {item!r}")
