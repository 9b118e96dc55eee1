# SPDX-License-Identifier: BSD-3-Clause
"""Small transformers of both frameworks: one partition, and the stock interpreter's numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformer_samples import keras_sample, sample_inputs, torch_sample

from nmpack.quantize import Int8
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.runner import run

MARKS = {
    "torch": [pytest.mark.torch, pytest.mark.filterwarnings("ignore::UserWarning")],
    "keras": [
        pytest.mark.keras,
        pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
        pytest.mark.filterwarnings("ignore:.*:UserWarning"),
    ],
}
SAMPLES = {"torch": torch_sample, "keras": keras_sample}
IMAGES = [
    pytest.param(framework, name, marks=[*MARKS[framework], pytest.mark.delegate])
    for framework in SAMPLES
    for name in ("image-erf", "image-tanh")
]
TEXTS = [
    pytest.param(framework, "text", marks=[*MARKS[framework], pytest.mark.delegate])
    for framework in SAMPLES
]
ENGINES: list[Callable[[], Engine]] = [
    lambda: Engine("reference", resolver="reference"),
    lambda: Engine("built-in"),
]


def outputs(path: Path, inputs: list[np.ndarray], engine: Engine) -> np.ndarray:
    (found,) = run(path, inputs, engine=engine).outputs.values()
    return found


def report(path: Path, inputs: list[np.ndarray], **options: str) -> tuple[np.ndarray, Any]:
    """Run a file in the delegate and return its output and the report."""
    told = path.with_suffix(".json")
    found = outputs(path, inputs, nmpack_engine(options={"report": str(told), **options}))
    return found, json.loads(told.read_text())


@pytest.mark.parametrize(("framework", "name"), IMAGES + TEXTS)
def test_floats_are_one_partition_near_the_stock_interpreter(
    framework: str, name: str, tmp_path: Path
) -> None:
    path = SAMPLES[framework](name, tmp_path / "m.tflite")
    inputs = sample_inputs(name, 1)
    found, told = report(path, inputs)
    assert len(told["partitions"]) == 1, told["left"]
    # Token ids and the rows of a vocabulary that they take stay in front of it.
    assert name == "text" or not told["left"]
    expected = [outputs(path, inputs, engine()) for engine in ENGINES]
    largest = np.abs(expected[0]).max()
    for each in expected:
        assert np.abs(found - each).max() <= 1e-5 * largest
    found, told = report(path, inputs, precision="f16")
    error = np.abs(found - expected[0]).max() / largest
    # A mask of truth values, as Keras has it, keeps a partition in the model's precision.
    if (framework, name) == ("keras", "text"):
        assert [each["precision"] for each in told["partitions"]] == ["model"]
        assert error <= 1e-5
    else:
        assert [each["precision"] for each in told["partitions"]] == ["f16"]
        assert 1e-6 < error <= 0.02


@pytest.mark.parametrize(("framework", "name"), IMAGES)
def test_int8_is_one_partition_near_the_stock_interpreter(
    framework: str, name: str, tmp_path: Path
) -> None:
    data = np.concatenate([sample_inputs(name, seed)[0] for seed in range(20)])
    path = SAMPLES[framework](name, tmp_path / "m.tflite", int8=Int8(data, samples=20))
    for seed in range(5):
        inputs = sample_inputs(name, 100 + seed)
        found, told = report(path, inputs)
        assert len(told["partitions"]) == 1, told["left"]
        assert not told["left"]
        for engine in ENGINES:
            expected = outputs(path, inputs, engine())
            # Operators are within a step of each other; a network adds those up.
            assert np.abs(found - expected).max() <= 0.1 * np.abs(expected).max()
