# SPDX-License-Identifier: BSD-3-Clause
"""Models for ``interpreter_checks.py``, with what ai-edge-litert says of them and computes.

``python check_models.py FOLDER`` makes them where that package is installed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile_convolutions
import hostile_operators  # noqa: F401  adds its cases to the others
import numpy as np
import sound_models
import test_life
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from interpreter_details import plain
from signatures import join

SEED = 19
#: TFLite's own kernels die of some of these.
HOSTILE = (
    "output_is_a_constant", "pad_huge", "sparse_index_out_of_range",
    "sparse_traversal_out_of_range", "sparse_with_a_block_of_no_size",
)  # fmt: skip


def sound() -> Iterator[tuple[str, bytes]]:
    """Yield names and files."""
    for base in sound_models.BASES:
        yield base.__name__, base()
    open_batch = test_life.convolution(3, half=False)
    for tensor in (open_batch.inputs[0], open_batch.outputs[0]):
        open_batch.tensors[tensor].shapeSignature = [-1, *open_batch.tensors[tensor].shape[1:]]
    yield "open_batch", join({"main": open_batch})
    yield "two_signatures", test_life.two_signatures()


def make(folder: Path) -> None:
    """Write all of them: NAME.tflite, NAME.json, and arrays in NAME.npz."""
    (folder / "hostile").mkdir(parents=True, exist_ok=True)
    cases = {case.__name__: case for case in hostile_convolutions.CASES}
    for name in HOSTILE:
        (folder / "hostile" / f"{name}.tflite").write_bytes(cases[name]())
    for name, content in sound():
        path = folder / f"{name}.tflite"
        path.write_bytes(content)
        interpreter = Interpreter(
            str(path),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        tensors = [(item["name"], item["index"]) for item in interpreter.get_tensor_details()]
        interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        generator = np.random.default_rng(SEED)
        arrays = {}
        for place, item in enumerate(inputs):
            arrays[f"in{place}"] = drawn(generator, item)
            interpreter.set_tensor(item["index"], arrays[f"in{place}"])
        interpreter.invoke()
        for place, item in enumerate(outputs):
            arrays[f"out{place}"] = interpreter.get_tensor(item["index"])
        known = {
            "inputs": known_in_2_14(plain(inputs)),
            "outputs": known_in_2_14(plain(outputs)),
            "signatures": interpreter.get_signature_list(),
            "tensors": tensors,
        }
        path.with_suffix(".json").write_text(json.dumps(known), encoding="utf-8")
        np.savez(path.with_suffix(".npz"), allow_pickle=False, **arrays)


def known_in_2_14(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what TFLite 2.14 does not know."""
    for item in details:
        item["quantization_parameters"].pop("block_size", None)
    return details


def drawn(generator: np.random.Generator, item: dict[str, Any]) -> np.ndarray:
    """Draw an input of floats or bytes."""
    kind = np.dtype(item["dtype"])
    if kind.kind == "f":
        return generator.uniform(-1.0, 1.0, item["shape"]).astype(kind)
    bounds = np.iinfo(kind)
    return generator.integers(bounds.min, bounds.max + 1, item["shape"], kind)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
