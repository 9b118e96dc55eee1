# SPDX-License-Identifier: BSD-3-Clause
"""How the pixels of a convolution are gathered: which way, in what memory, in how many cycles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmpack.mcu.cycles import Gathered, cost_of, gather_cost_of
from nmpack.mcu.filters import Layout, PackedFilter

_MOST = 65535


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of a convolution, as the fields of ``struct nm_conv2d_s8`` of the same names.

    A fully connected layer of R rows is one of 1 x 1 on an image of height 1 and width R.
    """

    batches: int
    input_height: int
    input_width: int
    input_channels: int
    output_height: int
    output_width: int
    kernel_height: int = 1
    kernel_width: int = 1
    stride_height: int = 1
    stride_width: int = 1
    dilation_height: int = 1
    dilation_width: int = 1
    pad_top: int = 0
    pad_left: int = 0

    @property
    def columns(self) -> int:
        """K."""
        return self.kernel_height * self.kernel_width * self.input_channels

    @property
    def pixels(self) -> int:
        """Output pixels of all batches."""
        return self.batches * self.output_height * self.output_width

    @property
    def pointwise(self) -> bool:
        """Whether a pixel is a row of the input."""
        return (
            (self.kernel_height, self.kernel_width) == (1, 1)
            and (self.stride_height, self.stride_width) == (1, 1)
            and (self.input_height, self.input_width) == (self.output_height, self.output_width)
        )


def schedule(
    packed: PackedFilter, geometry: Geometry, target: str, *, once: bool = False
) -> tuple[int, float]:
    """Return how pixels are best gathered, and the predicted cycles of a call.

    Args:
        packed: the filter.
        geometry: sizes of the convolution.
        target: one of ``TARGETS``.
        once: whether sums are rounded once.

    Returns:
        rows of kernels that lie in scratch while one slides down, 0 where pixels are gathered one
        by one; and cycles.
    """

    cost = cost_of(packed.kernel, target, once=once)
    gather = gather_cost_of(packed.layout, target)

    def cycles(rows: int) -> float:
        products = sum(
            count * cost.cycles(packed.steps, packed.channels, pixels)
            for count, pixels in _calls(packed, geometry, rows)
        )
        counted = Gathered()
        if not _direct(packed, geometry):
            counted = gathered(geometry, packed.layout, packed.pixels, rows)
        return products + gather.cycles(counted, aligned=geometry.input_channels % 4 == 0)

    plans = [(rows, cycles(rows)) for rows in (0, *_windows(packed, geometry))]
    return min(plans, key=lambda plan: plan[1])


def _windows(packed: PackedFilter, g: Geometry) -> list[int]:
    slides = g.kernel_height > g.stride_height and g.dilation_height == 1 and g.output_height > 1
    if not slides or packed.pixels == 1:
        return []
    row = g.kernel_width * g.input_channels
    if packed.layout == "rows" and (packed.columns != g.columns or row * g.stride_height % 4):
        return []
    rows = g.kernel_height + g.stride_height
    return [rows] if rows <= _MOST else []


def _direct(packed: PackedFilter, g: Geometry) -> bool:
    return packed.layout == "rows" and g.pointwise and packed.columns == g.columns


def _calls(packed: PackedFilter, g: Geometry, rows: int) -> list[tuple[int, int]]:
    """Return how often the kernel is called with how many pixels."""
    if _direct(packed, g):
        return [(1, g.pixels)]
    lines, length = _lines(g, rows)
    whole, rest = divmod(length, packed.pixels)
    return [(lines * whole, packed.pixels), *([(lines, rest)] if rest else [])]


def _lines(g: Geometry, rows: int) -> tuple[int, int]:
    """Return how many lines of pixels are divided into groups, and the pixels of one."""
    if rows:
        return g.batches * g.output_height, g.output_width
    return g.batches, g.output_height * g.output_width


def gathered(g: Geometry, layout: Layout, pixels: int, rows: int) -> Gathered:
    """Count what ``nm_conv2d_s8`` gathers where a pixel is no row of the input.

    Args:
        g: sizes of the convolution.
        layout: how pixels lie.
        pixels: multiplied at a time.
        rows: of the window, as :func:`schedule` says.
    """
    lines, length = _lines(g, rows)
    groups = lines * -(-length // pixels)
    row = g.kernel_width * g.input_channels
    taken, inside = _rows(g, g.stride_height if rows else g.kernel_height)
    outside = taken - inside
    x = np.arange(g.output_width) * g.stride_width - g.pad_left
    if layout == "rows":
        taken_rows = taken * g.output_width
        runs = inside * int(_runs(g, x).sum()) + outside * g.output_width
        width, windows = row, g.output_width
    elif rows:
        windows = -(-g.output_width // 4)
        taken_rows = inside * windows
        runs = inside * int(_runs_of_four(g, x).sum())
        width = 4 * row
    else:
        windows = 0
        taken_rows = -(-length // 4) * g.kernel_height
        # Where fours begin is the same every fourth row of outputs.
        fours, rest = divmod(g.output_height, 4)
        runs = fours * int(_runs_of_four(g, np.tile(x, 4)).sum())
        runs += int(_runs_of_four(g, np.tile(x, rest)).sum()) if rest else 0
        runs *= g.kernel_height
        width = 4 * row
    moves = windows * ((g.output_height - 1) // 2) if rows else 0
    # Rows of a window of interleaved pixels that are off the image are one fill each.
    fills = outside * windows if layout == "interleaved" else 0
    return Gathered(
        images=g.batches,
        groups=groups,
        rows=g.batches * taken_rows,
        runs=g.batches * runs,
        bytes=g.batches * taken_rows * width,
        moves=g.batches * (moves + fills),
        moved=g.batches * (moves * (g.kernel_height - g.stride_height) + fills) * width,
    )


def _rows(g: Geometry, fresh: int) -> tuple[int, int]:
    """Return how many rows of the kernel a column of outputs takes, and how many on the image.

    Args:
        g: sizes of the convolution.
        fresh: the last rows of the kernel that outputs take; the first output takes all.
    """
    top = np.arange(g.output_height) * g.stride_height - g.pad_top
    first = np.full(g.output_height, g.kernel_height - fresh)
    first[0] = 0
    on = np.maximum(first, -(top // g.dilation_height))
    end = np.minimum(g.kernel_height, -((top - g.input_height) // g.dilation_height))
    return int((g.kernel_height - first).sum()), int(np.maximum(0, end - on).sum())


def _runs(g: Geometry, x: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the runs of a row of the kernel for pixels whose first columns are ``x``."""
    if g.dilation_width > 1:
        return np.full(len(x), g.kernel_width)
    left = np.clip(-x, 0, g.kernel_width)
    end = np.maximum(left, np.minimum(g.input_width - x, g.kernel_width))
    runs: npt.NDArray[np.int64] = 0 + (left > 0) + (end > left) + (end < g.kernel_width)
    return runs


def _runs_of_four(g: Geometry, x: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return those of each four pixels: columns that are on the image for all are one."""
    if g.dilation_width > 1:
        return np.full(-(-len(x) // 4), g.kernel_width)
    fours = np.pad(x, (0, -len(x) % 4), mode="edge").reshape(-1, 4)
    first = np.maximum(0, -fours.min(axis=1))
    end = np.minimum(g.kernel_width, g.input_width - fours.max(axis=1))
    common = np.maximum(0, end - first)
    runs: npt.NDArray[np.int64] = g.kernel_width - common + (common > 0)
    return runs


def gathered_bytes(packed: PackedFilter, g: Geometry, rows: int) -> int:
    """Return the scratch that gathered pixels take.

    Args:
        packed: the filter.
        g: sizes of the convolution.
        rows: of the window, as :func:`schedule` says.
    """
    if _direct(packed, g):
        return 0
    columns = rows * g.kernel_width * g.input_channels if rows else packed.columns
    padding = g.kernel_width * g.input_channels if packed.layout == "interleaved" else 0
    return -(-(packed.pixels * columns + padding) // 4) * 4
