# SPDX-License-Identifier: BSD-3-Clause
"""Predicted cycles of kernels for filters, from what their parts take on CV32E40P."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nmpack.mcu.filters import PackedFilter
    from nmpack.mcu.filters_conv2d import Geometry


@dataclass(frozen=True, slots=True)
class Cost:
    """Cycles of a kernel's parts.

    Attributes:
        pixels: multiplied at a time.
        tile: channels of a tile.
        step: four kept columns, or a block of four, of one tile.
        begin: of each tile.
        output: of each output byte.
    """

    pixels: int
    tile: int
    step: float
    begin: float
    output: float


#: By kernel, for CV32E40P with XCV; kernels of several forms have one for fewer pixels left.
COSTS: dict[str, tuple[Cost, ...]] = {
    "dense4x4": (Cost(4, 4, 24, 40, 15), Cost(2, 4, 14, 40, 15), Cost(1, 4, 9, 40, 15)),
    "dense4x2": (Cost(2, 4, 14, 40, 15), Cost(1, 4, 9, 40, 15)),
    "dense1x2": (Cost(2, 1, 5, 20, 15),),
    "portable": (Cost(1, 1, 24, 30, 25),),
    "block4x4": (Cost(4, 4, 25, 50, 15),),
    "row1x1": (Cost(1, 1, 12, 20, 15),),
    "col4x1": (Cost(1, 4, 18, 40, 15),),
    "col8x1": (Cost(1, 8, 26, 60, 15),),
    "row1x4": (Cost(4, 1, 23, 20, 15),),
    "col4x4": (Cost(4, 4, 38, 50, 15),),
    "col8x4": (Cost(4, 8, 66, 90, 15),),
    "rownm": (Cost(2, 1, 50, 25, 15), Cost(1, 1, 34, 25, 15)),
    "rownm@xcv-nm": (Cost(2, 1, 25, 25, 15), Cost(1, 1, 14, 25, 15)),
    "colnm": (Cost(4, 4, 140, 50, 15), Cost(1, 4, 50, 40, 15)),
    "colnm@xcv-nm": (Cost(4, 4, 77, 50, 15), Cost(1, 4, 30, 40, 15)),
}
#: Without XCV: cycles for a multiply-add, by what it is surrounded by.
_PLAIN_MAC = {"dense": 3.0, "indexed": 3.2}
_PLAIN_COLUMN = 6.0


def kernel_cycles(
    kernel: str, steps: Sequence[int], channels: int, pixels: int, target: str
) -> float:
    """Return the predicted cycles of a kernel, without the gathering of its pixels.

    Args:
        kernel: a name of :data:`~nmpack.mcu.filters.KERNELS`.
        steps: of each tile of channels.
        channels: N.
        pixels: how many.
        target: one of ``TARGETS``.
    """
    name = kernel.rstrip("0123456789") if "nm" in kernel else kernel
    costs = COSTS.get(f"{name}@{target}", COSTS[name])
    if not target.startswith("xcv"):
        one = costs[0]
        width = 8 if "nm" in kernel else 4
        macs = sum(steps) * width * one.tile
        gathered = 0.0 if "dense" in kernel or kernel == "portable" else _PLAIN_COLUMN
        return pixels * (_PLAIN_MAC["dense"] * macs + gathered * sum(steps) * width + 25 * channels)
    total = 0.0
    left = pixels
    for place, cost in enumerate(costs):
        last = place == len(costs) - 1
        groups = -(-left // cost.pixels) if last else left // cost.pixels
        left -= groups * cost.pixels
        outputs = channels * cost.pixels * groups
        total += groups * (sum(steps) * cost.step + len(steps) * cost.begin) + outputs * cost.output
    return total


def gather_cycles(packed: PackedFilter, geometry: Geometry, target: str) -> float:
    """Return the predicted cycles of gathering the pixels of a convolution.

    Args:
        packed: the filter, whose kernel says how pixels lie.
        geometry: sizes of the convolution.
        target: one of ``TARGETS``.
    """
    from nmpack.mcu.filters_conv2d import gathered_bytes, window_rows

    if not gathered_bytes(packed, geometry):
        return 0.0
    g = geometry
    rows = window_rows(packed, g)
    fresh = g.kernel_height if not rows else g.stride_height
    moved = (g.kernel_height - g.stride_height) / 2 if rows else 0.0
    interleaved = packed.layout == "interleaved"
    if rows:
        pixels = g.batches * g.output_height * -(-g.output_width // packed.pixels) * packed.pixels
    else:
        pixels = -(-g.pixels // packed.pixels) * packed.pixels
    byte = (1.15 if interleaved else 0.52) * (1.0 if target.startswith("xcv") else 3.0)
    runs = g.kernel_width if interleaved or g.dilation_width > 1 else 1
    run = 25.0 if interleaved else 70.0
    row = g.kernel_width * g.input_channels
    copied = fresh * (row * byte + runs * run) + moved * row * 0.52
    return pixels * (copied + 20.0)
