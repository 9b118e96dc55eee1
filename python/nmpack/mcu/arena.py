# SPDX-License-Identifier: BSD-3-Clause
"""Where tensors and scratch lie: liveness, shared memory, and offsets in one arena.

Inputs and outputs of the network are the caller's memory; what shares an output's memory lies
there as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmpack.mcu.graph import ITEM_BYTES, Graph
from nmpack.mcu.step import Step

#: Bytes that everything in the arena is aligned to at least.
ALIGNMENT = 4
# Shuffled orders that are tried, fewer where there is much to place.
_ORDERS, _PLACEMENTS = 400, 20_000
_SEED = 1

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Memory that is in use from one step to another, both included.

    Attributes:
        size: bytes.
        first, last: steps.
    """

    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies.

    Attributes:
        area: ``arena``, ``input`` or ``output``.
        offset: bytes from the area's start.
    """

    area: str
    offset: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything lies.

    Attributes:
        tensors: by index; constants and what no step touches are absent.
        scratch: for each step, None where it needs none.
        arena_bytes: of the arena, at least :data:`ALIGNMENT`.
        alignment: that the arena needs.
        lower_bound: bytes that are in use at once in the step that needs most.
        peak: that step; None where nothing lies in the arena.
        input_offsets, output_offsets: bytes from the start of what the caller gives.
        input_bytes, output_bytes: of all inputs and outputs.
    """

    tensors: Mapping[int, Place]
    scratch: tuple[Place | None, ...]
    arena_bytes: int
    alignment: int
    lower_bound: int
    peak: int | None
    input_offsets: tuple[int, ...]
    output_offsets: tuple[int, ...]
    input_bytes: int
    output_bytes: int


class _Sharing:
    """Which tensors are one piece of memory."""

    def __init__(self, aliases: Mapping[int, int]) -> None:
        self._parent = dict(aliases)

    def root(self, tensor: int) -> int:
        while tensor in self._parent:
            tensor = self._parent[tensor]
        return tensor

    def join(self, tensor: int, root: int) -> None:
        self._parent[tensor] = root


def plan_arena(graph: Graph, steps: Sequence[Step], aliases: Mapping[int, int]) -> Plan:
    """Lay out memory for steps that run one after the other.

    Args:
        graph: the network.
        steps: what it became; a tensor is written by one of them, and no output of the network is
            an input of it or shares memory with another output.
        aliases: tensors that are the memory of others.
    """
    sharing = _Sharing(aliases)
    tensors = graph.tensors
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for place, step in enumerate(steps):
        for index in (*step.inputs, *step.outputs):
            last[sharing.root(index)] = place
        for index in step.outputs:
            first.setdefault(sharing.root(index), place)
    inputs = {sharing.root(tensor.index): at for at, tensor in enumerate(graph.inputs)}
    outputs = {sharing.root(tensor.index): at for at, tensor in enumerate(graph.outputs)}
    for root in outputs:
        last[root] = len(steps)
    sizes = {root: tensors[root].nbytes for root in {*first, *last}}
    _join_in_place(steps, sharing, first, last, sizes, inputs, outputs)

    input_offsets, input_bytes = _row([(t.nbytes, t.dtype) for t in graph.inputs])
    output_offsets, output_bytes = _row([(t.nbytes, t.dtype) for t in graph.outputs])
    roots = sorted(
        root
        for root in first
        if sharing.root(root) == root and root not in inputs and root not in outputs
    )
    scratches = [place for place, step in enumerate(steps) if step.scratch_bytes > 0]
    needs = [Interval(sizes[root], first[root], last[root]) for root in roots]
    needs += [Interval(steps[place].scratch_bytes, place, place) for place in scratches]
    alignment = max(
        [ALIGNMENT, *(ITEM_BYTES[tensors[root].dtype] for root in {*first, *last})],
    )
    offsets, end = pack(needs, alignment)
    bound, peak = lower_bound(needs, alignment)

    places: dict[int, Place] = {}
    where = dict(zip(roots, offsets, strict=False))
    for index in {i for step in steps for i in (*step.inputs, *step.outputs)}:
        root = sharing.root(index)
        if root in inputs:
            places[index] = Place("input", input_offsets[inputs[root]])
        elif root in outputs:
            places[index] = Place("output", output_offsets[outputs[root]])
        else:
            places[index] = Place("arena", where[root])
    scratch: list[Place | None] = [None] * len(steps)
    for place, offset in zip(scratches, offsets[len(roots) :], strict=True):
        scratch[place] = Place("arena", offset)
    return Plan(
        places, tuple(scratch), max(end, ALIGNMENT), alignment, bound, peak,
        input_offsets, output_offsets, input_bytes, output_bytes,
    )  # fmt: skip


def _join_in_place(
    steps: Sequence[Step],
    sharing: _Sharing,
    first: dict[int, int],
    last: dict[int, int],
    sizes: Mapping[int, int],
    inputs: Mapping[int, int],
    outputs: dict[int, int],
) -> None:
    """Give outputs the memory of inputs that die, where steps allow it."""
    for place, step in enumerate(steps):
        if step.in_place is None or len(step.outputs) != 1:
            continue
        source = step.inputs[step.in_place]
        old, new = sharing.root(source), sharing.root(step.outputs[0])
        others = {sharing.root(i) for i in step.inputs if i != source}
        if old in inputs or old in outputs or old in others or old == new:
            continue
        if last[old] != place or first.get(new) != place or sizes[new] > sizes[old]:
            continue
        if new in outputs and sizes[new] != sizes[old]:
            continue
        sharing.join(new, old)
        last[old] = last[new]
        if new in outputs:
            outputs[old] = outputs.pop(new)


def _row(items: Sequence[tuple[int, str]]) -> tuple[tuple[int, ...], int]:
    """Return offsets of ``(bytes, dtype)`` one after the other, each aligned, and the end."""
    offsets, end = [], 0
    for size, dtype in items:
        offset = _up(end, ITEM_BYTES[dtype])
        offsets.append(offset)
        end = offset + size
    return tuple(offsets), end


def _up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def lower_bound(needs: Sequence[Interval], alignment: int) -> tuple[int, int | None]:
    """Return the bytes in use in the step that needs most, and that step."""
    changes: dict[int, int] = {}
    for need in needs:
        size = _up(need.size, alignment)
        changes[need.first] = changes.get(need.first, 0) + size
        changes[need.last + 1] = changes.get(need.last + 1, 0) - size
    now, most, peak = 0, 0, None
    for step in sorted(changes):
        now += changes[step]
        if now > most:
            most, peak = now, step
    return most, peak


def pack(needs: Sequence[Interval], alignment: int = ALIGNMENT) -> tuple[list[int], int]:
    """Return an offset for each interval, and the end of all.

    Those that share a step do not overlap. Each order of placing them is greedy: the lowest gap
    that is large enough. The best of several orders is returned, found in bounded time and the
    same each time.
    """
    if not needs:
        return [], 0
    sizes = np.array([_up(need.size, alignment) for need in needs], np.int64)
    first = np.array([need.first for need in needs], np.int64)
    last = np.array([need.last for need in needs], np.int64)
    bound, _ = lower_bound(needs, alignment)
    best: tuple[Ints, int] | None = None
    for order in _orders(sizes, first, last):
        offsets, end = _greedy(order, sizes, first, last)
        if best is None or end < best[1]:
            best = offsets, end
        if best[1] == bound:
            break
    assert best is not None
    return [int(offset) for offset in best[0]], best[1]


def _orders(sizes: Ints, first: Ints, last: Ints) -> Iterator[Ints]:
    """Yield orders: by size, by size and time, by how full a step is, then shuffled ones."""
    duration = last - first + 1
    yield np.lexsort((first, -duration, -sizes))
    yield np.lexsort((-sizes, -sizes * duration))
    yield np.lexsort((-sizes, -duration))
    yield np.lexsort((-sizes, first))
    yield _by_breadth(sizes, first, last)
    generator = np.random.default_rng(_SEED)
    for _ in range(min(_ORDERS, _PLACEMENTS // len(sizes))):
        # By size, each as if it were up to half as large or twice as large.
        yield np.argsort(-sizes * np.exp2(generator.uniform(-1.0, 1.0, len(sizes))), kind="stable")


def _by_breadth(sizes: Ints, first: Ints, last: Ints) -> Ints:
    """Return those of the fullest step first, by size; then those of the next fullest."""
    steps = np.unique(first)
    breadth = np.array([sizes[(first <= step) & (last >= step)].sum() for step in steps])
    found: dict[int, None] = {}
    for step in steps[np.argsort(-breadth, kind="stable")]:
        live = np.flatnonzero((first <= step) & (last >= step))
        for item in live[np.argsort(-sizes[live], kind="stable")]:
            found.setdefault(int(item))
    return np.array(list(found), np.int64)


def _greedy(order: Ints, sizes: Ints, first: Ints, last: Ints) -> tuple[Ints, int]:
    """Place intervals in ``order``, each in the lowest gap that is large enough."""
    count = len(order)
    offsets = np.zeros(count, np.int64)
    placed = np.zeros(count, bool)
    for item in order:
        near = np.flatnonzero(placed & (first <= last[item]) & (last >= first[item]))
        near = near[np.argsort(offsets[near], kind="stable")]
        offset = 0
        for other in near:
            if offsets[other] - offset >= sizes[item]:
                break
            offset = max(offset, int(offsets[other] + sizes[other]))
        offsets[item] = offset
        placed[item] = True
    return offsets, int((offsets + sizes).max())
