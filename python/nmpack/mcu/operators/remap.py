# SPDX-License-Identifier: BSD-3-Clause
"""Operators whose output takes values of listed places: GATHER and resized images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import Context, constant_of, input_of, output_of, refuse
from nmpack.mcu.operators.costs import cycles, units
from nmpack.mcu.operators.shapes import require_same, source_of
from nmpack.mcu.operators.views import axis_of, integers
from nmpack.mcu.operators.walks import (
    MOST_AXES,
    box_of,
    copy_step,
    initializer,
    item_bytes,
    strides_of,
)
from nmpack.mcu.step import Constant, Step

Array = npt.NDArray[Any]
# 512 KiB of offsets.
_MOST_OFFSETS = 1 << 17


def remap_step(
    node: Node, source: Tensor, output: Tensor, places: Sequence[Array | None], kernel: str
) -> Step:
    """Return a step that takes, along each axis, the source's values at ``places``.

    Args:
        node: the operator.
        source: not constant.
        output: of ``len(places[i])`` along axis i, as one run of memory.
        places: for each axis of the source; None for all of it in order.
        kernel: word for the table.
    """
    if source.data is not None:
        refuse(node, "expected an input that is computed, got a constant")
    run = item_bytes(source)
    strides = [run * stride for stride in strides_of(source.shape)]
    rest = list(places)
    while rest and _is_all(rest[-1], source.shape[len(rest) - 1]):
        run *= source.shape[len(rest) - 1]
        rest.pop()
    sizes = [
        size if some is None else len(some) for some, size in zip(rest, source.shape, strict=False)
    ]
    require_places(node, sum(sizes))
    lists = [
        (np.arange(size) if some is None else some.astype(np.int64)) * stride
        for some, size, stride in zip(rest, sizes, strides, strict=False)
    ]
    lists = [offsets for offsets in lists if len(offsets) > 1 or offsets[0] != 0]
    if len(lists) > MOST_AXES:
        refuse(node, f"expected at most {MOST_AXES} axes, got {len(lists)}")
    values: dict[str, Any] = {"offsets": "{offsets}", "run": run, "axes": len(lists)}
    if lists:
        values["size"] = [len(offsets) for offsets in lists]
    table = np.concatenate([*lists, *([] if lists else [np.zeros(1)])]).astype(np.uint32)
    return Step(
        node.index, node.name, "nm_remap", ("remap.c", "im2col_s8.c"), "struct nm_remap",
        initializer(values),
        (Constant("offsets", table),), (source.index,), (output.index,), layer=node.label,
        kernel=kernel,
        cycles=cycles(units("remap", byte=output.nbytes, run=output.nbytes // run)),
    )  # fmt: skip


def require_places(node: Node, count: int) -> None:
    """Check how many offsets of an operator's axes are kept, before they are made.

    Raises:
        ModelError: they are more than any microcontroller's network has.
    """
    if count > _MOST_OFFSETS:
        refuse(node, f"expected at most {_MOST_OFFSETS} places, got {count}")


def _is_all(places: Array | None, size: int) -> bool:
    return places is None or (len(places) == size and np.array_equal(places, np.arange(size)))


def _gather_places(node: Node) -> tuple[Tensor, Tensor, int, Array]:
    """Return the input, the output, the axis and the places along it."""
    source, output = source_of(node), node.outputs[0]
    require_same(node, source, output)
    options = node.options_of("GatherOptions")
    axis = axis_of(node, 0 if options is None else int(options.axis), len(source.shape))
    if options is not None and options.batch_dims:
        refuse(node, f"expected 0 batch_dims, got {options.batch_dims}")
    positions = source_of(node, 1)
    kind = "int64" if positions.dtype == "int64" else "int32"
    places = constant_of(node, 1, "places", kind)
    size = source.shape[axis]
    if ((places < 0) | (places >= size)).any():
        refuse(node, f"expected places from 0 to {size - 1}, got {places.min()} to {places.max()}")
    shape = (*source.shape[:axis], *places.shape, *source.shape[axis + 1 :])
    if shape != output.shape:
        refuse(node, f"expected an output of {list(shape)}, got {list(output.shape)}")
    return source, output, axis, places


def _gather(node: Node, _: Context) -> list[Step]:
    source, output, axis, places = _gather_places(node)
    flat = places.reshape(-1).astype(np.int64)
    by = int(flat[1] - flat[0]) if len(flat) > 1 else 1
    if (np.diff(flat) == by).all():
        sizes = [*source.shape[:axis], len(flat), *source.shape[axis + 1 :]]
        strides = strides_of(source.shape)
        start = int(flat[0]) * strides[axis]
        strides[axis] *= by
        box = box_of(sizes, strides, strides_of(sizes), (start, 0), item_bytes(source))
        if box["axes"] <= MOST_AXES:
            return [copy_step(node, source, output, box)]
    lists: list[Array | None] = [None for _ in source.shape]
    lists[axis] = flat
    return [remap_step(node, source, output, lists, "gather")]


def _fold_gather(node: Node, _: Context) -> list[Array] | None:
    if any(tensor is None or tensor.data is None for tensor in node.inputs):
        return None
    source, _output, axis, places = _gather_places(node)
    assert source.data is not None
    return [np.take(source.data, places, axis)]


def _times(node: Node) -> tuple[Tensor, Tensor, list[int]]:
    """Return input, output and how often each axis is repeated."""
    source, output = source_of(node), node.outputs[0]
    require_same(node, source, output)
    times = integers(node, 1, "multiples")
    if len(times) != len(source.shape) or min(times, default=1) < 1:
        refuse(node, f"expected {len(source.shape)} positive multiples, got {times}")
    shape = tuple(time * size for time, size in zip(times, source.shape, strict=True))
    if shape != output.shape:
        refuse(node, f"expected an output of {list(shape)}, got {list(output.shape)}")
    return source, output, times


def _tile(node: Node, _: Context) -> list[Step]:
    source, output, times = _times(node)
    own = strides_of(source.shape)
    sizes = [size for pair in zip(times, source.shape, strict=True) for size in pair]
    strides = [stride for each in own for stride in (0, each)]
    box = box_of(sizes, strides, strides_of(sizes), (0, 0), item_bytes(source))
    if box["axes"] <= MOST_AXES:
        return [copy_step(node, source, output, box)]
    repeated = [size for size, time in zip(output.shape, times, strict=True) if time > 1]
    require_places(node, sum(repeated))
    lists = [
        np.tile(np.arange(size), time) if time > 1 else None
        for size, time in zip(source.shape, times, strict=True)
    ]
    return [remap_step(node, source, output, lists, "tile")]


def _fold_tile(node: Node, _: Context) -> list[Array] | None:
    if any(tensor is None or tensor.data is None for tensor in node.inputs):
        return None
    source, _output, times = _times(node)
    assert source.data is not None
    return [np.tile(source.data, times)]


def _image_sizes(node: Node, kind: str) -> tuple[Tensor, Tensor, bool, bool]:
    """Return input, output, ``align_corners`` and ``half_pixel_centers`` of a resized image."""
    source, output = input_of(node, 0), output_of(node)
    size = integers(node, 1, "sizes")
    if len(source.shape) != 4 or len(size) != 2:
        refuse(node, f"expected an image and two sizes, got {list(source.shape)} and {size}")
    shape = (source.shape[0], *size, source.shape[3])
    if shape != output.shape:
        refuse(node, f"expected an output of {list(shape)}, got {list(output.shape)}")
    options = node.options_of(kind)
    align = options is not None and bool(options.align_corners)
    half = options is not None and bool(options.half_pixel_centers)
    if align and half:
        refuse(node, "align_corners and half_pixel_centers exclude each other")
    return source, output, align, half


def _resize_nearest(node: Node, _: Context) -> list[Step]:
    source, output, align, half = _image_sizes(node, "ResizeNearestNeighborOptions")
    lists: list[Array | None] = [None for _ in source.shape]
    for axis in (1, 2):
        size, wanted = source.shape[axis], output.shape[axis]
        require_places(node, wanted)
        scale = np.float32(size) / np.float32(wanted)
        if align and wanted > 1:
            scale = np.float32(size - 1) / np.float32(wanted - 1)
        places = (np.arange(wanted, dtype=np.float32) + np.float32(0.5 * half)) * scale
        whole = np.floor(places)
        # Halves are rounded up; none is negative.
        whole += (places - whole >= 0.5) if align else 0
        lists[axis] = np.clip(whole.astype(np.int64), 0, size - 1)
    return [remap_step(node, source, output, lists, "nearest")]


def _resize_bilinear(node: Node, _: Context) -> list[Step]:
    source, output, align, half = _image_sizes(node, "ResizeBilinearOptions")
    if source.data is not None:
        refuse(node, "expected an input that is computed, got a constant")
    values: dict[str, Any] = {"batch": source.shape[0], "channels": source.shape[3]}
    for axis, side in ((1, "height"), (2, "width")):
        size, wanted = source.shape[axis], output.shape[axis]
        by = (1024 * size + wanted // 2) // wanted
        if align and wanted > 1:
            by = (1024 * (size - 1) + (wanted - 1) // 2) // (wanted - 1)
        start = by // 2 - 512 if half else 0
        last = (wanted - 1) * by + start
        if last // 1024 >= size or max(last, 1024 * size) >= 1 << 31:
            refuse(node, f"{size} pixels resized to {wanted} would read past the last one")
        values |= {
            f"input_{side}": size, f"output_{side}": wanted, f"{side}_step": by,
            f"{side}_start": start,
        }  # fmt: skip
    step = Step(
        node.index,
        node.name,
        "nm_resize_bilinear_s8",
        ("resize_bilinear_s8.c",),
        "struct nm_resize_bilinear_s8",
        initializer(values),
        (),
        (source.index,),
        (output.index,),
        layer=node.label,
        kernel="bilinear",
        cycles=cycles(units("bilinear", output=output.elements)),
    )  # fmt: skip
    return [step]


LOWERINGS = {
    "GATHER": _gather,
    "RESIZE_BILINEAR": _resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest,
    "TILE": _tile,
}
FOLDINGS = {"GATHER": _fold_gather, "TILE": _fold_tile}
