# SPDX-License-Identifier: BSD-3-Clause
"""Where a network goes from float32 to int8 and back.

Generated C does no arithmetic in floating point there either: most of these cores have none. What
TFLite divides, rounds and clamps is a search among 255 thresholds; what it multiplies, a table.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import Context, input_of, output_of, per_tensor, refuse
from nmpack.mcu.operators.costs import cycles, units
from nmpack.mcu.operators.float_chains import ends_in_int8
from nmpack.mcu.operators.walks import initializer
from nmpack.mcu.step import Constant, Step

Orders = npt.NDArray[np.int64]
_LARGEST = 0x7F800000  # infinity


def thresholds(scale: float, zero_point: int) -> npt.NDArray[np.int32]:
    """Return, for each int8 value but the least, the least float32 that is quantized to it or more.

    Args:
        scale: a float32.
        zero_point: of the result.

    Returns:
        ``[255]``, in the order of values: floats as integers of the same order.
    """
    wanted = np.arange(-127, 128) - zero_point
    # Halves are rounded away from zero.
    bound = wanted.astype(np.float32) - np.float32(0.5)
    low = np.full(255, -_LARGEST - 1, np.int64)
    high = np.full(255, _LARGEST, np.int64)
    with np.errstate(all="ignore"):
        while (high - low > 1).any():
            middle = (low + high) >> 1
            quotient = _floats(middle) / np.float32(scale)
            enough = np.where(wanted > 0, quotient >= bound, quotient > bound)
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high.astype(np.int32)


def _floats(orders: Orders) -> npt.NDArray[np.float32]:
    """Return the floats of integers in their order; -1 is -0.0."""
    bits = np.where(orders < 0, orders ^ 0x7FFFFFFF, orders)
    return bits.astype(np.int32).view(np.float32)


def quantize_from_float(node: Node) -> list[Step]:
    """Return the step of a QUANTIZE from float32 to int8."""
    source, output = input_of(node, 0, "input", "float32"), output_of(node)
    table = Constant("thresholds", thresholds(*per_tensor(node, output, "output")))
    return [_step(node, source, output, "quantize_f32", table)]


def _dequantize(node: Node, context: Context) -> list[Step]:
    if ends_in_int8(node.outputs[0], context.graph):
        return []
    source, output = input_of(node, 0), output_of(node, "float32")
    values = _values(node, source)
    table = Constant("values", np.roll(values, 128))
    return [_step(node, source, output, "dequantize_f32", table)]


def _values(node: Node, source: Tensor) -> npt.NDArray[np.float32]:
    """Return the real values of -128 and on."""
    scale, zero_point = per_tensor(node, source, "input")
    steps = np.arange(-128 - zero_point, 128 - zero_point, dtype=np.float32)
    with np.errstate(over="ignore"):
        values: npt.NDArray[np.float32] = np.float32(scale) * steps
    if not np.isfinite(values).all():
        refuse(node, f"a scale of {scale:.3g} has values that float32 has not")
    return values


def _fold(node: Node, _: Context) -> list[npt.NDArray[np.float32]] | None:
    """Return the real values of an int8 constant."""
    source = node.inputs[0] if node.inputs else None
    if source is None or source.data is None or source.dtype != "int8":
        return None
    output_of(node, "float32")
    return [_values(node, source)[source.data.astype(np.int64) + 128]]


def _step(node: Node, source: Tensor, output: Tensor, kind: str, table: Constant) -> Step:
    if source.shape != output.shape:
        refuse(node, f"expected an output of {list(source.shape)}, got {list(output.shape)}")
    functions: Mapping[str, str] = {
        "quantize_f32": "quantize_f32_s8",
        "dequantize_f32": "dequantize_s8_f32",
    }
    function = functions[kind]
    return Step(
        node.index, node.name, f"nm_{function}", (f"{function}.c",), f"struct nm_{kind}",
        initializer({table.name: f"{{{table.name}}}", "count": output.elements}), (table,),
        (source.index,), (output.index,), layer=node.label, kernel="table",
        cycles=cycles(units(kind, output=output.elements)),
    )  # fmt: skip


LOWERINGS = {"DEQUANTIZE": _dequantize}
FOLDINGS = {"DEQUANTIZE": _fold}
