# SPDX-License-Identifier: BSD-3-Clause
"""Operators of two int8 operands that are repeated to one shape.

What an operator makes of a pair of values is a table of 65536 results, calculated here as TFLite
does. From the table follows the cheapest form that gives it: a table of 256 bytes where one operand
has one value, one shift for a sum where factors are found that give every pair its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import (
    Context,
    activation_range,
    input_of,
    output_of,
    per_tensor,
    quantize_multiplier,
    refuse,
)
from nmpack.mcu.operators.costs import cycles, units
from nmpack.mcu.operators.fixed_point import VALUES, Array, fitted_sum, rescaled
from nmpack.mcu.operators.lookup import lookup_step
from nmpack.mcu.operators.walks import (
    broadcast_shape,
    initializer,
    pairs_of,
    scale_of,
)
from nmpack.mcu.step import Constant, Int8, Step

Scale = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operator computes.

    Attributes:
        table: ``[256, 256]`` int8: results of x (rows) and y, each from -128 on.
        function: C function that computes it for any pair.
        struct: of its parameters.
        values: them, without the walk.
        swapped: them, where x and y change places; None where they cannot.
        ratios: by how many results one step of x and of y moves, where that is constant.
        cost: of the kernel, in :mod:`nmpack.mcu.operators.costs`.
        sources: further files.
    """

    table: Int8
    function: str
    struct: str
    values: dict[str, Any]
    swapped: dict[str, Any] | None
    ratios: tuple[float, float] | None = None
    cost: str = "add"
    sources: tuple[str, ...] = ()


def _below_one(node: Node, real: float) -> Scale:
    """Return a multiplier that TFLite requires to be less than 1."""
    q, shift = quantize_multiplier(real)
    if not 0.0 < real < 1.0 or shift > 0:
        refuse(node, f"expected scales with a factor below 1 between them, got {real:.3g}")
    return q, shift


def _fitting(node: Node, real: float, bits: int) -> Scale:
    """Return a multiplier that keeps a value of ``bits`` bits within int32."""
    q, shift = quantize_multiplier(real)
    if shift > 31 - bits:
        refuse(node, f"an output scale that is {real:.3g} times finer than its inputs' is too fine")
    return q, shift


def _activation(node: Node, kind: str, output: Tensor) -> tuple[int, int]:
    options = node.options_of(kind)
    name = "NONE" if options is None else options.fused_activation_function
    return activation_range(node, str(name), output)


def _table(values: Array, zero_point: int, ends: tuple[int, int]) -> Int8:
    table: Int8 = np.clip(values + zero_point, *ends).astype(np.int8)
    return table


def _arithmetic(
    zero_points: tuple[int, int, int], scales: tuple[Scale, Scale, Scale], ends: tuple[int, int]
) -> dict[str, Any]:
    names = ("x_zero_point", "y_zero_point", "output_zero_point")
    places = ("x_scale", "y_scale", "output_scale")
    return {
        **{name: scale_of(*scale) for name, scale in zip(places, scales, strict=True)},
        **dict(zip(names, zero_points, strict=True)),
        "x_sign": 1, "y_sign": 1, "min": ends[0], "max": ends[1],
    }  # fmt: skip


def _exchanged(values: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with x and y exchanged."""
    names = {"x_scale": "y_scale", "x_zero_point": "y_zero_point", "x_sign": "y_sign"}
    names |= {other: name for name, other in names.items()}
    return {names.get(name, name): value for name, value in values.items()}


def _sum(node: Node, x: Tensor, y: Tensor, output: Tensor, sign: int) -> Operation:
    (x_scale, x_zero), (y_scale, y_zero) = per_tensor(node, x, "x"), per_tensor(node, y, "y")
    scale, zero = per_tensor(node, output, "output")
    twice = 2.0 * max(x_scale, y_scale)
    real = twice / float(np.float32(2.0**20) * np.float32(scale))
    factors = (_below_one(node, x_scale / twice), _below_one(node, y_scale / twice))
    last = _fitting(node, real, 29) if sign < 0 else _below_one(node, real)
    ends = _activation(node, "SubOptions" if sign < 0 else "AddOptions", output)
    first = rescaled((VALUES - x_zero) << 20, *factors[0])
    second = rescaled((VALUES - y_zero) << 20, *factors[1])
    total = rescaled(first[:, None] + sign * second[None, :], *last)
    values = _arithmetic((x_zero, y_zero, zero), (*factors, last), ends) | {"y_sign": sign}
    return Operation(
        _table(total, zero, ends), "nm_add_s8", "struct nm_arithmetic_s8",
        values, _exchanged(values),
        (x_scale / scale, sign * y_scale / scale),
    )  # fmt: skip


def _add(node: Node, x: Tensor, y: Tensor, output: Tensor) -> Operation:
    return _sum(node, x, y, output, 1)


def _sub(node: Node, x: Tensor, y: Tensor, output: Tensor) -> Operation:
    return _sum(node, x, y, output, -1)


def _mul(node: Node, x: Tensor, y: Tensor, output: Tensor) -> Operation:
    (x_scale, x_zero), (y_scale, y_zero) = per_tensor(node, x, "x"), per_tensor(node, y, "y")
    scale, zero = per_tensor(node, output, "output")
    with np.errstate(all="ignore"):
        real = float(np.float32(x_scale) * np.float32(y_scale) / np.float32(scale))
    last = _fitting(node, real, 17)
    ends = _activation(node, "MulOptions", output)
    products = (VALUES - x_zero)[:, None] * (VALUES - y_zero)[None, :]
    values = _arithmetic((x_zero, y_zero, zero), ((0, 0), (0, 0), last), ends)
    return Operation(
        _table(rescaled(products, *last), zero, ends), "nm_mul_s8", "struct nm_arithmetic_s8",
        values, _exchanged(values), cost="mul", sources=("mul_row_s8.c",),
    )  # fmt: skip


def _squared_difference(node: Node, x: Tensor, y: Tensor, output: Tensor) -> Operation:
    (x_scale, x_zero), (y_scale, y_zero) = per_tensor(node, x, "x"), per_tensor(node, y, "y")
    scale, zero = per_tensor(node, output, "output")
    twice = 2.0 * max(x_scale, y_scale)
    real = twice * twice / float(np.float32(2.0**14) * np.float32(scale))
    factors = (_below_one(node, x_scale / twice), _below_one(node, y_scale / twice))
    last = _below_one(node, real)
    first = rescaled((VALUES - x_zero) << 7, *factors[0])
    second = rescaled((VALUES - y_zero) << 7, *factors[1])
    squares = rescaled((first[:, None] - second[None, :]) ** 2, *last)
    ends = (-128, 127)
    values = _arithmetic((x_zero, y_zero, zero), (*factors, last), ends)
    return Operation(
        _table(squares, zero, ends), "nm_squared_difference_s8", "struct nm_arithmetic_s8",
        values, _exchanged(values), cost="squared_difference",
    )  # fmt: skip


def _prelu(node: Node, x: Tensor, y: Tensor, output: Tensor) -> Operation:
    (x_scale, x_zero), (y_scale, y_zero) = (
        per_tensor(node, x, "input"),
        per_tensor(node, y, "alpha"),
    )
    scale, zero = per_tensor(node, output, "output")
    with np.errstate(all="ignore"):
        plain = float(np.float32(x_scale) / np.float32(scale))
        sloped = float(np.float32(x_scale) * np.float32(y_scale) / np.float32(scale))
    factors = (_fitting(node, plain, 9), _fitting(node, sloped, 17))
    moved = VALUES - x_zero
    negative = rescaled(moved[:, None] * (VALUES - y_zero)[None, :], *factors[1])
    results = np.where(moved[:, None] >= 0, rescaled(moved, *factors[0])[:, None], negative)
    ends = (-128, 127)
    if x.shape != output.shape:
        refuse(node, f"expected an output of {list(x.shape)}, got {list(output.shape)}")
    values = _arithmetic((x_zero, y_zero, zero), (*factors, (0, 0)), ends)
    return Operation(
        _table(results, zero, ends), "nm_prelu_s8", "struct nm_arithmetic_s8", values, None,
        cost="prelu",
    )  # fmt: skip


def _extreme(node: Node, x: Tensor, y: Tensor, output: Tensor) -> Operation:
    of = {per_tensor(node, tensor, "operand") for tensor in (x, y, output)}
    if len(of) != 1:
        refuse(node, f"expected one scale and zero point of both operands and output, got {of}")
    choose = np.maximum if node.name == "MAXIMUM" else np.minimum
    table = choose(VALUES[:, None], VALUES[None, :]).astype(np.int8)
    function = f"nm_{node.name.lower()}_s8"
    return Operation(table, function, "struct nm_extreme_s8", {}, {}, cost="extreme")


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
    operation = _OPERATIONS[node.name](node, x, y, output)
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
    swapped = operation.swapped
    fitted = None if operation.ratios is None else fitted_sum(operation.table, *operation.ratios)
    if fitted is not None:
        function, struct, values = "nm_weighted_sum_s8", "struct nm_weighted_sum_s8", fitted
        swapped = fitted | {"x_factor": fitted["y_factor"], "y_factor": fitted["x_factor"]}
        sources, cost, kernel = ("weighted_sum_row_s8.c",), "one shift", "one shift"
    if x.data is not None and y.data is None and swapped is not None:
        x, y, values = y, x, swapped
    constants: tuple[Constant, ...] = ()
    operands = [x, y]
    if x.data is not None and y.data is not None:
        refuse(node, "expected an operand that is computed, got two constants")
    if x.data is not None:
        refuse(node, "expected a computed first operand, got a constant")
    if y.data is not None:
        stored = np.ascontiguousarray(y.data).reshape(-1).astype(np.int8)
        constants, operands = (Constant("constant", stored),), [x]
        values = {"constant": "{constant}", **values}
        function = function.removesuffix("_s8") + "_constant_s8"
    whole = [place for place, tensor in enumerate(operands) if tensor.shape == output.shape]
    pairs = pairs_of(x.shape, y.shape, output.shape)
    rows = math.prod(pairs["size"][:-1])
    file = {"nm_maximum": "extreme", "nm_minimum": "extreme"}.get(
        operation.function.removesuffix("_s8"), operation.function[3:-3]
    )
    file = "weighted_sum" if fitted is not None else file
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
    table = _OPERATIONS[node.name](node, x, y, output).table
    return [table[x.data.astype(np.int64) + 128, y.data.astype(np.int64) + 128]]


_OPERATIONS: dict[str, Callable[[Node, Tensor, Tensor, Tensor], Operation]] = {
    "ADD": _add,
    "SUB": _sub,
    "MUL": _mul,
    "SQUARED_DIFFERENCE": _squared_difference,
    "PRELU": _prelu,
    "MAXIMUM": _extreme,
    "MINIMUM": _extreme,
}
LOWERINGS = dict.fromkeys(_OPERATIONS, _lower)
FOLDINGS = dict.fromkeys(_OPERATIONS, _fold)
