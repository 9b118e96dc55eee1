# SPDX-License-Identifier: BSD-3-Clause
"""Fine-tuning: exact resume, several processes, recipes, data and their errors."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import nmpack.torch
from nmpack import checkpointing
from nmpack.errors import MismatchError, MissingError, NmpackError
from nmpack.models import build
from nmpack.training import ImageFolder, Outcome, Recipe, TensorImages, fine_tune, open_data
from nmpack.training.data import batches, order_of
from nmpack.training.norm import SyncedBatchNorm2d
from nmpack.training.state import key_of

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
BASE = Recipe(pattern="25%", tile=8, epochs=2, batch=16, rate=0.05, every=2, augment=False)


def data(count: int = 96, seed: int = 0) -> TensorImages:
    """Images whose class is the quadrant that is bright."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, count)
    images = generator.normal(0, 0.3, (count, 1, 12, 12)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        y, x = divmod(int(label), 2)
        image[:, 6 * y : 6 * y + 6, 6 * x : 6 * x + 6] += 1.0
    return TensorImages(torch.from_numpy(images), torch.from_numpy(labels), 4)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 4),
    )  # fmt: skip


def tune(
    folder: Path, recipe: Recipe = BASE, stop: int | None = None
) -> tuple[nn.Module, Outcome | None]:
    model = network()
    return model, fine_tune(model, data(), data(seed=1), recipe, folder, stop_after=stop)


def same(one: nn.Module, two: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


RECIPES = {
    "plain": {},
    "all": {
        "schedule": "dynamic", "permute": True, "distill": 0.5, "ema": 0.9, "score": "taylor",
        "optimizer": "adamw", "rate": 0.002, "reestimate": 2, "smoothing": 0.1, "augment": True,
    },
    "gradual": {"schedule": "gradual", "score": "activation"},
    "qat": {"schedule": "gradual", "ema": 0.9, "qat": True},
    "bf16": {"precision": "bf16", "pattern": "unstructured:30%"},
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_stopping_anywhere_and_resuming_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    recipe = Recipe(**BASE.to_dict() | RECIPES[name])
    whole, outcome = tune(tmp_path / "whole", recipe)
    assert outcome is not None
    assert outcome.steps == 12
    for stop in (1, 6, 7):
        folder = tmp_path / str(stop)
        assert tune(folder, recipe, stop)[1] is None
        assert (folder / "last.pt").is_file()
        resumed, again = tune(folder, recipe)
        assert same(whole, resumed), f"stopped after {stop}"
        assert again is not None
        assert (again.tuned, again.history) == (outcome.tuned, outcome.history)
    assert not any(nmpack.torch.holding.held(layer) for layer in whole.modules())
    weights = nmpack.torch.weights(whole[3])
    assert (weights != 0).mean() == pytest.approx(
        0.3 if "pattern" in RECIPES[name] else 0.25, abs=2e-3
    )


def test_it_learns_and_keeps_its_results(tmp_path: Path) -> None:
    recipe = Recipe(**BASE.to_dict() | {"epochs": 6, "distill": 0.0})
    model, outcome = tune(tmp_path, recipe)
    assert outcome is not None
    assert outcome.tuned > 0.9 > outcome.pruned
    assert len(outcome.history) == 6
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["tuned"] == outcome.tuned
    assert result["recipe"]["pattern"] == "25%"
    assert list((tmp_path / "logs").glob("events*"))
    assert not (tmp_path / "last.pt").exists()
    again, kept = tune(tmp_path, recipe)
    assert kept == outcome
    assert same(model, again)
    with pytest.raises(MismatchError, match="another recipe, data or start"):
        tune(tmp_path, BASE)
    (tmp_path / "final.pt").write_bytes(b"no")
    with pytest.raises(MismatchError, match=r"final\.pt: not a checkpoint"):
        tune(tmp_path, recipe)


def test_progress_is_told_after_each_step_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def run(stop: int | None) -> Outcome | None:
        def tell(done: int, total: int) -> None:
            told.append((done, total))

        return fine_tune(
            network(), data(), data(seed=1), BASE, tmp_path, stop_after=stop, progress=tell
        )

    assert run(5) is None
    assert told == [(step, 12) for step in range(1, 6)]
    told.clear()
    assert run(None) is not None
    assert told == [(step, 12) for step in range(6, 13)]
    told.clear()
    assert run(None) is not None
    assert told == []  # it was done


def test_dense_training_has_nothing_to_prune(tmp_path: Path) -> None:
    _, outcome = tune(tmp_path, Recipe(**BASE.to_dict() | {"pattern": None}))
    assert outcome is not None
    assert (outcome.pruned, outcome.density) == (outcome.dense, 1.0)


def test_what_a_training_starts_from_does_not_depend_on_the_memory_format() -> None:
    model = nn.Conv2d(4, 4, 1)
    before = key_of(model, {})
    assert key_of(model.to(memory_format=torch.channels_last), {}) == before
    with torch.no_grad():
        model.weight[0, 0] += 1.0
    assert key_of(model, {}) != before


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
import test_training as t
from nmpack.training import Recipe
recipe = Recipe(**t.BASE.to_dict() | {{"schedule": "dynamic", "clip": 0.5}})
model = t.network()
model[8].p = 0.0  # dropout is drawn by each process for itself
t.fine_tune(model, t.data(), t.data(seed=1), recipe, Path(sys.argv[1]))
"""


def test_two_processes_equal_one_on_the_doubled_batch(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(here=str(Path(__file__).parent)))
    python = Path(__file__).resolve().parents[2] / "python"
    environment = os.environ | {"PYTHONPATH": str(python), "OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    for folder, how in (("one", []), ("two", launch)):
        done = subprocess.run(
            [sys.executable, *how, str(program), str(tmp_path / folder)],
            capture_output=True, text=True, timeout=60, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / name / "final.pt") for name in ("one", "two"))
    assert one["outcome"]["steps"] == two["outcome"]["steps"] == 12
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-3, atol=1e-5, msg=name)
        assert torch.equal(value == 0, two["model"][name] == 0), name


def test_an_interrupt_saves_first(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        PROGRAM.format(here=str(Path(__file__).parent)).replace(
            '"clip": 0.5', '"clip": 0.5, "epochs": 5000'
        )
    )
    python = Path(__file__).resolve().parents[2] / "python"
    process = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "run")],
        env=os.environ | {"PYTHONPATH": str(python)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    last = tmp_path / "run" / "last.pt"
    while not last.exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        signal.sigtimedwait([], 0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert torch.load(last)["step"] >= 6


def test_synchronised_batch_norm_is_the_ordinary_one_alone() -> None:
    norm = SyncedBatchNorm2d(3)
    images = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(norm(images), nn.BatchNorm2d(3)(images))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schedule": "never"}, "schedule must be one of oneshot, gradual, dynamic"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1"),
        ({"rate": 0.0}, "rate must be above 0"),
        ({"pattern": "half"}, "expected a pattern"),
        ({"precision": "int8"}, "precision must be one of"),
    ],
)
def test_an_impossible_recipe_is_an_error(change: dict[str, object], says: str) -> None:
    with pytest.raises(NmpackError, match=says):
        Recipe(**BASE.to_dict() | change)


def test_a_batch_larger_than_the_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NmpackError, match="a batch of 500 is more than the 96 images"):
        tune(tmp_path, Recipe(**BASE.to_dict() | {"batch": 500}))


def pictures(root: Path) -> Path:
    generator = np.random.default_rng(0)
    for part, count in (("train", 3), ("val", 2)):
        for name in ("cat", "dog"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (40, 60 - 10 * index, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return root


def test_a_folder_of_images_is_read_the_same_each_time(tmp_path: Path) -> None:
    train, test = open_data(str(pictures(tmp_path)), size=32)
    assert (len(train), len(test), train.classes) == (6, 4, 2)
    one = list(batches(train, [[0, 3], [5]], (0, 1)))
    two = list(batches(train, [[3], [0]], (0, 1)))
    other = train.batch([0], (0, 2))[0]
    assert one[0][0].shape == (2, 3, 32, 32)
    assert one[0][1].tolist() == [0, 1]
    assert torch.equal(one[0][0][1], two[0][0][0])
    assert torch.equal(one[0][0][0], two[1][0][0])
    assert not torch.equal(one[0][0][0], other[0])
    middle = test.batch([0, 1], None)[0]
    assert torch.equal(middle, test.batch([0, 1], None)[0])
    assert middle.abs().max() < 3.0
    assert sorted(order_of(10, 1, 2)) == list(range(10))
    assert list(order_of(10, 1, 2)) != list(order_of(10, 1, 3))


def empty_class(root: Path) -> None:
    (root / "train" / "cat").mkdir(parents=True)


def not_an_image(root: Path) -> None:
    pictures(root)
    (root / "train" / "cat" / "0.png").write_bytes(b"text")
    ImageFolder(root / "train").batch([0], None)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda _: None, MissingError, "train is not a folder with one folder of images"),
        (lambda root: (root / "train").mkdir(), NmpackError, "train has no images"),
        (empty_class, NmpackError, "cat has no images: expected files ending in .jpg"),
        (not_an_image, NmpackError, r"0\.png: not a readable image"),
        (lambda _: TensorImages(torch.zeros(0), torch.zeros(0), 1), NmpackError, "at least one"),
    ],
)
def test_data_without_images_is_one_error(
    make: Callable[[Path], object], error: type[NmpackError], says: str, tmp_path: Path
) -> None:
    def read() -> None:
        make(tmp_path)
        open_data(str(tmp_path))

    with pytest.raises(error, match=says):
        read()


def test_less_memory_gives_the_same_bits(tmp_path: Path) -> None:
    recipe = Recipe(**BASE.to_dict() | {"schedule": "dynamic", "epochs": 1})
    model = build("resnet20", num_classes=4).train()
    torch.manual_seed(0)
    images = TensorImages(torch.randn(48, 3, 16, 16), torch.arange(48) % 4, 4)
    chosen = checkpointing.plan(copy.deepcopy(model), images.images[:16], budget=10**9)
    memory = (chosen.predicted_least + chosen.predicted_none) // 2
    assert chosen.predicted_least < memory < chosen.predicted_none
    results = []
    for index, limit in enumerate((None, memory)):
        twin = copy.deepcopy(model)
        outcome = fine_tune(twin, images, images, recipe, tmp_path / str(index), memory=limit)
        assert outcome is not None
        results.append((twin, outcome.tuned))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    with pytest.raises(NmpackError, match="MiB"):
        fine_tune(copy.deepcopy(model), images, images, recipe, tmp_path / "least", memory=1)
