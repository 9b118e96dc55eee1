# SPDX-License-Identifier: BSD-3-Clause
"""What was trained with int8's rounding in sight, and the int8 file it becomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_quantization_samples import (
    POLICIES,
    STILL_ROUNDED,
    array,
    images,
    labelled,
    nested,
    network,
    single,
)

import nmpack.keras
from nmpack.convert import keras_to_tflite
from nmpack.errors import ModelError
from nmpack.keras.fake_quantization import round_weights
from nmpack.quantize import Int8
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.runner import run
from nmpack.tflite.file import TFLiteFile

pytestmark = [
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]


@pytest.mark.parametrize("kind", ["convolution", "dense"])
def test_a_layer_computes_what_its_file_computes(kind: str, tmp_path: Path) -> None:
    model, x = single(kind), images()
    plain = array(model(x))
    path = keras_to_tflite(model, tmp_path / "m.tflite", int8=Int8(x))
    nmpack.keras.fake_quantize_(model)
    model(x, training=True)  # one batch of all that calibration sees: the same range
    rounded = array(model(x, training=False))

    file = TFLiteFile(path)
    tensor = next(t for t in file.primary.tensors if t.dtype == "int8" and t.shape[0] == 8)
    found = tensor.quantization
    assert found is not None
    scale = np.asarray(found.scale).reshape(-1, *[1] * (len(tensor.shape) - 1))
    weights = file.array(tensor) * scale
    axes = (1, 0) if kind == "dense" else (3, 0, 1, 2)
    ours = array(round_weights(model.get_layer("layer"))).transpose(axes)
    np.testing.assert_allclose(ours, weights, atol=1e-6)
    assert ((ours == 0) >= (array(model.get_layer("layer").kernel).transpose(axes) == 0)).all()

    (outputs,) = run(path, x, engine=Engine("built-in")).outputs.values()
    step = (outputs.max() - outputs.min()) / 255
    assert np.abs(outputs - rounded).max() < 0.6 * step
    assert np.abs(outputs - plain).max() > step


def test_a_trained_network_computes_what_its_file_computes(tmp_path: Path) -> None:
    model, (x, labels) = network(), labelled()
    nmpack.keras.fake_quantize_(model)
    model.fit(x, labels, epochs=20, batch_size=16, verbose=0)
    nmpack.keras.remove_fake_quantization_(model)
    path = keras_to_tflite(model, tmp_path / "m.tflite", int8=Int8(x))
    (outputs,) = run(path, x, engine=Engine("built-in")).outputs.values()
    assert (outputs.argmax(1) == labels).mean() > 0.9
    assert np.abs(outputs - array(model(x))).mean() < 0.02 * np.abs(outputs).max()


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_it_is_not_converted(policy: str, int8: bool, tmp_path: Path) -> None:
    model = nested(policy)
    nmpack.keras.fake_quantize_(model)
    with pytest.raises(ModelError, match=STILL_ROUNDED):
        keras_to_tflite(model, tmp_path / "m.tflite", int8=Int8(images()) if int8 else None)
    assert not list(tmp_path.iterdir())
