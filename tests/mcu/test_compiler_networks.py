# SPDX-License-Identifier: BSD-3-Clause
"""Networks as users have them: from Keras, from TensorFlow's converter, from PyTorch."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_programs import require_reference
from int8_samples import int8_network

from nmpack.cli import main
from nmpack.mcu.compiler import compile_model
from nmpack.sparsity.pattern import NMPattern


@pytest.mark.parametrize("target", ["xcv", "xcv-nm"])
def test_convolutions_in_a_row(tmp_path: Path, target: str) -> None:
    program = compile_model(int8_network(tmp_path / "net.tflite", size=14), target=target)
    assert {step.dense_macs // step.macs for step in program.steps} == {4}
    require_reference(tmp_path, [program])


@pytest.mark.keras
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("io", ["float32", "int8"])
def test_a_pruned_keras_network_in_sparse_storage(tmp_path: Path, io: str) -> None:
    import nmpack.keras
    from nmpack.convert import keras_to_tflite
    from nmpack.quantize import Int8
    from nmpack.quiet import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = keras.Input((12, 12, 3), name="image")
    y = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    z = layers.BatchNormalization()(layers.Conv2D(32, 3, padding="same", use_bias=False)(y))
    z = layers.MaxPooling2D(3, 2, padding="same")(layers.ReLU()(layers.add([y, z])))
    model = keras.Model(x, layers.Dense(5, name="head")(layers.GlobalAveragePooling2D()(z)))
    nmpack.keras.prune_(model, NMPattern(1, 8, tile=4))
    images = np.random.default_rng(1).normal(size=(8, 12, 12, 3)).astype(np.float32)
    path = keras_to_tflite(
        model, tmp_path / "k.tflite", int8=Int8(images, io=io), storage="sparse", batch=2
    )
    program = compile_model(path, target="xcv")
    kinds = [step.kind for step in program.steps]
    assert ("QUANTIZE" in kinds, "DEQUANTIZE" in kinds) == (io == "float32",) * 2
    pruned = [step for step in program.steps if step.pattern == "1:8 in tiles of 4"]
    assert [step.kind for step in pruned] == ["CONV_2D"]
    require_reference(tmp_path, [program])


def _images() -> Iterator[list[Any]]:
    generator = np.random.default_rng(2)
    for _ in range(8):
        yield [generator.normal(size=(1, 16, 16, 3)).astype(np.float32)]


@pytest.mark.keras
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_what_tensorflow_s_converter_quantized(tmp_path: Path) -> None:
    from nmpack.quiet import import_keras, import_tensorflow

    keras, tensorflow = import_keras(), import_tensorflow()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6"),
            layers.DepthwiseConv2D(3, padding="valid", depth_multiplier=2),
            layers.ReLU(6.0),
            layers.Conv2D(12, 1, dilation_rate=1, activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.representative_dataset = _images
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tensorflow.int8
    path = tmp_path / "tf.tflite"
    path.write_bytes(converter.convert())
    program = compile_model(path)
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "SOFTMAX"} <= {
        step.kind for step in program.steps
    }
    require_reference(tmp_path, [program])


ZOO = {
    "resnet8": (32, 32, 3),
    "ds_cnn": (49, 10, 1),
    "mobilenet_v1_025": (96, 96, 3),
    "autoencoder": (1, 1, 640),
    "vit_tiny28": (28, 28, 1),
}


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("name", ZOO)
def test_networks_of_the_zoo_pass_their_self_test(tmp_path: Path, name: str) -> None:
    images = np.random.default_rng(3).normal(size=(4, *ZOO[name])).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    model, folder = tmp_path / f"{name}.tflite", tmp_path / name
    words = ["--int8", "--calibrate", str(tmp_path / "images.npy"), "--io", "int8"]
    assert main(["convert", name, *words, "-o", str(model)]) == 0
    assert main(["mcu", str(model), "-o", str(folder), "--target", "xcv"]) == 0
    done = subprocess.run(
        ["make", "-s", "-C", str(folder), "test"],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.stdout.strip() == f"PASS {name}: bit for bit TFLite's reference kernels", (
        done.stderr
    )
