# SPDX-License-Identifier: BSD-3-Clause
"""Fine-tuning with a pattern for each layer: what a plan states is what is trained and saved."""

from __future__ import annotations

import json
from collections import OrderedDict, UserDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nmpack.torch
from nmpack.cli import main
from nmpack.errors import MismatchError, NmpackError, PatternError, SelectionError
from nmpack.plans import PlanFile, load_plan, save_plan
from nmpack.sources import load_source
from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import NMPattern, Pattern, Unstructured
from nmpack.training import Outcome, Recipe, TensorImages, fine_tune

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

#: By name; layers of :func:`network` that are not here stay dense.
PATTERNS: dict[str, Pattern | None] = {
    "0": None,
    "2": NMPattern.from_density(0.25, tile=8),
    "4": NMPattern.from_density(0.5, tile=4, block=4),
    "6": NMPattern(1, 4, tile=16, block=2),
    "9": NMPattern(2, 4, tile=2),
}
RECIPE = Recipe(pattern=PATTERNS, epochs=2, batch=16, rate=0.05, every=2, augment=False)
DATA = TensorImages(
    torch.randn(96, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(96) % 4, 4
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 4),
    )  # fmt: skip


def tune(
    folder: Path, recipe: Recipe = RECIPE, stop: int | None = None
) -> tuple[nn.Module, Outcome | None]:
    model = network()
    return model, fine_tune(model, DATA, DATA, recipe, folder, stop_after=stop)


def kept(model: nn.Module, name: str) -> Any:
    return nmpack.torch.weights(model.get_submodule(name)) != 0


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"schedule": "gradual"},
        {"schedule": "dynamic", "ema": 0.9},
        {"permute": True, "score": "activation"},
        {"qat": True, "distill": 0.5},
    ],
    ids=str,
)
def test_each_layer_ends_with_its_own_pattern(change: dict[str, Any], tmp_path: Path) -> None:
    recipe = replace(RECIPE, **change)
    model, outcome = tune(tmp_path, recipe)
    assert outcome is not None
    assert outcome.steps == 12
    saved = torch.load(tmp_path / "final.pt")["model"]
    for name in ("0", "2", "4", "6", "9", "10"):
        pattern = PATTERNS.get(name)
        mask = kept(model, name)
        assert torch.equal(saved[f"{name}.weight"], model.get_submodule(name).weight)
        if pattern is None:
            assert mask.all()
        else:
            weights = nmpack.torch.weights(model.get_submodule(name))
            assert (compute_mask(weights, pattern) == mask).all(), name
            assert mask.mean() == pattern.density


def test_one_mask_is_the_one_that_prune_finds(tmp_path: Path) -> None:
    model, twin = tune(tmp_path)[0], network()
    report = nmpack.torch.prune_(twin, PATTERNS)
    assert {row.name: row.pattern for row in report} == PATTERNS | {"10": None}
    for row in report:
        assert (kept(model, row.name) == kept(twin, row.name)).all(), row.name


@pytest.mark.parametrize(
    ("patterns", "error", "says"),
    [
        ({"nothing": PATTERNS["2"]}, SelectionError, "'nothing' matches no convolution"),
        ({"0": NMPattern(2, 4)}, PatternError, "0: K must be a multiple of M=4, got K=9"),
        ({"2": None}, SelectionError, "nothing to prune"),
        ({}, SelectionError, "nothing to prune"),
        ({"2": NMPattern(9)}, PatternError, "cannot be reached gradually"),
        ({"2": "25%"}, SelectionError, "expected a pattern or None for '2', got '25%'"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    patterns: Any, error: type[NmpackError], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        tune(tmp_path, replace(RECIPE, pattern=patterns, schedule="gradual"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [dict, MappingProxyType, UserDict, OrderedDict])
def test_a_mapping_of_any_kind_is_the_same_recipe(kind: Any) -> None:
    given = dict(PATTERNS)
    recipe = replace(RECIPE, pattern=kind(given))
    given.clear()
    assert recipe == RECIPE
    assert type(recipe.what()) is dict
    assert json.dumps(recipe.to_dict()) == json.dumps(RECIPE.to_dict())


@pytest.mark.parametrize(
    "pattern",
    [
        PATTERNS,
        dict(reversed(PATTERNS.items())),
        {"2": Unstructured(0.25), "*": NMPattern(3)},
        {},
        "25%",
        "unstructured:25%",
        None,
    ],
)
def test_a_recipe_comes_back_from_its_plain_values(
    pattern: str | Mapping[str, Pattern | None] | None,
) -> None:
    recipe = replace(RECIPE, pattern=pattern)
    for values in (recipe.to_dict(), json.loads(json.dumps(recipe.to_dict()))):
        again = Recipe(**values)
        assert again == recipe
        assert json.dumps(again.to_dict()) == json.dumps(recipe.to_dict()), "order decides"


@pytest.mark.parametrize(
    ("pattern", "error", "says"),
    [
        (NMPattern(0.5), PatternError, "expected a pattern such as '2:4', a mapping of globs to"),
        (0.25, PatternError, "or None, got 0.25"),
        ({0: NMPattern(0.5)}, SelectionError, "expected a glob, which is a text, .* got .0, NMP"),
        ({"2": "25%"}, SelectionError, "expected a pattern or None for '2', got '25%'"),
        ({"2": {"n": 0.5, "of": 4}}, SelectionError, "expected a pattern or None for '2', got {"),
        ({"2": {"n": 9.0}}, PatternError, "the kept share of a row must be above 0"),
        ([["2"]], SelectionError, "expected a glob, which is a text, with its pattern, got ..2"),
    ],
)
def test_what_is_no_pattern_is_no_recipe(pattern: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Recipe(pattern=pattern)


def test_it_goes_on_with_the_same_patterns_alone(tmp_path: Path) -> None:
    whole, outcome = tune(tmp_path / "whole")
    folder = tmp_path / "run"
    assert tune(folder, stop=5)[1] is None
    others = (
        PATTERNS | {"4": NMPattern.from_density(0.5, tile=4, block=2)},
        PATTERNS | {"4": NMPattern.from_density(0.5, tile=8, block=4)},
        dict(reversed(PATTERNS.items())),  # it decides which glob matches first
        "25%",
    )
    for pattern in others:
        with pytest.raises(MismatchError, match="another recipe, data or start"):
            tune(folder, replace(RECIPE, pattern=pattern, tile=8))
    resumed, again = tune(folder)
    assert outcome is not None
    assert again is not None
    assert (again.tuned, again.history) == (outcome.tuned, outcome.history)
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_command_takes_a_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = {
        "conv1": None,
        "layer1.0.conv1": NMPattern.from_density(0.25, tile=8, block=4),
        "layer1.0.conv2": NMPattern.from_density(0.5, tile=32),
    }
    path, output, folder = tmp_path / "plan.json", tmp_path / "p.pt", tmp_path / "run"
    save_plan(path, PlanFile({}, patterns, "Some CPU", 1))
    monkeypatch.setattr("nmpack.training.open_data", lambda *_, **__: (DATA, DATA))

    def run(*more: str, says: str = "") -> int:
        arguments = ("--batch", "32", "--epochs", "1", "--folder", str(folder), "-o", str(output))
        status = main(["finetune", "fashion_resnet", "--plan", str(path), *arguments, *more])
        assert says in capsys.readouterr().err
        return status

    for option in (("--tile", "32"), ("--block", "1")):
        assert run(*option, says="a plan has a tile and a block for each layer: leave the") == 1
    with pytest.raises(SystemExit):
        run("--pattern", "25%")
    assert "argument --pattern: not allowed with argument --plan" in capsys.readouterr().err
    assert not folder.exists()

    assert run() == 0
    model = load_source(str(output)).model
    for row in nmpack.torch.inspect(model):
        weights = nmpack.torch.weights(model.get_submodule(row.name))
        pattern = patterns.get(row.name)
        mask = compute_mask(weights, pattern) if pattern else np.ones_like(weights, bool)
        assert ((weights != 0) == mask).all(), row.name
    result = json.loads((folder / "result.json").read_text())
    assert [name for name, _ in result["recipe"]["pattern"]] == list(load_plan(path).mapping)

    save_plan(path, PlanFile({}, patterns | {"layer1.0.conv1": None}, "Some CPU", 1))
    assert run(says="belongs to a training with another recipe, data or start") == 1
    path.write_text("{}")
    assert run(says=f"{path}: expected a plan of nmpack tune --density: ") == 1
