# SPDX-License-Identifier: BSD-3-Clause
"""Operators of two int8 operands that are repeated to one shape.

What an operator makes of a pair of values is a table of 65536 results, calculated here as TFLite
does. From the table follows the cheapest form that gives it: a table of 256 bytes where one operand
has one value, one shift where factors are found that give every pair its result.
"""

from __future__ import annotations

import math

import numpy as np

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.arithmetic import OPERATIONS, Operation, exchanged
from nmpack.mcu.operators.context import Context, input_of, output_of, refuse
from nmpack.mcu.operators.costs import COSTS, cycles, units
from nmpack.mcu.operators.fixed_point import Array
from nmpack.mcu.operators.lookup import lookup_step
from nmpack.mcu.operators.walks import broadcast_shape, initializer, pairs_of
from nmpack.mcu.step import Constant, Int8, Step


def _operands(node: Node) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, y and the output, which has the shape that they are repeated to."""
    if len(node.inputs) != 2:
        refuse(node, f"expected two inputs, got {len(node.inputs)}")
    x, y, output = input_of(node, 0, "x"), input_of(node, 1, "y"), output_of(node)
    shape = broadcast_shape(node, x.shape, y.shape)
    if shape != output.shape:
        refuse(node, f"expected an output of {list(shape)}, got {list(output.shape)}")
    return x, y, output


def _lower(node: Node, _: Context) -> list[Step]:
    x, y, output = _operands(node)
    operation = OPERATIONS[node.name](node, x, y, output)
    table = operation.table
    if x is y:
        return [lookup_step(node, x, output, np.ascontiguousarray(np.diagonal(table)))]
    if y.data is not None and (y.data == y.data.flat[0]).all() and x.shape == output.shape:
        return [lookup_step(node, x, output, table[:, int(y.data.flat[0]) + 128])]
    if x.data is not None and (x.data == x.data.flat[0]).all() and y.shape == output.shape:
        return [lookup_step(node, y, output, table[int(x.data.flat[0]) + 128])]
    return [_step(node, x, y, output, operation)]


def _step(node: Node, x: Tensor, y: Tensor, output: Tensor, operation: Operation) -> Step:
    function, struct, values = operation.function, operation.struct, operation.values
    sources, cost, kernel = operation.sources, operation.cost, "rescale"
    swapped, arrays = operation.swapped, dict[str, Array]()
    fitted = operation.fit() if operation.fit is not None else None
    if fitted is not None:
        function, struct, values, arrays = fitted
        swapped = exchanged(values)
        name = function[3:-3]
        sources, cost, kernel = (f"{name}_row_s8.c",), name, "one shift"
    if x.data is not None and y.data is None and swapped is not None:
        x, y, values = y, x, swapped
    constants = tuple(Constant(name, array) for name, array in arrays.items())
    operands = [x, y]
    if x.data is not None and y.data is not None:
        refuse(node, "expected an operand that is computed, got two constants")
    if x.data is not None:
        refuse(node, "expected a computed first operand, got a constant")
    if y.data is not None:
        stored = np.ascontiguousarray(y.data).reshape(-1).astype(np.int8)
        constants, operands = (*constants, Constant("constant", stored)), [x]
        values = {"constant": "{constant}", **values}
        function = function.removesuffix("_s8") + "_constant_s8"
    whole = [place for place, tensor in enumerate(operands) if tensor.shape == output.shape]
    pairs = pairs_of(x.shape, y.shape, output.shape)
    rows = math.prod(pairs["size"][:-1])
    if f"{cost} by one" in COSTS and 0 in (pairs["stride1"][-1], pairs["stride2"][-1]):
        cost = f"{cost} by one"
    file = {"nm_maximum": "extreme", "nm_minimum": "extreme"}.get(
        operation.function.removesuffix("_s8"), operation.function[3:-3]
    )
    file = function[3:-3].removesuffix("_constant") if fitted is not None else file
    return Step(
        node.index, node.name, function, (f"{file}_s8.c", "each_row_s8.c", *sources), struct,
        initializer({"pairs": pairs, **values}), constants,
        tuple(tensor.index for tensor in operands), (output.index,),
        in_place=whole[0] if whole else None, layer=node.label, kernel=kernel,
        cycles=cycles(units(cost, output=output.elements, row=rows)),
    )  # fmt: skip


def _fold(node: Node, _: Context) -> list[Int8] | None:
    """Return the output of two constants."""
    if any(tensor is None or tensor.data is None for tensor in node.inputs):
        return None
    x, y, output = _operands(node)
    assert x.data is not None
    assert y.data is not None
    table = OPERATIONS[node.name](node, x, y, output).table
    return [table[x.data.astype(np.int64) + 128, y.data.astype(np.int64) + 128]]


LOWERINGS = dict.fromkeys(OPERATIONS, _lower)
FOLDINGS = dict.fromkeys(OPERATIONS, _fold)
