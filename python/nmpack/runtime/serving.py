# SPDX-License-Identifier: BSD-3-Clause
"""The child's side of :mod:`nmpack.runtime.child`: requests and answers as lines of JSON."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nmpack.errors import InterpreterError, NmpackError
from nmpack.refusals import one_line

Request = dict[str, Any]

# Libraries map more than they use.
_ADDRESS_SLACK = 4 << 30
_PR_SET_PDEATHSIG = 1


def timed(invoke: Callable[[], object], request: Request) -> Request:
    """Invoke ``settle`` times unmeasured, then ``repeat`` times.

    Answers the nanoseconds of each, and those of the processor in all threads together.
    """
    for _ in range(request["settle"]):
        invoke()
    times = []
    processor = time.process_time_ns()
    for _ in range(request["repeat"]):
        start = time.perf_counter_ns()
        invoke()
        times.append(time.perf_counter_ns() - start)
    return {"ns": times, "processor_ns": time.process_time_ns() - processor}


def memory() -> dict[str, int]:
    """Return ``{"now", "peak"}``, resident bytes of this process."""
    values = {"now": 0, "peak": 0}
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").split("\n"):
        key, _, rest = line.partition(":")
        if key in ("VmRSS", "VmHWM"):
            values["now" if key == "VmRSS" else "peak"] = 1024 * int(rest.split()[0])
    return values


def serve(descriptor: int, verbs: Mapping[str, Callable[[Request], Request]]) -> None:
    """Answer requests until the other end closes; ``memory`` and ``bind`` for every worker."""
    _limit_memory()
    known = {"memory": lambda _request: memory(), "bind": _bind, **verbs}
    with socket.socket(fileno=descriptor) as link, link.makefile("rw", encoding="utf-8") as stream:
        for line in stream:
            request = json.loads(line)
            try:
                answer = {"ok": True, **known[request["verb"]](request)}
            except NmpackError as error:
                answer = {"ok": False, "kind": type(error).__name__, "message": str(error)}
            except (ValueError, RuntimeError, TypeError, MemoryError) as error:
                kind = InterpreterError.__name__
                answer = {"ok": False, "kind": kind, "message": one_line(error)}
            stream.write(json.dumps(answer) + "\n")
            stream.flush()


def _limit_memory() -> None:
    """Let a model that asks for more memory than there is fail here, not take the machine along."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages + _ADDRESS_SLACK
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _bind(_request: Request) -> Request:
    """Let the kernel end this process with the thread that started it.

    One that is paused does not see that its socket is closed.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return {}
