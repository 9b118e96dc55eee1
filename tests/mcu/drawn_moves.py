# SPDX-License-Identifier: BSD-3-Clause
"""Drawn operators that move values: of shapes, parts, borders and places."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from drawn_integers import Generator, Model, shape_of, steps_of
from tflite_graph import options


def _part(size: int, generator: Generator) -> tuple[int, int]:
    first = int(generator.integers(0, size))
    return first, int(generator.integers(1, size - first + 1))


def slices(generator: Generator) -> tuple[str, bytes]:
    """SLICE and STRIDED_SLICE."""
    model, shape, steps = Model(generator), shape_of(generator, 1, 5), steps_of(generator)
    source = model.input(shape, steps)
    if generator.random() < 0.4:
        parts = [_part(size, generator) for size in shape]
        sizes = [
            -1 if first + count == size and generator.random() < 0.5 else count
            for (first, count), size in zip(parts, shape, strict=True)
        ]
        operands = [source, model.list([first for first, _ in parts]), model.list(sizes)]
        made = model.add("SLICE", operands, [([count for _, count in parts], steps)])
        return model.file(made)
    begin, end, by, rest = [], [], [], []
    masks = dict.fromkeys(("beginMask", "endMask", "shrinkAxisMask"), 0)
    for axis, size in enumerate(shape):
        if generator.random() < 0.2 and len(shape) > 1:
            masks["shrinkAxisMask"] |= 1 << axis
            at = int(generator.integers(-size, size))
            begin, end, by = [*begin, at], [*end, at + 1], [*by, 1]
            continue
        first, count = _part(size, generator)
        step = int(generator.choice([1, 1, 2, 3, -1, -2]))
        cut = slice(first, first + count, step)
        if step < 0:
            cut = slice(first + count - 1, first - 1 if first else -size - 1, step)
        for name, mask in (("start", "beginMask"), ("stop", "endMask")):
            if generator.random() < 0.2:
                masks[mask] |= 1 << axis
                changed = {"start": cut.start, "stop": cut.stop, name: None}
                cut = slice(changed["start"], changed["stop"], step)
        begin, end = [*begin, cut.start or 0], [*end, cut.stop or 0]
        by, rest = [*by, step], [*rest, len(range(size)[cut])]
    operands = [source, *(model.list(numbers) for numbers in (begin, end, by))]
    model.about.append(f"{begin} {end} {by} {masks}")
    table = options("StridedSliceOptions", **masks)
    return model.file(model.add("STRIDED_SLICE", operands, [(rest, steps)], table))


def turns(generator: Generator) -> tuple[str, bytes]:
    """TRANSPOSE, REVERSE_V2, TILE and BROADCAST_TO."""
    model, shape, steps = Model(generator), shape_of(generator, 1, 5, 200), steps_of(generator)
    source = model.input(shape, steps)
    name = str(generator.choice(["TRANSPOSE", "TRANSPOSE", "REVERSE_V2", "TILE", "BROADCAST_TO"]))
    if name == "TRANSPOSE":
        order = [int(axis) for axis in generator.permutation(len(shape))]
        model.about.append(f"{order}")
        rest = [shape[axis] for axis in order]
        return model.file(model.add(name, [source, model.list(order)], [(rest, steps)]))
    if name == "REVERSE_V2":
        axis = [int(generator.integers(0, len(shape)))]
        return model.file(model.add(name, [source, model.list(axis)], [(shape, steps)]))
    if name == "TILE":
        times = [int(v) for v in generator.integers(1, 4, len(shape))]
        rest = [time * size for time, size in zip(times, shape, strict=True)]
        return model.file(model.add(name, [source, model.list(times)], [(rest, steps)]))
    # There is no first version of it.
    model.version = 2
    rest = [int(generator.integers(1, 5)) if size == 1 else size for size in shape]
    rest = [*(int(v) for v in generator.integers(1, 3, generator.integers(0, 2))), *rest]
    return model.file(model.add(name, [source, model.list(rest)], [(rest, steps)]))


def parts(generator: Generator) -> tuple[str, bytes]:
    """SPLIT, SPLIT_V and UNPACK."""
    model, shape, steps = Model(generator), shape_of(generator, 1, 4), steps_of(generator)
    axis = int(generator.integers(0, len(shape)))
    name = str(generator.choice(["SPLIT", "SPLIT_V", "UNPACK"]))
    given = axis - len(shape) if generator.random() < 0.3 else axis
    source = model.input(shape, steps)
    size = shape[axis]
    if name == "UNPACK":
        rest = shape[:axis] + shape[axis + 1 :]
        table = options("UnpackOptions", num=size, axis=given)
        return model.file(model.add(name, [source], [(rest, steps)] * size, table))
    if name == "SPLIT":
        count = int(generator.choice([n for n in range(1, size + 1) if size % n == 0]))
        rest = [*shape[:axis], size // count, *shape[axis + 1 :]]
        table = options("SplitOptions", numSplits=count)
        operands = [model.list([given]), source]
        return model.file(model.add(name, operands, [(rest, steps)] * count, table))
    cuts = sorted({0, size, *(int(v) for v in generator.integers(0, size + 1, 2))})
    sizes = [b - a for a, b in pairwise(cuts)]
    outputs = [([*shape[:axis], part, *shape[axis + 1 :]], steps) for part in sizes]
    table = options("SplitVOptions", numSplits=len(sizes))
    listed = list(sizes)
    if generator.random() < 0.3:
        listed[int(generator.integers(0, len(listed)))] = -1
    operands = [source, model.list(listed), model.list([given])]
    return model.file(model.add(name, operands, outputs, table))


def joins(generator: Generator) -> tuple[str, bytes]:
    """CONCATENATION and PACK; one input may be a constant."""
    model, shape, steps = Model(generator), shape_of(generator, 1, 4, 200), steps_of(generator)
    count = int(generator.integers(2, 5))
    constant = int(generator.integers(0, 2 * count))
    if generator.random() < 0.4:
        axis = int(generator.integers(0, len(shape) + 1))
        operands = [model.operand(shape, steps, constant=n == constant) for n in range(count)]
        rest = [*shape[:axis], count, *shape[axis:]]
        table = options("PackOptions", valuesCount=count, axis=axis)
        return model.file(model.add("PACK", operands, [(rest, steps)], table))
    axis = int(generator.integers(0, len(shape)))
    sizes = [int(v) for v in generator.integers(1, 5, count)]
    shapes = [[*shape[:axis], size, *shape[axis + 1 :]] for size in sizes]
    operands = [model.operand(s, steps, constant=n == constant) for n, s in enumerate(shapes)]
    if generator.random() < 0.2 and constant > 1:
        operands[1], sizes[1] = operands[0], sizes[0]
    given = axis - len(shape) if generator.random() < 0.3 else axis
    rest = [*shape[:axis], sum(sizes), *shape[axis + 1 :]]
    table = options("ConcatenationOptions", axis=given)
    return model.file(model.add("CONCATENATION", operands, [(rest, steps)], table))


def borders(generator: Generator) -> tuple[str, bytes]:
    """PAD, PADV2 and MIRROR_PAD."""
    model, shape, steps = Model(generator), shape_of(generator, 1, 4, 200), steps_of(generator)
    source = model.input(shape, steps)
    name = str(generator.choice(["PAD", "PADV2", "MIRROR_PAD"]))
    sides = generator.integers(0, 4, (len(shape), 2))
    extra: list[int] = []
    table: Any = None
    if name == "MIRROR_PAD":
        mode = int(generator.integers(0, 2))
        sides = np.minimum(sides, np.array(shape)[:, None] - (mode == 0))
        table = options("MirrorPadOptions", mode=mode)
    if name == "PADV2":
        extra = [model.graph.constant(generator.integers(-128, 128, 1).astype(np.int8), steps)]
    rest = [size + int(pair.sum()) for size, pair in zip(shape, sides, strict=True)]
    operands = [source, model.list(sides), *extra]
    return model.file(model.add(name, operands, [(rest, steps)], table))


def places(generator: Generator) -> tuple[str, bytes]:
    """GATHER, RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR."""
    model, steps = Model(generator), steps_of(generator)
    if generator.random() < 0.4:
        shape = shape_of(generator, 1, 4)
        axis = int(generator.integers(0, len(shape)))
        listed = generator.integers(0, shape[axis], shape_of(generator, 1, 2, 12))
        if generator.random() < 0.4:
            listed = np.arange(shape[axis])[:: int(generator.integers(1, 3))]
        rest = [*shape[:axis], *listed.shape, *shape[axis + 1 :]]
        table = options("GatherOptions", axis=axis)
        operands = [model.input(shape, steps), model.list(listed)]
        return model.file(model.add("GATHER", operands, [(rest, steps)], table))
    shape = [int(v) for v in generator.integers(1, 8, 4)]
    size = [int(v) for v in generator.integers(1, 20, 2)]
    name = str(generator.choice(["RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"]))
    bilinear = name == "RESIZE_BILINEAR"
    kind = "ResizeBilinearOptions" if bilinear else "ResizeNearestNeighborOptions"
    how = int(generator.integers(0, 3))
    table = options(kind, alignCorners=how == 1, halfPixelCenters=how == 2)
    model.about.append(f"way {how}")
    operands = [model.input(shape, steps), model.list(size)]
    return model.file(model.add(name, operands, [([shape[0], *size, shape[3]], steps)], table))


def blocks(generator: Generator) -> tuple[str, bytes]:
    """SPACE_TO_DEPTH and DEPTH_TO_SPACE, RESHAPE, SQUEEZE and EXPAND_DIMS."""
    model, steps = Model(generator), steps_of(generator)
    size = int(generator.integers(1, 4))
    batch, height, width, depth = (int(v) for v in generator.integers(1, 5, 4))
    small = [batch, height, width, depth * size * size]
    large = [batch, height * size, width * size, depth]
    kind = int(generator.integers(0, 4))
    if kind == 0:
        table = options("SpaceToDepthOptions", blockSize=size)
        made = model.add("SPACE_TO_DEPTH", [model.input(large, steps)], [(small, steps)], table)
    elif kind == 1:
        table = options("DepthToSpaceOptions", blockSize=size)
        made = model.add("DEPTH_TO_SPACE", [model.input(small, steps)], [(large, steps)], table)
    elif kind == 2:
        rest = [batch * height, width * depth * size * size]
        operands = [model.input(small, steps), model.list(rest)]
        table = options("ReshapeOptions", newShape=rest)
        made = model.add("RESHAPE", operands, [(rest, steps)], table)
    else:
        wide = [1, *small[1:]]
        rest = [1, 1, *small[1:]]
        operands = [model.input(wide, steps), model.list([0])]
        made = model.add("EXPAND_DIMS", operands, [(rest, steps)])
        table = options("SqueezeOptions", squeezeDims=[0])
        made = model.add("SQUEEZE", made, [(wide, steps)], table)
    return model.file(made)


MOVES: dict[str, Callable[[Generator], tuple[str, bytes]]] = {
    "slices": slices,
    "turns": turns,
    "parts": parts,
    "joins": joins,
    "borders": borders,
    "places": places,
    "blocks": blocks,
}
