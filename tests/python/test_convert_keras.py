# SPDX-License-Identifier: BSD-3-Clause
"""Keras models of every kind of input, output and precision, converted, against themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import nmpack.keras
from nmpack.convert import keras_to_tflite
from nmpack.errors import ModelError, NmpackError
from nmpack.quiet import import_keras
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.runner import run
from nmpack.sparsity.pattern import NMPattern

pytestmark = [
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]
Array = npt.NDArray[Any]
IMAGE = np.random.default_rng(1).normal(size=(2, 9, 9, 3)).astype(np.float32)
EXTRA = np.random.default_rng(2).normal(size=(2, 4)).astype(np.float32)


def run_signature(path: Path, inputs: dict[str, Array]) -> dict[str, Array]:
    """Run a file in the stock interpreter by the names of its signature."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner("serving_default")
    assert set(runner.get_input_details()) == set(inputs)
    result: dict[str, Array] = runner(**inputs)
    return result


def two_ends(
    kind: str, policy: str | None = None, *, image: tuple[int | None, ...] = (9, 9, 3)
) -> Any:
    """Return a model with two inputs and three outputs, in a list or in nested dictionaries; names
    and order disagree."""
    keras = import_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    z = keras.Input(image, name="z_image")
    a = keras.Input((4,), name="a_extra")
    x = layers.Conv2D(8, 3, activation="relu", dtype=policy, name="body")(z)
    x = layers.BatchNormalization(dtype=policy)(x)
    y = layers.concatenate([layers.GlobalAveragePooling2D(dtype=policy)(x), a], dtype=policy)
    first = layers.Dense(5, name="z_first", dtype=policy)(y)
    second = layers.Dense(3, name="a_second", dtype=policy)(y)
    if kind == "list":
        return keras.Model([z, a], [first, second, x])
    return keras.Model(
        {"photo": z, "side": [a]}, {"zeta": first, "alpha": {"deep": second, "maps": [x]}}
    )


def test_two_inputs_and_three_outputs_in_lists_keep_their_order(tmp_path: Path) -> None:
    model = two_ends("list")
    path = keras_to_tflite(model, tmp_path / "m.tflite", batch=2)
    expected = [np.asarray(item) for item in model([IMAGE, EXTRA])]
    result = run_signature(path, {"z_image": IMAGE, "a_extra": EXTRA})
    ordered = run(path, [IMAGE, EXTRA], engine=Engine("stock")).outputs
    assert list(ordered)[:2] == ["z_first", "a_second"]
    for name, array, wanted in zip(ordered, ordered.values(), expected, strict=True):
        np.testing.assert_allclose(array, wanted, atol=1e-5)
        np.testing.assert_allclose(result[name], wanted, atol=1e-5)


@pytest.mark.parametrize("batch", [2, None])
def test_nested_dictionaries_keep_their_names(tmp_path: Path, batch: int | None) -> None:
    model = two_ends("dictionary")
    path = keras_to_tflite(model, tmp_path / "m.tflite", batch=batch)
    expected = model({"photo": IMAGE, "side": [EXTRA]})
    rows = slice(None) if batch else slice(0, 1)
    result = run_signature(path, {"photo": IMAGE[rows], "side_0": EXTRA[rows]})
    assert set(result) == {"zeta", "alpha_deep", "alpha_maps_0"}
    np.testing.assert_allclose(result["zeta"], expected["zeta"][rows], atol=1e-5)
    np.testing.assert_allclose(result["alpha_deep"], expected["alpha"]["deep"][rows], atol=1e-5)
    np.testing.assert_allclose(
        result["alpha_maps_0"], expected["alpha"]["maps"][0][rows], atol=1e-5
    )


def test_outputs_that_are_inputs_or_come_twice_and_an_unused_input(tmp_path: Path) -> None:
    keras = import_keras()
    b, a, unused = (
        keras.Input((size,), name=name) for name, size in (("b", 4), ("a", 3), ("u", 2))
    )
    y = keras.layers.Rescaling(2.0, name="y")(a)
    model = keras.Model([b, a, unused], [y, b, y])
    path = keras_to_tflite(model, tmp_path / "m.tflite", batch=2)
    arrays = [EXTRA, EXTRA[:, :3], EXTRA[:, :2]]
    result = run_signature(path, dict(zip(("b", "a", "u"), arrays, strict=True)))
    assert len(result) == 3
    ordered = list(run(path, arrays, engine=Engine("stock")).outputs.values())
    for array, wanted in zip(ordered, (2 * arrays[1], EXTRA, 2 * arrays[1]), strict=True):
        np.testing.assert_allclose(array, wanted)


def test_constant_outputs_keep_their_places(tmp_path: Path) -> None:
    keras = import_keras()

    class Constants(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return [keras.ops.eye(1), keras.ops.eye(2), keras.ops.eye(1) * 3, x]

    model = Constants()
    expected = model(EXTRA[:1])
    path = keras_to_tflite(model, tmp_path / "m.tflite")
    result = run_signature(path, {"args_0": EXTRA[:1]})
    for index, wanted in enumerate(expected):
        np.testing.assert_array_equal(result[f"output_{index}"], wanted)


def state(model: Any) -> list[tuple[str, str, Array]]:
    policies = [(layer.name, layer.dtype_policy.name) for layer in model._flatten_layers()]
    weights = [np.asarray(item) for item in model.get_weights()]
    return [(n, p, np.zeros(())) for n, p in policies] + [("", str(w.dtype), w) for w in weights]


def unchanged(before: list[tuple[str, str, Array]], after: list[tuple[str, str, Array]]) -> bool:
    return len(before) == len(after) and all(
        a[:2] == b[:2] and np.array_equal(a[2], b[2]) for a, b in zip(before, after, strict=True)
    )


@pytest.mark.parametrize("kind", ["list", "dictionary"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_other_precisions_convert_in_float32(tmp_path: Path, policy: str, kind: str) -> None:
    keras = import_keras()
    model = two_ends(kind, policy)
    model.compile("adam", "mse")
    before = state(model)
    # As where it was trained: the policy is still set.
    keras.config.set_dtype_policy(policy)
    try:
        path = keras_to_tflite(model, tmp_path / "m.tflite", batch=2)
        assert keras.config.dtype_policy().name == policy
    finally:
        keras.config.set_dtype_policy("float32")
    assert unchanged(before, state(model))
    if kind == "list":
        result = run_signature(path, {"z_image": IMAGE, "a_extra": EXTRA})["z_first"]
        rough = model([IMAGE, EXTRA])[0]
    else:
        result = run_signature(path, {"photo": IMAGE, "side_0": EXTRA})["zeta"]
        rough = model({"photo": IMAGE, "side": [EXTRA]})["zeta"]
    exact = two_ends(kind)
    exact.set_weights([np.asarray(w).astype(np.float32) for w in model.get_weights()])
    values = exact([IMAGE, EXTRA] if kind == "list" else {"photo": IMAGE, "side": [EXTRA]})
    np.testing.assert_allclose(result, values[0] if kind == "list" else values["zeta"], atol=1e-5)
    np.testing.assert_allclose(result, np.asarray(rough).astype(np.float32), atol=5e-2)


def nested() -> Any:
    keras = import_keras()
    layers = keras.layers
    inner = keras.Sequential([keras.Input((7, 7, 8)), layers.Conv2D(8, 3)], name="inner")
    inputs = keras.Input((9, 9, 3), dtype="float16")
    x = layers.Conv2D(8, 3)(inputs)
    x = layers.Lambda(lambda x: x * 2)(inner(x) + layers.Cropping2D(1)(x))
    return keras.Model(inputs, keras.ops.mean(x, axis=(1, 2)))


def recurrent() -> Any:
    keras = import_keras()
    inputs = keras.Input((9, 27))
    return keras.Model(inputs, keras.layers.Bidirectional(keras.layers.LSTM(4))(inputs))


def shared() -> Any:
    keras = import_keras()
    inputs = keras.Input((9, 9, 3))
    one = keras.layers.Conv2D(3, 3, padding="same")
    return keras.Model(inputs, one(keras.Sequential([one, keras.layers.ReLU()])(inputs)))


def subclassed() -> Any:
    keras = import_keras()

    class Sub(keras.Model):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.body = keras.layers.Conv2D(8, 3)
            self.head = keras.layers.Dense(4)

        def call(self, x: Any) -> Any:
            return {"head": self.head(self.body(x)), "body": self.body(x)}

    model = Sub()
    model(IMAGE)
    return model


@pytest.mark.parametrize("build", [nested, recurrent, shared, subclassed])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_of_every_kind_of_model(
    tmp_path: Path, build: Callable[[], Any], policy: str
) -> None:
    keras = import_keras()
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    images = IMAGE.reshape(2, 9, 27) if build is recurrent else IMAGE
    before = state(model)
    path = keras_to_tflite(model, tmp_path / "m.tflite", batch=2)
    assert unchanged(before, state(model))
    result = run(path, images, engine=Engine("stock")).outputs
    expected = keras.tree.flatten(model(images))
    for array, wanted in zip(result.values(), expected, strict=True):
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, np.asarray(wanted).astype(np.float32), atol=5e-2)


def test_a_precision_that_cannot_be_changed_is_explained(tmp_path: Path) -> None:
    keras = import_keras()

    class Stubborn(keras.Model):  # type: ignore[misc]
        def __init__(self, body: Any) -> None:
            super().__init__()
            self.body = body

        def call(self, x: Any) -> Any:
            return self.body(x)

    model = Stubborn(keras.layers.Conv2D(8, 3, dtype="mixed_float16"))
    model(IMAGE)
    with pytest.raises(
        ModelError, match="computes in mixed_float16 and cannot be rebuilt"
    ) as caught:
        keras_to_tflite(model, tmp_path / "m.tflite")
    assert "set_dtype_policy('float32') and load its weights" in str(caught.value)


def test_a_pruned_mixed_precision_model_keeps_its_zeros(tmp_path: Path) -> None:
    from nmpack.tflite.file import TFLiteFile

    keras = import_keras()
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        layers = [keras.layers.Conv2D(8, 3), keras.layers.Conv2D(16, 3)]
    finally:
        keras.config.set_dtype_policy("float32")
    model = keras.Sequential([keras.Input((9, 9, 4)), *layers])
    nmpack.keras.prune_(model, NMPattern(2, 4, tile=8))
    file = TFLiteFile(keras_to_tflite(model, tmp_path / "m.tflite", storage="sparse"))
    assert np.count_nonzero(file.array(file.convolutions[1].weights)) == 9 * 8 * 16 // 2
    assert model.layers[1].kernel.constraint is not None


def test_images_of_any_size_convert_with_samples(tmp_path: Path) -> None:
    model = two_ends("list", image=(None, None, 3))
    with pytest.raises(ModelError, match=r"input z_image must have a fixed size, got \(None, None"):
        keras_to_tflite(model, tmp_path / "m.tflite")
    path = keras_to_tflite(model, tmp_path / "m.tflite", samples=[IMAGE, EXTRA])
    result = run_signature(path, {"z_image": IMAGE, "a_extra": EXTRA})
    np.testing.assert_allclose(result["z_first"], model([IMAGE, EXTRA])[0], atol=1e-5)
    assert keras_to_tflite(model, path, samples=[IMAGE, EXTRA], batch=None) == path
    one = run_signature(path, {"z_image": IMAGE[:1], "a_extra": EXTRA[:1]})
    np.testing.assert_allclose(one["z_first"], result["z_first"][:1], atol=1e-5)


def test_subclassed_models_convert_once_they_were_called(tmp_path: Path) -> None:
    keras = import_keras()

    class Two(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.body = keras.layers.Conv2D(8, 3)
            self.head = keras.layers.Dense(3)

        def call(self, inputs: Any, training: bool = False) -> Any:
            return self.body(inputs["image"]) + float(training), self.head(inputs["extra"]), None

    model = Two()
    inputs = {"image": IMAGE, "extra": EXTRA}
    with pytest.raises(
        ModelError, match="two: has no weights yet: call the model once on a sample"
    ):
        keras_to_tflite(model, tmp_path / "m.tflite")
    with pytest.raises(ModelError, match="two: has no weights yet"):
        keras_to_tflite(model, tmp_path / "m.tflite", samples=inputs)
    expected = model(inputs)
    for samples in (None, inputs):
        path = keras_to_tflite(model, tmp_path / "m.tflite", batch=2, samples=samples)
        result = run_signature(path, inputs)
        np.testing.assert_allclose(result["output_0"], expected[0], atol=1e-5)
        np.testing.assert_allclose(result["output_1"], expected[1], atol=1e-5)


def test_whole_and_complex_numbers(tmp_path: Path) -> None:
    keras = import_keras()
    inputs = keras.Input((3,), dtype="int32")
    model = keras.Model(inputs, keras.layers.Embedding(10, 4)(inputs))
    path = keras_to_tflite(model, tmp_path / "m.tflite")
    words = np.array([[1, 9, 3]], np.int32)
    (result,) = run_signature(path, {"args_0": words}).values()
    np.testing.assert_allclose(result, model(words))
    inputs = keras.Input((3,), dtype="complex64")
    path = keras_to_tflite(keras.Model(inputs, keras.ops.real(inputs)), tmp_path / "m.tflite")
    (result,) = run_signature(path, {"args_0": np.array([[1, 2j, 3]], np.complex64)}).values()
    np.testing.assert_array_equal(result, [[1, 0, 3]])


def sequential(*layers: str) -> Any:
    keras = import_keras()
    return keras.Sequential([getattr(keras.layers, name)(8, 3) for name in layers], name="late")


def unbuilt() -> Any:
    keras = import_keras()

    class Sub(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    return Sub(name="late")


def text() -> Any:
    keras = import_keras()
    words = keras.Input((1,), dtype="string", name="words")
    return keras.Model(words, keras.layers.StringLookup(vocabulary=["a", "b"])(words))


def unsupported() -> Any:
    keras = import_keras()
    inputs = keras.Input((4, 4))
    return keras.Model(inputs, keras.ops.linalg.svd(inputs, compute_uv=False))


def stateful() -> Any:
    keras = import_keras()
    inputs = keras.Input(batch_shape=(1, 4, 3))
    return keras.Model(inputs, keras.layers.LSTM(3, stateful=True)(inputs))


def several_arguments() -> Any:
    keras = import_keras()

    class Sub(keras.Model):  # type: ignore[misc]
        def call(self, x: Any, extra: Any) -> Any:
            return x + extra

    model = Sub(name="several")
    model(EXTRA, extra=EXTRA)
    return model


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "sequential": (lambda: sequential("Conv2D"), "late: has no weights yet: call the model once"),
    "subclassed": (unbuilt, "late: has no weights yet: call the model once on a sample"),
    "text": (text, "input words: expected numbers, got text"),
    "operator": (unsupported, "no operator for Svd"),
    "state": (stateful, "a layer in it keeps values from call to call"),
    "arguments": (
        several_arguments,
        r"the model itself fails on inputs of args_0 \[1, 4\]: .*extra",
    ),
    "layer": (lambda: import_keras().layers.Dense(3), "expected a Keras model, got Dense"),
    "function": (lambda: len, "expected a Keras model, got builtin_function_or_method"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_converted_ends_in_one_sentence(tmp_path: Path, kind: str) -> None:
    build, says = REFUSED[kind]
    with pytest.raises(ModelError, match=says) as caught:
        keras_to_tflite(build(), tmp_path / "m.tflite")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_recurrent_layer_needs_a_fixed_batch(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a recurrent layer needs a fixed batch"):
        keras_to_tflite(recurrent(), tmp_path / "m.tflite", batch=None)
    with pytest.raises(NmpackError, match="the batch must be at least 1, got 0"):
        keras_to_tflite(recurrent(), tmp_path / "m.tflite", batch=0)
