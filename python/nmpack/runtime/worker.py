# SPDX-License-Identifier: BSD-3-Clause
"""One engine in a process of its own.

``python -m nmpack.runtime.worker FD`` answers JSON lines on FD.

A hostile model can then crash only this process, peak memory is one engine's, and an interpreter
may live in another environment. :class:`nmpack.runtime.process.EngineProcess` is the other end.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.files import write_arrays
from nmpack.runtime.interpreter import (
    Engine,
    allocate,
    open_interpreter,
    package_version,
    prepare_subgraph,
)
from nmpack.runtime.serving import Request, memory, serve, timed
from nmpack.runtime.sizes import stated_shape


class Worker:
    """The state of one engine: an interpreter with its inputs."""

    def __init__(self) -> None:
        """Start without a model."""
        self.interpreter: Any = None
        self.delegate: Any = None
        self.opened = ("", Engine(""))
        self.samples: list[Any] = []

    def load(self, request: Request) -> Request:
        """Open ``model`` with ``engine``; answers its inputs, and the memory before."""
        from nmpack.runtime.interpreter import interpreter_module

        engine = Engine(**request["engine"])
        interpreter_module(engine.interpreter)
        before = memory()
        self.opened = (request["model"], engine)
        self.interpreter, self.delegate = open_interpreter(*self.opened)
        return {
            "inputs": [_input(item) for item in self.interpreter.get_input_details()],
            "version": package_version(engine.interpreter),
            "numpy": np.__version__,
            "before": before,
        }

    def allocate(self, request: Request) -> Request:
        """Give the inputs ``shapes``, and every tensor its memory; answers the outputs."""
        allocate(self.interpreter, *self.opened, request["shapes"])
        return {"outputs": [_tensor(item) for item in self.interpreter.get_output_details()]}

    def shapes(self, _request: Request) -> Request:
        """Answer the shape of each tensor of the first subgraph by its index, as they are now."""
        details = self.interpreter.get_tensor_details()
        return {"shapes": [[int(item["index"]), _tensor(item)["shape"]] for item in details]}

    def prepare(self, request: Request) -> Request:
        """Allocate the tensors of ``subgraphs``: pairs of an index and a signature's key."""
        for index, signature in request["subgraphs"]:
            prepare_subgraph(self.interpreter, index, signature)
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
        return timed(self.interpreter.invoke, request)

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
        results: list[list[Any]] = [[] for _ in self.interpreter.get_output_details()]
        elapsed = 0
        for sample in range(request["samples"]):
            self._set(sample)
            start = time.perf_counter_ns()
            self.interpreter.invoke()
            elapsed += time.perf_counter_ns() - start
            for rows, item in zip(results, self.interpreter.get_output_details(), strict=True):
                rows.append(_value(self.interpreter, item))
        joined = {
            str(index): rows[0] if len(rows) == 1 else np.concatenate(rows)
            for index, rows in enumerate(results)
        }
        with Path(request["path"]).open("wb") as file:
            write_arrays(file, joined)
        return {"ns": elapsed}


def _value(interpreter: Any, item: Any) -> Any:
    """Return an output; interpreters have none to give where it is empty."""
    shape = [int(size) for size in item["shape"]]
    return interpreter.get_tensor(item["index"]) if all(shape) else np.empty(shape, item["dtype"])


def _tensor(item: Any) -> dict[str, Any]:
    return {
        "name": item["name"],
        "shape": [int(size) for size in item["shape"]],
        "dtype": np.dtype(item["dtype"]).name,
    }


def _input(item: Any) -> dict[str, Any]:
    found = _tensor(item)
    signature = [int(size) for size in item["shape_signature"]]
    return found | {"stated": stated_shape(found["shape"], signature)}


def main(descriptor: int) -> None:
    """Answer requests until the other end closes."""
    worker = Worker()
    verbs = {
        "load": worker.load,
        "allocate": worker.allocate,
        "shapes": worker.shapes,
        "prepare": worker.prepare,
        "feed": worker.feed,
        "run": worker.run,
        "race": worker.race,
        "map": worker.map,
    }
    serve(descriptor, verbs)


if __name__ == "__main__":
    main(int(sys.argv[1]))
