# SPDX-License-Identifier: BSD-3-Clause
"""Drive a runtime that runs in a process of the peers' environment (:mod:`nmpack.peers.worker`)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from nmpack.locations import cache_folder, own_python
from nmpack.peers.contenders import Contender
from nmpack.runtime.child import ChildProcess, child_environment
from nmpack.runtime.process import environment_python

_WORKER = "nmpack.peers.worker"
#: What a shell may have set that changes threads, waiting, kernels or compilers of one peer alone.
_TUNING = (
    "ATEN_", "DNNL_", "GOMP_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "ORT_", "OV_", "TBB_",
    "TORCHINDUCTOR_", "TORCH_COMPILE_",
)  # fmt: skip
#: A compiled PyTorch network takes minutes.
_TIMEOUT = 900.0


class PeerProcess(ChildProcess):
    """A runtime with one network, or the maker of a form; use it as a context manager."""

    def __init__(self, label: str, *, threads: int = 1, ours: bool = False) -> None:
        """Start the child.

        Args:
            label: who it is, for messages.
            threads: of the runtime.
            ours: take nmpack's own environment, not the peers'.

        Raises:
            MissingError: ``NMPACK_PEERS_PYTHON`` names no file.
        """
        python = own_python() if ours else peers_python()
        super().__init__(
            python, _WORKER, label, timeout=_TIMEOUT, environment=peer_environment(threads)
        )
        self.versions: dict[str, str] = {}

    def make(self, form: str, source: Path, target: Path) -> None:
        """Write ``target``, the network of the file ``source`` in another form.

        Raises:
            InterpreterError, MissingError, ModelError: it cannot be made, or a package is missing.
        """
        self._ask(self._timeout, "make", form=form, source=str(source), target=str(target))

    def load(self, contender: Contender, path: Path, shape: tuple[int, ...], threads: int) -> None:
        """Open the network of the file ``path``, which takes one image of ``shape`` (NHWC).

        Raises:
            InterpreterError, MissingError: the runtime refuses it, dies, or is not installed.
        """
        answer = self._ask(
            self._timeout,
            "load",
            runtime=contender.runtime,
            precision=contender.precision,
            mode=contender.mode,
            path=str(path),
            shape=list(shape),
            threads=threads,
        )
        self.settings = {str(key): str(value) for key, value in answer["settings"].items()}
        self.versions = {contender.runtime: str(answer["version"])}
        self.memory_before = int(answer["before"]["now"])


def peers_python() -> str:
    """Return the Python of the peers' environment, or this one where there is none.

    Raises:
        MissingError: ``NMPACK_PEERS_PYTHON`` names no file.
    """
    return environment_python("NMPACK_PEERS_PYTHON", ".venv-peers")


def peer_environment(threads: int) -> dict[str, str]:
    """Return this environment without what tunes single peers, and with the number of threads."""
    environment = {
        key: value for key, value in child_environment().items() if not key.startswith(_TUNING)
    }
    count = str(threads)
    environment |= {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(cache_folder() / "inductor")
    environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    compilers = (os.environ.get("CXX", ""), "g++", "clang++", "clang++-19")
    if compiler := next((name for name in compilers if name and shutil.which(name)), None):
        environment["CXX"] = compiler
    return environment
