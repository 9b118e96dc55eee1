# SPDX-License-Identifier: BSD-3-Clause
"""What the allocator really gives out, over time, with parameter gradients told apart.

torch.profiler reports every allocation of the CPU allocator and of CUDA's caching allocator, those
inside an operator included. oneDNN's private scratch memory is not among them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from nmpack.quiet import silenced

# One profiler at a time is torch's rule.
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Allocation:
    """A block of memory: address, bytes, nanoseconds of its birth and of its end (or None)."""

    address: int
    nbytes: int
    begin: int
    end: int | None


@dataclass(slots=True)
class Recording:
    """Allocations on one device while :func:`record` was active, in order of birth."""

    allocations: list[Allocation] = field(default_factory=list)
    marks: list[tuple[str, int]] = field(default_factory=list)

    def mark(self, name: str) -> None:
        """Note the present moment."""
        self.marks.append((name, time.time_ns()))

    def curve(
        self,
        excluded: Callable[[Allocation], bool] | None = None,
        begin: int = 0,
        end: int | None = None,
    ) -> list[tuple[int, int]]:
        """Return ``(nanoseconds, bytes alive)`` after every change.

        Blocks without a part between ``begin`` and ``end`` are left out, as are ``excluded`` ones.
        """
        changes: list[tuple[int, int, int]] = []
        for order, item in enumerate(self.allocations):
            if (item.end is not None and item.end < begin) or (
                end is not None and item.begin > end
            ):
                continue
            if excluded is not None and excluded(item):
                continue
            changes.append((item.begin, order, item.nbytes))
            if item.end is not None:
                changes.append((item.end, order, -item.nbytes))
        changes.sort()
        alive, points = 0, []
        for moment, _, change in changes:
            alive += change
            points.append((moment, alive))
        return points


@contextmanager
def record(device: torch.device) -> Iterator[Recording]:
    """Record the allocations on ``device`` (cpu or cuda); they are there after the block."""
    recording = Recording()
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    with _LOCK:
        profiler = profile(activities=activities, profile_memory=True, acc_events=True)
        with silenced():
            profiler.start()
        try:
            yield recording
        finally:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            with silenced():
                profiler.stop()
    recording.allocations = _read(profiler, device)


def peak(points: Iterable[tuple[int, int]], begin: int, end: int) -> tuple[int, int, int]:
    """Return bytes alive at ``begin``, the most between ``begin`` and ``end``, and at ``end``."""
    first = most = last = 0
    for moment, alive in points:
        if moment < begin:
            first = most = last = alive
        elif moment <= end:
            most = max(most, alive)
            last = alive
        else:
            break
    return first, most, last


def parameter_gradients(model: nn.Module) -> set[int]:
    """Return the addresses of the gradients that the parameters hold now."""
    return {
        parameter.grad.untyped_storage().data_ptr()
        for parameter in model.parameters()
        if parameter.grad is not None
    }


def _read(profiler: profile, device: torch.device) -> list[Allocation]:
    inner: Any = profiler.profiler
    events = []
    stack = list(inner.kineto_results.experimental_event_tree())
    while stack:
        event = stack.pop()
        stack.extend(event.children)
        if event.name == "[memory]":
            fields = event.extra_fields
            if fields.device.type == device.type:
                events.append((event.start_time_ns, fields.ptr, fields.alloc_size))
    events.sort(key=lambda item: item[0])
    alive: dict[int, tuple[int, int]] = {}
    found: list[Allocation] = []
    for moment, address, nbytes in events:
        if nbytes > 0:
            alive[address] = (nbytes, moment)
        elif address in alive:
            size, begin = alive.pop(address)
            found.append(Allocation(address, size, begin, moment))
    found += [Allocation(address, size, begin, None) for address, (size, begin) in alive.items()]
    found.sort(key=lambda item: item.begin)
    return found
