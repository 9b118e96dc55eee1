# SPDX-License-Identifier: BSD-3-Clause
"""Models of a framework whose batch and image size are open, and with several signatures.

Keras and TensorFlow's own converter make them; the interpreter resizes them, forth and back, and
the delegate plans anew.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate

import nmpack.keras
from nmpack.quiet import import_keras, import_tensorflow, silenced
from nmpack.runtime.interpreter import find_delegate
from nmpack.sparsity.pattern import NMPattern

pytestmark = [
    pytest.mark.delegate,
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]
#: Batch, height and width in turn: larger, smaller, odd, and those of before again.
SIZES = ((1, 32, 32), (2, 48, 40), (1, 33, 31), (3, 9, 9), (2, 48, 40), (1, 32, 32))
LAYOUTS = ("auto", "nhwc", "cnhw")
Array = np.ndarray


def network() -> Any:
    """Return a pruned network for images of any size: a residual block, and two heads, one of them
    transposed, so that its shape is computed."""
    keras = import_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(image)
    y = layers.Conv2D(32, 3, padding="same", activation="relu", name="one")(x)
    x = layers.add([x, layers.Conv2D(32, 3, padding="same", name="two")(y)])
    x = layers.MaxPooling2D(3, 2, padding="same")(layers.ReLU()(x))
    map_ = layers.Conv2DTranspose(8, 3, strides=2, padding="same", name="map")(x)
    scores = layers.Dense(5, name="scores")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, [scores, map_])
    nmpack.keras.prune_(model, NMPattern.from_density(0.25, tile=8), select=["one", "two"])
    return nmpack.keras.finalize_(model)


@pytest.fixture(scope="module")
def function() -> Any:
    """Return the network as a function of images of any size, its kernels constants."""
    tf, model = import_tensorflow(), network()
    spec = tf.TensorSpec((None, None, None, 3), tf.float32, name="image")
    flat = tf.function(lambda image: model(image, training=False), input_signature=[spec])
    freeze = importlib.import_module("tensorflow.python.framework.convert_to_constants")
    with silenced():
        return freeze.convert_variables_to_constants_v2(flat.get_concrete_function())


@pytest.fixture(scope="module")
def open_sizes(function: Any) -> bytes:
    with silenced():
        converter = import_tensorflow().lite.TFLiteConverter.from_concrete_functions([function])
        content: bytes = converter.convert()
    return content


def opened(model: bytes, options: dict[str, str] | None) -> Any:
    delegates = None if options is None else [load_delegate(str(find_delegate()), options)]
    return Interpreter(
        model_content=model,
        experimental_delegates=delegates,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )


def resized(interpreter: Any, image: Array) -> list[Array]:
    (detail,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(detail["index"], image.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(detail["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def drawn(*shape: int) -> Array:
    return np.random.default_rng(parity.SEED).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_open_sizes_are_planned_anew_and_agree(
    open_sizes: bytes, layout: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    stock = opened(open_sizes, None)
    ours = opened(open_sizes, {"layout": layout, "nm": "force", "report": str(report)})
    plans = []
    for size in SIZES:
        image = drawn(*size, 3)
        wrong = parity.difference(resized(ours, image), resized(stock, image), 1e-5)
        assert not wrong, f"{layout}, {size}: {wrong}"
        said = json.loads(report.read_text())
        layers = [layer for part in said["partitions"] for layer in part["layers"]]
        assert sum(layer["reason"] == "chosen" for layer in layers) >= 2
        plans.append([(layer["layout"], layer["predicted_speedup"]) for layer in layers])
    # What is planned follows from the sizes alone, and not from what came before.
    assert plans[4:] == [plans[1], plans[0]]
    assert plans[0] != plans[1]


def test_open_sizes_agree_in_half_precision(open_sizes: bytes) -> None:
    stock, ours = opened(open_sizes, None), opened(open_sizes, {"precision": "f16"})
    for size in SIZES:
        image = drawn(*size, 3)
        assert not parity.difference(resized(ours, image), resized(stock, image), 1e-2)


def test_signatures_of_open_sizes(function: Any, tmp_path: Path) -> None:
    """Two functions that share filters, of several inputs and outputs by name, run in turn."""
    tf = import_tensorflow()
    image = tf.TensorSpec((None, None, None, 3), tf.float32, name="image")
    scale = tf.TensorSpec((None, 1), tf.float32, name="scale")

    class Module(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[image, scale])  # type: ignore[untyped-decorator]
        def classify(self, image: Any, scale: Any) -> Any:
            scores, map_ = function(image)
            return {"scores": scores * scale, "largest": tf.reduce_max(map_, axis=[1, 2])}

        @tf.function(input_signature=[image])  # type: ignore[untyped-decorator]
        def segment(self, image: Any) -> Any:
            return {"map": tf.nn.softmax(function(image)[1])}

    module = Module()
    with silenced():
        functions = [f.get_concrete_function() for f in (module.classify, module.segment)]
        keys = {"classify": functions[0], "segment": functions[1]}
        tf.saved_model.save(module, str(tmp_path), signatures=keys)
        content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert()
    stock, ours = opened(content, None), opened(content, {})
    assert set(ours.get_signature_list()) == {"classify", "segment"}
    for size in SIZES:
        for key in ("classify", "segment"):
            inputs = {"image": drawn(*size, 3)}
            if key == "classify":
                inputs["scale"] = drawn(size[0], 1)
            expected = stock.get_signature_runner(key)(**inputs)
            got = ours.get_signature_runner(key)(**inputs)
            assert set(got) == set(expected)
            wrong = parity.difference([got[n] for n in expected], list(expected.values()), 1e-5)
            assert not wrong, f"{key}, {size}: {wrong}"
