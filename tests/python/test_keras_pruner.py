# SPDX-License-Identifier: BSD-3-Clause
"""Pruning Keras models along a schedule, on both backends, in step with PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backends import run_on_torch, wanted_backend
from torch import nn

import nmpack.keras
import nmpack.torch
from nmpack.errors import NmpackError, PatternError
from nmpack.quiet import import_keras
from nmpack.sparsity.mask import SCORES
from nmpack.sparsity.pattern import NMPattern, Unstructured
from nmpack.sparsity.schedule import Dynamic, Gradual, OneShot, Schedule

pytestmark = [
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]
QUARTER = NMPattern.from_sparsity(0.75, tile=4)
SELECT = ["body", "head"]


def test_all_of_this_on_the_torch_backend() -> None:
    run_on_torch(__file__, "test_all_of_this_on_the_torch_backend")


def test_the_backend_is_the_one_asked_for() -> None:
    assert import_keras().config.backend() == wanted_backend()


def twins() -> tuple[Any, nn.Sequential]:
    """The same network with the same weights in Keras and in PyTorch."""
    keras = import_keras()
    generator = np.random.default_rng(0)
    one = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3, activation="relu", name="stem"),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="body"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, name="head"),
        ]
    )
    two = nn.Sequential()
    two.stem = nn.Conv2d(3, 8, 3)
    two.relu = nn.ReLU()
    two.body = nn.Conv2d(8, 8, 3, padding=1)
    two.relu2 = nn.ReLU()
    two.pool = nn.AdaptiveAvgPool2d(1)
    two.flatten = nn.Flatten()
    two.head = nn.Linear(8, 4)
    for name in ("stem", "body", "head"):
        layer, module = one.get_layer(name), getattr(two, name)
        kernel = generator.normal(0, 0.3, layer.kernel.shape).astype(np.float32)
        layer.kernel.assign(kernel)
        axes = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(kernel.transpose(axes).copy()))
            module.bias.zero_()
    return one, two


def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    images = generator.normal(size=(32, 8, 8, 3)).astype(np.float32)
    return images, generator.normal(size=(32, 4)).astype(np.float32)


def nchw(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize(
    "schedule",
    [
        OneShot(),
        Gradual(end=6, every=2),
        Dynamic(end=6, every=2, decay=0.5),
        Dynamic(end=5, every=1, warm_up=3),
    ],
    ids=["oneshot", "gradual", "dynamic", "warm"],
)
def test_fit_takes_the_steps_that_pytorch_takes(schedule: Schedule) -> None:
    keras = import_keras()
    one, two = twins()
    images, targets = data()
    pruner = nmpack.keras.Pruner(one, QUARTER, schedule, select=SELECT)
    one.compile(keras.optimizers.SGD(0.5), "mse")
    one.fit(images, targets, batch_size=4, epochs=1, shuffle=False, verbose=0, callbacks=[pruner])
    assert pruner.steps == 8
    optimizer = torch.optim.SGD(two.parameters(), lr=0.5)
    nmpack.torch.Pruner(two, QUARTER, schedule, select=SELECT).attach(optimizer)
    for start in range(0, 32, 4):
        optimizer.zero_grad()
        outputs = two(nchw(images[start : start + 4]))
        nn.functional.mse_loss(outputs, torch.from_numpy(targets[start : start + 4])).backward()
        optimizer.step()
    for name in SELECT:
        expected = nmpack.torch.weights(getattr(two, name))
        found = nmpack.keras.weights(one.get_layer(name))
        assert np.array_equal(found != 0, expected != 0), name
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
        assert (found != 0).mean() == pytest.approx(0.25)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    "pattern", [QUARTER, NMPattern(1, 4, tile=3), Unstructured(0.3), NMPattern(1, 2, 4, block=2)]
)
def test_masks_equal_those_of_pytorch(score: str, pattern: NMPattern) -> None:
    one, two = twins()
    images, targets = data()
    mse = import_keras().losses.MeanSquaredError()
    evidence = nmpack.keras.collect(one, [(images, targets)], loss=mse)
    other = nmpack.torch.collect(
        two, [(nchw(images), torch.from_numpy(targets))], loss=nn.functional.mse_loss
    )
    for name in ("stem", *SELECT):
        for field in ("gradient", "norms"):
            ours, theirs = getattr(evidence[name], field), getattr(other[name], field)
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6, err_msg=name)
    report = nmpack.keras.prune_(one, pattern, select=SELECT, score=score, evidence=evidence)
    assert [row.name for row in report.pruned] == SELECT
    nmpack.torch.prune_(two, pattern, select=SELECT, score=score, evidence=evidence)
    for name in SELECT:
        expected = nmpack.torch.weights(getattr(two, name))
        assert np.array_equal(nmpack.keras.weights(one.get_layer(name)), expected), name


def test_stopping_and_resuming_gives_the_same_bits(tmp_path: Path) -> None:
    keras = import_keras()
    images, targets = data()
    schedule = Dynamic(end=12, every=3)

    def fit(model: Any, pruner: Any, epochs: int) -> None:
        model.fit(
            images, targets, batch_size=4, epochs=epochs, shuffle=False, verbose=0,
            callbacks=[pruner],
        )  # fmt: skip

    whole, _ = twins()
    pruner = nmpack.keras.Pruner(whole, QUARTER, schedule, select=SELECT)
    whole.compile(keras.optimizers.Adam(0.01), "mse")
    fit(whole, pruner, 2)
    first, _ = twins()
    pruner = nmpack.keras.Pruner(first, QUARTER, schedule, select=SELECT)
    first.compile(keras.optimizers.Adam(0.01), "mse")
    fit(first, pruner, 1)
    first.save(tmp_path / "half.keras")
    pruner.save(tmp_path / "pruner.npz")
    second = keras.models.load_model(tmp_path / "half.keras")
    pruner = nmpack.keras.Pruner(second, QUARTER, schedule, select=SELECT)
    pruner.load(tmp_path / "pruner.npz")
    fit(second, pruner, 1)
    assert pruner.steps == 16
    for a, b in zip(whole.get_weights(), second.get_weights(), strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(PatternError, match="resumes with the schedule"):
        nmpack.keras.Pruner(second, QUARTER, select=SELECT).load(tmp_path / "pruner.npz")


def test_functional_nested_and_subclassed_models() -> None:
    keras = import_keras()

    class Block(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="block")
            self.one = keras.layers.Conv2D(8, 3, padding="same", name="one")
            self.two = keras.layers.Conv2D(8, 1, name="two")

        def call(self, x: Any) -> Any:
            return self.two(self.one(x)) + x

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.stem = keras.layers.Conv2D(8, 3, name="stem")
            self.blocks = [Block(), keras.layers.ReLU()]
            self.head = keras.layers.Dense(4, name="head")

        def call(self, x: Any) -> Any:
            x = self.stem(x)
            for block in self.blocks:
                x = block(x)
            return self.head(keras.ops.mean(x, (1, 2)))

    model = Net()
    images, targets = data()
    with pytest.raises(NmpackError, match="has no weights yet"):
        nmpack.keras.prune_(model, QUARTER)
    model(images)
    report = nmpack.keras.prune_(model, QUARTER)
    assert sorted(row.name for row in report.pruned) == ["block/one", "block/two"]
    model.compile("sgd", "mse")
    model.fit(images, targets, verbose=0)
    assert (nmpack.keras.weights(model.blocks[0].one) != 0).mean() == 0.25
    nmpack.keras.finalize_(model)
    assert all(row.pattern is None for row in nmpack.keras.inspect(model))
    reason = next(r.reason for r in nmpack.keras.inspect(model) if r.name == "block/one")
    assert reason.startswith("no mask is held, but its zeros obey")


def test_batch_norm_is_the_mean_over_the_batches() -> None:
    keras = import_keras()
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.BatchNormalization(name="norm")])
    images, _ = data()
    assert nmpack.keras.reestimate_batch_norm_(model, [images[:8], images[8:16]]) == 2
    norm = model.get_layer("norm")
    mean = keras.ops.convert_to_numpy(norm.moving_mean)
    np.testing.assert_allclose(mean, images[:16].mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
    variance = (images[:8].var((0, 1, 2)) + images[8:16].var((0, 1, 2))) / 2
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(norm.moving_variance), variance, rtol=1e-4
    )
    assert norm.momentum == 0.99
    with pytest.raises(NmpackError, match="without a batch"):
        nmpack.keras.reestimate_batch_norm_(model, [])
