# SPDX-License-Identifier: BSD-3-Clause
"""Choose checkpoints on sizes alone: exact algorithms for the objectives of :mod:`.chain`.

========================  ==========  ==========  =============================================
function                  objective   time        how
========================  ==========  ==========  =============================================
:func:`brute_force`       both        O(2^n)      every subset; the reference
:func:`static_cubic`      static      O(n^3)      a shortest path for each bound on the segments
:func:`revised_quadratic` revised     O(n^2)      the recursion as it stands
:func:`revised_linear`    revised     O(n)        two queues and three pointers that never return
========================  ==========  ==========  =============================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from nmpack.checkpointing.chain import Chain, CheckpointingError, Choice

Objective = Literal["static", "revised"]
_BRUTE_FORCE_LIMIT = 20


def brute_force(chain: Chain, objective: Objective) -> Choice:
    """Try every set of checkpoints.

    Raises:
        CheckpointingError: the chain has more than 20 layers.
    """
    n = len(chain)
    if n > _BRUTE_FORCE_LIMIT:
        raise CheckpointingError(
            f"brute force takes at most {_BRUTE_FORCE_LIMIT} layers, got {n}; use another algorithm"
        )
    cost = [[chain.segment(i, j) if j > i else 0 for j in range(n)] for i in range(n)]
    keep = chain.keep
    best: tuple[int, tuple[int, ...]] | None = None
    # (first checkpoint, cost of what follows, largest segment, the checkpoints)
    stack: list[tuple[int, int, int, tuple[int, ...]]] = [(n - 1, keep[-1], 0, (n - 1,))]
    while stack:
        j, need, largest, chosen = stack.pop()
        if j == 0:
            total = need + largest if objective == "static" else need
            if best is None or total < best[0]:
                best = total, chosen
        for i in range(j):
            if objective == "static":
                stack.append((i, keep[i] + need, max(largest, cost[i][j]), (i, *chosen)))
            else:
                stack.append((i, keep[i] + max(need, cost[i][j]), 0, (i, *chosen)))
    assert best is not None
    return Choice(best[1], best[0])


def static_cubic(chain: Chain) -> Choice:
    """Minimise the static objective in O(n^3).

    For a bound T on the segments, the least sum of checkpoints is a shortest path over the pairs
    with U(i, j) <= T: ``D(i) = keep[i] + min over i < j, U(i, j) <= T of D(j)``, O(n) with a
    window minimum. Only the O(n^2) values of U matter as bounds. They are tried from the largest
    down, each time the largest below what the last path used, until the sum alone exceeds the best.
    """
    n = len(chain)
    if n == 1:
        return Choice((0,), chain.keep[0])
    best: Choice | None = None
    bound: int | None = None
    while True:
        path = _shortest(chain, bound)
        if path is None:
            break
        total = sum(chain.keep[c] for c in path)
        if best is not None and total >= best.cost:
            break
        largest = max(map(chain.segment, path, path[1:]))
        if best is None or total + largest < best.cost:
            best = Choice(path, total + largest)
        bound = largest
    assert best is not None
    return best


def _shortest(chain: Chain, bound: int | None) -> tuple[int, ...] | None:
    """Return the cheapest checkpoints all of whose segments are below ``bound``, or None.

    Among equally cheap ends the nearest is taken, which has the smaller segment.
    """
    n, keep = len(chain), chain.keep
    cost: list[int | None] = [None] * n
    cost[-1] = keep[-1]
    following = [0] * n
    far = n - 1  # U(i, far) is below the bound; far never rises as i falls
    ends = [n - 1]  # candidates from far to near, their costs falling
    head = 0
    widest: list[int] = []  # gaps whose maximum over [i, far) is at its head
    first = 0
    for i in range(n - 2, -1, -1):
        gap = chain.gap[i]
        while widest and chain.gap[widest[-1]] <= gap:
            widest.pop()
        widest.append(i)
        first = min(first, len(widest) - 1)
        if bound is not None:
            while far > i:
                while widest[first] >= far:
                    first += 1
                if chain.upper[far] - chain.lower[i] + chain.gap[widest[first]] < bound:
                    break
                far -= 1
                if far == i:
                    return None  # even (i, i + 1) is too large, and i + 1 ends some segment
        while head < len(ends) and ends[head] > far:
            head += 1
        if head < len(ends):
            following[i] = ends[head]
            price = cost[ends[head]]
            assert price is not None
            cost[i] = keep[i] + price
            while len(ends) > head and (cost[ends[-1]] or 0) >= (cost[i] or 0):
                ends.pop()
            ends.append(i)
    if cost[0] is None:
        return None
    return _path(following)


def revised_quadratic(chain: Chain) -> Choice:
    """Minimise the revised objective in O(n^2): ``M(i) = keep[i] + min_j max(M(j), U(i, j))``."""
    n = len(chain)
    need = [0] * n
    need[-1] = chain.keep[-1]
    following = [0] * n
    for i in range(n - 2, -1, -1):
        widest = chain.gap[i]
        lower = chain.lower[i]
        best: int | None = None
        for j in range(i + 1, n):
            widest = max(widest, chain.gap[j - 1])
            segment = chain.upper[j] - lower + widest
            value = max(segment, need[j])
            if best is None or value < best:
                best, following[i] = value, j
            if segment >= best:
                break  # U rises with j
        assert best is not None
        need[i] = chain.keep[i] + best
    return Choice(_path(following), need[0])


def revised_linear(chain: Chain) -> Choice:
    """Minimise the revised objective in O(n).

    Go from the last layer to the first. U(i, j) rises with j, and rises as i falls, therefore:

    1. An end j is of no use once some j' < j has M(j') <= M(j). The ends left, from far to near,
       have rising M: a queue that each new end enters after throwing out those as large as itself.
    2. Along the queue, M rises and U falls; the best end is where they cross: the farthest end
       with U(i, j) >= M(j), or the next nearer one. When the next nearer one has U >= M too, the
       farthest is beaten now and at every smaller i, so the head of the queue only moves nearer.
    3. The two windows whose largest gap is needed, up to the head and up to the one after it,
       grow at i and shrink at their far end only: one queue of maxima with two heads.

    Each layer enters and leaves each queue once.
    """
    n = len(chain)
    keep, upper, lower, gap = chain.keep, chain.upper, chain.lower, chain.gap
    need = [0] * n
    need[-1] = keep[-1]
    following = [0] * n
    ends: list[int] = []
    head = 0
    widest: list[int] = []
    far = near = 0  # heads of the windows up to ends[head] and ends[head + 1]
    for i in range(n - 2, -1, -1):
        largest = gap[i]
        while widest and gap[widest[-1]] <= largest:
            widest.pop()
        last = len(widest)
        widest.append(i)
        if near > last:
            near = last
            if far > last:
                far = last
        candidate = i + 1
        value = need[candidate]
        while len(ends) > head and need[ends[-1]] >= value:
            ends.pop()
        ends.append(candidate)

        below = lower[i]
        end = ends[head]
        while widest[far] >= end:
            far += 1
        if near < far:
            near = far
        best = None
        count = len(ends)
        while head + 1 < count:
            second = ends[head + 1]
            while widest[near] >= second:
                near += 1
            best = need[second]
            if upper[second] - below + gap[widest[near]] < best:
                break
            best = None
            head += 1
            end = second
            far = near
        cost = upper[end] - below + gap[widest[far]]
        cost = max(cost, need[end])
        if best is not None and best < cost:
            cost, end = best, second
        need[i] = keep[i] + cost
        following[i] = end
    return Choice(_path(following), need[0])


def _path(following: Sequence[int]) -> tuple[int, ...]:
    path = [0]
    while path[-1] != len(following) - 1:
        path.append(following[path[-1]])
    return tuple(path)
