# SPDX-License-Identifier: BSD-3-Clause
"""Golden vectors: what TFLite's reference kernels answer to inputs drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import MismatchError
from nmpack.mcu.graph import Tensor
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.process import EngineProcess

#: Seconds that the reference kernels have: ResNet-18 of 224 x 224 takes about ten.
SECONDS = 600.0

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Inputs of a network, and what it has to answer.

    Attributes:
        seed: of the inputs.
        inputs: ``[count, NAME_INPUT_BYTES]`` as the generated function takes them.
        outputs: ``[count, NAME_OUTPUT_BYTES]``.
    """

    seed: int
    inputs: Bytes
    outputs: Bytes


def draw(tensor: Tensor, generator: np.random.Generator) -> npt.NDArray[Any]:
    """Return random values of a tensor: all stored values alike, real ones from -2 to 2."""
    kind = np.dtype(tensor.dtype)
    if kind == np.float32:
        return generator.uniform(-2.0, 2.0, tensor.shape).astype(np.float32)
    if kind == np.bool_:
        return generator.integers(0, 2, tensor.shape).astype(np.bool_)
    if kind.itemsize > 2:
        return generator.integers(-1000, 1000, tensor.shape, dtype=kind)
    limits = np.iinfo(kind)
    return generator.integers(limits.min, limits.max, tensor.shape, dtype=kind, endpoint=True)


def joined(arrays: list[npt.NDArray[Any]], offsets: tuple[int, ...], size: int) -> Bytes:
    """Return tensors as one row of ``size`` bytes, each at its offset; gaps are 0."""
    row = np.zeros(size, np.uint8)
    for array, offset in zip(arrays, offsets, strict=True):
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        row[offset : offset + flat.size] = flat
    return row


def golden_vectors(
    model: Path,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    layout: tuple[tuple[tuple[int, ...], int], tuple[tuple[int, ...], int]],
    count: int,
    seed: int,
) -> Golden:
    """Run the model ``count`` times through the reference kernels, in a process of its own.

    Args:
        model: path of the file.
        inputs, outputs: in the file's order.
        layout: offsets and bytes of all inputs, and of all outputs.
        count: how many vectors.
        seed: of the inputs.

    Raises:
        InterpreterError: the interpreter refuses the model, crashes, or takes too long.
        MismatchError: it computes outputs of other sizes than the file states.
        MissingError: ai-edge-litert is not installed.
    """
    generator = np.random.default_rng(seed)
    rows_in, rows_out = [], []
    reference = Engine("reference", resolver="reference")
    with EngineProcess(model, reference, timeout=SECONDS) as process:
        for _ in range(count):
            values = [draw(tensor, generator) for tensor in inputs]
            process.feed(values)
            results, _ = process.map(1)
            for tensor, result in zip(outputs, results, strict=True):
                if result.nbytes != tensor.nbytes:
                    raise MismatchError(
                        f"{model}: tensor {tensor.index} {tensor.name[:60]!r} has "
                        f"{tensor.nbytes} bytes, the reference kernels computed {result.nbytes}"
                    )
            rows_in.append(joined(values, *layout[0]))
            rows_out.append(joined(results, *layout[1]))
    return Golden(seed, np.stack(rows_in), np.stack(rows_out))
