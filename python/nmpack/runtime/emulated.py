# SPDX-License-Identifier: BSD-3-Clause
"""Run a model under QEMU over as many samples as its inputs hold, one process each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nmpack.runtime.inputs import Inputs, prepare_inputs
from nmpack.runtime.interpreter import DEFAULT_INTERPRETER, Engine
from nmpack.runtime.process import EngineProcess
from nmpack.runtime.qemu import Target, run_emulated
from nmpack.runtime.runner import Result
from nmpack.runtime.sizes import Shapes


def run_samples_emulated(
    target: Target,
    processor: str,
    model: str | Path,
    inputs: Inputs = 0,
    *,
    interpreter: str = DEFAULT_INTERPRETER,
    options: Mapping[str, object] | None = None,
    delegate: bool = True,
    threads: int = 1,
    shapes: Shapes | None = None,
    timeout: float = 600.0,
) -> Result:
    """Run ``model`` under QEMU, as :func:`nmpack.runtime.runner.run` does on this machine.

    Args:
        target, processor, options, delegate, threads, timeout: as for
            :func:`nmpack.runtime.qemu.run_emulated`; the timeout is each process's.
        model: path of a ``.tflite`` file.
        inputs, shapes: as for :func:`nmpack.runtime.runner.run`.
        interpreter: of this machine, which says what the model takes.

    Returns:
        The outputs; their seconds are 0, for QEMU's say nothing.

    Raises:
        MissingError: the interpreter is absent.
        InterpreterError: the model is refused, crashes the program, or takes too long.
        NmpackError: an input or a shape does not fit.
    """
    stock = Engine("built-in", interpreter)
    with EngineProcess(model, stock, timeout=timeout, shapes=shapes, inputs=inputs) as child:
        signature = child.inputs
    arrays, samples = prepare_inputs(signature, inputs)
    sizes = [item.shape[0] if item.shape else 0 for item in signature]
    rows = []
    for sample in range(samples):
        one = [
            array[sample * size : (sample + 1) * size] if size else array
            for array, size in zip(arrays, sizes, strict=True)
        ]
        rows.append(
            run_emulated(
                target, processor, model, one, options=options, delegate=delegate,
                threads=threads, resized=signature, timeout=timeout,
            )
        )  # fmt: skip
    if samples == 1:
        return Result(rows[0], 0.0, 1, signature)
    outputs = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return Result(outputs, 0.0, samples, signature)
