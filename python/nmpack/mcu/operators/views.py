# SPDX-License-Identifier: BSD-3-Clause
"""What operators that move values are of an array: views of it, one for each output."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.mcu.graph import Node
from nmpack.mcu.operators.context import constant_of, refuse

Array = npt.NDArray[Any]
_MOST_LIST = 64


def integers(node: Node, place: int, what: str) -> list[int]:
    """Return a constant list of int32 or int64.

    Raises:
        ModelError: it is none, or longer than any list of axes or sizes.
    """
    tensor = node.inputs[place] if place < len(node.inputs) else None
    kind = "int64" if tensor is not None and tensor.dtype == "int64" else "int32"
    values = constant_of(node, place, what, kind).reshape(-1)
    if len(values) > _MOST_LIST:
        refuse(node, f"expected at most {_MOST_LIST} {what}, got {len(values)}")
    return [int(value) for value in values]


def axis_of(node: Node, axis: int, rank: int) -> int:
    """Return an axis counted from the front.

    Raises:
        ModelError: there is no such axis.
    """
    if not -rank <= axis < rank:
        refuse(node, f"expected an axis from {-rank} to {rank - 1}, got {axis}")
    return axis % rank


def _reshape(node: Node, array: Array) -> list[Array]:
    shape = node.outputs[0].shape
    if math.prod(shape) != array.size:
        refuse(node, f"expected an output of {array.size} values, got {list(shape)}")
    return [array.reshape(shape)]


def _transpose(node: Node, array: Array) -> list[Array]:
    order = integers(node, 1, "axes")
    if sorted(axis % max(array.ndim, 1) for axis in order) != list(range(array.ndim)):
        refuse(node, f"expected an order of {array.ndim} axes, got {order}")
    return [array.transpose([axis % array.ndim for axis in order])]


def _slice(node: Node, array: Array) -> list[Array]:
    begin, size = integers(node, 1, "begins"), integers(node, 2, "sizes")
    if len(begin) != array.ndim or len(size) != array.ndim:
        refuse(node, f"expected {array.ndim} begins and sizes, got {len(begin)} and {len(size)}")
    cut: list[slice] = []
    for first, count, whole in zip(begin, size, array.shape, strict=True):
        last = whole if count == -1 else first + count
        if not 0 <= first < last <= whole:
            refuse(node, f"{first} to {last} is not in an axis of {whole}")
        cut.append(slice(first, last))
    return [array[tuple(cut)]]


def _strided_slice(node: Node, array: Array) -> list[Array]:
    options = node.options_of("StridedSliceOptions")
    masks = dict(options.values) if options is not None else {}
    if masks.get("ellipsis_mask") or masks.get("new_axis_mask") or masks.get("offset"):
        refuse(node, "ellipses, new axes and offsets are not supported")
    begin, end, step = (
        integers(node, place, what) for place, what in ((1, "begins"), (2, "ends"), (3, "steps"))
    )
    if not len(begin) == len(end) == len(step) <= array.ndim:
        refuse(node, f"expected a begin, end and step for each of {array.ndim} axes")
    cut: list[slice | int] = []
    for axis, (first, last, by, whole) in enumerate(
        zip(begin, end, step, array.shape, strict=False)
    ):
        if by == 0:
            refuse(node, "expected steps other than 0")
        bit = 1 << axis
        if masks.get("shrink_axis_mask", 0) & bit:
            if masks.get("begin_mask", 0) & bit or by != 1:
                refuse(node, "an axis that shrinks needs a begin and a step of 1")
            if not -whole <= first < whole:
                refuse(node, f"{first} is not in an axis of {whole}")
            cut.append(first)
            continue
        cut.append(
            slice(
                None if masks.get("begin_mask", 0) & bit else first,
                None if masks.get("end_mask", 0) & bit else last,
                by,
            )
        )
    places = (*cut, ...)
    return [array[places]]


def _split(node: Node, array: Array) -> list[Array]:
    axis = axis_of(node, _only(node, integers(node, 0, "axes")), array.ndim)
    count = len(node.outputs)
    if array.shape[axis] % count:
        refuse(node, f"an axis of {array.shape[axis]} does not split into {count} equal parts")
    return list(np.split(array, count, axis))


def _split_v(node: Node, array: Array) -> list[Array]:
    sizes = integers(node, 1, "sizes")
    axis = axis_of(node, _only(node, integers(node, 2, "axes")), array.ndim)
    whole = array.shape[axis]
    if sizes.count(-1) == 1:
        sizes = [size if size != -1 else whole - sum(sizes) - 1 for size in sizes]
    if min(sizes, default=0) < 1 or sum(sizes) != whole:
        refuse(node, f"the sizes {sizes} do not add up to an axis of {whole}")
    return list(np.split(array, np.cumsum(sizes)[:-1], axis))


def _unpack(node: Node, array: Array) -> list[Array]:
    options = node.options_of("UnpackOptions")
    axis = axis_of(node, 0 if options is None else int(options.axis), array.ndim)
    if array.shape[axis] != len(node.outputs):
        refuse(node, f"expected {array.shape[axis]} outputs, got {len(node.outputs)}")
    moved = np.moveaxis(array, axis, 0)
    # The ellipsis makes a view of a single value as well.
    return [moved[place, ...] for place in range(len(moved))]


def _broadcast_to(node: Node, array: Array) -> list[Array]:
    shape = node.outputs[0].shape
    try:
        return [np.broadcast_to(array, shape)]
    except ValueError:
        refuse(node, f"{list(array.shape)} cannot be repeated to {list(shape)}")


def _reverse(node: Node, array: Array) -> list[Array]:
    axes = {axis_of(node, axis, array.ndim) for axis in integers(node, 1, "axes")}
    return [np.flip(array, tuple(sorted(axes)))]


def _depth_to_space(node: Node, array: Array) -> list[Array]:
    size = _block(node, "DepthToSpaceOptions", array)
    batch, height, width, depth = array.shape
    if depth % (size * size):
        refuse(node, f"{depth} channels do not make blocks of {size}x{size}")
    shape = (batch, height * size, width * size, depth // (size * size))
    _require_output(node, shape)
    split = array.reshape(batch, height, width, size, size, shape[3])
    return [split.transpose(0, 1, 3, 2, 4, 5)]


def _space_to_depth(node: Node, array: Array) -> list[Array]:
    size = _block(node, "SpaceToDepthOptions", array)
    batch, height, width, depth = array.shape
    if height % size or width % size:
        refuse(node, f"an image of {height}x{width} does not make blocks of {size}x{size}")
    _require_output(node, (batch, height // size, width // size, depth * size * size))
    split = array.reshape(batch, height // size, size, width // size, size, depth)
    return [split.transpose(0, 1, 3, 2, 4, 5)]


def _block(node: Node, kind: str, array: Array) -> int:
    options = node.options_of(kind)
    size = 0 if options is None else int(options.block_size)
    if array.ndim != 4 or not 1 <= size <= 1024:
        refuse(node, f"expected an image and blocks of 1 to 1024, got {list(array.shape)}, {size}")
    return size


def _require_output(node: Node, shape: tuple[int, ...]) -> None:
    if shape != node.outputs[0].shape:
        refuse(node, f"expected an output of {list(shape)}, got {list(node.outputs[0].shape)}")


def _only(node: Node, values: list[int]) -> int:
    if len(values) != 1:
        refuse(node, f"expected one axis, got {values}")
    return values[0]


#: Operators whose views have the output's axes in parts.
GROUPED = ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
#: Views of one input; the outputs are their values in order.
VIEWS: dict[str, Callable[[Node, Array], list[Array]]] = {
    "BROADCAST_TO": _broadcast_to,
    "DEPTH_TO_SPACE": _depth_to_space,
    "EXPAND_DIMS": _reshape,
    "RESHAPE": _reshape,
    "REVERSE_V2": _reverse,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
