# SPDX-License-Identifier: BSD-3-Clause
"""Keras models that train with int8's rounding in sight, on both backends: as PyTorch, as files."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from backends import run_on_torch, wanted_backend
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
from torch import nn

import nmpack.keras
import nmpack.torch
from nmpack.errors import ModelError, SelectionError
from nmpack.keras.fake_quantization import round_weights
from nmpack.quiet import import_keras
from nmpack.sparsity.pattern import NMPattern
from nmpack.sparsity.schedule import Gradual

pytestmark = [
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]


def test_all_of_this_on_the_torch_backend() -> None:
    run_on_torch(__file__, "test_all_of_this_on_the_torch_backend")


def test_the_backend_is_the_one_asked_for() -> None:
    assert import_keras().config.backend() == wanted_backend()


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


def test_fit_moves_masks_and_keeps_zeros() -> None:
    model, (x, labels) = network(), labelled()
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


@pytest.mark.parametrize("policy", POLICIES)
def test_it_is_not_finalized(policy: str) -> None:
    model = nested(policy)
    nmpack.keras.fake_quantize_(model)
    with pytest.raises(ModelError, match=STILL_ROUNDED):
        nmpack.keras.finalize_(model)
    assert nmpack.keras.inspect(model).pruned, "masks are still held"


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
