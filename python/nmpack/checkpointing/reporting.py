# SPDX-License-Identifier: BSD-3-Clause
"""Predicted against measured peak, and a plot of memory over one training step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nmpack.checkpointing import memory
from nmpack.checkpointing.applying import applied, apply_, remove_
from nmpack.checkpointing.graph import arguments_of
from nmpack.checkpointing.planning import Plan, human
from nmpack.checkpointing.tracing import synchronize
from nmpack.quiet import import_module

Loss = Callable[[Any], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Step:
    """One training step, forward and backward.

    ``peak`` is in bytes above what was there before the step, gradients of parameters
    (``gradients`` bytes) not counted; ``curve`` has seconds and bytes, ``marks`` what began when:
    ``segment 3``, ``recompute 3``.
    """

    peak: int
    gradients: int
    seconds: float
    curve: tuple[tuple[float, int], ...] = field(repr=False)
    marks: tuple[tuple[str, float], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Report:
    """A plan, and the step that was measured under it."""

    plan: Plan
    step: Step

    @property
    def error(self) -> float:
        """Return predicted over measured peak, less 1."""
        return self.plan.predicted_peak / self.step.peak - 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers: bytes and seconds; ``"schema": 1``."""
        plan = self.plan
        return {
            "schema": 1,
            "method": plan.method,
            "checkpoints": list(plan.checkpoints),
            "segments": [asdict(segment) for segment in plan.segments],
            "predicted_peak": plan.predicted_peak,
            "predicted_none": plan.predicted_none,
            "predicted_least": plan.predicted_least,
            "measured_peak": self.step.peak,
            "parameter_gradients": self.step.gradients,
            "error": self.error,
            "recomputed_share": plan.recomputation / plan.forward if plan.forward else 0.0,
            "seconds": self.step.seconds,
        }

    def __str__(self) -> str:
        """Return a sentence."""
        plan = self.plan
        share = plan.recomputation / plan.forward if plan.forward else 0.0
        return (
            f"{plan.method}: {plan.recomputed} of {len(plan.segments)} segments recomputed "
            f"({share:.0%} of the forward pass), peak predicted {human(plan.predicted_peak)}, "
            f"measured {human(self.step.peak)} ({self.error:+.1%}); without checkpoints "
            f"{human(plan.predicted_none)} predicted, the least possible "
            f"{human(plan.predicted_least)}"
        )


def measure_step(model: nn.Module, sample: Any, loss: Loss | None = None) -> Step:
    """Measure one training step of ``model`` as it is; it keeps its gradients, buffers and mode.

    ``loss`` maps the output to a scalar; the default is the mean of all floating outputs. The time
    is that of a second step without the profiler. Every step moves the random state.
    """
    arguments = arguments_of(sample)
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    reduce = loss or _mean
    device = next(
        t.device for t in (*arguments, *model.parameters()) if isinstance(t, torch.Tensor)
    )

    def step() -> None:
        for parameter, _ in gradients:
            parameter.grad = None
        result = reduce(model(*arguments))
        result.backward()  # type: ignore[no-untyped-call]
        synchronize(arguments)

    try:
        with memory.record(device) as recording, _observed(model, recording):
            recording.mark("begin")
            step()
            recording.mark("end")
        addresses = memory.parameter_gradients(model)
        total = sum(p.grad.untyped_storage().nbytes() for p, _ in gradients if p.grad is not None)
        synchronize(arguments)
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
    begin = recording.marks[0][1]
    points = recording.curve(lambda a: a.address in addresses and a.end is None)
    highest = max((alive for _, alive in points), default=0)
    curve = tuple(((moment - begin) / 1e9, alive) for moment, alive in points)
    marks = tuple((name, (moment - begin) / 1e9) for name, moment in recording.marks)
    return Step(highest, total, seconds, curve, marks)


def report(model: nn.Module, sample: Any, chosen: Plan, loss: Loss | None = None) -> Report:
    """Measure a step of ``model`` under a plan; whatever was applied before is applied after."""
    before = applied(model)
    try:
        apply_(model, chosen)
        return Report(chosen, measure_step(model, sample, loss))
    finally:
        remove_(model)
        if before is not None:
            object.__setattr__(model, "forward", before.forward)


def plot(
    reports: Report | Step | Mapping[str, Report | Step], path: str | os.PathLike[str]
) -> None:
    """Draw memory over the time of a step, with the checkpoints and recomputations marked.

    Args:
        reports: what to draw; a dict draws several curves with its keys as labels.
        path: file to write; the suffix (.png, .svg, .pdf) chooses the format.

    Raises:
        MissingError: matplotlib is not installed.
    """
    import_module("matplotlib", "plot").use("Agg")
    figures = import_module("matplotlib.figure", "plot")
    items = reports if isinstance(reports, Mapping) else {"": reports}
    figure = figures.Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for label, item in items.items():
        step = item.step if isinstance(item, Report) else item
        times = [moment for moment, _ in step.curve]
        levels = [alive / 2**20 for _, alive in step.curve]
        name = f"{label or 'activations'}: peak {step.peak / 2**20:.0f} MiB"
        (line,) = axes.step(times, levels, where="post", linewidth=1.0, label=name)
        colour = line.get_color()
        for kind, marker in (("segment", "o"), ("recompute", "v")):
            moments = [moment for mark, moment in step.marks if mark.startswith(kind)]
            if len(moments) > 1 or kind == "recompute":
                heights = [_level(step, moment) / 2**20 for moment in moments]
                axes.plot(moments, heights, marker, color=colour, markersize=4, alpha=0.8)
        if isinstance(item, Report):
            predicted = item.plan.predicted_peak / 2**20
            axes.axhline(predicted, color=colour, linewidth=0.8, linestyle="--")
    axes.plot([], [], "o", color="grey", markersize=4, label="checkpoint (a segment begins)")
    axes.plot([], [], "v", color="grey", markersize=4, label="recomputation begins")
    axes.plot([], [], "--", color="grey", linewidth=0.8, label="predicted peak")
    axes.set_xlabel("seconds of a step under the profiler")
    axes.set_ylabel("MiB, parameters and their gradients apart")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    figure.savefig(Path(path), dpi=120)


@contextmanager
def _observed(model: nn.Module, recording: memory.Recording) -> Iterator[None]:
    runner = applied(model)
    if runner is None:
        yield
        return
    runner.observer = lambda what, number: recording.mark(f"{what} {number}")
    try:
        yield
    finally:
        runner.observer = None


def _level(step: Step, moment: float) -> int:
    level = 0
    for at, alive in step.curve:
        if at > moment:
            break
        level = alive
    return level


def _mean(output: Any) -> torch.Tensor:
    found: list[torch.Tensor] = []

    def visit(value: Any) -> None:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            found.append(value.float().mean())
        elif isinstance(value, dict):
            for item in value.values():
                visit(item)
        elif isinstance(value, tuple | list):
            for item in value:
                visit(item)

    visit(output)
    return torch.stack(found).sum()
