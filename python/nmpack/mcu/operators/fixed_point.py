# SPDX-License-Identifier: BSD-3-Clause
"""TFLite's arithmetic on pairs of int8 values, as tables of all 65536 pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
VALUES = np.arange(-128, 128, dtype=np.int64)
# Neighbours of the rounded factors that are tried.
_REACH = 6
# Beyond all sums.
_FAR = 1 << 40
_ROUNDS = 8


def rescaled(values: Array, q: int, shift: int) -> Array:
    """Return ``values * q / 2^31 * 2^shift`` with TFLite's two roundings; int32 wraps around.

    Args:
        values: int64 within int32.
        q: multiplier.
        shift: to the left where positive.
    """
    wide = ((values << max(shift, 0)) + (1 << 31)) % (1 << 32) - (1 << 31)
    return divided((wide * q + (1 << 30)) >> 31, max(-shift, 0))


def divided(values: Array, shift: int) -> Array:
    """Return ``values / 2^shift``, rounded half away from zero."""
    mask = (1 << shift) - 1
    return (values >> shift) + ((values & mask) > (mask >> 1) + (values < 0))


def fitted_sum(table: Array, x_ratio: float, y_ratio: float) -> dict[str, int] | None:
    """Return a weighted sum with one shift that is equal to ``table`` everywhere.

    Args:
        table: ``[256, 256]`` int8, results of pairs (x, y) from -128 on.
        x_ratio: by how many results one step of x moves, about.
        y_ratio: likewise of y.

    Returns:
        ``x_factor``, ``y_factor``, ``offset``, ``shift``, ``min`` and ``max`` of
        ``(x * x_factor + y * y_factor + offset) >> shift``, clamped, in int32; None if there is
        none near the ratios.
    """
    low, high = int(table.min()), int(table.max())
    wanted = table.astype(np.int64)
    x, y = VALUES[:, None], VALUES[None, :]
    real = x * x_ratio + y * y_ratio
    inside = (wanted > low) & (wanted < high)
    shift_of_real = np.median((wanted - real)[inside]) if inside.any() else 0.0
    most = 128 * (abs(x_ratio) + abs(y_ratio)) + abs(shift_of_real) + 2
    for shift in range(24, 11, -1):
        if most * 2**shift < 2**31:
            found = _fitted(wanted, (low, high), (x_ratio, y_ratio), shift)
            if found is not None:
                return found
    return None


def _fitted(
    wanted: Array, ends: tuple[int, int], ratios: tuple[float, float], shift: int
) -> dict[str, int] | None:
    """Try factors near the ratios at one shift, each with the offsets that all pairs allow."""
    low, high = ends
    one = 1 << shift
    x_near, y_near = (round(ratio * one) for ratio in ratios)
    rest = wanted * one - VALUES[:, None] * x_near - VALUES[None, :] * y_near
    floor, ceiling = wanted > low, wanted < high
    if not floor.any() or not ceiling.any():
        return None
    # Only pairs whose bound is among the tightest can bind a neighbour.
    slack = 4 * 128 * _REACH
    from_below = rest >= rest[floor].max() - slack
    from_above = rest <= rest[ceiling].min() + slack
    below, above = np.nonzero(floor & from_below), np.nonzero(ceiling & from_above)
    steps = np.arange(-_REACH, _REACH + 1)
    x_step, y_step = (grid.reshape(-1, 1) for grid in np.meshgrid(steps, steps))
    least = (rest[below] - VALUES[below[0]] * x_step - VALUES[below[1]] * y_step).max(axis=1)
    largest = (rest[above] - VALUES[above[0]] * x_step - VALUES[above[1]] * y_step).min(axis=1)
    room = largest + one - 1 - least
    best = int(room.argmax())
    if room[best] < 0:
        return None
    x_factor, y_factor = x_near + int(x_step[best, 0]), y_near + int(y_step[best, 0])
    offset = int(least[best] + room[best] // 2)
    sums = VALUES[:, None] * x_factor + VALUES[None, :] * y_factor + offset
    if np.abs(sums).max() >= 2**31 or (np.clip(sums >> shift, low, high) != wanted).any():
        return None
    if 128 * (abs(x_factor) + abs(y_factor)) >= 2**31 or abs(offset) >= 2**31:
        return None
    return {
        "x_factor": x_factor, "y_factor": y_factor, "offset": offset, "shift": shift,
        "min": low, "max": high,
    }  # fmt: skip


def fitted_tables(
    table: Array, x_terms: Array, y_terms: Array, ratio: float
) -> tuple[dict[str, int], Array, Array] | None:
    """Return two tables whose sum with one shift is equal to ``table`` everywhere.

    Args:
        table: ``[256, 256]`` int8, results of pairs (x, y) from -128 on.
        x_terms, y_terms: ``[256]``, whose sum becomes a result.
        ratio: of results to sums, about.

    Returns:
        ``shift``, ``min`` and ``max`` of ``(x_table[x] + y_table[y]) >> shift``, clamped, in
        int32, and both tables from -128 on; None if there is none of the ratio.
    """
    low, high = int(table.min()), int(table.max())
    wanted = table.astype(np.int64)
    most = float(np.abs(x_terms).max() + np.abs(y_terms).max()) * ratio + 256
    shift = 30 - math.frexp(most)[1]
    if shift < 8 or low == high:
        return None
    least = np.where(wanted > low, wanted << shift, -_FAR)
    largest = np.where(wanted < high, ((wanted + 1) << shift) - 1, _FAR)
    x_table, y_table = (
        np.rint(terms * (ratio * 2.0**shift)).astype(np.int64) for terms in (x_terms, y_terms)
    )
    sums = x_table[:, None] + y_table[None, :]
    x_table += ((least - sums).max() + (largest - sums).min()) // 2
    # Entries whose sums miss are moved as little as brings them in, until all fit.
    for _ in range(_ROUNDS):
        x_table = _within(x_table, least - y_table[None, :], largest - y_table[None, :], axis=1)
        y_table = _within(y_table, least - x_table[:, None], largest - x_table[:, None], axis=0)
        sums = x_table[:, None] + y_table[None, :]
        if ((sums >= least) & (sums <= largest)).all():
            fits = max(np.abs(part).max() for part in (x_table, y_table, sums)) < 2**31
            return ({"shift": shift, "min": low, "max": high}, x_table, y_table) if fits else None
    return None


def _within(entries: Array, least: Array, largest: Array, axis: int) -> Array:
    """Return entries moved between the largest of their lower and the least of their upper ends."""
    low, high = least.max(axis=axis), largest.min(axis=axis)
    return np.where(low > high, (low + high) // 2, np.clip(entries, low, high))


def fitted_high_word(table: Array, values: Array, bits: int, ratio: float) -> dict[str, int] | None:
    """Return a product with one high word and one shift that is equal to ``table`` everywhere.

    Args:
        table: int8, results of ``values``.
        values: below ``2^(bits - 1)``; the kernel shifts them by ``32 - bits`` to the left first.
        bits: at most 32.
        ratio: of results to values, about.

    Returns:
        ``factor``, ``offset``, ``shift``, ``min`` and ``max`` of ``(high + offset) >> shift``,
        clamped, in int32, where ``high`` is the high word of ``(value << (32 - bits)) * factor``;
        None if there is none near the ratio.
    """
    low, high = int(table.min()), int(table.max())
    wanted = table.astype(np.int64)
    floor, ceiling = wanted > low, wanted < high
    shift = min(22, 31 - bits - math.frexp(ratio)[1])
    if shift < 8 or not floor.any() or not ceiling.any():
        return None
    near = round(ratio * 2.0 ** (bits + shift))
    for step in sorted(range(-_REACH, _REACH + 1), key=abs):
        factor = near + step
        if not 0 < factor < 1 << 31:
            continue
        words = (values * factor) >> bits
        rest = (wanted << shift) - words
        least = int(rest[floor].max())
        largest = int(rest[ceiling].min()) + (1 << shift) - 1
        if least <= largest and max(abs(least), abs(largest), int(abs(words).max())) < 1 << 30:
            offset = (least + largest) // 2
            if (np.clip((words + offset) >> shift, low, high) == wanted).all():
                return {"factor": factor, "offset": offset, "shift": shift, "min": low, "max": high}
    return None
