# SPDX-License-Identifier: BSD-3-Clause
"""Run a model once, or over many samples, and compare two engines' results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmpack.errors import MismatchError, NmpackError
from nmpack.files import write_arrays, written_whole
from nmpack.runtime.child import Signature
from nmpack.runtime.inputs import Array, Inputs, prepare_inputs, unique_names
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.process import EngineProcess
from nmpack.runtime.sizes import Shapes


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave.

    Attributes:
        outputs: by name in the model's order.
        seconds: spent in the interpreter.
        samples: that ran one after the other.
        inputs: the model's, of the sizes that it ran with.
    """

    outputs: dict[str, Array]
    seconds: float
    samples: int
    inputs: tuple[Signature, ...] = ()


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
    model: str | Path,
    inputs: Inputs = 0,
    *,
    engine: Engine | None = None,
    shapes: Shapes | None = None,
    timeout: float = 600.0,
) -> Result:
    """Run ``model`` in a process of its own.

    Args:
        model: path of a ``.tflite`` file.
        inputs: one array, a sequence or a mapping by input name; an int seeds random inputs. When
            the leading axis is a multiple of the model's batch, the samples run one after the
            other and the outputs are joined.
        engine: how; our delegate on one thread by default.
        shapes: of inputs whose sizes the file leaves open, see
            :data:`nmpack.runtime.sizes.Shapes`; those that are not named are of the arrays'
            sizes, random ones as they are stored.
        timeout: seconds for the whole run.

    Raises:
        InterpreterError: the model is refused, crashes the interpreter, or takes too long.
        MissingError: the interpreter or the delegate is absent.
        NmpackError: an input does not fit.
    """
    with EngineProcess(
        model, engine or nmpack_engine(), timeout=timeout, shapes=shapes, inputs=inputs
    ) as child:
        arrays, samples = prepare_inputs(child.inputs, inputs)
        child.feed(arrays)
        results, seconds = child.map(samples)
        names = unique_names(child.outputs, "output")
        return Result(dict(zip(names, results, strict=True)), seconds, samples, child.inputs)


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
        if a.ndim == 2 and a.size and a.shape[1] > 1:
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
    shapes: Shapes | None = None,
    timeout: float = 600.0,
) -> Difference:
    """Run the interpreter as it is installed, and compare its outputs with others.

    Args:
        model, inputs, shapes, timeout: as for :func:`run`.
        outputs: what to compare, of the same inputs.
        stock: the interpreter.
        tolerance: largest relative difference.
        where: on what the others were computed, for the message.

    Raises:
        MismatchError: too far apart.
        InterpreterError, MissingError: as :func:`run` raises them.
    """
    reference = run(model, inputs, engine=stock, shapes=shapes, timeout=timeout)
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
