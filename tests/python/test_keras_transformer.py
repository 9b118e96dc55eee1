# SPDX-License-Identifier: BSD-3-Clause
"""A vision transformer of Keras's own layers: selection, masks, one step of training, the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nmpack.keras
from nmpack.convert import keras_to_tflite
from nmpack.keras.channels import channels_of, permute_channels_
from nmpack.keras.layers import contracted_axes, weights
from nmpack.quiet import import_keras
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.runner import run
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.file import TFLiteFile

pytestmark = [
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]
PATTERN = NMPattern.from_density(0.25, tile=32)
PRUNED = ["query", "key", "value", "attention_output"]


def transformer(*, depth: int = 2, width: int = 64, heads: int = 4) -> Any:
    """Return a transformer of DeiT's shape for 32x32 images: a token for each 8x8 pixels."""
    keras = import_keras()
    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(width, 8, 8, name="patches")(image)
    x = layers.Reshape((16, width))(x)
    for block in range(depth):
        y = layers.LayerNormalization(epsilon=1e-6, name=f"norm{block}_1")(x)
        y = layers.MultiHeadAttention(heads, width // heads, name=f"attention{block}")(y, y)
        x = layers.Add()([x, y])
        y = layers.LayerNormalization(epsilon=1e-6, name=f"norm{block}_2")(x)
        y = layers.Dense(4 * width, activation="gelu", name=f"fc{block}_1")(y)
        y = layers.Dense(width, name=f"fc{block}_2")(y)
        x = layers.Add()([x, y])
    x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(image, layers.Dense(10, name="head")(x))
    generator = np.random.default_rng(0)
    for variable in model.variables:  # biases and factors that a converter cannot leave out
        if len(variable.shape) < 3 and variable.path.endswith(("bias", "beta", "gamma")):
            variable.assign(variable + generator.normal(0, 0.1, tuple(variable.shape)))
    return model


def names(depth: int = 2) -> list[str]:
    return [
        name
        for block in range(depth)
        for name in (
            *(f"attention{block}/{part}" for part in PRUNED),
            f"fc{block}_1",
            f"fc{block}_2",
        )
    ]


@pytest.mark.parametrize(
    ("equation", "axes"),
    [
        ("abc,cde->abde", 1),
        ("abcd,cde->abe", 2),
        ("...x,xy->...y", 1),
        ("ab,bc->ac", 1),
        ("abc,bcd->abd", None),  # a matrix for each token
        ("abc,dc->abd", None),  # the outputs come first
        ("abcd,dce->abe", None),  # in another order
        ("abc,cd->adb", None),
        ("ab,b->ab", None),
    ],
)
def test_which_einsums_are_matrices(equation: str, axes: int | None) -> None:
    assert contracted_axes(equation) == axes


def test_attention_and_mlp_are_pruned_in_tiles_of_outputs() -> None:
    model = transformer()
    report = nmpack.keras.prune_(model, PATTERN)
    assert sorted(row.name for row in report.pruned) == sorted(names())
    assert {row.name: row.reason for row in report if row.pattern is None} == {
        "patches": "first convolution (stem)",
        "head": "last linear layer (head)",
    }
    attention = model.get_layer("attention0")
    for layer, shape in ((attention._query_dense, (64, 64)), (attention._output_dense, (64, 64))):
        values = weights(layer).reshape(shape)
        kept = (values != 0).reshape(2, 32, 64)
        assert (kept == kept[:, :1]).all()
        assert (kept[:, 0].sum(axis=1) == 16).all()
    # The kernel of queries is [in, heads, size]: output 17 is channel 1 of head 1.
    kernel = import_keras().ops.convert_to_numpy(attention._query_dense.kernel)
    np.testing.assert_array_equal(weights(attention._query_dense)[17, 0, 0], kernel[:, 1, 1])


def test_a_step_of_training_holds_the_masks() -> None:
    keras = import_keras()
    model = transformer(depth=1)
    nmpack.keras.prune_(model, PATTERN)
    layers = [layer.module for layer in nmpack.keras.layers.layers_of(model)]
    before = [weights(layer) for layer in layers]
    generator = np.random.default_rng(1)
    images = generator.normal(size=(8, 32, 32, 3)).astype(np.float32)
    labels = generator.integers(0, 10, 8)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    model.fit(images, labels, epochs=1, batch_size=8, verbose=0)
    for layer, old in zip(layers, before, strict=True):
        new = weights(layer)
        np.testing.assert_array_equal(new != 0, old != 0)
        assert np.abs(new - old).max() > 0
    nmpack.keras.finalize_(model)
    assert sum((weights(layer) == 0).mean() == 0.75 for layer in layers) == len(names(1))


def test_the_file_has_the_zeros_in_constant_filters(tmp_path: Path) -> None:
    model = transformer()
    nmpack.keras.prune_(model, PATTERN)
    nmpack.keras.finalize_(model)
    path = keras_to_tflite(model, tmp_path / "model.tflite")
    file = TFLiteFile(path)
    linear = [item for item in file.layers if item.linear]
    assert len(linear) == len(names()) + 1
    shares = [
        np.count_nonzero(file.array(item.weights)) / np.prod(item.shape)
        for item in linear
        if item.weights is not None
    ]
    assert sorted(shares) == [0.25] * len(names()) + [1.0]
    products = [item for item in file.primary.operators if item.name == "BATCH_MATMUL"]
    assert len(products) == 4  # of computed tensors alone
    for item in products:
        assert not any(file.span(file.primary.tensors[index])[1] for index in item.inputs)
    images = np.random.default_rng(2).normal(size=(1, 32, 32, 3)).astype(np.float32)
    expected = import_keras().ops.convert_to_numpy(model(images))
    (found,) = run(path, images, engine=Engine("built-in")).outputs.values()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_scores_that_look_at_data_see_what_attention_sees() -> None:
    model = transformer(depth=1)
    images = np.random.default_rng(3).normal(size=(2, 32, 32, 3)).astype(np.float32)
    evidence = nmpack.keras.collect(model, [(images, None)])
    norms = [evidence[f"attention0/{part}"].norms for part in PRUNED]
    assert [None if item is None else item.shape for item in norms] == [(1, 64)] * 4
    np.testing.assert_allclose(np.asarray(norms[0]), np.asarray(norms[2]), rtol=1e-6)
    report = nmpack.keras.prune_(model, PATTERN, score="activation", evidence=evidence)
    assert len(report.pruned) == len(names(1))


def test_channels_of_heads_and_mlp_are_ordered_and_the_function_stays() -> None:
    model = transformer()
    images = np.random.default_rng(4).normal(size=(2, 32, 32, 3)).astype(np.float32)
    found = channels_of(model)
    # The stream, and of each block the hidden width, and of each head its values and its scores.
    assert len(found.makers) == 1 + 2 * (1 + 2 * 4)
    expected = import_keras().ops.convert_to_numpy(model(images))
    generator = np.random.default_rng(5)
    orders = {group: generator.permutation(size) for group, size in found.sizes.items()}
    permute_channels_(model, found, orders)
    outputs = import_keras().ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
    rows = nmpack.keras.permute_(model, NMPattern.from_density(0.25, tile=8))
    assert len(rows) == len(found.makers)
    assert all(row.after >= row.before for row in rows)
    assert sum(row.after > row.before for row in rows) > len(rows) // 2
    outputs = import_keras().ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
