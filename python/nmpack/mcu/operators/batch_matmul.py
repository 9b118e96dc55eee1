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
    scratch = 4 * (rows + columns) + depth * (rows * adj_x + columns * turn_y)
    macs = math.prod(batch) * rows * columns * depth
    blocks = math.prod(batch) * (rows // 4) * (columns // 2)
    single = output.elements - 8 * blocks
    spent = units("block_4x2", product=8 * blocks * depth, block=blocks)
    spent |= units("one output", product=single * depth, output=single)
    spent |= units("turn", byte=math.prod(batch) * depth * (rows * adj_x + columns * turn_y))
    summed = math.prod(batch) * (rows + columns)
    spent |= units("sum rows", byte=summed * depth, row=summed)
    step = Step(
        node.index,
        node.name,
        "nm_batch_matmul_constant_s8" if constants else "nm_batch_matmul_s8",
        ("batch_matmul_s8.c", "block_4x2_s8.c", "add_columns_s8.c"),
        "struct nm_batch_matmul_s8",
        initializer(values),
        constants,
        (x.index,) if constants else (x.index, y.index),
        (output.index,),
        scratch_bytes=-(-scratch // 4) * 4,
        layer=node.label,
        kernel="rows 4x2",
        macs=macs,
        dense_macs=macs,
        cycles=cycles(spent),
    )  # fmt: skip
    return [step]


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
    return {
        "x_zero_point": of[0][1], "y_zero_point": of[1][1], "output_zero_point": zero_point,
        "scale": scale_of(q, shift),
    }  # fmt: skip


LOWERINGS = {"BATCH_MATMUL": _batch_matmul}
