# SPDX-License-Identifier: BSD-3-Clause
"""Scores and masks on plain numpy weights; every framework adaptor ends here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import PatternError
from nmpack.sparsity.pattern import Pattern, Unstructured

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]

#: How a weight is scored; :func:`importance` says what each means.
SCORES = ("l1", "l2", "taylor", "activation")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of a layer on real data, for the scores that want it.

    Attributes:
        gradient: of the loss, the shape of the weights (OHWI); None when it was not collected.
        norms: root mean square of each column's input, ``[groups, K]`` in OHWI order; None too.
    """

    gradient: Array | None = None
    norms: Array | None = None


def importance(
    weights: Array,
    score: str = "l1",
    evidence: Evidence | None = None,
    *,
    layer: str = "the layer",
) -> npt.NDArray[np.float64]:
    """Score single weights; a group of weights is worth the sum of its scores.

    ``l1`` is ``|w|``, ``l2`` is ``w ** 2``, ``taylor`` is ``|w * g|`` with the loss's gradient g
    (Molchanov et al. 2019), ``activation`` is ``|w| * rms(x)`` with the input x of its column (Sun
    et al. 2023, Wanda).

    Returns:
        Float64, at least zero, the shape of ``weights``.

    Raises:
        PatternError: something is not finite, the evidence is missing or has another shape.
    """
    values = np.abs(weights.astype(np.float64))
    _require_finite(values, layer, "weights")
    if score == "l1":
        return values
    if score == "l2":
        return values * values
    if score not in SCORES:
        raise PatternError(f"expected a score out of {', '.join(SCORES)}, got {score!r}")
    seen = evidence or Evidence()
    given = seen.gradient if score == "taylor" else seen.norms
    if given is None:
        what = "gradients" if score == "taylor" else "activations"
        raise PatternError(f"{layer}: the score {score!r} needs {what}, which were not collected")
    factor = np.abs(given.astype(np.float64))
    _require_finite(factor, layer, "gradients" if score == "taylor" else "activations")
    if score == "taylor":
        if factor.size != values.size:
            raise PatternError(
                f"{layer}: gradients need the weights' shape {weights.shape}, got {given.shape}"
            )
        product: npt.NDArray[np.float64] = values * factor.reshape(values.shape)
        return product
    columns = values.size // values.shape[0]
    if factor.ndim != 2 or factor.shape[1] != columns or values.shape[0] % factor.shape[0]:
        raise PatternError(
            f"{layer}: activations need one norm for each group and column, [groups, {columns}], "
            f"got {given.shape}"
        )
    rows = np.repeat(factor, values.shape[0] // factor.shape[0], axis=0)
    scaled: npt.NDArray[np.float64] = values * rows.reshape(values.shape)
    return scaled


def compute_mask(
    weights: Array,
    pattern: Pattern,
    *,
    groups: int = 1,
    layer: str = "the layer",
    score: str = "l1",
    evidence: Evidence | None = None,
) -> BoolArray:
    """Choose the columns to keep.

    The score of a column in a tile is the sum of :func:`importance` over the tile's rows (and over
    the columns of its block), in float64. Equal scores are settled for the lower column index, so
    the mask is a function of its arguments alone.

    Args:
        weights: ``[Cout, kh, kw, Cin / groups]`` (OHWI) or already ``[Cout, K]``.
        pattern: what to keep.
        groups: convolution groups; tiles never cross one.
        layer: name used in errors.
        score: one of :data:`SCORES`.
        evidence: what the score needs beside the weights.

    Returns:
        A boolean array of the shape of ``weights``, True where a weight is kept.

    Raises:
        PatternError: the pattern does not fit, or something is not finite.
    """
    if weights.ndim < 2 or weights.size == 0:
        raise PatternError(
            f"{layer}: weights need at least two axes and one element, got {weights.shape}"
        )
    rows = weights.shape[0]
    if groups < 1 or rows % groups != 0:
        raise PatternError(f"{layer}: {rows} output channels do not divide into {groups} groups")
    matrix = importance(weights, score, evidence, layer=layer).reshape(rows, -1)
    if isinstance(pattern, Unstructured):
        count = max(1, int(pattern.density * matrix.size + 0.5))
        return _best(matrix.reshape(1, -1), count).reshape(weights.shape)
    columns = matrix.shape[1]
    size = pattern.group_size(columns, layer=layer)
    kept = pattern.kept(columns, layer=layer)
    per_group = rows // groups
    tile = min(pattern.tile, per_group)
    count = -(-per_group // tile)
    padded = np.zeros((groups, count * tile, columns))
    padded[:, :per_group] = matrix.reshape(groups, per_group, columns)
    score_ = padded.reshape(groups * count, tile, columns).sum(axis=1)
    score_ = score_.reshape(-1, pattern.block).sum(axis=1).reshape(-1, size)
    chosen = np.repeat(_best(score_, kept).reshape(-1), pattern.block)
    spread = np.repeat(chosen.reshape(groups, count, columns), tile, axis=1)[:, :per_group]
    return np.ascontiguousarray(spread).reshape(weights.shape)


def require_mask(mask: BoolArray, shape: tuple[int, ...], layer: str) -> None:
    """Check a mask that came from elsewhere.

    Raises:
        PatternError: it has another shape than the weights, or keeps nothing.
    """
    if mask.shape != shape:
        raise PatternError(
            f"{layer}: a mask must have the weights' shape {shape}, got {mask.shape}"
        )
    if not mask.any():
        raise PatternError(f"{layer}: a mask must keep at least one weight, got none")


def _best(score: npt.NDArray[np.float64], count: int) -> BoolArray:
    """Return the ``count`` largest of each row; equal ones by the lower index."""
    order = np.argsort(-score, axis=1, kind="stable")[:, :count]
    chosen = np.zeros(score.shape, dtype=np.bool_)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen


def _require_finite(values: npt.NDArray[np.float64], layer: str, what: str) -> None:
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise PatternError(f"{layer}: {what} must be finite, got {bad} that are not")


def tiles(rows: int, tile: int, groups: int = 1) -> list[tuple[int, int]]:
    """Return the ``[start, stop)`` row ranges of the tiles; no tile crosses a group."""
    per_group = rows // groups
    return [
        (group * per_group + start, group * per_group + min(start + tile, per_group))
        for group in range(groups)
        for start in range(0, per_group, tile)
    ]


def column_density(weights: Array, tile: int, *, groups: int = 1) -> float:
    """Share of the (tile, column) pairs that hold a non-zero; weights as :func:`compute_mask`."""
    nonzero = (weights != 0).reshape(weights.shape[0], -1)
    return float(used_columns(nonzero, tile, groups)[0].mean())


def used_columns(
    nonzero: BoolArray, tile: int, groups: int
) -> tuple[BoolArray, npt.NDArray[np.int64]]:
    """Return which columns hold a non-zero, ``[tiles, K]``, and each tile's height."""
    rows, columns = nonzero.shape
    per_group = rows // groups
    tile = min(tile, per_group)
    count = -(-per_group // tile)
    padded = np.zeros((groups, count * tile, columns), dtype=np.bool_)
    padded[:, :per_group] = nonzero.reshape(groups, per_group, columns)
    heights = np.full(count, tile, dtype=np.int64)
    heights[-1] = per_group - (count - 1) * tile
    used = np.asarray(padded.reshape(groups * count, tile, columns).any(axis=1))
    return used, np.tile(heights, groups)
