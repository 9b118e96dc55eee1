# SPDX-License-Identifier: BSD-3-Clause
"""The child's side of :mod:`nmpack.peers.network`: what makes each form."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.errors import InterpreterError
from nmpack.peers.runtimes import calibration_images, channels_first, peer_module
from nmpack.refusals import one_line
from nmpack.tflite.file import TFLiteFile

_PNNX_SECONDS = 600.0


def _make_onnx(source: Path, target: Path) -> None:
    """Export a checkpoint by PyTorch's own exporter, weights in the file."""
    torch = peer_module("torch")
    peer_module("onnxscript")
    model, sample = _opened(source)
    torch.onnx.export(
        model, (sample,), str(target), dynamo=True, external_data=False, verbose=False
    )


def _make_onnx_int8(source: Path, target: Path) -> None:
    """Quantize an ONNX file by ONNX Runtime: QDQ, unsigned activations, a scale a channel."""
    quantization = peer_module("onnxruntime.quantization")
    onnxruntime = peer_module("onnxruntime")
    given = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    first = given.get_inputs()[0]
    images = iter([{first.name: image} for image in calibration_images(tuple(first.shape))])

    class Reader:
        def get_next(self) -> dict[str, Any] | None:
            return next(images, None)

    quantization.quantize_static(
        str(source),
        str(target),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


def _make_ncnn(source: Path, target: Path) -> None:
    """Trace a checkpoint and let pnnx write ncnn's two files, in float32."""
    torch = peer_module("torch")
    program = Path(str(peer_module("pnnx").__file__)).parent / "pnnx"
    model, sample = _opened(source)
    traced = target.with_name("network.traced.pt")
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(model, sample), str(traced))
    shape = ",".join(map(str, sample.shape))
    done = subprocess.run(
        [
            str(program),
            traced.name,
            f"inputshape=[{shape}]f32",
            "fp16=0",
            f"ncnnparam={target.name}",
            f"ncnnbin={target.with_suffix('.bin').name}",
        ],
        cwd=target.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_PNNX_SECONDS,
        check=False,
    )
    if done.returncode != 0 or not target.is_file():
        told = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise InterpreterError(
            f"pnnx ends with status {done.returncode}: {one_line(told[-1]) if told else 'silent'}"
        )


def _make_tflite_int8(source: Path, target: Path) -> None:
    """Quantize a TFLite file as ``nmpack convert`` does; its input and output stay float32."""
    from nmpack.quantize import Int8, to_int8

    graph = TFLiteFile(source).primary
    images = calibration_images(graph.tensors[graph.inputs[0]].shape)
    to_int8(source, target, Int8(np.concatenate(list(images))))


def _opened(source: Path) -> tuple[Any, Any]:
    """Return the model of a checkpoint, in evaluation mode, and an image of zeros."""
    from nmpack.sources import load_source

    torch = peer_module("torch")
    found = load_source(str(source))
    image = np.zeros((1, *found.input_shape), np.float32)
    return found.model.eval(), torch.from_numpy(channels_first(image))


#: What makes a form: it takes the file of its source and the file to write.
MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "onnx": _make_onnx,
    "onnx-int8": _make_onnx_int8,
    "ncnn": _make_ncnn,
    "tflite-int8": _make_tflite_int8,
}
