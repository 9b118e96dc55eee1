# SPDX-License-Identifier: BSD-3-Clause
"""ncnn on the CPU, in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nmpack.errors import InterpreterError
from nmpack.peers.runtimes import Array, Session, channels_first, peer_module

#: ncnn stores weights and activations in half precision by itself, on x86 too.
_HALVES = (
    "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic",
    "use_bf16_packed", "use_bf16_storage",
)  # fmt: skip


class _Session:
    def __init__(self, path: Path, threads: int) -> None:
        ncnn = peer_module("ncnn")
        self._ncnn, self._net = ncnn, ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.opt.use_vulkan_compute = False
        for option in _HALVES:
            setattr(self._net.opt, option, False)
        for load, file in (
            (self._net.load_param, path),
            (self._net.load_model, path.with_suffix(".bin")),
        ):
            if load(str(file)) != 0:
                raise InterpreterError(f"ncnn cannot load {file.name}")
        self._input, self._last = self._net.input_names()[0], self._net.output_names()[0]
        self.settings = {"threads": str(self._net.opt.num_threads), "half precision": "off"}

    def feed(self, image: Array) -> None:
        # A Mat of an array does not keep that array alive.
        self._array = channels_first(image)[0]
        self._image = self._ncnn.Mat(self._array).clone()

    def run(self) -> None:
        # An extractor remembers what it computed: a second extraction would take no time.
        extractor = self._net.create_extractor()
        extractor.input(self._input, self._image)
        status, self._output = extractor.extract(self._last)
        if status != 0:
            raise InterpreterError(f"ncnn fails with status {status}")

    def output(self) -> Array:
        return np.array(self._output)[None]


def open_network(
    path: Path, *, precision: str, mode: str, shape: tuple[int, ...], threads: int
) -> Session:
    """Open a ``.param`` file with its ``.bin`` beside it."""
    del precision, mode, shape
    return _Session(path, threads)
