# SPDX-License-Identifier: BSD-3-Clause
"""Sizes that a file leaves open, as those of a batch or an image: who says what they are.

A file states ``-1`` for such a size in the signature of an input's shape, and a placeholder in its
shape, most often 1. An engine's process resizes its interpreter before it allocates anything
(:mod:`nmpack.runtime.process`): at the placeholders a network may not even run.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from nmpack.errors import NmpackError
from nmpack.runtime.child import Signature
from nmpack.runtime.inputs import Array, Inputs, ordered, unique_names
from nmpack.tflite.model import Subgraph

#: Of inputs by name; or a shape alone, of the only input.
Shapes = Mapping[str, Sequence[int]] | Sequence[int]

#: What a tensor's axis, and all of a tensor, may have at most: interpreters count in 32 bits.
_LARGEST = (1 << 31) - 1


def sized(
    inputs: Sequence[Signature], shapes: Shapes | None, arrays: Inputs
) -> tuple[Signature, ...]:
    """Return the inputs with the sizes that they are to have.

    Args:
        inputs: as the file states them.
        shapes: says so of some.
        arrays: say so of others; a seed of random ones does not, and the placeholders stay.

    Raises:
        NmpackError: a shape is of no input or of several, or of a size that the file does not leave
            open or no tensor can have; arrays are more or fewer than the inputs.
    """
    names = unique_names(inputs, "input")
    wanted = _by_name(names, shapes)
    given: Sequence[Array | None] = [None] * len(inputs)
    if not isinstance(arrays, int):
        given = ordered(inputs, arrays)
    found = []
    for name, item, array in zip(names, inputs, given, strict=True):
        if name in wanted:
            found.append(replace(item, shape=_checked(name, item, wanted[name])))
        elif array is not None and item.is_open:
            found.append(replace(item, shape=_of_array(name, item, array.shape)))
        else:
            shape = tuple(max(1, size) if free else size for size, free in _axes(item))
            found.append(replace(item, shape=shape, assumed=item.is_open))
    return tuple(found)


def stored(graph: Subgraph) -> tuple[Signature, ...]:
    """Return the inputs of a file's subgraph, of the sizes that they are stored with."""
    inputs = []
    for item in (graph.tensors[index] for index in graph.inputs):
        stated = stated_shape(item.shape, item.shape_signature)
        inputs.append(Signature(item.name, item.shape, item.dtype, stated=stated))
    return sized(inputs, None, 0)


def stated_shape(shape: Sequence[int], signature: Sequence[int]) -> tuple[int, ...]:
    """Return a shape with -1 where its signature has it; one that contradicts it says nothing."""
    if len(signature) != len(shape):
        return tuple(shape)
    return tuple(-1 if free == -1 else size for size, free in zip(shape, signature, strict=True))


def assumed_sizes(inputs: Sequence[Signature]) -> list[str]:
    """Say of each input whose sizes nobody said what they were taken as."""
    return [
        f"input {name!r} is of the open size {_text(item.stated)} and was taken as "
        f"{_text(item.shape)}"
        for name, item in zip(unique_names(inputs, "input"), inputs, strict=True)
        if item.assumed
    ]


def shapes_of(inputs: Sequence[Signature]) -> dict[str, list[int]]:
    """Return the shape of each input by name, for reports."""
    return {
        name: list(item.shape)
        for name, item in zip(unique_names(inputs, "input"), inputs, strict=True)
    }


def _by_name(names: Sequence[str], shapes: Shapes | None) -> dict[str, Sequence[int]]:
    if shapes is None:
        return {}
    if not isinstance(shapes, Mapping):
        if not hasattr(shapes, "__len__"):
            raise NmpackError(
                f"expected a shape, or shapes by the inputs' names, got {shapes!r:.80}"
            )
        if len(names) != 1:
            raise NmpackError(
                f"expected a shape with the name of its input, one of {', '.join(names)}, got "
                f"{_text(shapes)} alone"
            )
        return {names[0]: shapes}
    for name in shapes:
        if name not in names:
            raise NmpackError(
                f"expected a shape of the inputs {', '.join(names) or '(there are none)'}, got one "
                f"of {name!r}"
            )
    return dict(shapes)


def _checked(name: str, item: Signature, shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape that the file leaves room for."""
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise NmpackError(
            f"input {name!r}: expected whole numbers as its shape, got {shape!r:.80}"
        ) from None
    if len(sizes) != len(item.shape):
        raise NmpackError(
            f"input {name!r}: expected {len(item.shape)} sizes, {_text(item.stated)}, got "
            f"{len(sizes)}, {_text(sizes)}"
        )
    for size, (stored, free) in zip(sizes, _axes(item), strict=True):
        if free and not 1 <= size <= _LARGEST:
            raise NmpackError(
                f"input {name!r}: expected sizes from 1 to {_LARGEST}, got {_text(sizes)}"
            )
        if not free and size != stored:
            fixed = "in which only ? is open" if item.is_open else "which the file fixes"
            raise NmpackError(
                f"input {name!r}: expected {_text(item.stated)}, {fixed}, got {_text(sizes)}"
            )
    if math.prod(sizes) > _LARGEST:
        raise NmpackError(f"input {name!r}: expected at most {_LARGEST} values, got {_text(sizes)}")
    return sizes


def _of_array(name: str, item: Signature, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an array; along a fixed first axis it may hold several samples."""
    first = item.shape[0]
    if item.stated[0] > 0 and len(shape) == len(item.shape) and shape[0] and not shape[0] % first:
        shape = (first, *shape[1:])
    return _checked(name, item, shape)


def _axes(item: Signature) -> Iterator[tuple[int, bool]]:
    """Yield the stored size of each axis, and whether it is open."""
    return ((size, stated == -1) for size, stated in zip(item.shape, item.stated, strict=True))


def _text(shape: Sequence[int]) -> str:
    return "x".join("?" if size == -1 else str(size) for size in shape) or "no axes"
