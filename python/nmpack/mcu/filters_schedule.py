# SPDX-License-Identifier: BSD-3-Clause
"""How the pixels of a convolution are gathered: which way, in what memory, in how many cycles."""

from __future__ import annotations

from dataclasses import dataclass

from nmpack.mcu.filters import PackedFilter
from nmpack.mcu.filters_cycles import Calls, kernel_cycles

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

    def cycles(rows: int) -> float:
        calls = _calls(packed, geometry, rows)
        products = kernel_cycles(
            packed.kernel, packed.steps, packed.channels, calls, target, once=once
        )
        return products + _gather_cycles(packed, geometry, rows, target)

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


def _calls(packed: PackedFilter, g: Geometry, rows: int) -> Calls:
    if _direct(packed, g):
        return [(1, g.pixels)]
    strips = g.batches * g.output_height if rows else g.batches
    length = g.output_width if rows else g.output_height * g.output_width
    whole, rest = divmod(length, packed.pixels)
    return [(strips * whole, packed.pixels), (strips * min(rest, 1), rest)]


def _gather_cycles(packed: PackedFilter, g: Geometry, rows: int, target: str) -> float:
    """Cycles of im2col: of bytes, of rows of the kernel, and of rows that move with the window."""
    if _direct(packed, g):
        return 0.0
    row = g.kernel_width * g.input_channels
    interleaved = packed.layout == "interleaved"
    slow = 1.0 if target.startswith("xcv") else 3.0
    # A row of the kernel is taken in one run, but at borders of the image.
    runs = g.kernel_width if g.dilation_width > 1 else 1.0 if rows else 1.2
    fresh = g.stride_height if rows else g.kernel_height
    total = 0.0
    for count, pixels in _calls(packed, g, rows):
        if interleaved:
            total += count * fresh * (4 * row * 1.15 * slow + 190 * runs)
        else:
            total += count * pixels * fresh * (row * 0.52 * slow + 105 * runs)
        if rows:
            moved = (g.kernel_height - g.stride_height) / 2 * row
            total += count * (pixels * moved * 0.52 * slow + (20 if interleaved else 200))
    return total


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
