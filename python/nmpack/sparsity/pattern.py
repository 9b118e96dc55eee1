# SPDX-License-Identifier: BSD-3-Clause
"""The sparsity pattern: which columns of a convolution's weight matrix may hold a non-zero."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from nmpack.errors import PatternError


@dataclass(frozen=True, slots=True)
class NMPattern:
    """Keep ``n`` of every ``m`` columns, chosen once for each ``tile`` output channels.

    ``n`` counts the columns kept, not the columns pruned. The weights of a convolution are a matrix
    ``W[Cout, K]`` with ``K = kh * kw * Cin / groups`` columns in OHWI order; its rows are cut into
    tiles of ``tile`` consecutive output channels (the last may be shorter), and all rows of a tile
    keep the same columns.

    ``m=None`` takes the whole row as one group. ``n`` is then either a float, the share of the row
    that is kept (``0 < n <= 1``), or an int, the number of columns kept. :meth:`from_sparsity` and
    :meth:`from_density` build the first.

    ``block`` makes two-dimensional blocks: ``n`` and ``m`` then count runs of ``block`` consecutive
    columns, each kept or dropped as one. ``tile=1`` is row-wise N:M, a baseline.

    >>> NMPattern(2, 4, tile=8).density
    0.5
    >>> NMPattern.from_sparsity(0.75, tile=32).kept(576)
    144

    Raises:
        PatternError: a field is out of its range.
    """

    n: int | float
    m: int | None = None
    tile: int = 32
    block: int = 1

    def __post_init__(self) -> None:
        """Check every field against its range."""
        _whole_number("tile", self.tile, 1)
        _whole_number("block", self.block, 1)
        if isinstance(self.n, bool) or not isinstance(self.n, int | float):
            raise PatternError(f"n, the columns kept, must be a number, got {self.n!r}")
        if isinstance(self.n, float):
            if self.m is not None:
                raise PatternError(
                    f"n must be a whole number of kept columns when m is given, got {self.n!r}"
                )
            if not 0.0 < self.n <= 1.0:
                raise PatternError(
                    f"the kept share of a row must be above 0 and at most 1, got {self.n!r}"
                )
            return
        _whole_number("n", self.n, 1)
        if self.m is not None:
            _whole_number("m", self.m, 1)
            if self.n > self.m:
                raise PatternError(
                    f"n counts the columns kept of every m, so n <= m is required, "
                    f"got n={self.n}, m={self.m}"
                )

    @classmethod
    def from_density(cls, density: float, *, tile: int = 32, block: int = 1) -> NMPattern:
        """Keep the share ``density`` (above 0, at most 1) of each whole row."""
        return cls(float(density), None, tile, block)

    @classmethod
    def from_sparsity(cls, sparsity: float, *, tile: int = 32, block: int = 1) -> NMPattern:
        """Prune the share ``sparsity`` (at least 0, below 1) of each whole row."""
        if not 0.0 <= sparsity < 1.0:
            raise PatternError(f"sparsity must be at least 0 and below 1, got {sparsity!r}")
        return cls(round(1.0 - float(sparsity), 12), None, tile, block)

    @classmethod
    def parse(cls, text: str, *, tile: int = 32, block: int = 1) -> NMPattern:
        """Read ``"2:4"`` (kept of every four) or ``"25%"`` (of the whole row kept)."""
        if match := re.fullmatch(r"(\d{1,9}):(\d{1,9})", text.strip()):
            return cls(int(match[1]), int(match[2]), tile, block)
        if match := re.fullmatch(r"(\d{1,3}(?:\.\d{1,9})?)%", text.strip()):
            return cls.from_density(float(match[1]) / 100.0, tile=tile, block=block)
        raise PatternError(f"expected a pattern such as '2:4' or '25%' (both kept), got {text!r}")

    @property
    def density(self) -> float | None:
        """Share of the columns kept, or None when ``n`` is a count and the row's length decides."""
        if self.m is not None:
            return self.n / self.m
        return self.n if isinstance(self.n, float) else None

    def group_size(self, columns: int, *, layer: str = "the layer") -> int:
        """Return the length of one group, in blocks, in a row of ``columns`` columns.

        Raises:
            PatternError: ``columns`` is not a multiple of ``m`` blocks, or the row is shorter than
                ``n``.
        """
        if columns % self.block != 0:
            raise PatternError(
                f"{layer}: K must be a multiple of the block, {self.block}, got K={columns}"
            )
        units = columns // self.block
        what = "columns" if self.block == 1 else f"blocks of {self.block} columns"
        if self.m is None:
            if isinstance(self.n, int) and self.n > units:
                raise PatternError(
                    f"{layer}: the pattern keeps n={self.n} {what}, but a row has only K={units}"
                )
            return units
        if units % self.m != 0:
            raise PatternError(f"{layer}: K must be a multiple of M={self.m}, got K={units} {what}")
        return self.m

    def kept(self, columns: int, *, layer: str = "the layer") -> int:
        """Return how many blocks of one group are kept in a row of ``columns`` columns (>= 1)."""
        size = self.group_size(columns, layer=layer)
        if isinstance(self.n, float):
            return max(1, math.floor(self.n * size + 0.5))
        return self.n

    def at(self, progress: float) -> NMPattern:
        """Return the pattern on the way from dense (``progress`` 0) to this one (1).

        It has the same tile, group and block, and keeps the share ``1 - progress * (1 - density)``
        of a group, rounded up to what the group can express.

        Raises:
            PatternError: ``n`` is a count of the whole row, which has no share on the way.
        """
        density = self.density
        if density is None:
            raise PatternError(
                "a pattern that keeps a count of the row cannot be reached gradually: give a share "
                f"of the row or N:M, got {self}"
            )
        share = 1.0 - min(max(progress, 0.0), 1.0) * (1.0 - density)
        if self.m is None:
            return replace(self, n=max(density, share))
        return replace(self, n=max(int(self.n), math.ceil(share * self.m - 1e-9)))

    def __str__(self) -> str:
        """Say what is kept, for tables and messages."""
        if self.m is not None:
            what = f"{self.n}:{self.m} kept"
        elif isinstance(self.n, float):
            what = f"{100.0 * self.n:.4g}% of the row kept"
        else:
            what = f"{self.n} columns of the row kept"
        return f"{what}, tile {self.tile}" + (f"x{self.block}" if self.block > 1 else "")


@dataclass(frozen=True, slots=True)
class Unstructured:
    """Keep the share ``density`` of single weights, wherever they are: a baseline to compare with.

    No kernel gains from it.

    Raises:
        PatternError: ``density`` is not above 0 and at most 1.
    """

    density: float

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0.0 < self.density <= 1.0:
            raise PatternError(f"density must be above 0 and at most 1, got {self.density!r}")

    @property
    def tile(self) -> int:
        """Rows that share their columns: each is its own."""
        return 1

    def at(self, progress: float) -> Unstructured:
        """Return the pattern on the way from dense (``progress`` 0) to this one (1)."""
        return Unstructured(1.0 - min(max(progress, 0.0), 1.0) * (1.0 - self.density))

    def __str__(self) -> str:
        """Say what is kept, for tables and messages."""
        return f"{100.0 * self.density:.4g}% kept, unstructured"


#: What a layer may be pruned to.
Pattern = NMPattern | Unstructured


def _whole_number(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PatternError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise PatternError(f"{name} must be at least {least}, got {value}")
