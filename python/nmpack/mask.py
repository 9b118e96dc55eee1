# SPDX-License-Identifier: BSD-3-Clause
"""Masks and pattern detection on plain numpy weights; every framework adaptor ends here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import PatternError
from nmpack.pattern import NMPattern

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]

_DETECT_TILES = (256, 128, 64, 32, 16, 12, 8, 6, 4, 2, 1)
_DETECT_GROUPS = (4, 8, 16, 32)
# Fewer groups than this agree on an N:M by chance too often.
_DETECT_EVIDENCE = 16


def compute_mask(
    weights: Array, pattern: NMPattern, *, groups: int = 1, layer: str = "the layer"
) -> BoolArray:
    """Choose the columns to keep by magnitude.

    The score of a column in a tile is the sum of ``|w|`` over the tile's rows, in float64. Equal
    scores are settled for the lower column index, so the mask is a function of the weights alone.

    Args:
        weights: ``[Cout, kh, kw, Cin / groups]`` (OHWI) or already ``[Cout, K]``.
        pattern: what to keep.
        groups: convolution groups; tiles never cross one.
        layer: name used in errors.

    Returns:
        A boolean array of the shape of ``weights``, True where a weight is kept.

    Raises:
        PatternError: the pattern does not fit, or a weight is not finite.
    """
    if weights.ndim < 2 or weights.size == 0:
        raise PatternError(
            f"{layer}: weights need at least two axes and one element, got {weights.shape}"
        )
    rows = weights.shape[0]
    if groups < 1 or rows % groups != 0:
        raise PatternError(f"{layer}: {rows} output channels do not divide into {groups} groups")
    matrix = np.abs(weights.reshape(rows, -1).astype(np.float64))
    if not np.isfinite(matrix).all():
        bad = int(matrix.size - np.isfinite(matrix).sum())
        raise PatternError(f"{layer}: weights must be finite, got {bad} that are not")
    columns = matrix.shape[1]
    size = pattern.group_size(columns, layer=layer)
    kept = pattern.kept(columns, layer=layer)

    mask = np.zeros(matrix.shape, dtype=np.bool_)
    for start, stop in tiles(rows, pattern.tile, groups):
        score = matrix[start:stop].sum(axis=0).reshape(-1, size)
        order = np.argsort(-score, axis=1, kind="stable")[:, :kept]
        chosen = np.zeros(score.shape, dtype=np.bool_)
        np.put_along_axis(chosen, order, True, axis=1)
        mask[start:stop] = chosen.reshape(columns)
    return mask.reshape(weights.shape)


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
    return float(_used_columns(nonzero, tile, groups)[0].mean())


def _used_columns(
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


@dataclass(frozen=True, slots=True)
class FittingPattern:
    """The pattern that explains a weight matrix best.

    Attributes:
        tile: the largest tile height whose column density is the lowest of all heights tried (1 %
            slack); 0 when the weights are dense.
        n, m: the smallest N:M that every tile obeys; ``m`` is None when only the whole row does.
        element_density: non-zero weights / all weights.
        column_density: kept (tile, column) pairs / all, at ``tile`` (1.0 when dense).
    """

    tile: int
    n: int
    m: int | None
    element_density: float
    column_density: float

    def __str__(self) -> str:
        """Name the pattern as tables show it."""
        if self.tile == 0:
            return "dense" if self.element_density > 0.95 else "unstructured"
        share = f"{100.0 * self.column_density:.1f}%"
        what = f"{self.n}:{self.m}" if self.m is not None else f"{share} of the row"
        return f"{what} kept, tile {self.tile}"


def detect_pattern(weights: Array, *, groups: int = 1) -> FittingPattern:
    """Find the pattern that a weight array obeys; weights as :func:`compute_mask` takes them.

    A tile height counts as a fit when grouping rows by it costs almost nothing over the non-zeros
    themselves (1 % of the elements), so a stray zero does not make a dense layer look pruned.

    Raises:
        PatternError: the rows do not divide into ``groups``.
    """
    rows = weights.shape[0]
    if groups < 1 or rows < 1 or rows % groups != 0:
        raise PatternError(f"{rows} output channels do not divide into {groups} groups")
    nonzero = (weights != 0).reshape(rows, -1)
    columns = nonzero.shape[1]
    elements = float(np.count_nonzero(nonzero)) / nonzero.size
    dense = FittingPattern(0, columns, None, elements, 1.0)
    if elements > 0.95:
        return dense
    for tile in _DETECT_TILES:
        if tile > max(rows // groups, 1):
            continue
        used, heights = _used_columns(nonzero, tile, groups)
        covered = float((used.sum(axis=1) * heights).sum()) / nonzero.size
        if covered > elements + 0.01:
            continue
        if tile == 1:
            return _narrowest(used, 1, elements) if _is_regular(used) else dense
        return _narrowest(used, tile, elements)
    return dense


def _is_regular(used: BoolArray) -> bool:
    """Tell whether single rows obey some N:M, so that they are more than scattered zeros."""
    return _best_group(used) is not None or len(np.unique(used.sum(axis=1))) == 1


def _narrowest(used: BoolArray, tile: int, elements: float) -> FittingPattern:
    density = float(np.count_nonzero(used)) / used.size
    if (group := _best_group(used)) is not None:
        return FittingPattern(tile, group[0], group[1], elements, density)
    return FittingPattern(tile, int(used.sum(axis=1).max()), None, elements, density)


def _best_group(used: BoolArray) -> tuple[int, int] | None:
    """Return the smallest (n, m) that is tight: n below m and close to the mean kept."""
    spans, columns = used.shape
    for m in _DETECT_GROUPS:
        if columns % m != 0 or spans * columns < _DETECT_EVIDENCE * m:
            continue
        counts = used.reshape(spans, columns // m, m).sum(axis=2)
        n = int(counts.max())
        if n < m and float(counts.mean()) > 0.98 * n:
            return n, m
    return None
