# SPDX-License-Identifier: BSD-3-Clause
"""SOFTMAX as TFLite's reference kernel computes it: in fixed point.

The exponential of a difference of two int8 values is one of 256, in Q0.31. They are calculated here
with the kernel's own polynomial, so generated C only looks them up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nmpack.mcu.graph import Node
from nmpack.mcu.operators.context import (
    Context,
    input_of,
    output_of,
    per_tensor,
    quantize_multiplier,
    refuse,
)
from nmpack.mcu.operators.costs import cycles, units
from nmpack.mcu.operators.fixed_point import Array, divided, rescaled
from nmpack.mcu.operators.walks import initializer
from nmpack.mcu.step import Constant, Step

_FRACTION_BITS = 26
_LARGEST = (1 << 31) - 1
# exp(-1/4), exp(-1/2), … exp(-16) in Q0.31.
_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_MINUS_EIGHTH = 1895147668
_THIRD = 715827883
# A sum of exponentials is kept in 12 bits before the point.
_MOST_DEPTH = (1 << 12) - 1


def exponentials(beta_scale: float) -> Array:
    """Return exp(-d * beta_scale) in Q0.31 for d = 0 to 255; 0 where TFLite drops it.

    Args:
        beta_scale: of inputs, times beta; more than 2^-26.

    Returns:
        ``[256]`` uint32, of d = 255 first.
    """
    q, shift = quantize_multiplier(min(beta_scale * 2.0**_FRACTION_BITS, float(_LARGEST)))
    farthest = math.floor(31 * (1 << _FRACTION_BITS) / (1 << shift))
    distances = np.arange(255, -1, -1, dtype=np.int64)
    known = np.minimum(distances, farthest)
    values = np.where(distances <= farthest, _exponential(rescaled(-known, q, shift)), 0)
    return values.astype(np.uint32)


def _product(a: Array, b: Any) -> Array:
    product: Array = (a * b + (1 << 30)) >> 31
    return product


def _exponential(values: Array) -> Array:
    """Return exp of not positive Q5.26 in Q0.31."""
    quarter = 1 << (_FRACTION_BITS - 2)
    rest = (values & (quarter - 1)) - quarter
    x = rest * 32 + (1 << 28)
    square = _product(x, x)
    cube, fourth = _product(square, x), _product(square, square)
    tail = divided(_product(divided(fourth, 2) + cube, _THIRD) + square, 1)
    result = _EXP_MINUS_EIGHTH + _product(x + tail, _EXP_MINUS_EIGHTH)
    remainder = rest - values
    for place, power in enumerate(_POWERS):
        is_set = (remainder >> (_FRACTION_BITS - 2 + place)) & 1
        result = np.where(is_set == 1, _product(result, power), result)
    return np.where(values == 0, _LARGEST, result)


def _softmax(node: Node, _: Context) -> list[Step]:
    source, output = input_of(node, 0), output_of(node)
    scale, _zero = per_tensor(node, source, "input")
    given = per_tensor(node, output, "output")
    if abs(given[0] * 256 - 1) > 0.001 or given[1] != -128:
        refuse(node, f"expected an output of scale 1/256 and zero point -128, got {given}")
    if source.shape != output.shape or not source.shape:
        refuse(node, f"expected an output of {list(source.shape)}, got {list(output.shape)}")
    options = node.options_of("SoftmaxOptions")
    beta = 0.0 if options is None else float(options.beta)
    if not 2.0**-_FRACTION_BITS < beta * scale < 2.0**31:
        refuse(node, f"expected a positive beta and scale, got {beta:.3g} and {scale:.3g}")
    depth = source.shape[-1]
    if depth > _MOST_DEPTH:
        refuse(node, f"expected rows of at most {_MOST_DEPTH} values, got {depth}")
    table = exponentials(beta * scale)
    values = {
        "exponentials": "{exponentials}", "rows": source.elements // depth, "depth": depth,
    }  # fmt: skip
    step = Step(
        node.index,
        node.name,
        "nm_softmax_s8",
        ("softmax_s8.c", "softmax_row_s8.c", "im2col_s8.c"),
        "struct nm_softmax_s8",
        initializer(values),
        (Constant("exponentials", table),),
        (source.index,),
        (output.index,),
        in_place=0,
        layer=node.label,
        kernel="fixed point",
        cycles=cycles(units("softmax", output=source.elements, row=source.elements // depth)),
    )  # fmt: skip
    return [step]


LOWERINGS = {"SOFTMAX": _softmax}
