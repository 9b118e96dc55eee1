# SPDX-License-Identifier: BSD-3-Clause
"""Pruning Keras 3 models in place, and the same mask as PyTorch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nmpack.keras
import nmpack.torch
from nmpack.convert import keras_to_tflite
from nmpack.errors import NmpackError
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
HALF = NMPattern(2, 4, tile=8)


def small() -> Any:
    keras = import_keras()
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(16, 3, activation="relu", name="stem")(inputs)
    y = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, name="body")(y)
    y = keras.layers.BatchNormalization()(y)
    x = keras.layers.Conv2D(32, 1, strides=2, name="wide")(keras.layers.add([x, y]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(5)(x))


def test_default_selection_and_density() -> None:
    report = nmpack.keras.prune_(small(), HALF)
    assert [row.name.split("_")[0] for row in report] == ["stem", "body", "wide", "dense"]
    assert [row.name for row in report.pruned] == ["body", "wide"]
    assert all(row.density == 0.5 for row in report.pruned)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("pattern", [HALF, NMPattern.from_sparsity(0.75, tile=6), NMPattern(5)])
def test_keras_and_torch_give_the_same_mask(pattern: NMPattern, groups: int) -> None:
    keras = import_keras()
    generator = np.random.default_rng(3)
    # Few distinct values, so that ties decide as well.
    weights = generator.integers(-3, 4, (16, 8 // groups, 3, 3)).astype(np.float32)
    one = torch.nn.Conv2d(8, 16, 3, groups=groups)
    with torch.no_grad():
        one.weight.copy_(torch.from_numpy(weights))
    two = keras.Sequential([keras.Input((9, 9, 8)), keras.layers.Conv2D(16, 3, groups=groups)])
    two.layers[0].kernel.assign(weights.transpose(2, 3, 1, 0))
    nmpack.torch.prune_(one, pattern, select="*")
    nmpack.keras.prune_(two, pattern, select="*")
    assert np.array_equal(nmpack.torch.weights(one), nmpack.keras.weights(two.layers[0]))


def test_fit_holds_the_mask_and_finalize_releases_it() -> None:
    model = small()
    nmpack.keras.prune_(model, HALF)
    body = model.get_layer("body")
    before = nmpack.keras.weights(body)
    model.compile("adam", "mse")
    generator = np.random.default_rng(0)
    model.fit(generator.normal(size=(16, 12, 12, 3)), generator.normal(size=(16, 5)), verbose=0)
    after = nmpack.keras.weights(body)
    assert not after[before == 0].any()
    assert not np.array_equal(before, after)
    nmpack.keras.finalize_(model)
    assert body.kernel.constraint is None
    assert np.array_equal(nmpack.keras.weights(body), after)


def test_a_saved_model_is_ordinary_and_pruning_again_finds_the_same_mask(tmp_path: Path) -> None:
    keras = import_keras()
    model = small()
    nmpack.keras.prune_(model, HALF)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before = nmpack.keras.weights(loaded.get_layer("wide"))
    nmpack.keras.prune_(loaded, HALF)
    assert np.array_equal(nmpack.keras.weights(loaded.get_layer("wide")), before)


def test_nested_models_are_walked() -> None:
    keras = import_keras()
    inner = keras.Sequential([keras.Input((9, 9, 4)), keras.layers.Conv2D(16, 3, name="deep")])
    model = keras.Sequential([keras.Input((11, 11, 3)), keras.layers.Conv2D(4, 3), inner])
    report = nmpack.keras.prune_(model, HALF)
    assert [row.name for row in report.pruned] == [f"{inner.name}/deep"]


def test_errors_name_the_layer() -> None:
    keras = import_keras()
    with pytest.raises(NmpackError, match="stem: K must be a multiple of M=4, got K=27"):
        nmpack.keras.prune_(small(), HALF, select="stem")
    unbuilt = keras.Sequential([keras.layers.Conv2D(8, 3, name="late")])
    with pytest.raises(NmpackError, match="late: has no weights yet"):
        nmpack.keras.prune_(unbuilt, HALF)
    held = small()
    held.get_layer("body").kernel.constraint = keras.constraints.NonNeg()
    with pytest.raises(NmpackError, match="body: its kernel has the constraint"):
        nmpack.keras.prune_(held, HALF)


@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_conversion_keeps_the_function_and_the_zeros(tmp_path: Path, storage: str) -> None:
    model = small()
    nmpack.keras.prune_(model, HALF)
    path = keras_to_tflite(model, tmp_path / "model.tflite", batch=2, storage=storage)
    images = np.random.default_rng(1).normal(size=(2, 12, 12, 3)).astype(np.float32)
    expected = model.predict(images, verbose=0)
    result = run(path, images, engine=Engine("built-in"))
    np.testing.assert_allclose(next(iter(result.outputs.values())), expected, atol=1e-5)
    file = TFLiteFile(path)
    assert file.primary.tensors[file.primary.inputs[0]].shape == (2, 12, 12, 3)
    wide = next(item for item in file.convolutions if item.shape[0] == 32)
    assert np.count_nonzero(file.array(wide.weights)) == wide.shape[3] * 32 // 2
