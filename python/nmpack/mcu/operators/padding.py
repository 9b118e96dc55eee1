# SPDX-License-Identifier: BSD-3-Clause
"""Values around a tensor: PAD, PADV2 and MIRROR_PAD."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import (
    Context,
    constant_of,
    input_of,
    output_of,
    per_tensor,
    refuse,
)
from nmpack.mcu.operators.costs import copied, cycles, units
from nmpack.mcu.operators.remap import remap_step, require_places
from nmpack.mcu.operators.shapes import start_of, whole
from nmpack.mcu.operators.views import integers
from nmpack.mcu.operators.walks import (
    COPY_SOURCES,
    MOST_AXES,
    box_of,
    initializer,
    strides_of,
)
from nmpack.mcu.step import Int8, Step


def _sides(node: Node, source: Tensor, output: Tensor) -> list[tuple[int, int]]:
    """Return how many values come before and after each axis."""
    flat = integers(node, 1, "paddings")
    sides = list(zip(flat[::2], flat[1::2], strict=False))
    if len(flat) != 2 * len(source.shape) or min(flat, default=0) < 0:
        refuse(node, f"expected two paddings for each of {len(source.shape)} axes, got {flat}")
    shape = tuple(a + size + b for (a, b), size in zip(sides, source.shape, strict=True))
    if shape != output.shape:
        refuse(node, f"expected an output of {list(shape)}, got {list(output.shape)}")
    return sides


def _value(node: Node, output: Tensor) -> int:
    if node.name == "PAD":
        return per_tensor(node, output, "output")[1]
    values = constant_of(node, 2, "value", "int8").reshape(-1)
    if len(values) != 1:
        refuse(node, f"expected one value, got {len(values)}")
    return int(values[0])


def _pad(node: Node, context: Context) -> list[Step]:
    source, output = input_of(node, 0), output_of(node)
    sides = _sides(node, source, output)
    if source.shape == output.shape and source.data is None:
        context.alias(output, source)
        return []
    if source.data is not None:
        refuse(node, "expected an input that is computed, got a constant")
    array = whole(output)
    inside = array[
        tuple(slice(a, a + size) for (a, _), size in zip(sides, source.shape, strict=True))
    ]
    box = box_of(
        source.shape, strides_of(source.shape), list(inside.strides), (0, start_of(inside, array))
    )
    if box["axes"] > MOST_AXES:
        refuse(node, f"expected at most {MOST_AXES} padded axes, got {box['axes']}")
    runs = source.elements // box["run"]
    values = {"box": box, "count": output.elements, "value": _value(node, output)}
    step = Step(
        node.index,
        node.name,
        "nm_pad_s8",
        ("pad_s8.c", *COPY_SOURCES),
        "struct nm_pad_s8",
        initializer(values),
        (),
        (source.index,),
        (output.index,),
        layer=node.label,
        kernel="pad",

        cycles=cycles(units("fill", byte=output.elements) | copied(box["run"], runs)),
    )  # fmt: skip
    return [step]


def _fold(node: Node, _: Context) -> list[Int8] | None:
    if any(tensor is None or tensor.data is None for tensor in node.inputs):
        return None
    source, output = input_of(node, 0), output_of(node)
    assert source.data is not None
    sides = _sides(node, source, output)
    return [np.pad(source.data, sides, constant_values=_value(node, output))]


def _mirror_pad(node: Node, _: Context) -> list[Step]:
    source, output = input_of(node, 0), output_of(node)
    sides = _sides(node, source, output)
    options = node.options_of("MirrorPadOptions")
    mode = "REFLECT" if options is None else str(options.mode)
    if mode not in ("REFLECT", "SYMMETRIC"):
        refuse(node, f"expected the mode REFLECT or SYMMETRIC, got {mode}")
    if per_tensor(node, source, "input") != per_tensor(node, output, "output"):
        refuse(node, "expected one scale and zero point of input and output")
    places: list[npt.NDArray[np.int64] | None] = []
    for (before, after), size in zip(sides, source.shape, strict=True):
        if max(before, after) > size - (mode == "REFLECT"):
            refuse(node, f"paddings of {before} and {after} do not fit an axis of {size}")
        if before == after == 0:
            places.append(None)
            continue
        require_places(node, before + size + after)
        axis = np.arange(size)
        places.append(
            np.pad(axis, (before, after), "reflect" if mode == "REFLECT" else "symmetric")
        )
    return [remap_step(node, source, output, places, "mirror")]


LOWERINGS = {"PAD": _pad, "PADV2": _pad, "MIRROR_PAD": _mirror_pad}
FOLDINGS = {"PAD": _fold, "PADV2": _fold}
