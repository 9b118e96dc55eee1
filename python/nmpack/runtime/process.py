# SPDX-License-Identifier: BSD-3-Clause
"""Drive an engine that runs in a process of its own (:mod:`nmpack.runtime.worker`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nmpack.errors import InterpreterError, MissingError, ModelError
from nmpack.locations import ROOT, named, own_python
from nmpack.runtime.child import START_SECONDS, ChildProcess, Signature, signature
from nmpack.runtime.inputs import Inputs
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.sizes import Shapes, assumed_sizes, sized
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.lookups import table_rows

__all__ = ["EngineProcess", "Signature"]

_WORKER = "nmpack.runtime.worker"


class EngineProcess(ChildProcess):
    """An engine with one model, in a child process; use it as a context manager."""

    what = "interpreter"

    def __init__(
        self,
        model: str | Path,
        engine: Engine,
        *,
        timeout: float = 600.0,
        shapes: Shapes | None = None,
        inputs: Inputs = 0,
    ) -> None:
        """Start the child, load ``model`` and prepare it.

        Args:
            model: path of a ``.tflite`` file.
            engine: how to execute it.
            timeout: seconds that one request may take.
            shapes: of inputs whose sizes the file leaves open.
            inputs: what it will be fed; arrays say those sizes where ``shapes`` does not.

        Raises:
            NmpackError: a shape does not fit.
            InterpreterError: the model or an option is refused, or the child dies.
            MissingError: the interpreter is not installed, or the model file is absent.
        """
        if not Path(model).is_file():
            raise MissingError(f"{model} is not a file")
        self.engine = engine
        self.model = Path(model)
        super().__init__(_python(engine.interpreter), _WORKER, engine.name, timeout=timeout)
        if "profile" in engine.options:
            # The delegate measures at its end what the processor can, then writes.
            self.seconds_to_end = timeout
        try:
            answer = self._ask(
                max(timeout, START_SECONDS), "load", model=str(model), engine=engine.to_dict()
            )
            stored = _bounded(self.model, [signature(item) for item in answer["inputs"]])
            self.inputs = sized(stored, shapes, inputs)
            self.outputs = self._allocate()
            self.versions = {engine.interpreter: answer["version"], "numpy": answer["numpy"]}
            self.memory_before = int(answer["before"]["now"])
        except BaseException:
            self.kill()  # it has nothing to write yet
            self.close()
            raise

    def _allocate(self) -> tuple[Signature, ...]:
        """Resize the inputs and allocate the tensors; returns the outputs."""
        shapes = [item.shape for item in self.inputs]
        try:
            answer = self._ask(max(self._timeout, START_SECONDS), "allocate", shapes=shapes)
        except InterpreterError as error:
            if assumed := assumed_sizes(self.inputs):
                said = f"{error}; {', '.join(assumed)}: give it another shape"
                raise InterpreterError(said) from error
            raise
        return tuple(signature(item) for item in answer["outputs"])

    def _on(self) -> str:
        return f" on {self.model}"

    def prepare(self, subgraphs: Sequence[tuple[int, str]]) -> None:
        """Prepare further subgraphs, by index and signature.

        The first one is prepared from the start, and with it those that its operators run.

        Raises:
            InterpreterError: the interpreter refuses one of them.
        """
        self._ask(self._timeout, "prepare", subgraphs=list(subgraphs))

    def tensor_shapes(self) -> dict[int, tuple[int, ...]]:
        """Return the shape of each tensor of the first subgraph, by index.

        Those that only a run decides are as they were before it.
        """
        answer = self._ask(self._timeout, "shapes")
        return {index: tuple(shape) for index, shape in answer["shapes"]}

    def race(
        self, model: str | Path, engines: Sequence[Engine], rounds: int, seed: int = 0
    ) -> tuple[list[list[float]], float]:
        """Let engines take turns on a model within the child (:mod:`nmpack.runtime.race`).

        They are opened for that alone, beside the child's own engine and model.

        Args:
            model: path of a ``.tflite`` file.
            engines: of this child's interpreter.
            rounds: turns of each.
            seed: of the random inputs.

        Returns:
            For each engine its seconds in each round; and how far outputs are from the first's,
            out of their largest magnitude.

        Raises:
            InterpreterError: the model or an option is refused, or the child dies.
        """
        answer = self._ask(
            self._timeout,
            "race",
            model=str(model),
            engines=[engine.to_dict() for engine in engines],
            rounds=rounds,
            seed=seed,
        )
        return answer["seconds"], float(answer["difference"])


def _bounded(model: Path, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
    """Return the inputs with what the file says of the tables in which they are looked up.

    Raises:
        InterpreterError: an input has a type that numpy has not.
    """
    for item in inputs:
        try:
            np.dtype(item.dtype)
        except TypeError:
            raise InterpreterError(
                f"{model}: input {item.name!r} is of {item.dtype}, a type that numpy has not"
            ) from None
    if all(np.dtype(item.dtype).kind not in "iu" for item in inputs):
        return tuple(inputs)
    try:
        rows = table_rows(TFLiteFile(model).primary)
    except ModelError:  # what an interpreter may run all the same
        return tuple(inputs)
    return tuple(replace(item, rows=size) for item, size in zip(inputs, rows, strict=True))


def _python(interpreter: str) -> str:
    """Return the Python that has the interpreter: this one, or tflite-runtime's environment."""
    if interpreter != "tflite-runtime":
        return own_python()
    return environment_python("NMPACK_TFLITE_RUNTIME_PYTHON", ".venv-tflite-runtime")


def environment_python(variable: str, folder: str) -> str:
    """Return the Python of an environment beside the main one, or this one where there is none.

    Args:
        variable: names it.
        folder: of the source tree, where set-up makes it.

    Raises:
        MissingError: the variable names no file.
    """
    if given := named(variable):
        if not given.is_file():
            raise MissingError(f"{variable} names {given}, which is not a file")
        return str(given)
    beside = ROOT / folder / "bin" / "python"
    return str(beside) if beside.is_file() else own_python()
