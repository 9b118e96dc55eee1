# SPDX-License-Identifier: BSD-3-Clause
"""Operators that move values and leave them as they are.

Each is a numpy view of its input. What the strides of the view are, the kernel walks over; of
constants the view is the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import Context, refuse
from nmpack.mcu.operators.views import GROUPED, VIEWS
from nmpack.mcu.operators.walks import MOST_AXES, box_of, copy_step, item_bytes, strides_of
from nmpack.mcu.step import Step

Array = npt.NDArray[Any]


def source_of(node: Node, place: int = 0) -> Tensor:
    """Return an input of any type.

    Raises:
        ModelError: it is left out.
    """
    tensor = node.inputs[place] if place < len(node.inputs) else None
    if tensor is None:
        refuse(node, f"expected an input as operand {place}, got none")
    return tensor


def require_same(node: Node, source: Tensor, output: Tensor) -> None:
    """Check that values keep their type; scales are TFLite's concern where it has any.

    Raises:
        ModelError: types differ, or scales of what is put together.
    """
    if source.dtype != output.dtype:
        refuse(node, f"expected an output of {source.dtype}, got {output.dtype}")
    if node.name in ("CONCATENATION", "PACK") and _steps(source) != _steps(output):
        refuse(node, "expected one scale and zero point of all inputs and the output")


def _steps(tensor: Tensor) -> tuple[list[float], list[int]]:
    if tensor.scale is None or tensor.zero_point is None:
        return [], []
    return tensor.scale.tolist(), tensor.zero_point.tolist()


def whole(tensor: Tensor) -> Array:
    """Return an array of the shape and type of a tensor; its memory is not touched."""
    return np.empty(tensor.shape, np.dtype(tensor.dtype))


def start_of(view: Array, array: Array) -> int:
    """Return where a view begins in its array, in elements."""
    start = view.__array_interface__["data"][0] - array.__array_interface__["data"][0]
    return int(start // array.itemsize)


def _views(node: Node, source: Tensor, array: Array) -> list[Array]:
    """Return a view for each output, of its shape."""
    found = VIEWS[node.name](node, array)
    if len(found) != len(node.outputs):
        refuse(node, f"expected {len(found)} outputs, got {len(node.outputs)}")
    for view, output in zip(found, node.outputs, strict=True):
        require_same(node, source, output)
        if view.shape != output.shape and node.name not in GROUPED:
            refuse(node, f"expected an output of {list(view.shape)}, got {list(output.shape)}")
    return found


def _place(node: Node) -> int:
    """Return which operand is moved; a SPLIT has its axis first."""
    return 1 if node.name == "SPLIT" else 0


def _move(node: Node, context: Context) -> list[Step]:
    source = source_of(node, _place(node))
    array = whole(source)
    steps = []
    for view, output in zip(_views(node, source, array), node.outputs, strict=True):
        if view.size == array.size and view.flags.c_contiguous and source.data is None:
            context.alias(output, source)
            continue
        strides = [stride // array.itemsize for stride in view.strides]
        steps.append(_copied(node, source, output, view.shape, strides, start_of(view, array)))
    return steps


def _copied(
    node: Node, source: Tensor, output: Tensor, sizes: tuple[int, ...], strides: list[int],
    start: int,
) -> Step:  # fmt: skip
    box = box_of(sizes, strides, strides_of(sizes), (start, 0), item_bytes(source))
    return _checked(node, source, output, box)


def _checked(node: Node, source: Tensor, output: Tensor, box: dict[str, Any]) -> Step:
    if box["axes"] > MOST_AXES:
        refuse(node, f"expected at most {MOST_AXES} axes that move apart, got {box['axes']}")
    return copy_step(node, source, output, box)


def _fold(node: Node, _: Context) -> list[Array] | None:
    """Return the outputs of constants."""
    source = source_of(node, _place(node))
    if source.data is None or any(
        tensor is not None and tensor.data is None for tensor in node.inputs
    ):
        return None
    views = _views(node, source, source.data)
    return [
        np.ascontiguousarray(view).reshape(output.shape)
        for view, output in zip(views, node.outputs, strict=True)
    ]


def _parts(node: Node, array: Array) -> list[Array]:
    """Return the view of each input in the output: CONCATENATION and PACK."""
    output, count = node.outputs[0], len(node.inputs)
    options = node.options_of("PackOptions" if node.name == "PACK" else "ConcatenationOptions")
    axis = 0 if options is None else int(options.axis)
    rank = len(output.shape)
    if not -rank <= axis < rank:
        refuse(node, f"expected an axis of {list(output.shape)}, got {axis}")
    moved = np.moveaxis(array, axis, 0)
    parts, place = [], 0
    for number in range(count):
        tensor = source_of(node, number)
        require_same(node, tensor, output)
        size = 1
        if node.name != "PACK":
            size = tensor.shape[axis] if len(tensor.shape) == rank else 0
        part = np.moveaxis(moved[place : place + size], 0, axis)
        if node.name == "PACK":
            part = part.squeeze(axis) if part.shape[axis] == 1 else part
        if part.shape != tensor.shape:
            refuse(node, f"inputs do not fit an output of {list(output.shape)}")
        parts.append(part)
        place += size
    if place != output.shape[axis]:
        refuse(node, f"expected an output of {place} along axis {axis}, got {output.shape[axis]}")
    return parts


def _gather_parts(node: Node, _: Context) -> list[Step]:
    _require_no_activation(node)
    output = node.outputs[0]
    array = whole(output)
    steps = []
    for number, part in enumerate(_parts(node, array)):
        tensor = source_of(node, number)
        strides = [stride // array.itemsize for stride in part.strides]
        start = start_of(part, array)
        box = box_of(
            tensor.shape, strides_of(tensor.shape), strides, (0, start), item_bytes(tensor)
        )
        steps.append(_checked(node, tensor, output, box))
    return steps


def _require_no_activation(node: Node) -> None:
    options = node.options_of("ConcatenationOptions")
    if options is not None and options.fused_activation_function != "NONE":
        refuse(node, f"the activation {options.fused_activation_function} is not supported")


def _fold_parts(node: Node, _: Context) -> list[Array] | None:
    if any(tensor is None or tensor.data is None for tensor in node.inputs):
        return None
    array = whole(node.outputs[0])
    for part, tensor in zip(_parts(node, array), node.inputs, strict=True):
        assert tensor is not None
        part[...] = tensor.data
    return [array]


_PARTS: dict[str, Callable[[Node, Context], list[Step]]] = {
    "CONCATENATION": _gather_parts,
    "PACK": _gather_parts,
}
LOWERINGS = dict.fromkeys(VIEWS, _move) | _PARTS
FOLDINGS = dict.fromkeys(VIEWS, _fold) | dict.fromkeys(_PARTS, _fold_parts)
