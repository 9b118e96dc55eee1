# SPDX-License-Identifier: BSD-3-Clause
"""Run by .venv-mcu's Python: what TFLite for Microcontrollers answers to models and inputs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tflite_micro.python.tflite_micro import runtime


def main(folder: Path) -> None:
    """Answer each ``NAME.tflite`` whose inputs are ``NAME.npz`` with ``NAME.out.npz``."""
    for model in sorted(folder.glob("*.tflite")):
        with np.load(model.with_suffix(".npz")) as arrays:
            inputs = [arrays[f"arr_{index}"] for index in range(len(arrays.files))]
        try:
            interpreter = runtime.Interpreter.from_file(str(model), arena_size=1 << 22)
            for index, values in enumerate(inputs):
                interpreter.set_input(values, index)
            interpreter.invoke()
        except RuntimeError:
            continue  # an operator or a type that it does not have
        np.savez(model.with_suffix(".out.npz"), interpreter.get_output(0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
