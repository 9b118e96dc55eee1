# SPDX-License-Identifier: BSD-3-Clause
"""One engine in a process of its own.

``python -m nmpack.runtime.worker FD`` answers JSON lines on FD.

A hostile model can then crash only this process, peak memory is one engine's, and an interpreter
may live in another environment. :class:`nmpack.runtime.process.EngineProcess` is the other end.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.errors import InterpreterError, NmpackError
from nmpack.files import write_arrays
from nmpack.refusals import one_line
from nmpack.runtime.interpreter import Engine, open_interpreter, package_version

Request = dict[str, Any]

# Libraries map more than they use.
_ADDRESS_SLACK = 4 << 30


class Worker:
    """The state of one engine: an interpreter with its inputs."""

    def __init__(self) -> None:
        """Start without a model."""
        self.interpreter: Any = None
        self.delegate: Any = None
        self.samples: list[Any] = []

    def load(self, request: Request) -> Request:
        """Open ``model`` with ``engine``; answers the signature and the memory before and after."""
        from nmpack.runtime.interpreter import interpreter_module

        engine = Engine(**request["engine"])
        interpreter_module(engine.interpreter)
        before = memory()
        self.interpreter, self.delegate = open_interpreter(request["model"], engine)
        return {
            "inputs": [_tensor(item) for item in self.interpreter.get_input_details()],
            "outputs": [_tensor(item) for item in self.interpreter.get_output_details()],
            "version": package_version(engine.interpreter),
            "numpy": np.__version__,
            "before": before,
        }

    def prepare(self, request: Request) -> Request:
        """Allocate the tensors of ``subgraphs``, as running their signatures would first."""
        for index in request["subgraphs"]:
            # What is public does it on the way to running a signature with inputs.
            self.interpreter._interpreter.AllocateTensors(index)
        return {}

    def feed(self, request: Request) -> Request:
        """Take the inputs from the ``.npz`` at ``path``: keys 0, 1, … in the model's order."""
        with np.load(request["path"], allow_pickle=False) as data:
            self.samples = [data[str(index)] for index in range(len(data.files))]
        self._set(0)
        return {}

    def _set(self, sample: int) -> None:
        for item, array in zip(self.interpreter.get_input_details(), self.samples, strict=True):
            size = int(item["shape"][0]) if len(item["shape"]) else 0
            value = array[sample * size : (sample + 1) * size] if size else array
            self.interpreter.set_tensor(item["index"], value)

    def run(self, request: Request) -> Request:
        """Invoke ``settle`` times unmeasured, then ``repeat`` times; answers nanoseconds each."""
        for _ in range(request["settle"]):
            self.interpreter.invoke()
        times = []
        for _ in range(request["repeat"]):
            start = time.perf_counter_ns()
            self.interpreter.invoke()
            times.append(time.perf_counter_ns() - start)
        return {"ns": times}

    def race(self, request: Request) -> Request:
        """Let ``engines`` race on ``model``, beside what is open (:mod:`nmpack.runtime.race`)."""
        from nmpack.runtime.race import race_engines

        engines = [Engine(**item) for item in request["engines"]]
        times, difference = race_engines(
            request["model"], engines, request["rounds"], request["seed"]
        )
        return {"seconds": times, "difference": difference}

    def map(self, request: Request) -> Request:
        """Run every sample of the inputs and write the joined outputs to the ``.npz`` ``path``."""
        details = self.interpreter.get_output_details()
        results: list[list[Any]] = [[] for _ in details]
        elapsed = 0
        for sample in range(request["samples"]):
            self._set(sample)
            start = time.perf_counter_ns()
            self.interpreter.invoke()
            elapsed += time.perf_counter_ns() - start
            for rows, item in zip(results, details, strict=True):
                rows.append(self.interpreter.get_tensor(item["index"]))
        joined = {
            str(index): rows[0] if len(rows) == 1 else np.concatenate(rows)
            for index, rows in enumerate(results)
        }
        with Path(request["path"]).open("wb") as file:
            write_arrays(file, joined)
        return {"ns": elapsed}

    def memory(self, _request: Request) -> Request:
        """Answer this process's resident memory in bytes, now and at its peak."""
        return memory()


def memory() -> dict[str, int]:
    """Return ``{"now", "peak"}``, resident bytes of this process."""
    values = {"now": 0, "peak": 0}
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").split("\n"):
        key, _, rest = line.partition(":")
        if key in ("VmRSS", "VmHWM"):
            values["now" if key == "VmRSS" else "peak"] = 1024 * int(rest.split()[0])
    return values


def _tensor(item: Any) -> dict[str, Any]:
    return {
        "name": item["name"],
        "shape": [int(size) for size in item["shape"]],
        "dtype": np.dtype(item["dtype"]).name,
    }


def _limit_memory() -> None:
    """Let a model that asks for more memory than there is fail here, not take the machine along."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages + _ADDRESS_SLACK
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main(descriptor: int) -> None:
    """Answer requests until the other end closes."""
    _limit_memory()
    worker = Worker()
    verbs: dict[str, Callable[[Request], Request]] = {
        "load": worker.load,
        "prepare": worker.prepare,
        "feed": worker.feed,
        "run": worker.run,
        "race": worker.race,
        "map": worker.map,
        "memory": worker.memory,
    }
    with socket.socket(fileno=descriptor) as link, link.makefile("rw", encoding="utf-8") as stream:
        for line in stream:
            request = json.loads(line)
            try:
                answer = {"ok": True, **verbs[request["verb"]](request)}
            except NmpackError as error:
                answer = {"ok": False, "kind": type(error).__name__, "message": str(error)}
            except (ValueError, RuntimeError, TypeError, MemoryError) as error:
                kind = InterpreterError.__name__
                answer = {"ok": False, "kind": kind, "message": one_line(error)}
            stream.write(json.dumps(answer) + "\n")
            stream.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
