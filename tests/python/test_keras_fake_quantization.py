# SPDX-License-Identifier: BSD-3-Clause
"""Keras models that train with int8's rounding in sight, on both backends: as PyTorch, as files."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nmpack.keras
import nmpack.torch
from nmpack.convert import keras_to_tflite
from nmpack.errors import ModelError, SelectionError
from nmpack.keras.fake_quantization import round_weights
from nmpack.quantize import Int8
from nmpack.quiet import import_keras
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.runner import run
from nmpack.sparsity.pattern import NMPattern
from nmpack.sparsity.schedule import Gradual
from nmpack.tflite.file import TFLiteFile

pytestmark = [
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]
ON_TORCH = os.environ.get("NMPACK_TEST_BACKEND") == "torch"


@pytest.mark.skipif(ON_TORCH, reason="runs itself")
def test_all_of_this_on_the_torch_backend() -> None:
    environment = os.environ | {"KERAS_BACKEND": "torch", "NMPACK_TEST_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        capture_output=True, text=True, timeout=300, check=False, env=environment,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert import_keras().config.backend() == "tensorflow"


def images(count: int = 32) -> np.ndarray:
    """Normal numbers, and one pixel that makes the steps of int8 coarse."""
    found = np.random.default_rng(0).normal(size=(count, 8, 8, 4)).astype(np.float32)
    found[:, 0, 0, 0] = 40.0
    return found


def single(kind: str) -> Any:
    """A model of one layer with drawn weights, three quarters of them pruned."""
    keras = import_keras()
    keras.utils.set_random_seed(0)
    if kind == "dense":
        layers = [keras.layers.Flatten(), keras.layers.Dense(8, name="layer")]
    else:
        layers = [keras.layers.Conv2D(8, 3, padding="same", name="layer")]
    model = keras.Sequential([keras.Input((8, 8, 4)), *layers])
    nmpack.keras.prune_(model, NMPattern.from_density(0.25, tile=8), select="*")
    return model


def array(tensor: Any) -> np.ndarray:
    return np.asarray(import_keras().ops.convert_to_numpy(tensor))


@pytest.mark.parametrize("kind", ["convolution", "dense"])
def test_outputs_and_gradients_are_those_of_pytorch(kind: str) -> None:
    model, x = single(kind), images()
    kernel = model.get_layer("layer").kernel
    other = nn.Linear(256, 8) if kind == "dense" else nn.Conv2d(4, 8, 3, padding=1)
    axes = (1, 0) if kind == "dense" else (3, 2, 0, 1)
    with torch.no_grad():
        other.weight.copy_(torch.from_numpy(array(kernel).transpose(axes).copy()))
        other.bias.zero_()
    assert nmpack.keras.fake_quantize_(model) == nmpack.torch.fake_quantize_(other) == 1
    theirs = x.reshape(len(x), -1) if kind == "dense" else x.transpose(0, 3, 1, 2)
    expected = other.train()(torch.from_numpy(theirs.copy()))
    found = array(model(x, training=True))
    shown = expected.detach().numpy()
    np.testing.assert_allclose(
        found, shown if kind == "dense" else shown.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4
    )
    expected.square().mean().backward()
    mse = import_keras().losses.MeanSquaredError()
    evidence = nmpack.keras.collect(model, [(x, np.zeros_like(found))], loss=mse)["layer"]
    chain: Any = other.parametrizations
    gradient = chain["weight"].original.grad.numpy().reshape(8, -1)
    assert evidence.gradient is not None
    ours = evidence.gradient.transpose(0, 3, 1, 2).reshape(8, -1)
    np.testing.assert_allclose(ours, gradient, rtol=1e-3, atol=1e-3)
    assert nmpack.keras.remove_fake_quantization_(model) == 1


@pytest.mark.skipif(ON_TORCH, reason="the TensorFlow backend alone converts")
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


def network() -> Any:
    keras = import_keras()
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 4))
    y = keras.layers.Conv2D(8, 3, padding="same", name="stem")(x)
    z = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
    z = keras.layers.Conv2D(8, 3, padding="same", name="body")(z)
    z = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([y, z]))
    model = keras.Model(x, keras.layers.Dense(4, name="head")(z))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
    return model


def test_fit_moves_masks_and_keeps_zeros(tmp_path: Path) -> None:
    model, x = network(), np.random.default_rng(1).normal(size=(64, 8, 8, 4)).astype(np.float32)
    labels = np.arange(64) % 4
    x[np.arange(64), :, :, labels] += 0.5
    options: dict[str, Any] = {"batch_size": 16, "verbose": 0}
    model.fit(x, labels, epochs=1, **options)  # what was traced before is not in the way
    before, names = array(model(x)), [weight.path for weight in model.weights]
    quarter = NMPattern.from_density(0.25, tile=8)
    pruner = nmpack.keras.Pruner(model, quarter, Gradual(end=20, every=4), select=["body", "head"])
    assert nmpack.keras.fake_quantize_(model) == 3
    assert np.abs(array(model(x)) - before).max() > 1e-4
    model.fit(x, labels, epochs=20, callbacks=[pruner], **options)
    ranges = [array(vars(model.get_layer(n))["call"].range) for n in ("stem", "body", "head")]
    assert all(np.isfinite(bounds).all() for bounds in ranges)
    assert ranges[0][0] < -2.0
    assert ranges[1][0] == 0.0
    model.predict(100.0 * x, verbose=0)
    rounded = model.evaluate(x, labels, return_dict=True, **options)
    assert array(vars(model.get_layer("stem"))["call"].range)[1] == ranges[0][1]
    for name in ("body", "head"):
        kernel = array(model.get_layer(name).kernel)
        assert (kernel != 0).mean() == 0.25
        assert not array(round_weights(model.get_layer(name)))[kernel == 0].any()

    assert nmpack.keras.remove_fake_quantization_(model) == 3
    assert nmpack.keras.remove_fake_quantization_(model) == 0
    nmpack.keras.finalize_(model)
    assert [weight.path for weight in model.weights] == names
    assert (array(model.get_layer("body").kernel) != 0).mean() == 0.25
    assert len(np.unique(array(model.get_layer("stem").kernel)[..., 0])) > 30, "not rounded"
    plain = model.evaluate(x, labels, return_dict=True, **options)
    assert plain["loss"] != rounded["loss"], "traced anew"
    assert min(plain["accuracy"], rounded["accuracy"]) > 0.9
    if not ON_TORCH:  # the TensorFlow backend alone converts
        path = keras_to_tflite(model, tmp_path / "m.tflite", int8=Int8(x))
        (outputs,) = run(path, x, engine=Engine("built-in")).outputs.values()
        assert (outputs.argmax(1) == labels).mean() > 0.9
        assert np.abs(outputs - array(model(x))).mean() < 0.02 * np.abs(outputs).max()


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_it_is_neither_finalized_nor_converted(policy: str, tmp_path: Path) -> None:
    keras = import_keras()
    keras.config.set_dtype_policy(policy)
    try:
        inner = single("convolution")
        model = keras.Sequential([keras.Input((8, 8, 4)), inner])
    finally:
        keras.config.set_dtype_policy("float32")
    nmpack.keras.fake_quantize_(model)
    says = r"not fake-quantized any more: call nmpack\.keras\.remove_fake_quantization_"
    with pytest.raises(ModelError, match=says):
        nmpack.keras.finalize_(model)
    assert nmpack.keras.inspect(model).pruned, "masks are still held"
    if ON_TORCH:  # the TensorFlow backend alone converts
        return
    for int8 in (None, Int8(images())):
        with pytest.raises(ModelError, match=says):
            keras_to_tflite(model, tmp_path / "m.tflite", int8=int8)
    assert not list(tmp_path.iterdir())


def messages(found: list[warnings.WarningMessage]) -> list[str]:
    return [str(item.message) for item in found if "learned no range" in str(item.message)]


@pytest.mark.parametrize("argument", [False, True])
def test_a_layer_without_a_learned_range_warns_once(argument: bool) -> None:
    keras = import_keras()

    class Plain(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.body = keras.layers.Conv2D(4, 1, name="body")
            self.head = keras.layers.Dense(4)
            self.flat = keras.layers.Flatten()

        def call(self, x: Any) -> Any:
            return self.head(self.flat(self.body(x)))

    class Trained(Plain):
        def call(self, x: Any, training: bool | None = None) -> Any:  # noqa: ARG002
            return super().call(x)

    model, x = (Trained if argument else Plain)(), images()
    model(x)
    nmpack.keras.fake_quantize_(model)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(2):
            model.fit(x, np.zeros(len(x)), verbose=0)
            model.predict(x, verbose=0)
            model(x)
    expected = [] if argument else ["body is fake-quantized and has learned no range"]
    assert [text.split(",")[0] for text in messages(found)] == expected


def test_evaluation_before_training_warns_and_training_does_not() -> None:
    x = images()
    for training in (False, True):
        model = network()  # compiled and never traced: fit begins with the shapes
        nmpack.keras.fake_quantize_(model)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            if training:
                model.fit(x, np.zeros(len(x)), validation_data=(x, np.zeros(len(x))), verbose=0)
            model.predict(x, verbose=0)
        assert len(messages(found)) == (not training)


def test_copies_are_plain() -> None:
    keras = import_keras()
    model, x = single("convolution"), images()
    plain = array(model(x))
    nmpack.keras.fake_quantize_(model)
    for twin in (copy.deepcopy(model), keras.models.clone_model(model)):
        twin.set_weights(model.get_weights())
        np.testing.assert_allclose(array(twin(x)), plain, rtol=1e-5, atol=1e-5)
        assert nmpack.keras.fake_quantize_(twin) == 1
        assert np.abs(array(twin(x)) - plain).max() > 1e-3


def test_what_cannot_be_rounded_is_told() -> None:
    keras = import_keras()
    model = single("dense")
    nmpack.keras.fake_quantize_(model)
    with pytest.raises(SelectionError, match="expected a model that is not fake-quantized yet"):
        nmpack.keras.fake_quantize_(model)
    with pytest.raises(SelectionError, match="expected a convolution or a dense layer"):
        nmpack.keras.fake_quantize_(keras.Sequential([keras.Input((4,)), keras.layers.ReLU()]))
