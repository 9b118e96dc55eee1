# SPDX-License-Identifier: BSD-3-Clause
"""OpenVINO's CPU plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nmpack.errors import InterpreterError
from nmpack.peers.runtimes import Array, Session, channels_first, peer_module


class _Session:
    def __init__(self, path: Path, precision: str, threads: int) -> None:
        core = peer_module("openvino").Core()
        # Unpinned, as everyone else: a pinned thread cannot leave a core that others use.
        wanted: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        if precision == "float32":
            wanted["INFERENCE_PRECISION_HINT"] = "f32"
        self._channels_last = path.suffix == ".tflite"
        network = core.compile_model(core.read_model(str(path)), "CPU", wanted)
        computes = network.get_property("INFERENCE_PRECISION_HINT").to_string()
        if precision == "float32" and computes != "f32":
            raise InterpreterError(f"asked for f32, openvino computes in {computes}")
        self.settings = {
            "precision": computes,
            "threads": str(network.get_property("INFERENCE_NUM_THREADS")),
            "streams": str(network.get_property("NUM_STREAMS")),
        }
        self._request = network.create_infer_request()

    def feed(self, image: Array) -> None:
        self._image = image if self._channels_last else channels_first(image)

    def run(self) -> None:
        self._request.infer([self._image], share_inputs=True)

    def output(self) -> Array:
        result: Array = self._request.get_output_tensor(0).data.copy()
        return result


def open_network(
    path: Path, *, precision: str, mode: str, shape: tuple[int, ...], threads: int
) -> Session:
    """Open an ONNX or TFLite file; an int8 one says so itself."""
    del mode, shape
    return _Session(path, precision, threads)
