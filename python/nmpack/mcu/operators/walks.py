# SPDX-License-Identifier: BSD-3-Clause
"""Axes of tensors, as few as possible, and the C text of structs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nmpack.mcu.graph import ITEM_BYTES, Node, Tensor
from nmpack.mcu.operators.context import refuse
from nmpack.mcu.operators.costs import copied, cycles, units
from nmpack.mcu.step import Constant, Step

#: What ``nm_copy`` needs.
COPY_SOURCES = ("copy.c", "im2col_s8.c")
#: Axes that a kernel walks over.
MOST_AXES = 6
_MOST_RIGHT = 22
Value = int | float | str | Sequence[int] | Mapping[str, Any]


def initializer(values: Mapping[str, Any]) -> str:
    """Return a designated initializer, as ``{.count = 4, .size = {2, 2}}``."""
    return "{" + ", ".join(f".{name} = {_text(value)}" for name, value in values.items()) + "}"


def _text(value: Value) -> str:
    if isinstance(value, Mapping):
        return initializer(value)
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | np.number):
        return str(value)
    return "{" + ", ".join(map(str, value)) + "}"


def scale_of(q: int, shift: int) -> dict[str, int | str]:
    """Return ``struct nm_scale`` for TFLite's multiplier and shift to the left."""
    return {"multiplier": f"{2 * q}u", "left": max(shift, 0), "right": max(-shift, 0)}


def fine_scale_of(q: int, shift: int, most: int, zero_point: int) -> dict[str, int | str]:
    """Return ``struct nm_fine_scale``: all 0 where values leave no bit free.

    Args:
        q, shift: TFLite's multiplier and shift to the left.
        most: what the magnitude of a value is at most.
        zero_point: of the results.
    """
    left, right = max(shift, 0), max(-shift, 0)
    # High words stay below 2^30, and so do the zero point and halves.
    free = min(30 - most.bit_length() - left, _MOST_RIGHT - right)
    if free < 1:
        return {"multiplier": "0u", "offset": 0, "away": 0, "left": 0, "right": 0}
    return {
        "multiplier": f"{2 * q}u",
        "offset": (zero_point << free + right) + (1 << free - 1 if right else 0),
        "away": 1 << free if right else 0,
        "left": left + free,
        "right": right + free,
    }


def strides_of(shape: Sequence[int]) -> list[int]:
    """Return how many elements lie between neighbours along each axis."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return strides


def merged(sizes: Sequence[int], *strides: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Return the same walk with as few axes as can be; axes of one element are dropped.

    Args:
        sizes: of each axis, the outermost first.
        strides: of each axis, for each thing that is walked over.
    """
    kept: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, size in enumerate(sizes):
        if size == 1:
            continue
        own = [stride[axis] for stride in strides]
        if kept and all(step[-1] == size * stride for step, stride in zip(steps, own, strict=True)):
            kept[-1] *= size
            for step, stride in zip(steps, own, strict=True):
                step[-1] = stride
        else:
            kept.append(size)
            for step, stride in zip(steps, own, strict=True):
                step.append(stride)
    return kept, steps


def broadcast_shape(node: Node, one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that two shapes are repeated to.

    Raises:
        ModelError: they do not fit.
    """
    try:
        return tuple(np.broadcast_shapes(tuple(one), tuple(other)))
    except ValueError:
        refuse(node, f"the shapes {list(one)} and {list(other)} do not fit each other")


def repeated_strides(shape: Sequence[int], output: Sequence[int]) -> list[int]:
    """Return the strides of a tensor along the axes of what it is repeated to."""
    lead = len(output) - len(shape)
    own = strides_of(shape)
    return [0] * lead + [0 if size == 1 else own[axis] for axis, size in enumerate(shape)]


def pairs_of(one: Sequence[int], other: Sequence[int], output: Sequence[int]) -> dict[str, Any]:
    """Return ``struct nm_pairs`` of two operands that are repeated to ``output``."""
    sizes, (first, second) = merged(
        output, repeated_strides(one, output), repeated_strides(other, output)
    )
    if not sizes:
        sizes, first, second = [1], [1], [1]
    return {"axes": len(sizes), "size": sizes, "stride1": first, "stride2": second}


def box_of(
    sizes: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
    starts: tuple[int, int] = (0, 0),
    item: int = 1,
) -> dict[str, Any]:
    """Return ``struct nm_copy`` of a walk in elements of ``item`` bytes.

    Args:
        sizes: of each axis.
        inputs, outputs: strides of each axis, in elements.
        starts: where input and output begin, in elements.
        item: bytes of an element.

    Returns:
        It; with more axes than :data:`MOST_AXES` no kernel takes it.
    """
    kept, (read, written) = merged(
        [*sizes, item],
        [*(item * stride for stride in inputs), 1],
        [*(item * stride for stride in outputs), 1],
    )
    run = 1
    if kept and read[-1] == written[-1] == 1:
        run = kept.pop()
        read.pop()
        written.pop()
    walk: dict[str, Any] = {"run": run, "axes": len(kept)}
    if kept:
        walk |= {"size": kept, "input_stride": read, "output_stride": written}
    starts_of = zip(("input_offset", "output_offset"), starts, strict=True)
    return walk | {name: start * item for name, start in starts_of if start}


def copy_step(
    node: Node, source: Tensor, output: Tensor, box: Mapping[str, Any], kernel: str = "copy"
) -> Step:
    """Return a step that copies a box of bytes from one tensor to another."""
    constants: tuple[Constant, ...] = ()
    inputs: tuple[int, ...] = (source.index,)
    values = dict(box)
    if source.data is not None:
        stored = np.ascontiguousarray(source.data).reshape(-1)
        constants, inputs = (Constant("constant", stored),), ()
        values = {"constant": "{constant}", **values}
    runs = math.prod(values.get("size", []))
    return Step(
        node.index, node.name,
        "nm_copy_constant" if constants else "nm_copy",
        COPY_SOURCES, "struct nm_copy", initializer(values), constants, inputs, (output.index,),
        layer=node.label, kernel=kernel,
        cycles=cycles(
            units("turned bytes", byte=runs) if _turns(values) else copied(values["run"], runs)
        ),
    )  # fmt: skip


def _turns(box: Mapping[str, Any]) -> bool:
    """Return whether ``nm_copy`` takes the last two axes as those of a matrix to turn."""
    if box["run"] > 1 or box["axes"] < 2:
        return False
    channels, count = box["size"][-2:]
    return (
        tuple(box["input_stride"][-2:]) == (1, channels)
        and box["output_stride"][-1] == 1
        and box["output_stride"][-2] >= count
    )


def item_bytes(tensor: Tensor) -> int:
    """Return the bytes of one element."""
    return ITEM_BYTES[tensor.dtype]
