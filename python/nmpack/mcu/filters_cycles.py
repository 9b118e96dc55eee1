# SPDX-License-Identifier: BSD-3-Clause
"""Predicted cycles of kernels for filters, from what their parts take on CV32E40P."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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


#: By kernel, for CV32E40P with XCV: instructions of its loops, and what they stall. Kernels of
#: several forms have one for fewer pixels left.
COSTS: dict[str, tuple[Cost, ...]] = {
    "dense4x4": (Cost(4, 4, 24, 83, 12), Cost(2, 4, 14, 63, 12), Cost(1, 4, 9, 49, 12)),
    "dense4x2": (Cost(2, 4, 14, 63, 12), Cost(1, 4, 9, 49, 12)),
    "dense1x2": (Cost(2, 1, 5, 18, 14), Cost(1, 1, 3, 22, 14)),
    "portable": (Cost(1, 1, 24, 30, 25),),
    "block4x4": (Cost(4, 4, 25, 87, 12), Cost(1, 4, 10, 54, 12)),
    "row1x1": (Cost(1, 1, 12, 18, 14),),
    "col4x1": (Cost(1, 4, 18, 52, 12),),
    "col8x1": (Cost(1, 8, 26, 101, 12),),
    "row1x4": (Cost(4, 1, 23, 21, 14),),
    "col4x4": (Cost(4, 4, 38, 86, 12),),
    "col8x4": (Cost(4, 8, 66, 168, 12),),
    "rownm": (Cost(2, 1, 48, 19, 14), Cost(1, 1, 33, 16, 14)),
    "rownm@xcv-nm": (Cost(4, 1, 47, 23, 14), Cost(2, 1, 25, 19, 14), Cost(1, 1, 14, 16, 14)),
    "colnm": (Cost(1, 4, 300, 80, 25),),
    "colnm@xcv-nm": (Cost(4, 4, 80, 83, 12), Cost(1, 4, 26, 49, 12)),
}
#: Of each group of pixels, and what one rounding saves of each output. Tiles that lack pixels are
#: written byte by byte.
_GROUP = 30
_ONCE = 4
#: Of each call of a kernel, and of preparing one.
_CALL = 100
#: Portable C on the same core without XCV: a multiply-add of each kernel, and an output.
_PLAIN = {
    "dense4x4": 3.0,
    "dense4x2": 3.0,
    "dense1x2": 4.5,
    "portable": 11.0,
    "block4x4": 3.6,
    "row1x1": 8.6,
    "col4x1": 5.0,
    "col8x1": 4.3,
    "row1x4": 5.6,
    "col4x4": 3.9,
    "col8x4": 4.1,
    "rownm": 9.2,
    "colnm": 5.3,
}
_PLAIN_OUTPUT = 60

#: How often a kernel is called, and with how many pixels.
Calls = Sequence[tuple[int, int]]


def kernel_cycles(
    kernel: str,
    steps: Sequence[int],
    channels: int,
    calls: Calls,
    target: str,
    *,
    once: bool = False,
) -> float:
    """Return the predicted cycles of a kernel, without the gathering of its pixels.

    Args:
        kernel: a name of :data:`~nmpack.mcu.filters.KERNELS`.
        steps: of each tile of channels.
        channels: N.
        calls: how often it is called, with how many pixels.
        target: one of ``TARGETS``.
        once: whether sums are rounded once.
    """
    name = kernel.rstrip("0123456789") if "nm" in kernel else kernel
    costs = COSTS.get(f"{name}@{target}", COSTS[name])
    if not target.startswith("xcv"):
        pixels = sum(count * size for count, size in calls)
        width = 8 if "nm" in kernel else 4
        macs = sum(steps) * width * costs[0].tile
        return pixels * (macs * _PLAIN[name] + _PLAIN_OUTPUT * channels)
    return sum(count * _call(costs, steps, size, once) for count, size in calls)


def _call(costs: Sequence[Cost], steps: Sequence[int], pixels: int, once: bool) -> float:
    total = float(_CALL)
    for place, cost in enumerate(costs):
        last = place == len(costs) - 1
        groups = -(-pixels // cost.pixels) if last else pixels // cost.pixels
        pixels -= groups * cost.pixels
        tiles = sum(steps) * cost.step + len(steps) * cost.begin
        outputs = len(steps) * cost.tile * cost.pixels * (cost.output - _ONCE * once)
        total += groups * (tiles + outputs + _GROUP)
        if pixels < 0 and cost.tile > 1:
            total += len(steps) * cost.tile / 4 * (20 + 30 * (cost.pixels + pixels))
    return total
