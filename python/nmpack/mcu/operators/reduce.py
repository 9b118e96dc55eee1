# SPDX-License-Identifier: BSD-3-Clause
"""Axes that become one value: means, extremes and where they are."""

from __future__ import annotations

import math
from typing import Any

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import (
    Context,
    constant_of,
    input_of,
    output_of,
    per_tensor,
    quantize_multiplier,
    refuse,
)
from nmpack.mcu.operators.costs import cycles, units
from nmpack.mcu.operators.walks import initializer, merged, scale_of, strides_of
from nmpack.mcu.step import Step

_FUNCTIONS = {
    "MEAN": "nm_mean_s8",
    "REDUCE_MAX": "nm_reduce_max_s8",
    "REDUCE_MIN": "nm_reduce_min_s8",
}


def _reduce(node: Node, _: Context) -> list[Step]:
    source, output = input_of(node, 0), output_of(node)
    axes = _axes(node, source)
    _require_shape(node, source, output, axes)
    values = _walk(source, axes)
    if node.name == "MEAN":
        values |= _scaled(node, source, output, math.prod(source.shape[axis] for axis in axes))
    elif per_tensor(node, source, "input") != per_tensor(node, output, "output"):
        refuse(node, "expected one scale and zero point of input and output")
    sources: tuple[str, ...] = ("reduce_s8.c",)
    cost = "reduce"
    if node.name == "MEAN":
        sources = ("mean_s8.c", "add_columns_s8.c")
        cost = "mean" if values["kept_stride"][2] == 1 else "mean of rows"
    step = Step(
        node.index,
        node.name,
        _FUNCTIONS[node.name],
        sources,
        "struct nm_reduce_s8",
        initializer(values),
        (),
        (source.index,),
        (output.index,),
        layer=node.label,
        kernel=node.name.lower(),
        cycles=cycles(units(cost, input=source.elements, output=output.elements)),
    )  # fmt: skip
    return [step]


def _axes(node: Node, source: Tensor) -> list[int]:
    """Return the axes that go, each once and in order."""
    axes = {int(axis) for axis in constant_of(node, 1, "axes", "int32").reshape(-1)[:64]}
    rank = len(source.shape)
    if any(not -rank <= axis < rank for axis in axes):
        refuse(node, f"expected axes of {list(source.shape)}, got {sorted(axes)}")
    return sorted({axis % rank for axis in axes})


def _require_shape(node: Node, source: Tensor, output: Tensor, axes: list[int]) -> None:
    options = node.options_of("ReducerOptions")
    keep = options is not None and bool(options.keep_dims)
    sizes = [1 if axis in axes else size for axis, size in enumerate(source.shape)]
    if not keep:
        sizes = [size for axis, size in enumerate(source.shape) if axis not in axes]
    if tuple(sizes) != output.shape:
        refuse(node, f"expected an output of {sizes}, got {list(output.shape)}")


def _walk(source: Tensor, axes: list[int]) -> dict[str, Any]:
    """Return the axes of ``struct nm_reduce_s8``."""
    strides = strides_of(source.shape)
    values: dict[str, Any] = {}
    for name, gone in (("kept", False), ("reduced", True)):
        chosen = [axis for axis in range(len(source.shape)) if (axis in axes) == gone]
        sizes, (steps,) = merged([source.shape[i] for i in chosen], [strides[i] for i in chosen])
        lead = 3 - len(sizes)
        values[f"{name}_size"] = [1] * lead + sizes
        values[f"{name}_stride"] = [0] * lead + steps
    return values


def _scaled(node: Node, source: Tensor, output: Tensor, count: int) -> dict[str, Any]:
    """Return how a sum of ``count`` values is scaled; TFLite divides the multiplier by it."""
    (scale, zero_point), (wanted, moved) = (
        per_tensor(node, tensor, "tensors") for tensor in (source, output)
    )
    q, shift = quantize_multiplier(scale / wanted)
    halved = min(count.bit_length() - 1, 32, 31 + shift)
    q, shift = (q << halved) // count, shift - halved
    if 255 * count << max(shift, 0) >= 1 << 30:
        refuse(node, f"a sum of {count} values scaled by {scale / wanted:.3g} does not fit int32")
    return {
        "offset": -zero_point * count, "scale": scale_of(q, shift), "output_zero_point": moved,
    }  # fmt: skip


def _sum(node: Node, _: Context) -> list[Step]:
    # Of int8 it reads bytes as unsigned: results are not sums, and TFLite's other kernels differ.
    refuse(node, "TFLite's reference kernel takes int8 for uint8 here: use MEAN, with its scale")


def _arg(node: Node, _: Context) -> list[Step]:
    source = input_of(node, 0)
    output = output_of(node, node.outputs[0].dtype)
    if output.dtype not in ("int32", "int64"):
        refuse(node, f"expected an output of int32 or int64, got {output.dtype}")
    place = node.inputs[1] if len(node.inputs) > 1 else None
    kind = "int64" if place is not None and place.dtype == "int64" else "int32"
    axes = constant_of(node, 1, "axis", kind).reshape(-1)
    rank = len(source.shape)
    if len(axes) != 1 or not -rank <= int(axes[0]) < rank:
        refuse(node, f"expected an axis of {list(source.shape)}, got {axes[:6].tolist()}")
    axis = int(axes[0]) % rank
    outer, inner = source.shape[:axis], source.shape[axis + 1 :]
    if outer + inner != output.shape:
        refuse(node, f"expected an output of {list(outer + inner)}, got {list(output.shape)}")
    values = {"outer": math.prod(outer), "size": source.shape[axis], "inner": math.prod(inner)}
    function = f"nm_{node.name.lower()}_s8_{output.dtype.replace('int', 's')}"
    step = Step(
        node.index,
        node.name,
        function,
        ("arg_s8.c",),
        "struct nm_arg_s8",
        initializer(values),
        (),
        (source.index,),
        (output.index,),
        layer=node.label,
        kernel=node.name.lower(),
        cycles=cycles(units("arg", input=source.elements, output=output.elements)),
    )  # fmt: skip
    return [step]


LOWERINGS = dict.fromkeys(_FUNCTIONS, _reduce) | {"SUM": _sum, "ARG_MAX": _arg, "ARG_MIN": _arg}
