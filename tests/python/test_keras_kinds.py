# SPDX-License-Identifier: BSD-3-Clause
"""Keras models as people have them: pruned, converted, run, and compared with themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import nmpack.keras
from nmpack.convert import keras_to_tflite
from nmpack.errors import ModelError, NmpackError
from nmpack.quiet import import_keras
from nmpack.runtime.interpreter import load_delegate
from nmpack.sparsity.pattern import NMPattern

pytestmark = [
    pytest.mark.delegate,
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]
QUARTER = NMPattern.from_density(0.25, tile=8)
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.normal(size=(2, 12, 12, 3)).astype(np.float32)
WORDS = RANDOM.integers(0, 50, (2, 7)).astype(np.int32)
SEQUENCE = RANDOM.normal(size=(2, 5, 8)).astype(np.float32)


def body(x: Any) -> Any:
    layers = import_keras().layers
    for name in "abc":
        x = layers.Conv2D(16, 3, activation="relu", padding="same", name=name)(x)
    return x


def nested() -> Any:
    keras = import_keras()
    layers = keras.layers
    image, words = keras.Input((12, 12, 3)), keras.Input((7,), dtype="int32")
    sound = keras.Input((5, 8))
    read = layers.Embedding(50, 16)(words)
    found = [layers.GlobalAveragePooling2D()(body(image))]
    found += [layers.GlobalAveragePooling1D()(x) for x in (read, layers.Conv1D(6, 3)(sound))]
    x = layers.Dense(32, activation="relu")(layers.concatenate(found))
    inputs = {"image": image, "more": (words, sound)}
    return keras.Model(inputs, {"scores": layers.Dense(5)(x), "all": [x, x > 0.5]})


def shared() -> Any:
    """A layer called twice, a model within a model called twice, and an input without use."""
    keras = import_keras()
    layers = keras.layers
    image, unused = keras.Input((12, 12, 3)), keras.Input((5, 8))
    twice = layers.Conv2D(16, 3, padding="same", name="twice")
    inner = keras.Sequential(
        [keras.Input((12, 12, 16)), layers.Conv2D(16, 3, name="q")], name="inner"
    )
    x = twice(twice(body(image)))
    return keras.Model([image, unused], [inner(x), inner(x * 2)])


def wrapped() -> Any:
    keras = import_keras()
    layers = keras.layers
    video = keras.Input((2, 12, 12, 3))
    x = layers.TimeDistributed(layers.Conv2D(16, 3, name="one"), name="first")(video)
    normed = layers.SpectralNormalization(layers.Conv2D(16, 3, name="two"), name="normed")
    return keras.Model(video, layers.TimeDistributed(normed, name="second")(x))


def recurrent() -> Any:
    keras = import_keras()
    layers = keras.layers
    sound = keras.Input((5, 8))
    x = layers.Bidirectional(layers.GRU(16, return_sequences=True))(sound)
    x = layers.TimeDistributed(layers.Dense(16, name="middle"), name="steps")(x)
    return keras.Model(sound, layers.Dense(3, name="head")(x))


def frozen() -> Any:
    keras = import_keras()
    image = keras.Input((12, 12, 3))
    model = keras.Model(image, body(image))
    model.trainable = False
    return model


KINDS: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "nested, of every type": (nested, {"image": IMAGE, "more": (WORDS, SEQUENCE)}, "b c"),
    "shared": (shared, [IMAGE, SEQUENCE], "b c twice inner/q"),
    "wrapped": (wrapped, np.stack([IMAGE, IMAGE + 1], 1), "second/normed/two"),
    "recurrent": (recurrent, SEQUENCE, "steps/middle"),
    "frozen": (frozen, IMAGE, "b c"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_model_is_pruned_converted_and_run(kind: str, tmp_path: Path) -> None:
    keras = import_keras()
    keras.utils.set_random_seed(1)
    build, inputs, pruned = KINDS[kind]
    model = build()
    report = nmpack.keras.prune_(model, QUARTER)
    assert [row.name for row in report.pruned] == pruned.split()
    expected = [np.asarray(x) for x in keras.tree.flatten(model(inputs, training=False))]
    path = keras_to_tflite(model, tmp_path / "m.tflite", batch=2)
    for delegates in (None, [load_delegate()]):
        interpreter = Interpreter(str(path), experimental_delegates=delegates)
        interpreter.allocate_tensors()
        for detail, value in zip(
            interpreter.get_input_details(), keras.tree.flatten(inputs), strict=True
        ):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        for detail, wanted in zip(interpreter.get_output_details(), expected, strict=True):
            np.testing.assert_allclose(
                interpreter.get_tensor(detail["index"]), wanted, rtol=1e-4, atol=1e-5
            )


def dense(change: Callable[[Any], None]) -> Any:
    keras = import_keras()
    keras.utils.set_random_seed(1)
    layers = keras.layers
    inputs = keras.Input((12,))
    middle = layers.Dense(16, name="middle")
    x = layers.Dense(16, name="last")(middle(layers.Dense(16, name="first")(inputs)))
    model = keras.Model(inputs, layers.Dense(4, name="head")(x))
    change(model)
    return model


def test_kernels_that_keras_computes_stay_dense() -> None:
    model = dense(lambda model: model.get_layer("middle").enable_lora(2))
    rows = {row.name: row for row in nmpack.keras.prune_(model, QUARTER)}
    assert rows["first"].pattern == rows["last"].pattern == QUARTER
    assert rows["middle"].pattern is None
    assert "computed with LoRA" in rows["middle"].reason
    with pytest.raises(NmpackError, match="middle: its kernel is computed with LoRA; prune"):
        nmpack.keras.prune_(model, QUARTER, select="middle")
    nmpack.keras.finalize_(model)


def test_models_that_keras_quantized_say_so(tmp_path: Path) -> None:
    model = dense(lambda model: model.quantize("int8"))
    with pytest.raises(NmpackError, match=r"Keras has quantized it \(int8\); prune the model befo"):
        nmpack.keras.prune_(model, QUARTER)
    with pytest.raises(ModelError, match=r"first: Keras has quantized it \(int8\): expected"):
        keras_to_tflite(model, tmp_path / "m.tflite")
