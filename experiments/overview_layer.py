# SPDX-License-Identifier: BSD-3-Clause
"""The layer of docs/overview.md: what a real filter's zeros become, by the costs of kernels.toml.

It follows the C code, for images of one group whose pixels are together in memory and without
an addition: kernels/src/operators/nm-analysis.c, nm-costs.c, nm-nhwc.c and nm-compute-cnhw.c.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack import NMPattern
from nmpack.sparsity.mask import compute_mask, used_columns

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "scripts"))
from nmpack_tools.kernelspec import load_spec  # noqa: E402
from nmpack_tools.kerneltypes import F32  # noqa: E402

ISA = "avx512f"
#: Rows and columns of XNNPACK's dense micro-kernel there (src/configs/gemm-config.c).
DENSE_TILE = (7, 32)
KERNEL, INPUTS, OUTPUTS, SIDE = 3, 8, 32, 56
PATTERN = NMPattern(1, 4, tile=8)
PIXELS, TAPS = SIDE * SIDE, KERNEL * KERNEL
COLUMNS = TAPS * INPUTS
THREADS, FLOAT = 2, 4

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


def drawn_filter() -> tuple[Floats, Bools]:
    """Return random weights ``[Cout, kh, kw, Cin]`` and their mask."""
    shape = (OUTPUTS, KERNEL, KERNEL, INPUTS)
    # RandomState, because its numbers are the same in every version of numpy.
    weights = np.random.RandomState(1).standard_normal(shape).astype(np.float32)
    return weights, compute_mask(weights, PATTERN)


@cache
def costs(isa: str = ISA) -> dict[str, Any]:
    """Return the costs of an instruction set, and its micro-kernels as (MR, NR)."""
    spec = load_spec(ROOT / "kernels").types[F32]
    table = spec.costs[isa]
    members: dict[str, Any] = dict(table.members)
    members["granularity"] = spec.strips[isa].granularity
    members["tiles"] = [(tile.mr, tile.nr.count) for slot in table.nmconv for tile in slot]
    members["nmspmm_percent"] = [
        {(tile.mr, tile.nr.count): percent for tile, percent in slot.items()}
        for slot in table.nmspmm
    ]
    return members


@dataclass(frozen=True, slots=True)
class Nhwc:
    """The filter on one micro-kernel of NHWC images: the kept columns of each of its tiles."""

    mr: int
    nr: int
    used: Bools
    cost: float

    @property
    def weights_size(self) -> int:
        """Bytes of biases and weights; those of the rows that keep nothing there are zeros."""
        return self.nr * (len(self.used) + int(self.used.sum())) * FLOAT


@dataclass(frozen=True, slots=True)
class Cnhw:
    """The filter on the micro-kernels of one strip width: its blocks of rows."""

    nr: int
    heights: tuple[int, ...]
    used: Bools
    cost: float

    @property
    def packed(self) -> Bools:
        """Columns that any block keeps."""
        return np.asarray(self.used.any(axis=0))

    @property
    def weights_size(self) -> int:
        """Bytes of biases and weights."""
        kept = self.used.sum(axis=1)
        return sum(h * (1 + int(k)) for h, k in zip(self.heights, kept, strict=True)) * FLOAT


def predict_dense(isa: str = ISA) -> float:
    """Time of the dense operator for one pixel."""
    c, (mr, nr) = costs(isa), DENSE_TILE
    column = (c["dense_column"] + c["dense_weight"] * mr * nr) * c["igemm_percent"] / 100
    tiles = math.ceil(OUTPUTS / nr)
    time = tiles * (COLUMNS + c["tile_columns"]) * column * math.ceil(PIXELS / mr) / PIXELS
    return float(time + predict_weights(OUTPUTS * COLUMNS, isa))


def predict_weights(count: int, isa: str = ISA) -> float:
    """Time for one pixel to bring so many weights from beyond the second cache."""
    return float(costs(isa)["weight_byte"] * count * FLOAT / PIXELS)


def predict_conversions(isa: str = ISA) -> float:
    """Time for one pixel to bring the input to CNHW and the output back."""
    c, time = costs(isa), 0.0
    for channels in (INPUTS, OUTPUTS):
        large = PIXELS * channels * FLOAT > c["large_image_size"]
        element = c["large_converted_element" if large else "converted_element"]
        time += c["conversion"] / PIXELS + element * channels
    return time


def nhwc(nonzero: Bools, isa: str = ISA) -> list[Nhwc]:
    """Return what each micro-kernel of NHWC images would make of the filter."""
    c = costs(isa)
    padded = c["padding"] + c["padded_element"] * (SIDE + KERNEL - 1) ** 2 * INPUTS
    rest = (c["nhwc_operator"] + padded) / PIXELS
    result = []
    for (mr, nr), percent in zip(c["tiles"], c["nmconv_percent"], strict=True):
        used, _ = used_columns(nonzero, nr, 1)
        columns = int(used.sum()) + len(used) * c["tile_columns"]
        cost = nr * columns * percent / 100 + len(used) * c["nmconv_call"] / mr
        cost *= math.ceil(PIXELS / mr) * mr / PIXELS
        cost += predict_weights(nr * int(used.sum()), isa)
        result.append(Nhwc(mr, nr, used, cost + rest))
    return result


def cnhw(nonzero: Bools, isa: str = ISA) -> list[Cnhw]:
    """Return how the filter's rows would be cut into blocks for each strip width."""
    c = costs(isa)
    packed = nonzero.any(axis=0)
    taps = int(packed.reshape(TAPS, INPUTS).any(axis=1).sum())
    result = []
    for slot, pack_percent in zip(c["nmspmm_percent"], c["pack_percent"], strict=True):
        nr = next(iter(slot))[1]
        granularity = c["granularity"] or nr
        percents = {rows: percent for (rows, _), percent in slot.items()}
        heights, cost = cut(nonzero, percents, c["nmspmm_call"] / nr, c["block_columns"])
        cost += int(packed.sum()) * pack_percent / 100 + taps * c["packed_tap"] / granularity
        cost *= max(math.ceil(PIXELS / granularity) * granularity, nr) / PIXELS
        rows = zip(np.cumsum(heights), heights, strict=True)
        used = np.array([nonzero[end - height : end].any(axis=0) for end, height in rows])
        kept = zip(heights, used.sum(axis=1), strict=True)
        cost += predict_weights(sum(height * int(columns) for height, columns in kept), isa)
        result.append(Cnhw(nr, heights, used, cost + c["cnhw_operator"] / PIXELS))
    return result


def cut(
    nonzero: Bools, percents: dict[int, float], call: float, block_columns: float
) -> tuple[tuple[int, ...], float]:
    """Cut rows into the blocks that cost least: dynamic programming over where a block ends."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(nonzero) + 1):
        options = []
        for rows, percent in percents.items():
            if rows <= end:
                columns = int(nonzero[end - rows : end].any(axis=0).sum())
                time = call + rows * (columns + block_columns) * percent / 100
                options.append((best[end - rows][0] + time, rows))
        best.append(min(options))
    heights = []
    end = len(nonzero)
    while end:
        heights.append(best[end][1])
        end -= best[end][1]
    return tuple(reversed(heights)), best[-1][0]


@dataclass(frozen=True, slots=True)
class Tasks:
    """CNHW: the strips of a task, whole tasks of each thread, strips that all share, and how."""

    strips: int
    task_strips: int
    thread_tasks: int
    shared: int
    row_tasks: int


def cnhw_tasks(layer: Cnhw, isa: str = ISA) -> Tasks:
    """Deal the strips of an image that is packed and lies in no bands to the threads."""
    c = costs(isa)
    strips = math.ceil(PIXELS / layer.nr)
    fitting = int(c["strips_size"]) // (int(layer.packed.sum()) * layer.nr * FLOAT)
    task_strips = min(fitting, max(strips // (THREADS * int(c["cnhw_tasks"])), 1))
    thread_tasks = PIXELS // (layer.nr * task_strips) // THREADS
    whole = thread_tasks * THREADS
    weights = sum(h * int(k) for h, k in zip(layer.heights, layer.used.sum(axis=1), strict=True))
    packing = c["packed_column"] * int(layer.packed.sum()) / weights
    left = PIXELS / (layer.nr * task_strips) - whole

    def busiest(rows: int) -> Any:
        full, task = max(round(left), 1), 1 / rows + packing
        last = (left - full) / rows + packing if left > full else 0.0
        return max(math.ceil(full * rows / THREADS) * task, rows * (full * task + last) / THREADS)

    row_tasks = min(range(1, min(THREADS, len(layer.heights)) + 1), key=busiest)
    return Tasks(strips, task_strips, thread_tasks, strips - whole * task_strips, row_tasks)


def nhwc_task_blocks(layer: Nhwc, isa: str = ISA) -> int:
    """Return how many blocks of MR pixels one task has, where one task has all tiles."""
    num_blocks = math.ceil(PIXELS / layer.mr)
    most = max(num_blocks // (THREADS * int(costs(isa)["nhwc_tasks"])), 1)

    def busiest(blocks: int) -> int:
        return math.ceil(math.ceil(num_blocks / blocks) / THREADS) * blocks

    return min(range(most, most // 2, -1), key=busiest)
