# SPDX-License-Identifier: BSD-3-Clause
"""A running nmpack-measure: commands go in, checked answers come out, each within its time."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nmpack.checks import FormatError, parse_object, shown
from nmpack.errors import MissingError, NmpackError
from nmpack.refusals import one_line
from nmpack.runtime.ended import Ended, signal_name
from nmpack.tflite.names import printable
from nmpack.tune.children import Tail
from nmpack.tune.protocol import (
    PROTOCOL,
    AnswerError,
    Definition,
    Machine,
    RefusedError,
    layer_command,
    read_definition,
    read_machine,
    read_times,
    run_command,
)
from nmpack.tune.shapes import Layer, Setting

_START_SECONDS, _LAYER_SECONDS, _RUN_SECONDS = 30.0, 300.0, 60.0
_LONGEST_ANSWER = 1 << 20
T = TypeVar("T")


class LostError(NmpackError):
    """The program is gone or hangs; it may be started again.

    Attributes:
        dropped: whether the way to it broke, so that the program is not to blame.
    """

    def __init__(self, message: str, *, dropped: bool = False) -> None:
        """Take the sentence."""
        super().__init__(message)
        self.dropped = dropped


#: From a status and what was written to standard error, the error to raise.
Explain = Callable[[int, str], NmpackError]


@dataclass(frozen=True, slots=True)
class Command:
    """How the program is started.

    Attributes:
        argv: the command line.
        environment: all of it; None takes this process's.
        name: of where it runs, for messages.
        explain: turns its end into an error.
    """

    argv: Sequence[str]
    name: str
    explain: Explain
    environment: Mapping[str, str] | None = None


def explain_end(name: str) -> Explain:
    """Return how the end of a program on this machine is told."""

    def explain(status: int, said: str) -> NmpackError:
        how = (
            f"crashed with {signal_name(-status)}" if status < 0 else f"ended with status {status}"
        )
        return LostError(f"{name}: nmpack-measure {how}{': ' + said if said else ''}")

    return explain


class Session(Ended):
    """A started program; use it as a context manager.

    Raises:
        MissingError: it cannot be started.
        LostError: it ends or hangs, at any call.
        RefusedError: it refuses a command, and goes on.
        AnswerError: it answers something else than was agreed.
    """

    def __init__(self, command: Command) -> None:
        """Start it."""
        self.command = command
        self._pending = b""
        try:
            self._child = subprocess.Popen(
                command.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=command.environment,
                start_new_session=True,
            )
        except OSError as error:
            raise MissingError(
                f"{Path(command.argv[0]).name} cannot be started: {error.strerror or error}"
            ) from error
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._in, self._out = self._child.stdin, self._child.stdout
        self._said = Tail(self._child.stderr)

    def machine(self) -> Machine:
        """Ask where it runs."""
        answer = self._ask("machine", _START_SECONDS)
        if answer.get("protocol") != PROTOCOL:
            raise self._wrong(
                f"expected protocol {PROTOCOL}, got {shown(answer.get('protocol'))}; "
                "build nmpack-measure from this version"
            )
        return self._checked(read_machine, answer)

    def define(self, name: str, layer: Layer, setting: Setting) -> Definition:
        """Let it make a layer under a name of one word."""
        answer = self._ask(layer_command(name, layer, setting), _LAYER_SECONDS)
        return self._checked(read_definition, self._about("layer", name, answer))

    def run(
        self, name: str, candidate: str, count: int, evict: int = 0, expected: float = 0.0
    ) -> list[float]:
        """Run a candidate; returns nanoseconds of each run.

        Args:
            name: of the layer.
            candidate: of the layer's.
            count: of measured runs.
            evict: bytes of other memory before each.
            expected: seconds that this may take; ten times that, and a minute, are waited.
        """
        command = run_command(name, candidate, count, evict)
        answer = self._ask(command, _RUN_SECONDS + 10.0 * expected)
        return self._checked(read_times, self._about("layer", name, answer), candidate, count)

    def drop(self, name: str) -> None:
        """Let it forget a layer."""
        answer = self._ask(f"drop {name}", _START_SECONDS)
        if self._about("dropped", name, answer):
            raise self._wrong("the answer to 'drop' has more in it")

    def _about(self, key: str, name: str, answer: dict[str, Any]) -> dict[str, Any]:
        if answer.pop(key, None) != name:
            raise self._wrong(f"expected an answer with {key!r} {name!r}")
        return answer

    def _checked(self, read: Callable[..., T], *arguments: Any) -> T:
        try:
            return read(*arguments)
        except FormatError as error:
            raise self._wrong(str(error)) from error

    def _wrong(self, what: str) -> AnswerError:
        self.kill()
        return AnswerError(f"{self.command.name}: nmpack-measure's answer is unusable: {what}")

    def _ask(self, command: str, seconds: float) -> dict[str, Any]:
        if self._pending:
            raise self._wrong(f"more than one line, then {shown(_decoded(self._pending))}")
        with suppress(OSError, ValueError):  # What it wrote before it ended says more.
            self._in.write(command.encode("ascii") + b"\n")
            self._in.flush()
        line = self._line(command, seconds)
        answer = self._checked(parse_object, _decoded(line))
        if "error" in answer:
            said = printable(one_line(str(answer["error"]))) or "without a reason"
            raise RefusedError(f"{self.command.name}: nmpack-measure refuses: {said}")
        return answer

    def _line(self, command: str, seconds: float) -> bytes:
        """Return the next line of the answer's stream."""
        until = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        while b"\n" not in self._pending:
            left = until - time.monotonic()
            if left <= 0 or not poll.poll(1000.0 * left):
                self.kill()
                raise LostError(
                    f"{self.command.name}: nmpack-measure did not answer "
                    f"{command.split(' ', 1)[0]!r} within {seconds:g} s"
                )
            part = os.read(self._out.fileno(), 1 << 16)
            if not part:
                raise self._end()
            self._pending += part
            if len(self._pending) > _LONGEST_ANSWER:
                raise self._wrong(f"a line of more than {_LONGEST_ANSWER} bytes")
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _end(self) -> NmpackError:
        """Say why its output ended."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(1)
        status = self._child.poll()
        self.kill()
        status = self._child.wait() if status is None else status
        return self.command.explain(status, self._said.last_lines())

    def kill(self) -> None:
        """End it by force."""
        with suppress(OSError):
            os.killpg(self._child.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it: politely, then by force."""
        with suppress(OSError):
            self._in.close()
        try:
            self._child.wait(2)
        except subprocess.TimeoutExpired:
            self.kill()
            self._child.wait()
        self._out.close()
        self._said.close()


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")
