# SPDX-License-Identifier: BSD-3-Clause
"""Permuting channels of Keras models: the function stays, more of the weights is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import nmpack.keras
import nmpack.torch
from nmpack.errors import ModelError, SelectionError
from nmpack.keras.channels import channels_of, permute_channels_
from nmpack.quiet import import_keras
from nmpack.sparsity.pattern import NMPattern

pytestmark = [
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]
QUARTER = NMPattern.from_sparsity(0.75, tile=8)


def shaken(model: Any) -> Any:
    """Give every vector its own numbers, so that a wrong order shows."""
    generator = np.random.default_rng(0)
    for variable in model.variables:
        if len(variable.shape) == 1:
            low, high = (0.7, 1.4) if "variance" in variable.path or "gamma" in variable.path else (
                -0.2, 0.2)  # fmt: skip
            variable.assign(generator.uniform(low, high, variable.shape).astype(np.float32))
    return model


def application(name: str) -> Callable[[], Any]:
    def make() -> Any:
        keras = import_keras()
        keras.utils.set_random_seed(0)
        size = 75 if name == "InceptionV3" else 64
        return getattr(keras.applications, name)(
            weights=None, input_shape=(size, size, 3), classes=10
        )

    return make


def residual(name: str = "residual") -> Any:
    """A stem, a block with a sum and a concatenation, a flattened head."""
    keras = import_keras()
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="stem")(inputs)
    y = layers.Conv2D(24, 1, name="wide")(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Conv2D(16, 1, name="narrow")(layers.ReLU()(y))
    x = layers.Concatenate()([layers.Add()([x, y]), y])
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(8, 3, name="last")(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(layers.Flatten()(x)), name=name)


def nested() -> Any:
    keras = import_keras()
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(16, 1, name="outer")(inputs)
    inner = keras.Sequential(
        [keras.Input((8, 8, 16)), keras.layers.Conv2D(32, 3, name="a"),
         keras.layers.Conv2D(8, 1, name="b")],
        name="inner",
    )  # fmt: skip
    x = keras.layers.GlobalAveragePooling2D()(inner(x))
    return keras.Model(inputs, keras.layers.Dense(4, name="head")(x))


# Groups that may be permuted, and the layers that make their channels.
GROUPS = {"residual": (3, 4), "nested": (3, 3), "ResNet50": (37, 53), "MobileNetV2": (25, 35)}
MODELS: dict[str, Callable[[], Any]] = {
    "residual": residual,
    "nested": nested,
    **{
        name: application(name)
        for name in ("ResNet50", "ResNet50V2", "MobileNetV2", "MobileNetV3Small", "DenseNet121",
                     "VGG16", "EfficientNetB0", "InceptionV3")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_any_permutation_leaves_the_function_unchanged(name: str) -> None:
    model = shaken(MODELS[name]())
    generator = np.random.default_rng(1)
    shape = (2, *model.input_shape[1:])
    images = generator.uniform(0, 255 if "V3S" in name or "Eff" in name else 1, shape)
    images = images.astype(np.float32)
    found = channels_of(model)
    makers = [maker for those in found.makers.values() for maker in those]
    assert len(makers) == len(set(makers)) > 0
    if name in GROUPS:
        assert (len(found.makers), len(makers)) == GROUPS[name]
    before = {variable.path: np.array(variable) for variable in model.variables}
    expected = np.array(model(images, training=False))
    orders = {group: generator.permutation(size) for group, size in found.sizes.items()}
    permute_channels_(model, found, orders)
    got = np.array(model(images, training=False))
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()
    changed = [v.path for v in model.variables if not np.array_equal(np.array(v), before[v.path])]
    assert len(changed) >= len(makers)


def test_more_of_the_score_is_kept_and_finalize_keeps_the_function() -> None:
    model = shaken(residual())
    images = np.random.default_rng(2).normal(size=(2, 8, 8, 3)).astype(np.float32)
    expected = np.array(model(images))
    rows = nmpack.keras.permute_(model, QUARTER)
    np.testing.assert_allclose(np.array(model(images)), expected, rtol=1e-3, atol=1e-4)
    assert {name for row in rows for name in row.layers} == {"wide", "narrow", "last"}
    assert all(row.after >= row.before for row in rows)
    assert any(row.after > row.before for row in rows)
    nmpack.keras.prune_(model, QUARTER)
    pruned = np.array(model(images))
    assert np.array_equal(np.array(nmpack.keras.finalize_(model)(images)), pruned)


def test_keras_and_torch_find_the_same_order() -> None:
    keras = import_keras()
    one = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.Conv2d(32, 8, 1))
    two = keras.Sequential(
        [keras.Input((6, 6, 3)), keras.layers.Conv2D(32, 3), keras.layers.Conv2D(8, 1)]
    )
    for ours, theirs in zip(one, two.layers, strict=True):
        theirs.kernel.assign(ours.weight.detach().numpy().transpose(2, 3, 1, 0))
        theirs.bias.assign(ours.bias.detach().numpy())
    nmpack.torch.permute_(one, torch.zeros(1, 3, 6, 6), QUARTER, select="*")
    nmpack.keras.permute_(two, QUARTER, select="*")
    for ours, theirs in zip(one, two.layers, strict=True):
        assert np.array_equal(nmpack.torch.weights(ours), nmpack.keras.weights(theirs))


def test_what_is_not_understood_stays_where_it_is() -> None:
    keras = import_keras()

    class Reverse(keras.layers.Layer):  # type: ignore[name-defined,misc]
        def call(self, x: Any) -> Any:
            return x[..., ::-1]

    inputs = keras.Input((6, 6, 3))
    shared = keras.layers.Conv2D(8, 1)
    x = keras.layers.Conv2D(8, 1, activation=lambda x: x)(inputs)
    x = shared(shared(x))
    x = keras.layers.Conv2D(8, 1)(keras.layers.Conv2D(8, 1, groups=2)(x))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 1)(Reverse()(x)))
    assert channels_of(model).makers == {}


def test_errors() -> None:
    keras = import_keras()
    model = residual()
    nmpack.keras.prune_(model, QUARTER)
    with pytest.raises(SelectionError, match="wide: channels are permuted before pruning"):
        nmpack.keras.permute_(model, QUARTER)

    class Own(keras.Model):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__(name="own")
            self.conv = keras.layers.Conv2D(16, 1)

        def call(self, x: Any) -> Any:
            return self.conv(x)

    own = Own()
    own(np.zeros((1, 4, 4, 3), np.float32))
    with pytest.raises(ModelError, match=r"own: .* functional or a built sequential model"):
        nmpack.keras.permute_(own, QUARTER, select="*")
    found = channels_of(residual())
    with pytest.raises(ModelError, match="expected a permutation of"):
        permute_channels_(residual(), found, {next(iter(found.sizes)): np.zeros(3, np.int64)})
