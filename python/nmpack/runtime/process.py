# SPDX-License-Identifier: BSD-3-Clause
"""Drive an engine that runs in a process of its own (:mod:`nmpack.runtime.worker`)."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from nmpack import errors
from nmpack.errors import InterpreterError, MissingError
from nmpack.files import write_arrays
from nmpack.locations import PACKAGE, ROOT, named, python_environment
from nmpack.refusals import one_line
from nmpack.runtime.interpreter import Engine

Array = npt.NDArray[Any]

_START_SECONDS = 120.0
_WORKER = "nmpack.runtime.worker"


@dataclass(frozen=True, slots=True)
class Signature:
    """An input or output of a model: name, shape and numpy type name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class EngineProcess:
    """An engine with one model, in a child process; use it as a context manager.

    Whatever happens to the child (it crashes, hangs, or is killed) ends in one
    :class:`~nmpack.errors.InterpreterError` here.
    """

    def __init__(self, model: str | Path, engine: Engine, *, timeout: float = 600.0) -> None:
        """Start the child and load ``model``.

        Args:
            model: path of a ``.tflite`` file.
            engine: how to execute it.
            timeout: seconds that one request may take.

        Raises:
            InterpreterError: the model or an option is refused, or the child dies.
            MissingError: the interpreter is not installed, or the model file is absent.
        """
        if not Path(model).is_file():
            raise MissingError(f"{model} is not a file")
        self.engine = engine
        self.model = Path(model)
        self._timeout = timeout
        self._folder = tempfile.TemporaryDirectory(prefix="nmpack-")
        self._link, theirs = socket.socketpair()
        self._log = (Path(self._folder.name) / "log").open("w+", encoding="utf-8", errors="replace")
        with theirs:
            self._child = subprocess.Popen(
                # -P: the current directory may be a stranger's; Python would import from it first.
                [_python(engine.interpreter), "-P", "-m", _WORKER, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,
            )
        self._stream: TextIO = self._link.makefile("rw", encoding="utf-8")
        try:
            answer = self._ask(
                max(timeout, _START_SECONDS), "load", model=str(model), engine=engine.to_dict()
            )
        except BaseException:
            self.close()
            raise
        self.inputs = tuple(_signature(item) for item in answer["inputs"])
        self.outputs = tuple(_signature(item) for item in answer["outputs"])
        self.versions = {engine.interpreter: answer["version"], "numpy": answer["numpy"]}
        self.memory_before = int(answer["before"]["now"])

    def prepare(self, subgraphs: Sequence[int]) -> None:
        """Prepare further subgraphs, by index: those of the model's signatures.

        The first one is prepared from the start, and with it those that its operators run.

        Raises:
            InterpreterError: the interpreter refuses one of them.
        """
        self._ask(self._timeout, "prepare", subgraphs=list(subgraphs))

    def feed(self, inputs: Sequence[Array]) -> None:
        """Set the inputs, one array for each of the model's, the first sample current."""
        path = Path(self._folder.name) / "inputs.npz"
        with path.open("wb") as file:
            write_arrays(file, {str(index): array for index, array in enumerate(inputs)})
        self._ask(self._timeout, "feed", path=str(path))

    def map(self, samples: int) -> tuple[list[Array], float]:
        """Run ``samples`` samples of what was fed; returns the joined outputs and seconds."""
        path = Path(self._folder.name) / "outputs.npz"
        answer = self._ask(self._timeout, "map", samples=samples, path=str(path))
        with np.load(path, allow_pickle=False) as data:
            return [data[str(i)] for i in range(len(data.files))], answer["ns"] / 1e9

    def time(self, repeat: int, settle: int = 0) -> list[float]:
        """Invoke ``settle`` times unmeasured and ``repeat`` times measured; returns seconds."""
        answer = self._ask(self._timeout, "run", repeat=repeat, settle=settle)
        return [value / 1e9 for value in answer["ns"]]

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

    def peak_memory(self) -> int:
        """Return the peak resident bytes of the child so far."""
        return int(self._ask(self._timeout, "memory")["peak"])

    def log(self) -> str:
        """Return what the child wrote to its terminal so far."""
        self._log.flush()
        return (Path(self._folder.name) / "log").read_text(encoding="utf-8", errors="replace")

    def _ask(self, timeout: float, verb: str, **request: Any) -> dict[str, Any]:
        self._link.settimeout(timeout)
        try:
            self._stream.write(json.dumps({"verb": verb, **request}) + "\n")
            self._stream.flush()
            line = self._stream.readline()
        except TimeoutError:
            self._child.kill()
            raise InterpreterError(
                f"{self.engine.name} did not answer within {timeout:g} s on {self.model}"
            ) from None
        except OSError:
            line = ""
        if not line:
            raise InterpreterError(f"{self.engine.name} on {self.model}: {self._death()}")
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            kind = getattr(errors, answer["kind"], InterpreterError)
            raise kind(f"{answer['message']}{self._hint()}")
        return answer

    def _hint(self) -> str:
        """Return the last error line of the child's log, in brackets."""
        lines = [line for line in self.log().splitlines() if line.startswith("ERROR")]
        return f" ({one_line(lines[-1])})" if lines else ""

    def _death(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(5)
        code = self._child.poll()
        if code is not None and code < 0:
            how = f"the interpreter crashed with {signal.Signals(-code).name}"
        else:
            how = f"the interpreter's process ended with status {code}"
        tail = [line for line in self.log().splitlines() if line.strip()][-1:]
        return f"{how}{': ' + one_line(tail[0]) if tail else ''}"

    def close(self) -> None:
        """End the child."""
        with suppress(OSError, ValueError):
            self._stream.close()
        self._link.close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._log.close()
        self._folder.cleanup()

    def __enter__(self) -> EngineProcess:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child."""
        if error is not None:
            self._child.kill()
        self.close()


def _python(interpreter: str) -> str:
    """Return the Python that has the interpreter: this one, or tflite-runtime's environment."""
    if interpreter != "tflite-runtime":
        return sys.executable
    if given := named("NMPACK_TFLITE_RUNTIME_PYTHON"):
        if not given.is_file():
            raise MissingError(f"NMPACK_TFLITE_RUNTIME_PYTHON names {given}, which is not a file")
        return str(given)
    beside = ROOT / ".venv-tflite-runtime" / "bin" / "python"
    return str(beside) if beside.is_file() else sys.executable


def _environment() -> dict[str, str]:
    """Return this environment with nmpack's own folder on the path, unless others share it."""
    folder = PACKAGE.parent
    return python_environment([] if (folder / "numpy").exists() else [folder])


def _signature(item: dict[str, Any]) -> Signature:
    return Signature(item["name"], tuple(item["shape"]), item["dtype"])
