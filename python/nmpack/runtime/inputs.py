# SPDX-License-Identifier: BSD-3-Clause
"""What a model is fed: arrays that are checked, or random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import NmpackError
from nmpack.runtime.child import Signature

Array = npt.NDArray[Any]
Inputs = Array | Sequence[Array] | Mapping[str, Array] | int
#: Random values that are drawn at once.
_SLICE = 1 << 20


def prepare_inputs(signature: Sequence[Signature], inputs: Inputs) -> tuple[list[Array], int]:
    """Check or draw the inputs; returns the arrays in the model's order and the sample count.

    Raises:
        NmpackError: count, name, shape or type do not fit; says what was expected.
    """
    if isinstance(inputs, int):
        generator = np.random.default_rng(inputs)
        return [_draw(item, generator) for item in signature], 1
    arrays = [
        _typed(item, array)
        for item, array in zip(signature, ordered(signature, inputs), strict=True)
    ]
    counts = set()
    for item, array in zip(signature, arrays, strict=True):
        fits = array.shape == item.shape
        if not fits and array.ndim == len(item.shape) and array.ndim > 0 and item.shape[0] > 0:
            fits = array.shape[1:] == item.shape[1:] and array.shape[0] % item.shape[0] == 0
        if not fits or array.size == 0:
            raise NmpackError(
                f"input {item.name!r}: expected shape {list(item.shape)} (or a multiple along "
                f"the first axis), got {list(array.shape)}"
            )
        counts.add(array.shape[0] // item.shape[0] if item.shape else 1)
    if len(counts) > 1:
        raise NmpackError(f"the inputs hold different numbers of samples: {sorted(counts)}")
    return arrays, counts.pop() if counts else 1


def ordered(
    signature: Sequence[Signature], inputs: Array | Sequence[Array] | Mapping[str, Array]
) -> list[Array]:
    """Return the arrays in the model's order.

    Raises:
        NmpackError: there are more or fewer, or a name is another.
    """
    if isinstance(inputs, Mapping):
        names = unique_names(signature, "input")
        if set(inputs) != set(names):
            raise NmpackError(f"expected the inputs {names}, got {sorted(inputs)}")
        return [np.asarray(inputs[name]) for name in names]
    if isinstance(inputs, np.ndarray):
        inputs = [inputs]
    if len(inputs) != len(signature):
        raise NmpackError(f"expected {len(signature)} inputs, got {len(inputs)}")
    return [np.asarray(item) for item in inputs]


def _typed(item: Signature, array: Array) -> Array:
    """Return ``array`` in the type of ``item``: whole numbers that it can hold become such."""
    if array.dtype.name == item.dtype:
        return array
    kind = np.dtype(item.dtype)
    if kind.kind not in "iu" or array.dtype.kind not in "iu" or array.size == 0:
        raise NmpackError(f"input {item.name!r}: expected {item.dtype}, got {array.dtype.name}")
    bounds, low, high = np.iinfo(kind), int(array.min()), int(array.max())
    if low < bounds.min or high > bounds.max:
        raise NmpackError(
            f"input {item.name!r}: expected {item.dtype}, {bounds.min} to {bounds.max}, got "
            f"{array.dtype.name} from {low} to {high}"
        )
    return array.astype(kind)


def _draw(item: Signature, generator: np.random.Generator) -> Array:
    kind = np.dtype(item.dtype)
    if kind.kind not in "fbiu":
        raise NmpackError(f"input {item.name!r}: random values of type {item.dtype} are not made")
    try:
        drawn = np.empty(item.shape, kind)
        # Generators give wider types, which need more memory.
        flat = drawn.reshape(-1)
        for begin in range(0, flat.size, _SLICE):
            part = flat[begin : begin + _SLICE]
            part[:] = _values(item, kind, part.size, generator)
    except (MemoryError, ValueError) as error:
        sizes = "x".join(map(str, item.shape))
        raise NmpackError(
            f"input {item.name!r}: no memory for random values of {sizes} {item.dtype}: {error}"
        ) from error
    return drawn


def _values(
    item: Signature, kind: np.dtype[Any], count: int, generator: np.random.Generator
) -> Array:
    if kind.kind == "f":
        return generator.uniform(-1.0, 1.0, count)
    if kind.kind == "b":
        return generator.integers(0, 2, count)
    bounds = np.iinfo(kind)
    low, high = int(bounds.min), int(bounds.max) + 1
    if item.rows or kind.itemsize > 2:  # places in a table, or numbers of things
        low, high = 0, min(high, item.rows or 100, 100)
    return generator.integers(low, high, count)


def unique_names(signature: Sequence[Signature], unnamed: str) -> list[str]:
    """Return the names, repeated ones numbered; ``unnamed`` is what has none."""
    names: list[str] = []
    for item in signature:
        given = item.name or unnamed
        name, count = given, 1
        while name in names:
            count += 1
            name = f"{given}#{count}"
        names.append(name)
    return names
