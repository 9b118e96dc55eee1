# SPDX-License-Identifier: BSD-3-Clause
"""Which pattern plain numpy weights obey, told from their zeros alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmpack.errors import PatternError
from nmpack.sparsity.mask import Array, BoolArray, used_columns

_DETECT_TILES = (256, 128, 64, 32, 16, 12, 8, 6, 4, 2, 1)
_DETECT_GROUPS = (4, 8, 16, 32)
_DETECT_BLOCKS = (64, 32, 16, 8, 4, 2)
# Fewer groups than this agree on an N:M by chance too often.
_DETECT_EVIDENCE = 16
_DENSE = 0.95
# Rounding makes zeros of small weights, but hardly of this many rows in one column at once, and
# not of more than this share of all.
_ROUNDED_TILE, _ROUNDED_MOST = 4, 0.2


@dataclass(frozen=True, slots=True)
class FittingPattern:
    """The pattern that explains a weight matrix best.

    Attributes:
        tile: the largest tile height whose column density is the lowest of all heights tried (1 %
            slack); 0 when the weights are dense.
        n, m: the smallest N:M of blocks that every tile obeys; ``m`` is None when only the whole
            row does.
        element_density: non-zero weights / all weights.
        column_density: kept (tile, column) pairs / all, at ``tile`` (1.0 when dense).
        rounded: whether kept weights may be zero, too, because they were rounded to few steps.
        block: the longest runs of input channels, up to 64, that every tile keeps or drops whole.
    """

    tile: int
    n: int
    m: int | None
    element_density: float
    column_density: float
    rounded: bool = False
    block: int = 1

    def __str__(self) -> str:
        """Name the pattern as tables show it."""
        if self.tile == 0:
            least = 1.0 - _ROUNDED_MOST if self.rounded else _DENSE
            return "dense" if self.element_density > least else "unstructured"
        share = f"{100.0 * self.column_density:.1f}%"
        what = f"{self.n}:{self.m}" if self.m is not None else f"{share} of the row"
        return f"{what} kept, tile {self.tile}" + (f"x{self.block}" if self.block > 1 else "")


def detect_pattern(weights: Array, *, groups: int = 1, rounded: bool = False) -> FittingPattern:
    """Find the pattern that a weight array obeys; weights as ``compute_mask`` takes them.

    A tile height counts as a fit when grouping rows by it costs almost nothing over the non-zeros
    themselves (1 % of the elements), so a stray zero does not make a dense layer look pruned.

    Args:
        weights: as above, or where they are not zero.
        groups: of the convolution.
        rounded: whether weights were rounded to few steps, so that kept ones may be zero, too. Up
            to a fifth of them may; rows that share a column vouch for each other then.

    Raises:
        PatternError: the rows do not divide into ``groups``.
    """
    rows = weights.shape[0]
    if groups < 1 or rows < 1 or rows % groups != 0:
        raise PatternError(f"{rows} output channels do not divide into {groups} groups")
    nonzero = (weights != 0).reshape(rows, -1)
    columns = nonzero.shape[1]
    elements = float(np.count_nonzero(nonzero)) / nonzero.size
    dense = FittingPattern(0, columns, None, elements, 1.0, rounded)
    evidence = _evidence(nonzero, groups, elements) if rounded else elements
    if evidence > _DENSE:
        return dense
    for tile in _DETECT_TILES:
        if tile > max(rows // groups, 1):
            continue
        used, heights = used_columns(nonzero, tile, groups)
        covered = float((used.sum(axis=1) * heights).sum()) / nonzero.size
        if covered > evidence + 0.01:
            continue
        if tile == 1 and not _is_regular(used):
            return dense
        return _narrowest(used, _block(used, weights.shape[-1]), tile, elements, rounded)
    return dense


def _evidence(nonzero: BoolArray, groups: int, elements: float) -> float:
    """Return the share of weights that were kept, as far as rounding lets see."""
    if nonzero.shape[0] // groups < _ROUNDED_TILE:
        return elements
    used, heights = used_columns(nonzero, _ROUNDED_TILE, groups)
    covered = float((used.sum(axis=1) * heights).sum()) / nonzero.size
    return covered if elements >= (1.0 - _ROUNDED_MOST) * covered else elements


def _is_regular(used: BoolArray) -> bool:
    """Tell whether single rows obey some N:M, so that they are more than scattered zeros."""
    return _best_group(used) is not None or len(np.unique(used.sum(axis=1))) == 1


def _block(used: BoolArray, channels: int) -> int:
    """Return how long the runs are that are kept or dropped whole, none across two taps."""
    for block in _DETECT_BLOCKS:
        if channels % block == 0 and used.size >= _DETECT_EVIDENCE * block:
            runs = used.reshape(-1, block)
            if np.array_equal(runs.any(axis=1), runs.all(axis=1)):
                return block
    return 1


def _narrowest(
    used: BoolArray, block: int, tile: int, elements: float, rounded: bool
) -> FittingPattern:
    density = float(np.count_nonzero(used)) / used.size
    blocks = used[:, ::block]
    n, m = _best_group(blocks) or (int(blocks.sum(axis=1).max()), None)
    return FittingPattern(tile, n, m, elements, density, rounded, block)


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
