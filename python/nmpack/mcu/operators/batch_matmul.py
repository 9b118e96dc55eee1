# SPDX-License-Identifier: BSD-3-Clause
"""Products of two computed matrices, for each of a batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import (
    Context,
    input_of,
    output_of,
    per_tensor,
    quantize_multiplier,
    refuse,
)
from nmpack.mcu.operators.costs import cycles, units
from nmpack.mcu.operators.walks import (
    broadcast_shape,
    fine_scale_of,
    initializer,
    merged,
    repeated_strides,
    scale_of,
)
from nmpack.mcu.step import Constant, Step

# Sums of products of two int8 values less their zero points are below 2^30.
_MOST_DEPTH = (1 << 30) // (255 * 255) - 1


def _batch_matmul(node: Node, _: Context) -> list[Step]:
    x, y, output = input_of(node, 0, "x"), input_of(node, 1, "y"), output_of(node)
    if not 2 <= len(x.shape) <= 5 or not 2 <= len(y.shape) <= 5:
        refuse(node, f"expected 2 to 5 axes, got {list(x.shape)} and {list(y.shape)}")
    if x.data is not None:
        refuse(node, "expected a computed first operand, got a constant")
    options = node.options_of("BatchMatMulOptions")
    adj_x = options is not None and bool(options.adj_x)
    adj_y = options is not None and bool(options.adj_y)
    rows, depth = (x.shape[-1], x.shape[-2]) if adj_x else x.shape[-2:]
    columns, other = y.shape[-2:] if adj_y else (y.shape[-1], y.shape[-2])
    batch = broadcast_shape(node, x.shape[:-2], y.shape[:-2])
    shape = (*batch, rows, columns)
    if depth != other or shape != output.shape:
        refuse(
            node,
            f"expected an output of {list(shape)} and {depth} products, "
            f"got {list(output.shape)} and {other}",
        )
    if depth > _MOST_DEPTH:
        refuse(node, f"expected sums of at most {_MOST_DEPTH} products, got {depth}")
    values = _batches(x, y, batch) | {"rows": rows, "columns": columns, "depth": depth}
    values |= _scaled(node, x, y, output, depth)
    constants: tuple[Constant, ...] = ()
    if y.data is not None:
        stored = y.data if adj_y else np.swapaxes(y.data, -1, -2)
        constants = (Constant("constant", np.ascontiguousarray(stored).reshape(-1)),)
        values = {"constant": "{constant}", **values}
    turn_y = not adj_y and y.data is None
    values |= {"turn_x": int(adj_x), "turn_y": int(turn_y)}
    words = -(-depth // 4) * 4
    wide = -(-columns // 4) * 4
    scratch = 4 * (rows + wide) + words * wide + wide
    copied = rows if adj_x or depth % 4 else 0
    scratch += copied * words
    macs = math.prod(batch) * rows * columns * depth
    spent = _units(math.prod(batch), rows, columns, words, turned=turn_y, copied=copied)
    step = Step(
        node.index,
        node.name,
        "nm_batch_matmul_constant_s8" if constants else "nm_batch_matmul_s8",
        ("batch_matmul_s8.c", "product_rows_s8.c", "add_columns_s8.c", "im2col_s8.c"),
        "struct nm_batch_matmul_s8",
        initializer(values),
        constants,
        (x.index,) if constants else (x.index, y.index),
        (output.index,),
        scratch_bytes=-(-scratch // 4) * 4,
        layer=node.label,
        kernel="rows 4x4",
        macs=macs,
        dense_macs=macs,
        cycles=cycles(spent),
    )  # fmt: skip
    return [step]


def _units(
    count: int, rows: int, columns: int, words: int, *, turned: bool, copied: int
) -> dict[tuple[str, str], float]:
    """Return units of ``count`` products whose rows are ``words`` bytes."""
    strips, single = divmod(rows, 4)
    tiles = -(-columns // 4)
    spent = units("product", byte=16 * count * strips * tiles * words, tile=count * strips * tiles)
    spent |= units(
        "product of a row", byte=4 * count * single * tiles * words, tile=count * single * tiles
    )
    spent |= units("turned words" if turned else "words", byte=count * columns * words)
    spent |= units("sum rows", byte=count * rows * words, row=count * rows)
    spent |= units("sum columns", byte=count * columns * words, column=count * columns)
    spent |= units("copy", byte=count * copied * words, run=count * copied)
    return spent


def _batches(x: Tensor, y: Tensor, batch: tuple[int, ...]) -> dict[str, Any]:
    """Return the axes of batches, at most three, and their strides in matrices."""
    sizes, strides = merged(
        batch, *(repeated_strides(tensor.shape[:-2], batch) for tensor in (x, y))
    )
    lead = 3 - len(sizes)
    return {
        "batch": [1] * lead + sizes,
        "x_stride": [0] * lead + strides[0],
        "y_stride": [0] * lead + strides[1],
    }


def _scaled(node: Node, x: Tensor, y: Tensor, output: Tensor, depth: int) -> dict[str, Any]:
    of = [per_tensor(node, tensor, what) for tensor, what in ((x, "x"), (y, "y"))]
    scale, zero_point = per_tensor(node, output, "output")
    real = float(np.float32(of[0][0]) * np.float32(of[1][0])) / scale
    q, shift = quantize_multiplier(real)
    if 255 * 255 * depth << max(shift, 0) >= 1 << 30:
        refuse(node, f"sums of {depth} products scaled by {real:.3g} do not fit int32")
    most = depth * _largest(of[0][1]) * _largest(of[1][1])
    return {
        "x_zero_point": of[0][1], "y_zero_point": of[1][1], "output_zero_point": zero_point,
        "scale": scale_of(q, shift), "fine": fine_scale_of(q, shift, most, zero_point),
    }  # fmt: skip


def _largest(zero_point: int) -> int:
    return max(127 - zero_point, 128 + zero_point)


LOWERINGS = {"BATCH_MATMUL": _batch_matmul}
