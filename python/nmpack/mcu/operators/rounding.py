# SPDX-License-Identifier: BSD-3-Clause
"""FULLY_CONNECTED's outputs without floating point.

The reference kernels compute them as ``round(sum * ratio)`` in double precision, halves away from
zero, where convolutions use TFLite's integer multiplier and its two roundings. Of a channel that is
at most 255 steps, each at one sum. What kernels compute is

    (sum * m + 2^(n-1)) >> n

so a multiplier ``m`` is looked for that has the same steps at the same sums. One of 32 bits is
there nearly always; one of 64 bits otherwise, for the portable kernel alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError

Ints = npt.NDArray[np.int64]
# Multipliers that are tried beside the ratio's own, nearest first.
_NEAR = 64
_MOST_SHIFT = 30


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Where the output of a channel changes: ``level[i]`` begins at the sum ``first[i]``.

    Attributes:
        level: int64, ascending; outputs without zero point.
        first: int64, the smallest sum that gives at least that.
    """

    level: Ints
    first: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Multipliers:
    """What kernels multiply with, so that steps are where they should be.

    Attributes:
        bits: of each multiplier, 32 or 64.
        values: ``[channels]``, Python integers below ``2^bits``.
        shifts: ``[channels]``; ``n`` is ``bits`` more.
    """

    bits: int
    values: tuple[int, ...]
    shifts: tuple[int, ...]


def rounded(sums: npt.NDArray[Any], ratio: float) -> Ints:
    """Return what the reference kernels make of sums: the product in double, halves away from 0."""
    product = np.asarray(sums, np.float64) * ratio
    whole = np.trunc(product)
    return np.asarray(whole + np.where(np.abs(product - whole) >= 0.5, np.sign(product), 0)).astype(
        np.int64
    )


def steps_of(ratio: float, low: int, high: int, most: int) -> Steps:
    """Return where outputs change, of those that sums may reach.

    Args:
        ratio: positive, below 2^30.
        low, high: the smallest and the largest output, without zero point; beyond is clamped.
        most: the largest magnitude of a sum, below 2^31.
    """
    bottom, top = rounded(np.array([-most, most]), ratio)
    levels = np.arange(max(low, int(bottom)) + 1, min(high, int(top)) + 1, dtype=np.int64)
    first = np.floor((levels - 0.5) / ratio).astype(np.int64) - 2
    for _ in range(4):
        first += rounded(first, ratio) < levels
    assert (rounded(first, ratio) >= levels).all()
    assert (rounded(first - 1, ratio) < levels).all()
    return Steps(levels, first)


def find_multipliers(
    ratios: Sequence[float], low: int, high: int, most: Sequence[int]
) -> Multipliers:
    """Return multipliers for the channels of a layer, of 32 bits if all channels have such.

    Args:
        ratios: of each channel: input scale * weights' scale / output scale, in double.
        low, high: the smallest and the largest output, without zero point.
        most: for each channel the largest magnitude of a sum.

    Raises:
        ModelError: there is none; not known to happen.
    """
    channels = [steps_of(r, low, high, m) for r, m in zip(ratios, most, strict=True)]
    found = [_short(ratio, steps) for ratio, steps in zip(ratios, channels, strict=True)]
    short = [one for one in found if one is not None]
    if len(short) == len(found):
        return Multipliers(32, tuple(m for m, _ in short), tuple(s for _, s in short))
    long = [_long(ratio, steps) for ratio, steps in zip(ratios, channels, strict=True)]
    return Multipliers(64, tuple(m for m, _ in long), tuple(s for _, s in long))


def _shift(ratio: float) -> int:
    """Return the shift by which a ratio's multiplier has its highest bit set, at most 30."""
    return min(int(-np.frexp(ratio)[1]), _MOST_SHIFT)


def _short(ratio: float, steps: Steps) -> tuple[int, int] | None:
    """Return a multiplier of 32 bits and its shift, None where no near one has all steps."""
    shift = _shift(ratio)
    if shift < 0:
        return None
    bits = 32 + shift
    centre = int(np.rint(np.ldexp(ratio, bits)))
    low, high = 1, (1 << 32) - 1
    # Bounds as near as double precision knows them; what is taken is tried in whole numbers.
    for sums, rises in ((steps.first, True), (steps.first - 1, False)):
        nonzero = sums != 0
        bounds = np.ldexp((steps.level[nonzero] - 0.5) / sums[nonzero], bits)
        # A step that is reached bounds from below where the sum is positive, and so on.
        below = (sums[nonzero] > 0) == rises
        low = max(low, int(np.floor(bounds[below].max(initial=low))) - 1)
        high = min(high, int(np.ceil(bounds[~below].min(initial=high))) + 1)
    start = min(max(centre, low), high)
    # Products are below 2^63; halves are what levels begin at.
    halves = [(2 * int(level) - 1) << (bits - 1) for level in steps.level]
    if any(abs(half) >= 1 << 63 for half in halves):
        return None
    begins = np.array(halves, np.int64)
    for multiplier in _outwards(start, low, high):
        reached = steps.first * multiplier >= begins
        before = (steps.first - 1) * multiplier < begins
        if reached.all() and before.all():
            return multiplier, shift
    return None


def _outwards(start: int, low: int, high: int) -> Iterator[int]:
    """Yield whole numbers from ``low`` to ``high``, those near ``start`` first, not all."""
    if low <= high:
        yield start
    for distance in range(1, _NEAR):
        yield from (m for m in (start - distance, start + distance) if low <= m <= high)


def _long(ratio: float, steps: Steps) -> tuple[int, int]:
    """Return a multiplier of 64 bits and its shift."""
    shift = _shift(ratio)
    bits = 64 + shift
    low, high = 0, (1 << 64) - 1
    for level, first in zip(steps.level.tolist(), steps.first.tolist(), strict=True):
        begins = (2 * level - 1) << (bits - 1)
        for total, reached in ((first, True), (first - 1, False)):
            if total == 0:
                continue
            if reached == (total > 0):
                # total * m >= begins where reached, else < begins: both bound m from below.
                bound = -(-begins // total) if reached else -begins // -total + 1
                low = max(low, bound)
            else:
                bound = -begins // -total if reached else -(-begins // total) - 1
                high = min(high, bound)
    if low > high:
        raise ModelError(f"no multiplier rounds as a ratio of {ratio!r} in double precision does")
    centre = int(np.ldexp(ratio, 52 + shift)) << 12
    return min(max(centre, low), high), shift
