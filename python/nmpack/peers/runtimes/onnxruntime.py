# SPDX-License-Identifier: BSD-3-Clause
"""ONNX Runtime's own CPU provider."""

from __future__ import annotations

from pathlib import Path

from nmpack.peers.runtimes import Array, Session, channels_first, peer_module


class _Session:
    def __init__(self, path: Path, threads: int) -> None:
        onnxruntime = peer_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self.settings = {"threads": str(threads), "provider": self._session.get_providers()[0]}

    def feed(self, image: Array) -> None:
        self._feeds = {self._input: channels_first(image)}

    def run(self) -> None:
        self._outputs = self._session.run(None, self._feeds)

    def output(self) -> Array:
        result: Array = self._outputs[0]
        return result


def open_network(
    path: Path, *, precision: str, mode: str, shape: tuple[int, ...], threads: int
) -> Session:
    """Open an ONNX file; an int8 one says so itself."""
    del precision, mode, shape
    return _Session(path, threads)
