# SPDX-License-Identifier: BSD-3-Clause
"""A float32 ``.tflite`` file calibrated and quantized to int8 by AI Edge Quantizer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmpack.errors import ModelError, NmpackError
from nmpack.files import written_whole
from nmpack.progress import Progress, silent
from nmpack.quantize.biases import fit_biases
from nmpack.quantize.padding import simplify_padding
from nmpack.quantize.samples import Batch, read_batches
from nmpack.quantize.weights import require_finite, require_zeros
from nmpack.quiet import import_module, silenced
from nmpack.refusals import said
from nmpack.runtime.child import Signature
from nmpack.runtime.sizes import stated_shape
from nmpack.tflite.builder import drop_unused, packed, unpacked
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import Subgraph

#: What inputs and outputs of a quantized model may be.
IO = ("float32", "int8")
#: How many samples give the ranges where nothing else is said.
SAMPLES = 200


@dataclass(frozen=True, slots=True)
class Int8:
    """How a model is quantized.

    Attributes:
        calibrate: data as :func:`nmpack.quantize.samples.read_batches` takes them.
        io: ``float32`` quantizes and dequantizes at the borders, ``int8`` leaves that to the
            caller.
        samples: the most samples to calibrate on, the first ones.
        progress: called with (done, total) for each batch.

    Raises:
        NmpackError: a value is out of its range.
    """

    calibrate: Any
    io: str = "float32"
    samples: int = SAMPLES
    progress: Progress = silent

    def __post_init__(self) -> None:
        """Check what can be checked without the model."""
        if self.io not in IO:
            raise NmpackError(f"io must be one of {', '.join(IO)}, got {self.io!r}")
        if self.samples < 1:
            raise NmpackError(f"samples must be at least 1, got {self.samples}")


@dataclass(frozen=True, slots=True)
class Int8Report:
    """What :func:`to_int8` did.

    Attributes:
        before, after: bytes of the file.
        samples: how many the ranges are from.
        filters: how many became int8.
        left: names of the operators that compute in float32 still.
    """

    before: int
    after: int
    samples: int
    filters: int
    left: tuple[str, ...]


def to_int8(source: str | Path, target: str | Path, how: Int8) -> Int8Report:
    """Write the float32 model ``source`` in int8 to ``target`` (which may be the same file).

    Weights are symmetric in -127 … 127, with a scale for each output channel of a convolution and
    one for a matrix; biases are int32, activations int8 with a range from the smallest to the
    largest value that calibration saw.
    Operators that have no int8 form stay float32, between DEQUANTIZE and QUANTIZE.

    Raises:
        MissingError: ai-edge-quantizer is not installed, or the data are not there.
        ModelError: the model is not usable, has more than one signature or weights that are not
            finite, the quantizer refuses it, or a pruned weight would not be 0.
        NmpackError: the calibration data do not fit the model.
    """
    before = TFLiteFile(source)
    key, inputs = _ends(before)
    require_finite(before)
    batches = read_batches(how.calibrate, inputs, how.samples)
    content = Path(source).read_bytes()
    try:
        quantized = _quantized(content, key, batches, how)
    except NmpackError:
        raise
    except Exception as error:
        raise ModelError(f"ai-edge-quantizer cannot quantize this model: {said(error)}") from error
    with written_whole(target) as temporary:
        temporary.write_bytes(quantized)
        schema, model = unpacked(temporary)
        fit_biases(before, schema, model)
        simplify_padding(schema, model)
        drop_unused(model)
        temporary.write_bytes(packed(model))
        after = TFLiteFile(temporary)
        filters = require_zeros(before, after)
        left = tuple(name for graph in after.subgraphs for name in _in_float(graph))
        size = temporary.stat().st_size
    batch = max(inputs[0].shape[0], 1)
    return Int8Report(len(content), size, batch * len(batches), filters, left)


def _ends(file: TFLiteFile) -> tuple[str, list[Signature]]:
    """Return the only signature's key and inputs."""
    if len(file.signatures) != 1:
        raise ModelError(
            f"{file.path}: expected a model with one signature to quantize, got "
            f"{len(file.signatures)}"
        )
    signature = file.signatures[0]
    tensors = file.subgraphs[signature.subgraph].tensors
    found = []
    for name, place in signature.inputs:
        tensor = tensors[place]
        stated = stated_shape(tensor.shape, tensor.shape_signature)
        found.append(Signature(name, tensor.shape, tensor.dtype, stated=stated))
    for item in found:
        if item.dtype not in ("float32", "int32", "int64", "bool"):
            raise ModelError(
                f"{file.path}: input {item.name}: expected a float32 model to quantize, got "
                f"{item.dtype}"
            )
    if not found:
        raise ModelError(f"{file.path}: expected a model with inputs to quantize, got none")
    return signature.key, found


def _quantized(content: bytes, key: str, batches: list[Batch], how: Int8) -> bytes:
    with silenced():
        recipe_manager, calibrator, quantizer = (
            import_module(f"ai_edge_quantizer.{name}", "quantize")
            for name in ("recipe_manager", "calibrator", "quantizer")
        )
        utilities = import_module("ai_edge_quantizer.utils.qsv_utils", "quantize")
        types = import_module("ai_edge_quantizer.qtyping", "quantize")
        operations, granularity = types.TFLOperationName, types.QuantGranularity
        recipe = recipe_manager.RecipeManager()
        recipe.add_static_config(".*", operations.ALL_SUPPORTED, 8, 8, granularity.CHANNELWISE)
        # Interpreters of 2023 read one scale of a matrix, and delegates of 2024 take no more.
        recipe.add_static_config(".*", operations.FULLY_CONNECTED, 8, 8, granularity.TENSORWISE)
        for end in (operations.INPUT, operations.OUTPUT) if how.io == "float32" else ():
            recipe.add_quantization_config(".*", end, algorithm_key="no_quantize")
        ranges = calibrator.Calibrator(
            memoryview(content),
            num_threads=len(os.sched_getaffinity(0)),
            qsv_update_func=utilities.min_max_update,
        )
    for done, batch in enumerate(batches):
        with _hushed():
            ranges.calibrate({key: [batch]}, recipe)
        how.progress(done + 1, len(batches))
    with silenced():
        work = quantizer.Quantizer(memoryview(content), recipe.get_quantization_recipe())
        result = work.quantize(ranges.get_model_qsvs(), enable_progress_report=False)
    return bytes(result.quantized_model)


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep the quantizer's own bar from the terminal, where ours may be."""
    with Path(os.devnull).open("w") as nothing, redirect_stderr(nothing):
        yield


def _in_float(graph: Subgraph) -> list[str]:
    """Return the operators that write float32, but for those that end the graph or quantize."""
    return [
        operator.name
        for operator in graph.operators
        if operator.name not in ("DEQUANTIZE", "DENSIFY")
        and any(graph.tensors[place].dtype == "float32" for place in operator.outputs)
    ]
