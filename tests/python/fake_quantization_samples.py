# SPDX-License-Identifier: BSD-3-Clause
"""Keras models to round, and images."""

from __future__ import annotations

from typing import Any

import numpy as np

import nmpack.keras
from nmpack.quiet import import_keras
from nmpack.sparsity.pattern import NMPattern

POLICIES = ("float32", "mixed_bfloat16")
#: What is said of a model that is still fake-quantized.
STILL_ROUNDED = r"not fake-quantized any more: call nmpack\.keras\.remove_fake_quantization_"


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


def nested(policy: str) -> Any:
    """A model in a model, of a policy of precision."""
    keras = import_keras()
    keras.config.set_dtype_policy(policy)
    try:
        return keras.Sequential([keras.Input((8, 8, 4)), single("convolution")])
    finally:
        keras.config.set_dtype_policy("float32")


def labelled() -> tuple[np.ndarray, np.ndarray]:
    """Images that a small network tells apart, and what they are."""
    x = np.random.default_rng(1).normal(size=(64, 8, 8, 4)).astype(np.float32)
    labels = np.arange(64) % 4
    x[np.arange(64), :, :, labels] += 0.5
    return x, labels
