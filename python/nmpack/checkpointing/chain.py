# SPDX-License-Identifier: BSD-3-Clause
"""Chains of layers, and what a set of checkpoints costs on them.

Layers are numbered 0 to n - 1. Checkpoints are ``0 = c_0 < c_1 < ... < c_m = n - 1``: the first and
the last layer are always kept. Sizes are whole numbers of any unit, and every sum is exact.

Two objectives (arXiv 2502.12499; only its abstract was read, so the readings below are ours):

* *static*: ``sum over c of keep[c] + max over segments (i, j) of U(i, j)``: every checkpoint is
  held until the end.
* *revised*: ``M(n - 1) = keep[n - 1]``, ``M(i) = keep[i] + max(M(j), U(i, j))`` for consecutive
  checkpoints ``i < j``: while segment ``(i, j)`` is propagated back, the checkpoints after ``j``
  are already freed. The cost is ``M(0)``.

``U(i, j) = upper[j] - lower[i] + max over i <= k < j of gap[k]`` is what segment ``(i, j)`` needs
beside the checkpoints up to ``i``. For output sizes ``d`` (:meth:`Chain.from_sizes`) it is
``sum over i < k < j of d[k] + d[j] + max over i < k <= j of d[k]``: the recomputed interior, the
end of the segment, and the largest gradient buffer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from nmpack.errors import NmpackError


class CheckpointingError(NmpackError, ValueError):
    """Checkpoints cannot be chosen or applied as asked; the message says what can be done."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Sizes of a chain of ``n`` layers.

    ``keep``, ``upper`` and ``lower`` have n entries, ``gap`` has n - 1; ``upper`` and ``lower``
    never fall, which all algorithms rely on: U(i, j) then rises with j and falls with i.
    """

    keep: list[int]
    upper: list[int]
    lower: list[int]
    gap: list[int]

    def __post_init__(self) -> None:
        """Check lengths and order.

        Raises:
            CheckpointingError: the chain is empty, lengths differ, or a rule is broken.
        """
        n = len(self.keep)
        lengths = (len(self.upper), len(self.lower), len(self.gap))
        if n == 0 or lengths != (n, n, n - 1):
            raise CheckpointingError(
                f"expected a chain of n >= 1 layers with n, n and n - 1 terms, got {n}, {lengths}"
            )
        if min(self.keep) < 0:
            raise CheckpointingError(f"expected sizes of at least 0, got {min(self.keep)}")
        for name, values in (("upper", self.upper), ("lower", self.lower)):
            if any(map(int.__gt__, values, values[1:])):
                raise CheckpointingError(
                    f"expected {name} terms that never fall, got one that does"
                )

    @classmethod
    def from_sizes(cls, sizes: Iterable[int]) -> Chain:
        """Make the chain of the published objective from output sizes ``d``, each at least 0."""
        d = [int(size) for size in sizes]
        if d and min(d) < 0:
            raise CheckpointingError(f"expected sizes of at least 0, got {min(d)}")
        total = list(accumulate(d))
        return cls(d, total, total, d[1:])

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.keep)

    def segment(self, i: int, j: int) -> int:
        """Return U(i, j)."""
        return self.upper[j] - self.lower[i] + max(self.gap[i:j])


@dataclass(frozen=True, slots=True)
class Choice:
    """Checkpoints (layer numbers, first and last included) and their cost under an objective."""

    checkpoints: tuple[int, ...]
    cost: int


def static_cost(chain: Chain, checkpoints: Sequence[int]) -> int:
    """Return the static objective: the sum of all checkpoints plus the largest segment."""
    _check(chain, checkpoints)
    segments = (chain.segment(i, j) for i, j in pairwise(checkpoints))
    return sum(chain.keep[c] for c in checkpoints) + max(segments, default=0)


def revised_cost(chain: Chain, checkpoints: Sequence[int]) -> int:
    """Return the revised objective M(0): checkpoints after a segment are freed before it."""
    _check(chain, checkpoints)
    need = chain.keep[-1]
    for i, j in reversed(list(pairwise(checkpoints))):
        need = chain.keep[i] + max(need, chain.segment(i, j))
    return need


def keep_none(n: int) -> tuple[int, ...]:
    """Return the checkpoints of a chain without any: its two ends."""
    return tuple(sorted({0, n - 1}))


def keep_every(n: int, k: int) -> tuple[int, ...]:
    """Return every ``k``-th layer and the last.

    Raises:
        CheckpointingError: k is less than 1.
    """
    if k < 1:
        raise CheckpointingError(f"expected a distance of at least 1, got {k}")
    return tuple(sorted({*range(0, n, k), n - 1}))


def keep_sqrt(n: int) -> tuple[int, ...]:
    """Return every ceil(sqrt n)-th layer and the last (Chen et al., arXiv 1604.06174)."""
    return keep_every(n, max(1, math.isqrt(max(0, n - 1)) + 1 if n > 1 else 1))


def _check(chain: Chain, checkpoints: Sequence[int]) -> None:
    n = len(chain)
    rising = all(a < b for a, b in pairwise(checkpoints))
    if not checkpoints or checkpoints[0] != 0 or checkpoints[-1] != n - 1 or not rising:
        raise CheckpointingError(
            f"expected rising checkpoints from 0 to {n - 1}, got {tuple(checkpoints)}"
        )
