# SPDX-License-Identifier: BSD-3-Clause
"""Run a model once, or over many samples, and compare two engines' results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import MismatchError, NmpackError
from nmpack.files import write_arrays, written_whole
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.process import EngineProcess, Signature

Array = npt.NDArray[Any]
Inputs = Array | Sequence[Array] | Mapping[str, Array] | int


@dataclass(frozen=True, slots=True)
class Result:
    """Outputs by name in the model's order, and the seconds spent in the interpreter."""

    outputs: dict[str, Array]
    seconds: float
    samples: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two results are apart.

    Attributes:
        largest: largest absolute difference of any output element.
        relative: the same over the largest magnitude of the reference.
        top1: share of rows whose largest element agrees, or None when no output has classes.
    """

    largest: float
    relative: float
    top1: float | None


def run(
    model: str | Path, inputs: Inputs = 0, *, engine: Engine | None = None, timeout: float = 600.0
) -> Result:
    """Run ``model`` in a process of its own.

    Args:
        model: path of a ``.tflite`` file.
        inputs: one array, a sequence or a mapping by input name; an int seeds random inputs. When
            the leading axis is a multiple of the model's batch, the samples run one after the
            other and the outputs are joined.
        engine: how; our delegate on one thread by default.
        timeout: seconds for the whole run.

    Raises:
        InterpreterError: the model is refused, crashes the interpreter, or takes too long.
        MissingError: the interpreter or the delegate is absent.
        NmpackError: an input does not fit.
    """
    with EngineProcess(model, engine or nmpack_engine(), timeout=timeout) as child:
        arrays, samples = prepare_inputs(child.inputs, inputs)
        child.feed(arrays)
        results, seconds = child.map(samples)
        names = unique_names(child.outputs)
    return Result(dict(zip(names, results, strict=True)), seconds, samples)


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
        for item, array in zip(signature, _ordered(signature, inputs), strict=True)
    ]
    counts = set()
    for item, array in zip(signature, arrays, strict=True):
        fits = array.shape == item.shape
        if not fits and array.ndim == len(item.shape) and array.ndim > 0:
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


def _ordered(signature: Sequence[Signature], inputs: Inputs) -> list[Array]:
    if isinstance(inputs, Mapping):
        names = unique_names(signature)
        if set(inputs) != set(names):
            raise NmpackError(f"expected the inputs {names}, got {sorted(inputs)}")
        return [np.asarray(inputs[name]) for name in names]
    if isinstance(inputs, np.ndarray):
        inputs = [inputs]
    assert not isinstance(inputs, int)
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
    if kind.kind == "f":
        return generator.uniform(-1.0, 1.0, item.shape).astype(kind)
    if kind.kind == "b":
        return generator.integers(0, 2, item.shape).astype(kind)
    if kind.kind not in "iu":
        raise NmpackError(f"input {item.name!r}: random values of type {item.dtype} are not made")
    bounds = np.iinfo(kind)
    low, high = int(bounds.min), int(bounds.max) + 1
    if item.rows or kind.itemsize > 2:  # places in a table, or numbers of things
        low, high = 0, min(high, item.rows or 100, 100)
    return generator.integers(low, high, item.shape).astype(kind)


def unique_names(signature: Sequence[Signature]) -> list[str]:
    """Return the names, repeated ones numbered."""
    names: list[str] = []
    for item in signature:
        name, count = item.name or "output", 1
        while name in names:
            count += 1
            name = f"{item.name}#{count}"
        names.append(name)
    return names


def compare(reference: Mapping[str, Array], other: Mapping[str, Array]) -> Difference:
    """Measure how far ``other`` is from ``reference``, outputs paired in order.

    Raises:
        MismatchError: the outputs differ in number, shape or finiteness.
    """
    if len(reference) != len(other):
        raise MismatchError(f"expected {len(reference)} outputs, got {len(other)}")
    largest = relative = 0.0
    agreed: list[float] = []
    for (name, one), two in zip(reference.items(), other.values(), strict=True):
        if one.shape != two.shape:
            raise MismatchError(f"output {name!r}: expected shape {one.shape}, got {two.shape}")
        a, b = one.astype(np.float64), two.astype(np.float64)
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            raise MismatchError(f"output {name!r}: one result is finite where the other is not")
        a, b = np.nan_to_num(a), np.nan_to_num(b)
        gap = float(np.max(np.abs(a - b), initial=0.0))
        scale = float(np.max(np.abs(a), initial=0.0))
        largest = max(largest, gap)
        relative = max(relative, gap / scale if scale > 0 else float(gap > 0))
        if a.ndim == 2 and a.shape[1] > 1:
            agreed.append(float(np.mean(a.argmax(axis=1) == b.argmax(axis=1))))
    return Difference(largest, relative, min(agreed) if agreed else None)


def require_close(
    reference: Mapping[str, Array], other: Mapping[str, Array], tolerance: float, what: str
) -> Difference:
    """Compare, and fail when the relative difference is above ``tolerance``.

    Raises:
        MismatchError: too far apart.
    """
    gap = compare(reference, other)
    if gap.relative > tolerance:
        raise MismatchError(
            f"{what}: outputs differ by {gap.relative:.3g} of the largest value, "
            f"expected at most {tolerance:g}"
        )
    return gap


def require_stock(
    model: str | Path,
    inputs: Inputs,
    outputs: Mapping[str, Array],
    *,
    stock: Engine,
    tolerance: float,
    where: str,
    timeout: float = 600.0,
) -> Difference:
    """Run the interpreter as it is installed, and compare its outputs with others.

    Args:
        model, inputs, timeout: as for :func:`run`.
        outputs: what to compare, of the same inputs.
        stock: the interpreter.
        tolerance: largest relative difference.
        where: on what the others were computed, for the message.

    Raises:
        MismatchError: too far apart.
        InterpreterError, MissingError: as :func:`run` raises them.
    """
    reference = run(model, inputs, engine=stock, timeout=timeout)
    what = f"{model} on {where} against the stock interpreter"
    return require_close(reference.outputs, outputs, tolerance, what)


def load_inputs(path: str | Path) -> Inputs:
    """Read inputs from ``.npy``, ``.npz`` (names or 0, 1, …), or take ``random:SEED``.

    Raises:
        NmpackError: the file cannot be read or holds no plain arrays.
    """
    text = str(path)
    if text.startswith("random:"):
        seed = text.removeprefix("random:")
        if not seed.isdigit():
            raise NmpackError(f"expected random:SEED with a whole number, got {text!r}")
        return int(seed)
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise NmpackError(f"{text}: not a readable .npy or .npz file: {error}") from error
    if set(arrays) == {str(index) for index in range(len(arrays))}:
        return [arrays[str(index)] for index in range(len(arrays))]
    return arrays


def save_outputs(path: str | Path, outputs: Mapping[str, Array]) -> None:
    """Write the outputs to ``path``: the array itself for ``.npy``, by name for ``.npz``.

    Raises:
        NmpackError: another ending, or several outputs for a ``.npy``.
    """
    suffix = Path(path).suffix
    if suffix not in (".npy", ".npz"):
        raise NmpackError(f"expected an output file ending in .npy or .npz, got {path}")
    if suffix == ".npy" and len(outputs) != 1:
        raise NmpackError(f"a .npy file holds one output, the model has {len(outputs)}: use .npz")
    with written_whole(path) as temporary, temporary.open("wb") as file:
        if suffix == ".npy":
            np.save(file, next(iter(outputs.values())))
        else:
            write_arrays(file, outputs)
