# SPDX-License-Identifier: BSD-3-Clause
"""The revised objective on measured sizes: the least peak, and the least recomputation below one.

A step is cut into segments. A *recomputed* segment keeps only what crosses its start; a *kept* one
keeps all that its backward pass needs. With ``n`` stages and cuts 0 to n:

* ``R(i, k)``: bytes made in stages i to k that the backward passes of these stages need;
* ``B(k)``, ``F(k)``: what stage k needs beyond that, backward (with its incoming gradient) and
  forward; ``N(i, k)``: what crosses cut k and is not in R(i, k - 1), made in stage i or later;
* ``V(i, j) = max over i <= k < j of max(R(i, k) + B(k), R(i, k - 1) + N(i, k) + F(k))``, what a
  kept segment needs: while stage k is propagated back, what later stages kept is already freed;
* ``U(i, j)``, what a recomputed one needs: as V, but the gradient of cut j waits while the stages
  are run again, and that ends with the last tensor to be saved, in stage t, so that F(t) is only
  what was needed until then and later stages count as in a first run, which keeps nothing;
* ``C(i, j)``: bytes that cross cut j and were made in stage i or later (what crosses cut i too is
  already held); ``K(i, j)``: the part of R(i, j - 1) that does not cross cut j.

``M(n) = 0``, and ``M(i)`` is the least over j of ``max(U(i, j), C(i, j) + M(j))`` for a recomputed
segment (i, j), and of ``max(V(i, j), K(i, j) + C(i, j) + M(j))`` for a kept one. The peak is M(0);
the model's input, its parameters and their gradients are not in it. The last segment is always
kept: to recompute it at once would save nothing.

U rises with j but for the waiting gradient. Without it, and with the shorter F everywhere, a trace
of single tensors is a :class:`.chain.Chain` (:func:`chain_of`), whose optimum comes in O(n) and is
never above the true one: when the checkpoints found there cost no more in truth, they are optimal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.checkpointing.chain import Chain
from nmpack.checkpointing.tracing import Trace

Matrix = npt.NDArray[np.int64]
# Points of a front of (memory, time) beyond which memory is rounded up to a grid; fewer for more
# stages than that.
_FRONT, _FRONT_OF_MANY, _MANY = 2048, 512, 128
# A front: memory, microseconds, end of the segment, its kind, and the point there.
_Front = tuple[Any, Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Segment:
    """Stages ``start`` to ``stop``, recomputed in the backward pass or kept."""

    start: int
    stop: int
    recomputed: bool


@dataclass(frozen=True, slots=True)
class Costs:
    """U, V, C and K (each ``[n + 1, n + 1]``, valid for i < j) and the seconds of each stage."""

    segment: Matrix
    whole: Matrix
    across: Matrix
    kept: Matrix
    seconds: npt.NDArray[np.float64]

    @classmethod
    def of(cls, trace: Trace) -> Costs:
        """Compute the terms of a trace."""
        n = len(trace.stages)
        saved, unsaved, across, both = (np.zeros((n + 1, n + 1), np.int64) for _ in range(4))
        for block in trace.blocks:
            if block.saved is not None:
                saved[: block.born + 1, block.saved] += block.nbytes
            for cut in block.crosses:
                across[: block.born + 1, cut] += block.nbytes
                if block.saved is not None and block.saved < cut:
                    both[: block.born + 1, cut] += block.nbytes
                if block.saved is None:
                    # Also where the segment starts at this cut: the least favourable reading.
                    unsaved[: cut + 1, cut] += block.nbytes
                elif block.saved >= cut:
                    unsaved[: block.born + 1, cut] += block.nbytes
        total = np.cumsum(saved, axis=1)
        before = np.concatenate([np.zeros((n + 1, 1), np.int64), total[:, :-1]], axis=1)
        stages = trace.stages
        backward = np.array([stage.backward for stage in stages], np.int64)
        forward = np.array([stage.forward for stage in stages], np.int64)
        short = np.array([stage.stopped or 0 for stage in stages], np.int64)
        again = (before + unsaved)[:, :n]
        down = _highest(total[:, :n] + backward)
        up = _highest(again + forward)
        first = _highest(across[:, :n] + forward)
        stopped = again + short
        segment = np.maximum(down, first)
        for j in range(1, n + 1):
            last = next((k for k in range(j - 1, -1, -1) if stages[k].stopped is not None), None)
            if last is not None:
                waiting = sum(
                    block.nbytes
                    for block in trace.blocks
                    if j in block.crosses and block.differentiable
                )
                rows = slice(0, last + 1)
                rerun = np.maximum(up[rows, last], stopped[rows, last]) + waiting
                segment[rows, j] = np.maximum(segment[rows, j], rerun)
        seconds = np.array([stage.seconds for stage in trace.stages])
        return cls(segment, np.maximum(down, up), across, before - both, seconds)

    def __len__(self) -> int:
        """Return the number of stages."""
        return len(self.seconds)

    def peak(self, segments: Sequence[Segment]) -> int:
        """Return the bytes at the peak of a step cut into ``segments``."""
        need = 0
        for part in reversed(segments):
            i, j = part.start, part.stop
            held = int(self.across[i, j]) + (0 if part.recomputed else int(self.kept[i, j]))
            own = self.segment if part.recomputed else self.whole
            need = max(int(own[i, j]), held + need if j < len(self) else 0)
        return need

    def recomputation(self, segments: Sequence[Segment]) -> float:
        """Return the seconds that ``segments`` spend on forward passes done again."""
        return float(sum(self.seconds[s.start : s.stop].sum() for s in segments if s.recomputed))


def _highest(terms: Matrix) -> Matrix:
    """Return for i < j the maximum of ``terms[i, k]`` over i <= k < j."""
    size, n = terms.shape
    rows, columns = np.indices((size, n))
    found = np.zeros((size, size), np.int64)
    found[:, 1:] = np.maximum.accumulate(np.where(columns < rows, 0, terms), axis=1)
    return found


def segments_of(cuts: Sequence[int]) -> tuple[Segment, ...]:
    """Return the segments between rising cuts from 0 to n: all recomputed but the last."""
    last = cuts[-1]
    return tuple(Segment(i, j, j < last) for i, j in itertools.pairwise(cuts))


def least_peak(costs: Costs) -> tuple[int, ...]:
    """Return the cuts of least peak, every segment recomputed but the last; O(n^2)."""
    n = len(costs)
    need = np.zeros(n + 1, np.int64)
    following = [0] * n
    for i in range(n - 1, -1, -1):
        later = costs.across[i, i + 1 :] + need[i + 1 :]
        later[-1] = 0  # the last segment is kept, and its output is the caller's
        own = costs.segment[i, i + 1 :].copy()
        own[-1] = costs.whole[i, n]
        values = np.maximum(own, later)
        # Of equally good ends the farthest: fewer segments.
        best = len(values) - 1 - int(np.argmin(values[::-1]))
        need[i], following[i] = values[best], i + 1 + best
    cuts = [0]
    while cuts[-1] != n:
        cuts.append(following[cuts[-1]])
    return tuple(cuts)


def chain_of(trace: Trace) -> Chain:
    """Return a trace whose cuts are all simple as a chain: U(i, j) = max gap - lower[i].

    ``gap[k] = max(P(k + 1) + B(k), P(k) + N(k) + F(k))`` with P the running sum of saved bytes and
    F(k) that of a stage where the recomputation stops (no such term where nothing is saved);
    ``lower[i] = P(i)`` plus what crosses cut i and is first needed by stage i.
    """
    assert trace.simple
    n = len(trace.stages)
    saved, late = [0] * n, [0] * (n + 1)
    pending, keep = [0] * (n + 1), [0] * (n + 1)
    for block in trace.blocks:
        if block.saved is not None:
            saved[block.saved] += block.nbytes
        for cut in block.crosses:
            keep[cut] += block.nbytes
            if block.saved is None or block.saved >= cut:
                pending[cut] += block.nbytes
            if block.saved == cut:
                late[cut] += block.nbytes
    total = [0]
    for nbytes in saved:
        total.append(total[-1] + nbytes)
    gap = [
        max(
            total[k + 1] + stage.backward,
            0 if stage.stopped is None else total[k] + pending[k] + stage.stopped,
        )
        for k, stage in enumerate(trace.stages)
    ]
    keep[n] = 0
    lower = [total[i] + late[i] for i in range(n + 1)]
    return Chain(keep, [0] * (n + 1), lower, gap)


def least_recomputation(costs: Costs, budget: int) -> tuple[Segment, ...] | None:
    """Return the segments of least recomputation whose peak is at most ``budget`` bytes, or None.

    Works on fronts: for each cut, all pairs (memory, seconds) of what follows of which none is
    better in both. Exact up to 2048 points a front (512 with more than 128 stages); beyond that
    memory is rounded up to that fraction of the budget, so that the budget still holds.
    """
    n = len(costs)
    fronts: list[_Front | None] = [None] * (n + 1)
    zero = np.zeros(1, np.int64)
    fronts[n] = (zero, zero, zero, zero, zero)
    micro = np.concatenate([[0], np.cumsum(np.rint(costs.seconds * 1e6).astype(np.int64))])
    for i in range(n - 1, -1, -1):
        parts: list[_Front] = []
        for j in range(i + 1, n + 1):
            front = fronts[j]
            if front is None:
                continue
            across = int(costs.across[i, j])
            whole, again = int(costs.whole[i, j]), int(costs.segment[i, j])
            options = [
                (again, across, int(micro[j] - micro[i]), 1),
                (whole, across + int(costs.kept[i, j]), 0, 0),
            ]
            if j == n:
                options = [(whole, 0, 0, 0)]
            for own, held, time, kind in options:
                if own > budget:
                    continue
                memory = np.maximum(own, held + front[0])
                fits = np.flatnonzero(memory <= budget)
                if len(fits):
                    parts.append(
                        (
                            memory[fits],
                            front[1][fits] + time,
                            np.full(len(fits), j),
                            np.full(len(fits), kind),
                            fits,
                        )
                    )
        if parts:
            columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
            fronts[i] = _thin(columns, budget, _FRONT if n <= _MANY else _FRONT_OF_MANY)
    if fronts[0] is None:
        return None
    at, i, segments = int(np.argmin(fronts[0][1])), 0, list[Segment]()
    while i != n:
        front = fronts[i]
        assert front is not None
        j, kind, following = int(front[2][at]), int(front[3][at]), int(front[4][at])
        if segments and kind == 0 and not segments[-1].recomputed:
            # Two kept segments are one, which never needs more.
            segments[-1] = Segment(segments[-1].start, j, recomputed=False)
        else:
            segments.append(Segment(i, j, kind == 1))
        i, at = j, following
    return tuple(segments)


def _thin(columns: list[Any], budget: int, limit: int) -> Any:
    """Keep the points that no other beats in both memory and time."""
    columns = _front(columns)
    if len(columns[0]) > limit:
        grid = -(-budget // limit)
        columns[0] = np.minimum(-(-columns[0] // grid) * grid, budget)
        columns = _front(columns)
    return tuple(columns)


def _front(columns: list[Any]) -> list[Any]:
    order = np.lexsort((columns[1], columns[0]))
    columns = [column[order] for column in columns]
    time = columns[1]
    better = np.concatenate([[True], time[1:] < np.minimum.accumulate(time)[:-1]])
    return [column[better] for column in columns]
