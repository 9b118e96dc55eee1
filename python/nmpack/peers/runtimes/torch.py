# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch: eager, compiled by Inductor, and its own int8 kernels."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.peers.runtimes import Array, Session, calibration_images, channels_first, peer_module

torch = peer_module("torch")


class _Session:
    def __init__(self, model: Callable[..., Any], layouts: list[str], shape: tuple[int, ...],
                 threads: int) -> None:  # fmt: skip
        self._model = model
        torch.set_num_threads(threads)
        self._layout = min(layouts, key=lambda layout: self._seconds(layout, shape))
        self.settings = {"threads": str(torch.get_num_threads()), "layout": self._layout}

    def _seconds(self, layout: str, shape: tuple[int, ...]) -> float:
        """Return the time of a run in a layout, after a few that prepare or compile it."""
        self._layout = layout
        self.feed(np.zeros(shape, np.float32))
        times = []
        for _ in range(5):
            start = time.perf_counter()
            self.run()
            times.append(time.perf_counter() - start)
        return min(times[2:])

    def feed(self, image: Array) -> None:
        form = getattr(torch, self._layout)
        self._image = torch.from_numpy(channels_first(image)).contiguous(memory_format=form)
        if isinstance(self._model, torch.nn.Module):
            self._model.to(memory_format=form)

    def run(self) -> None:
        with torch.no_grad():
            self._output = self._model(self._image)

    def output(self) -> Array:
        result: Array = self._output.numpy()
        return result


def open_network(
    path: Path, *, precision: str, mode: str, shape: tuple[int, ...], threads: int
) -> Session:
    """Open a checkpoint of a zoo model.

    Eager networks keep the layout that is faster here; a compiled one has its channels last.
    """
    from nmpack.sources import load_source

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    model = load_source(str(path)).model.eval()
    layouts = ["contiguous_format", "channels_last"]
    if precision == "int8":
        return _Session(_quantized(model, shape), layouts, shape, threads)
    if mode == "compiled":
        # Weights become constants: batch norm is folded and filters are packed once.
        torch._inductor.config.freezing = True
        model = model.to(memory_format=torch.channels_last)
        return _Session(torch.compile(model, fullgraph=True), layouts[1:], shape, threads)
    return _Session(model, layouts, shape, threads)


def _quantized(model: Any, shape: tuple[int, ...]) -> Callable[..., Any]:
    """Return an int8 network for the engine ``x86``, calibrated on random images."""
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    images = [torch.from_numpy(channels_first(image)) for image in calibration_images(shape)]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.backends.quantized.engine = "x86"
        observed = prepare_fx(model, get_default_qconfig_mapping("x86"), (images[0],))
        for image in images:
            observed(image)
        result: Callable[..., Any] = convert_fx(observed)
    return result
