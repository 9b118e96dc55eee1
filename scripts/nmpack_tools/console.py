# SPDX-License-Identifier: BSD-3-Clause
"""How the scripts speak: one error type, one line an event, a byte counter on downloads."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn


class ToolError(Exception):
    """Anything the user can act on: one sentence that says what, expected, got, what to do."""


def say(text: str) -> None:
    print(text, flush=True)


def _unwind(*_: object) -> NoReturn:
    """A termination request unwinds like Ctrl-C does, so that temporary folders are removed."""
    raise KeyboardInterrupt


def run_main(main: Callable[[], int]) -> NoReturn:
    """Runs a script's main(); turns what can go wrong outside the program into one line."""
    signal.signal(signal.SIGTERM, _unwind)
    name = Path(sys.argv[0]).name
    try:
        status = main()
    except ToolError as error:
        print(f"{name}: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run it again to continue", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except shutil.Error as error:  # from copytree: a list of (source, target, reason)
        source, _, reason = error.args[0][0]
        print(f"{name}: cannot copy {source}: {reason}", file=sys.stderr)
        status = 1
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"{name}: {error.strerror or error}{where}", file=sys.stderr)
        status = 1
    sys.exit(status)


class Progress:
    """Bytes so far, rewritten in place on a terminal and every few seconds elsewhere."""

    def __init__(self, label: str, total: int | None) -> None:
        self._label = label
        self._total = total
        self._tty = sys.stdout.isatty()
        self._next = time.monotonic() + (0.0 if self._tty else 5.0)
        self._shown = False

    def update(self, done: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.2 if self._tty else 5.0)
        self._shown = True
        of = f" of {self._total / 1e6:.1f}" if self._total else ""
        print(
            f"\r  {self._label}: {done / 1e6:.1f}{of} MB"
            if self._tty
            else f"  {self._label}: {done / 1e6:.1f}{of} MB",
            end="" if self._tty else "\n",
            flush=True,
        )

    def close(self) -> None:
        if self._tty and self._shown:
            print(flush=True)


@contextlib.contextmanager
def exclusive(lock: Path, what: str) -> Iterator[None]:
    """Holds ``lock`` so that two runs at once take turns; the lock dies with the process."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"  waiting for another {what} to finish")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
