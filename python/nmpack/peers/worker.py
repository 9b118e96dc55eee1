# SPDX-License-Identifier: BSD-3-Clause
"""One peer in a process of its own; :class:`nmpack.peers.process.PeerProcess` is the other end.

``python -m nmpack.peers.worker FD`` answers JSON lines on FD.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nmpack.errors import InterpreterError, NmpackError
from nmpack.files import write_arrays
from nmpack.peers.runtimes import Session
from nmpack.refusals import said
from nmpack.runtime.interpreter import package_version
from nmpack.runtime.serving import Request, memory, serve, timed


class Worker:
    """The state of one peer: a session with its input."""

    def __init__(self) -> None:
        """Start without a network."""
        self.session: Session

    def make(self, request: Request) -> Request:
        """Write ``target``, the network of ``source`` in another ``form``."""
        from nmpack.peers.forms import MAKERS

        with _one_sentence(f"the form {request['form']} cannot be made"):
            MAKERS[request["form"]](Path(request["source"]), Path(request["target"]))
        return {}

    def load(self, request: Request) -> Request:
        """Open ``path`` in ``runtime``; answers its settings, version and memory before."""
        runtime = request["runtime"]
        with _one_sentence(f"{runtime} refuses the network"):
            module = importlib.import_module(f"nmpack.peers.runtimes.{runtime}")
            before = memory()
            opener: Callable[..., Session] = module.open_network
            self.session = opener(
                Path(request["path"]),
                precision=request["precision"],
                mode=request["mode"],
                shape=tuple(request["shape"]),
                threads=request["threads"],
            )
        return {
            "settings": self.session.settings,
            "version": package_version(runtime),
            "before": before,
        }

    def feed(self, request: Request) -> Request:
        """Take the image, channels last, from the ``.npz`` at ``path``: key 0."""
        with np.load(request["path"], allow_pickle=False) as data:
            self.session.feed(data["0"])
        return {}

    def run(self, request: Request) -> Request:
        """Run ``settle`` times unmeasured, then ``repeat`` times; answers nanoseconds each."""
        with _one_sentence("it fails while it runs"):
            return timed(self.session.run, request)

    def map(self, request: Request) -> Request:
        """Run once and write the output to the ``.npz`` at ``path``."""
        with _one_sentence("it fails while it runs"):
            start = time.perf_counter_ns()
            self.session.run()
            elapsed = time.perf_counter_ns() - start
            output = self.session.output()
        with Path(request["path"]).open("wb") as file:
            write_arrays(file, {"0": output})
        return {"ns": elapsed}


@contextmanager
def _one_sentence(what: str) -> Iterator[None]:
    """Turn whatever a runtime raises into one sentence."""
    try:
        yield
    except NmpackError:
        raise
    except Exception as error:
        raise InterpreterError(f"{what}: {said(error)}") from error


def main(descriptor: int) -> None:
    """Answer requests until the other end closes."""
    worker = Worker()
    verbs = {
        "make": worker.make,
        "load": worker.load,
        "feed": worker.feed,
        "run": worker.run,
        "map": worker.map,
    }
    serve(descriptor, verbs)


if __name__ == "__main__":
    main(int(sys.argv[1]))
