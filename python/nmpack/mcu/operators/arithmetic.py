# SPDX-License-Identifier: BSD-3-Clause
"""What operators of two int8 operands compute, as TFLite does, for any pair of values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import (
    activation_range,
    per_tensor,
    quantize_multiplier,
    refuse,
)
from nmpack.mcu.operators.fixed_point import (
    VALUES,
    Array,
    fitted_high_word,
    fitted_sum,
    fitted_tables,
    rescaled,
)
from nmpack.mcu.operators.walks import fine_scale_of, scale_of
from nmpack.mcu.step import Int8

Scale = tuple[int, int]
Form = tuple[str, str, dict[str, Any], dict[str, Array]]


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operator computes.

    Attributes:
        table: ``[256, 256]`` int8: results of x (rows) and y, each from -128 on.
        function: C function that computes it for any pair.
        struct: of its parameters.
        values: them, without the walk.
        swapped: them, where x and y change places; None where they cannot.
        fit: searches for a cheaper form: its function, struct, parameters and the arrays that they
            name; None where there is none. Of parameters that begin with x_ and y_, each is of
            that operand, and operands may be exchanged.
        cost: of the kernel, in :mod:`nmpack.mcu.operators.costs`.
        sources: further files.
    """

    table: Int8
    function: str
    struct: str
    values: dict[str, Any]
    swapped: dict[str, Any] | None
    fit: Callable[[], Form | None] | None = None
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


def exchanged(values: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with x and y exchanged."""
    names = {"x_": "y_", "y_": "x_"}
    return {names.get(name[:2], name[:2]) + name[2:]: value for name, value in values.items()}


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
    table = _table(total, zero, ends)

    def fit() -> Form | None:
        found = fitted_sum(table, x_scale / scale, sign * y_scale / scale)
        if found is not None:
            return "nm_weighted_sum_s8", "struct nm_weighted_sum_s8", found, {}
        tables = fitted_tables(table, first, sign * second, real)
        if tables is None:
            return None
        form = {"x_table": "{x_table}", "y_table": "{y_table}"} | tables[0]
        arrays = {
            name: np.roll(values, 128).astype(np.int32)
            for name, values in zip(("x_table", "y_table"), tables[1:], strict=True)
        }
        return "nm_table_sum_s8", "struct nm_table_sum_s8", form, arrays

    values = _arithmetic((x_zero, y_zero, zero), (*factors, last), ends) | {"y_sign": sign}
    return Operation(table, "nm_add_s8", "struct nm_arithmetic_s8", values, exchanged(values), fit)


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
    table = _table(rescaled(products, *last), zero, ends)

    values = _arithmetic((x_zero, y_zero, zero), ((0, 0), (0, 0), last), ends)
    values["fine"] = fine_scale_of(*last, int(np.abs(products).max()), zero)
    return Operation(
        table, "nm_mul_s8", "struct nm_arithmetic_s8", values, exchanged(values),
        cost="mul", sources=("mul_row_s8.c",),
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
    squares = (first[:, None] - second[None, :]) ** 2
    ends = (-128, 127)
    table = _table(rescaled(squares, *last), zero, ends)

    def fit() -> Form | None:
        found = fitted_high_word(table, squares, 32, real)
        if found is None:
            return None
        form = {"x_table": "{x_table}", "y_table": "{y_table}"} | found
        tables = {"x_table": first.astype(np.int16), "y_table": second.astype(np.int16)}
        return "nm_distance_s8", "struct nm_distance_s8", form, tables

    values = _arithmetic((x_zero, y_zero, zero), (*factors, last), ends)
    return Operation(
        table, "nm_squared_difference_s8", "struct nm_arithmetic_s8", values, exchanged(values),
        fit, cost="squared_difference",
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


#: By operator.
OPERATIONS: dict[str, Callable[[Node, Tensor, Tensor, Tensor], Operation]] = {
    "ADD": _add,
    "SUB": _sub,
    "MUL": _mul,
    "SQUARED_DIFFERENCE": _squared_difference,
    "PRELU": _prelu,
    "MAXIMUM": _extreme,
    "MINIMUM": _extreme,
}
