# SPDX-License-Identifier: BSD-3-Clause
"""Plan the segments of a training step: the least peak, or the least recomputation in a budget."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nmpack.checkpointing.chain import CheckpointingError, keep_every, keep_sqrt
from nmpack.checkpointing.costs import (
    Costs,
    Segment,
    chain_of,
    least_peak,
    least_recomputation,
    segments_of,
)
from nmpack.checkpointing.graph import Program, arguments_of, trace
from nmpack.checkpointing.selection import revised_linear, static_cubic
from nmpack.checkpointing.tracing import Trace, measure

METHODS = ("revised", "static", "sqrt", "every:K", "none")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
# The share of the free memory that `auto` uses; the rest is for what no allocator reports.
_AUTO_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Plan:
    """How a training step of one model is cut.

    ``segments`` count stages, ``bounds`` are the same segments in operations of the forward pass.
    ``predicted_peak`` is in bytes above what was allocated before the step, without gradients of
    parameters; ``predicted_none`` is the same without checkpoints, ``predicted_least`` the least
    that any plan with these cuts reaches. ``recomputation`` and ``forward`` are seconds of the
    traced sample.
    """

    method: str
    segments: tuple[Segment, ...]
    bounds: tuple[Segment, ...]
    predicted_peak: int
    predicted_none: int
    predicted_least: int
    recomputation: float
    forward: float
    program: ProgramKey
    trace: Trace = field(repr=False)

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Return the names of the values at the cuts, in order; several are joined by ``+``."""
        return tuple("+".join(self.trace.cuts[s.start].values) for s in self.segments[1:])

    @property
    def recomputed(self) -> int:
        """Return the number of segments that are recomputed."""
        return sum(segment.recomputed for segment in self.segments)


@dataclass(frozen=True, slots=True)
class ProgramKey:
    """What a plan has to find again in a model: its operations, the sample's shapes and types.

    A type is None for an argument that is not a tensor; its shape is then ().
    """

    operations: tuple[str, ...] = field(repr=False)
    shapes: tuple[tuple[int, ...], ...]
    types: tuple[torch.dtype | None, ...]
    mutated: tuple[str, ...] = field(repr=False)


def plan(
    model: nn.Module,
    sample: Any,
    *,
    method: str = "revised",
    budget: int | None = None,
    inside: bool | None = None,
) -> Plan:
    """Measure ``model`` on ``sample`` and choose its checkpoints; the model is left as it was.

    Args:
        model: a module in training mode whose forward pass has a fixed flow.
        sample: a batch as the model takes it: a tensor, or a tuple of positional arguments. Call
            this inside ``torch.autocast`` when training does.
        method: ``revised`` (least peak, then the least recomputation at that peak), ``static``,
            ``sqrt``, ``every:K`` (every K-th cut) or ``none``.
        budget: bytes of activations; with it, the least recomputation within them.
        inside: cut inside residual blocks too; None does so only where that is needed.

    Raises:
        CheckpointingError: no legal cut point, a budget that cannot be met, an unknown method.
    """
    return Planner(model, sample, inside=inside).plan(method, budget=budget)


class Planner:
    """A traced model; makes any number of plans from one trace."""

    def __init__(self, model: nn.Module, sample: Any, *, inside: bool | None = None) -> None:
        """Trace ``model`` on ``sample`` as :func:`plan` does."""
        if not model.training:
            raise CheckpointingError(
                "expected a model in training mode, got one in evaluation mode"
            )
        if "forward" in vars(model):
            raise CheckpointingError(
                "expected a model with its own forward pass, got one that was replaced; "
                "call checkpointing.remove_ first"
            )
        self.program: Program = trace(model, sample)
        self.trace = measure(model, self.program, sample, inside=inside)
        self.costs = Costs.of(self.trace)
        self.key = ProgramKey(
            tuple(node.name for node in self.program.operations),
            shapes_of(arguments_of(sample)),
            tuple(getattr(item, "dtype", None) for item in arguments_of(sample)),
            self.trace.mutated,
        )
        self._least: tuple[int, ...] | None = None

    def plan(self, method: str = "revised", *, budget: int | None = None) -> Plan:
        """Choose checkpoints; arguments and errors as :func:`plan`."""
        count = len(self.costs)
        if budget is not None and method != "revised":
            raise CheckpointingError(f"expected method revised with a budget, got {method}")
        if method == "revised":
            segments = self._revised(budget)
        elif method == "static":
            if not self.trace.simple:
                raise CheckpointingError(
                    "expected cuts of one tensor for method static, got others"
                )
            segments = segments_of(static_cubic(chain_of(self.trace)).checkpoints)
        elif method == "sqrt":
            segments = segments_of(keep_sqrt(count + 1))
        elif match := re.fullmatch(r"every:(\d+)", method):
            segments = segments_of(keep_every(count + 1, int(match[1])))
        elif method == "none":
            segments = (Segment(0, count, recomputed=False),)
        else:
            raise CheckpointingError(f"expected a method of {', '.join(METHODS)}, got {method!r}")
        return self._plan(method, segments)

    @property
    def least(self) -> tuple[int, ...]:
        """Return the cuts of least peak: in O(n) where that proves itself, else in O(n^2)."""
        if self._least is None and self.trace.simple:
            bound = revised_linear(chain_of(self.trace))
            if self.costs.peak(segments_of(bound.checkpoints)) <= bound.cost:
                self._least = bound.checkpoints
        if self._least is None:
            self._least = least_peak(self.costs)
        return self._least

    def _revised(self, budget: int | None) -> tuple[Segment, ...]:
        segments = segments_of(self.least)
        peak = self.costs.peak(segments)
        if budget is not None and budget < peak:
            raise CheckpointingError(
                f"expected a budget of at least {peak} bytes ({human(peak)}) of activations, the "
                f"least that this model and batch can do with, got {budget} ({human(budget)})"
            )
        cheaper = least_recomputation(self.costs, peak if budget is None else budget)
        # Fronts that are rounded can miss the least peak itself.
        return segments if cheaper is None else cheaper

    def _plan(self, method: str, segments: tuple[Segment, ...]) -> Plan:
        none = (Segment(0, len(self.costs), recomputed=False),)
        places = [cut.position for cut in self.trace.cuts]
        return Plan(
            method,
            segments,
            tuple(Segment(places[s.start], places[s.stop], s.recomputed) for s in segments),
            self.costs.peak(segments),
            self.costs.peak(none),
            self.costs.peak(segments_of(self.least)),
            self.costs.recomputation(segments),
            float(self.costs.seconds.sum()),
            self.key,
            self.trace,
        )


def shapes_of(arguments: tuple[Any, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of tensors, and () for anything else."""
    return tuple(tuple(a.shape) if isinstance(a, torch.Tensor) else () for a in arguments)


def memory_budget(model: nn.Module, memory: str | int) -> int:
    """Return the bytes of activations that ``memory`` allows.

    ``auto`` takes 80 % of what is free on the model's device, less the gradients of the parameters
    and two optimizer moments; otherwise a number of bytes, with K, M, G, Ki, Mi or Gi (and B).

    Raises:
        CheckpointingError: ``memory`` is neither.
    """
    if memory != "auto":
        return parse_bytes(memory)
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device if parameters else torch.device("cpu")
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory()
    states = 3 * sum(p.numel() * p.element_size() for p in parameters)
    return max(0, int(_AUTO_SHARE * free) - states)


def parse_bytes(text: str | int) -> int:
    """Read a number of bytes such as ``800M``, ``1.5GiB`` or 1000000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?", str(text).strip().lower())
    if match is None:
        raise CheckpointingError(f"expected 'auto' or bytes such as 800M or 1.5GiB, got {text!r}")
    return int(float(match[1]) * _UNITS[match[2] or ""])


def human(nbytes: int) -> str:
    """Return bytes as MiB."""
    return f"{nbytes / 2**20:.1f} MiB"


def _free_memory(read: Callable[[], str] | None = None) -> int:
    text = read() if read else Path("/proc/meminfo").read_text(encoding="utf-8")
    line = next((line for line in text.splitlines() if line.startswith("MemAvailable")), "")
    if not line:
        raise CheckpointingError("expected MemAvailable in /proc/meminfo, got none; give bytes")
    return 1024 * int(line.split()[1])
