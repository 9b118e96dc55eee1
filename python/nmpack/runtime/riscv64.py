# SPDX-License-Identifier: BSD-3-Clause
"""Run a model on riscv64 over as many samples as its inputs hold, one process each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nmpack.runtime.interpreter import DEFAULT_INTERPRETER, Engine
from nmpack.runtime.process import EngineProcess
from nmpack.runtime.qemu import run_riscv64
from nmpack.runtime.runner import Inputs, Result, prepare_inputs


def run_samples_riscv64(
    model: str | Path,
    inputs: Inputs = 0,
    *,
    interpreter: str = DEFAULT_INTERPRETER,
    vlen: int = 256,
    options: Mapping[str, object] | None = None,
    delegate: bool = True,
    threads: int = 1,
    timeout: float = 600.0,
) -> Result:
    """Run ``model`` under QEMU, as :func:`nmpack.runtime.runner.run` does on this machine.

    Args:
        model: path of a ``.tflite`` file.
        inputs: as for :func:`nmpack.runtime.runner.run`.
        interpreter: of this machine, which says what the model takes.
        vlen, options, delegate, threads, timeout: as for :func:`nmpack.runtime.qemu.run_riscv64`;
            the timeout is each process's.

    Returns:
        The outputs; their seconds are 0, for QEMU's say nothing.

    Raises:
        MissingError: the build, the sysroot, QEMU or the interpreter is absent.
        InterpreterError: the model is refused, crashes the program, or takes too long.
        NmpackError: an input does not fit.
    """
    with EngineProcess(model, Engine("built-in", interpreter), timeout=timeout) as child:
        arrays, samples = prepare_inputs(child.inputs, inputs)
        sizes = [item.shape[0] if item.shape else 0 for item in child.inputs]
    rows = []
    for sample in range(samples):
        one = [
            array[sample * size : (sample + 1) * size] if size else array
            for array, size in zip(arrays, sizes, strict=True)
        ]
        rows.append(
            run_riscv64(
                model, one, vlen=vlen, options=options, delegate=delegate, threads=threads,
                timeout=timeout,
            )
        )  # fmt: skip
    if samples == 1:
        return Result(rows[0], 0.0, 1)
    outputs = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return Result(outputs, 0.0, samples)
