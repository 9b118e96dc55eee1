# SPDX-License-Identifier: BSD-3-Clause
"""A child process that answers requests about one network; :mod:`nmpack.runtime.serving` is there.

Whatever happens to the child (it crashes, hangs, babbles, or is killed) ends in one
:class:`~nmpack.errors.InterpreterError` here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from nmpack import errors
from nmpack.errors import InterpreterError
from nmpack.files import write_arrays
from nmpack.locations import PACKAGE, python_environment
from nmpack.refusals import one_line
from nmpack.runtime.ended import Ended, signal_name

Array = npt.NDArray[Any]

START_SECONDS = 120.0
#: Characters that one answer may have.
_LONGEST = 1 << 26


@dataclass(frozen=True, slots=True)
class Signature:
    """An input or output of a model.

    Attributes:
        name: as the interpreter gives it.
        shape: of its values.
        dtype: numpy's name of their type.
        rows: of the table in which an input's whole numbers are looked up; 0 where they are not.
        stated: the shape with -1 for those sizes that the file leaves open; none by default.
        assumed: whether open sizes have their placeholders, because nobody said what they are.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    rows: int = 0
    stated: tuple[int, ...] = ()
    assumed: bool = False

    def __post_init__(self) -> None:
        """Take what is stated nowhere for fixed."""
        if not self.stated:
            object.__setattr__(self, "stated", self.shape)

    @property
    def is_open(self) -> bool:
        """Whether the file leaves a size open."""
        return -1 in self.stated


#: Runs a module without importing from the current directory, which may be a stranger's and comes
#: first. (As -P does, which Python 3.10 does not know.)
_START = (
    "import runpy, sys; sys.path[0] or sys.path.pop(0); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


class ChildProcess(Ended):
    """A worker module in a process of its own, with the verbs that every worker has.

    Attributes:
        label: who it is, for messages.
        settings: how its runtime was set up, for reports.
        memory_before: bytes that it held before it had a network.
    """

    settings: Mapping[str, str]
    memory_before: int
    #: What dies when the child does, for messages.
    what = "runtime"
    #: Seconds that it may take to end when it is closed.
    seconds_to_end = 5.0

    def __init__(
        self,
        python: str,
        module: str,
        label: str,
        *,
        timeout: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the child; nothing is asked yet.

        Args:
            python: the Python that runs it.
            module: the worker, run as ``-m module FD``.
            label: who it is, for messages.
            timeout: seconds that one request may take.
            environment: of the child; :func:`child_environment` when None.
        """
        self.label = label
        self.settings, self.memory_before = {}, 0
        self._timeout = timeout
        self._spent = [0.0, 0.0]
        self._bound = False
        self._folder = tempfile.TemporaryDirectory(prefix="nmpack-")
        self._link, theirs = socket.socketpair()
        self._log = (Path(self._folder.name) / "log").open("w+", encoding="utf-8", errors="replace")
        with theirs:
            self._child = subprocess.Popen(
                [python, "-c", _START, module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env=dict(environment if environment is not None else child_environment()),
                start_new_session=True,
            )
        self._stream: TextIO = self._link.makefile("rw", encoding="utf-8", errors="replace")

    @property
    def folder(self) -> Path:
        """A folder that goes when the child does."""
        return Path(self._folder.name)

    @property
    def cores_used(self) -> float:
        """Processor time of all its threads over the time passed, in the runs measured so far."""
        wall, processor = self._spent
        return processor / wall if wall > 0 else 0.0

    def feed(self, inputs: Sequence[Array]) -> None:
        """Set the inputs, one array for each of the model's, the first sample current."""
        path = self.folder / "inputs.npz"
        with path.open("wb") as file:
            write_arrays(file, {str(index): array for index, array in enumerate(inputs)})
        self._ask(self._timeout, "feed", path=str(path))

    def map(self, samples: int) -> tuple[list[Array], float]:
        """Run ``samples`` samples of what was fed; returns the joined outputs and seconds."""
        path = self.folder / "outputs.npz"
        answer = self._ask(self._timeout, "map", samples=samples, path=str(path))
        with np.load(path, allow_pickle=False) as data:
            return [data[str(i)] for i in range(len(data.files))], answer["ns"] / 1e9

    def time(self, repeat: int, settle: int = 0) -> list[float]:
        """Invoke ``settle`` times unmeasured and ``repeat`` times measured; returns seconds."""
        answer = self._ask(self._timeout, "run", repeat=repeat, settle=settle)
        seconds = [value / 1e9 for value in answer["ns"]]
        self._spent[0] += sum(seconds)
        self._spent[1] += answer["processor_ns"] / 1e9
        return seconds

    def peak_memory(self) -> int:
        """Return the peak resident bytes of the child so far."""
        return int(self._ask(self._timeout, "memory")["peak"])

    def pause(self) -> None:
        """Stop the child and all its threads, so that none of them waits actively meanwhile.

        From the first pause on, the child also dies with the thread that started it.
        """
        if not self._bound:
            self._ask(self._timeout, "bind")
            self._bound = True
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused child go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    def log(self) -> str:
        """Return what the child wrote to its terminal so far."""
        self._log.flush()
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def _ask(self, timeout: float, verb: str, **request: Any) -> dict[str, Any]:
        self._link.settimeout(timeout)
        try:
            self._stream.write(json.dumps({"verb": verb, **request}) + "\n")
            self._stream.flush()
            line = self._stream.readline(_LONGEST)
        except TimeoutError:
            self._child.kill()
            raise InterpreterError(
                f"{self.label} did not answer within {timeout:g} s{self._on()}"
            ) from None
        except OSError:
            line = ""
        if not line:
            raise InterpreterError(f"{self.label}{self._on()}: {self._death()}")
        answer = _read(line)
        if answer is None:
            self._child.kill()
            raise InterpreterError(
                f"{self.label}{self._on()}: expected an answer in JSON, got {line[:60]!r}"
            )
        if not answer["ok"]:
            kind = getattr(errors, str(answer.get("kind")), InterpreterError)
            raise kind(f"{answer.get('message')}{self._hint()}")
        return answer

    def _on(self) -> str:
        """Say on what it runs, for messages."""
        return ""

    def _hint(self) -> str:
        """Return the last error line of the child's log, in brackets."""
        lines = [line for line in self.log().splitlines() if line.startswith("ERROR")]
        return f" ({one_line(lines[-1])})" if lines else ""

    def _death(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(5)
        code = self._child.poll()
        if code is not None and code < 0:
            how = f"the {self.what} crashed with {signal_name(-code)}"
        else:
            how = f"the {self.what}'s process ended with status {code}"
        tail = [line for line in self.log().splitlines() if line.strip()][-1:]
        return f"{how}{': ' + one_line(tail[0]) if tail else ''}"

    def close(self) -> None:
        """End the child, by force where it takes longer than ``seconds_to_end``."""
        self.resume()
        with suppress(OSError, ValueError):
            self._stream.close()
        self._link.close()
        try:
            self._child.wait(self.seconds_to_end)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._log.close()
        self._folder.cleanup()

    def kill(self) -> None:
        """End the child by force."""
        self._child.kill()


def child_environment() -> dict[str, str]:
    """Return this environment with nmpack's own folder on the path, unless others share it."""
    folder = PACKAGE.parent
    return python_environment([] if (folder / "numpy").exists() else [folder])


def signature(item: Mapping[str, Any]) -> Signature:
    """Read what a worker says of an input or output."""
    shape = tuple(item["shape"])
    return Signature(item["name"], shape, item["dtype"], stated=tuple(item.get("stated", shape)))


def _read(line: str) -> dict[str, Any] | None:
    """Return an answer, or None where the line is none."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and isinstance(answer.get("ok"), bool) else None
