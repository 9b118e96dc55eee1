# SPDX-License-Identifier: BSD-3-Clause
"""Budgets: counted costs, measured sensitivity, the best plan within a budget, the front."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nmpack.torch
from nmpack.budget import (
    Plan,
    Point,
    costs_of,
    distribute,
    front_of,
    latency_costs,
    plot,
    search,
    sensitivity,
)  # fmt: skip
from nmpack.errors import ModelError, NmpackError, PatternError
from nmpack.models import build
from nmpack.sparsity.pattern import NMPattern

pytestmark = pytest.mark.torch
CANDIDATES = [NMPattern.from_density(d, tile=t) for t in (8, 16) for d in (0.25, 0.5)]
IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@given(
    layers=st.integers(1, 4),
    budget=st.floats(0.2, 1.0),
    seed=st.integers(0, 10_000),
)
def test_no_other_plan_within_the_budget_harms_less(layers: int, budget: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    names = [f"layer{index}" for index in range(layers)]
    patterns, shares = CANDIDATES[:3], np.array([1.0, 0.2, 0.5, 0.7])
    costs = {
        name: dict(zip([None, *patterns], (dense * shares).tolist(), strict=True))
        for name, dense in zip(names, generator.integers(1, 100, layers), strict=True)
    }  # fmt: skip
    harm = {n: dict(zip(patterns, generator.uniform(0, 1, 3).tolist(), strict=True)) for n in names}
    plan = distribute(costs, harm, budget)
    dense = sum(row[None] for row in costs.values())
    assert plan.cost <= budget * dense * (1 + 1e-9)
    # Rounding costs up may lose what fits by less than a step for each layer.
    slack = budget * dense * (1 - layers / 4000)
    for choice in itertools.product([None, *patterns], repeat=layers):
        cost = sum(costs[n][item] for n, item in zip(names, choice, strict=True))
        if cost <= slack:
            pairs = zip(names, choice, strict=True)
            assert plan.harm <= sum(harm[n].get(item, 0.0) for n, item in pairs) + 1e-9


def test_a_budget_that_cannot_be_met_says_the_least() -> None:
    costs = {"a": {None: 10.0, CANDIDATES[0]: 4.0}, "b": {None: 10.0}}
    harm = {"a": {CANDIDATES[0]: 1.0}, "b": {}}
    with pytest.raises(PatternError, match=r"a budget of 50.0 % cannot be met: .* cost 70.0 %"):
        distribute(costs, harm, 0.5)
    assert distribute(costs, harm, 0.7).patterns == {"a": CANDIDATES[0], "b": None}
    assert distribute(costs, harm, 1.0).patterns == {"a": None, "b": None}
    with pytest.raises(PatternError, match="above 0, got 0"):
        distribute(costs, harm, 0.0)


def test_costs_are_multiply_adds_and_weights() -> None:
    model = build("resnet20")
    costs = costs_of(model, IMAGES, CANDIDATES)
    assert costs["conv1"] == {None: 16 * 27 * 256}
    assert costs["layer2.0.conv1"][None] == 32 * 16 * 9 * 64
    assert costs["layer2.0.conv1"][CANDIDATES[0]] == 32 * 16 * 9 * 64 / 4
    assert costs["fc"] == {None: 640}
    assert sum(row[None] for row in costs.values()) == pytest.approx(41.0e6 / 4, rel=0.02)
    weights = costs_of(model, IMAGES, CANDIDATES, what="weights")
    assert weights["layer3.2.conv2"][CANDIDATES[1]] == 64 * 64 * 9 / 2
    with pytest.raises(PatternError, match="a cost out of macs, weights"):
        costs_of(model, IMAGES, CANDIDATES, what="joules")
    with pytest.raises(PatternError, match="at least one candidate"):
        costs_of(model, IMAGES, [])


def test_from_sensitivity_to_a_front(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build("resnet20").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    costs = costs_of(model, IMAGES, CANDIDATES)
    harm = sensitivity(model, [IMAGES], costs)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert set(harm["layer1.0.conv1"]) == set(CANDIDATES)
    assert harm["conv1"] == {}
    quarter, half = (sum(row.get(item, 0.0) for row in harm.values()) for item in CANDIDATES[:2])
    assert 0.0 < half < quarter
    with torch.no_grad():
        wanted = model(IMAGES)

    def closeness(twin: torch.nn.Module) -> float:
        with torch.no_grad():
            return -float((twin.eval()(IMAGES) - wanted).square().mean())

    points = search(model, costs, harm, [0.4, 0.6, 0.8], closeness)
    assert {point.tile for point in points} >= {8, 16}
    assert all(point.plan.share <= 0.8 for point in points)
    front = front_of(points)
    assert front
    assert all(a.accuracy < b.accuracy for a, b in itertools.pairwise(front))
    report = nmpack.torch.prune_(model, front[0].plan.mapping)
    assert {row.name for row in report.pruned} == {
        name for name, item in front[0].plan.patterns.items() if item is not None
    }
    path = plot(points, tmp_path / "front.png", dense=0.0, unit="multiply-adds")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(NmpackError, match="at least one batch"):
        sensitivity(build("resnet20"), [], costs)
    with pytest.raises(PatternError, match="cannot be met"):
        search(build("resnet20"), costs, harm, [0.1], closeness)


def test_the_plan_beats_one_pattern_for_all_layers() -> None:
    torch.manual_seed(0)
    model = build("resnet20").eval()
    with torch.no_grad():  # a layer whose columns all matter alike, and one that hardly matters
        model.layer2[0].conv1.weight.abs_().clamp_(0.02, 0.021)
        model.layer3[2].bn2.weight.mul_(0.01)
        wanted = model(IMAGES)
    costs = costs_of(model, IMAGES, CANDIDATES)
    harm = sensitivity(model, [IMAGES], costs)
    budget = 0.6
    plan = distribute(costs, harm, budget)
    even = {n: CANDIDATES[1] for n, row in costs.items() if CANDIDATES[1] in row}
    share = sum(costs[n][even.get(n)] for n in costs) / plan.dense_cost
    assert share <= budget
    assert plan.share <= budget
    gaps = []
    for mapping in (plan.mapping, even):
        twin = build("resnet20").eval()
        twin.load_state_dict(model.state_dict())
        nmpack.torch.prune_(twin, mapping)
        with torch.no_grad():
            gaps.append(float((twin(IMAGES) - wanted).square().mean()))
    assert gaps[0] < gaps[1]


def test_a_tuning_record_replaces_counted_costs(tmp_path: Path) -> None:
    costs = {"a": {None: 1.0, CANDIDATES[0]: 0.25, CANDIDATES[1]: 0.5}}
    path = tmp_path / "record.json"
    times = {"dense": 2e-3, str(CANDIDATES[0]): 7e-4}
    path.write_text(json.dumps({"schema": 1, "layers": {"a": times}}))
    assert latency_costs(path, costs) == {"a": {None: 2e-3, CANDIDATES[0]: 7e-4}}
    # What is not known and cannot be pruned costs the same in every plan.
    assert latency_costs(path, costs | {"fc": {None: 1.0}}).keys() == {"a"}
    with pytest.raises(ModelError, match="knows none of the 1 layers"):
        latency_costs(path, {"fc": {None: 1.0}})
    for broken in ({"schema": 2, "layers": {}}, {"schema": 1, "layers": {"a": {}}}, []):
        path.write_text(json.dumps(broken))
        with pytest.raises(ModelError, match=r"record\.json: expected (a|the) (tuning|dense)"):
            latency_costs(path, costs)


def test_the_front_drops_what_another_beats() -> None:
    def point(cost: float, accuracy: float) -> Point:
        return Point(Plan({}, cost, 10.0, 0.0), 8, accuracy)

    points = [point(5, 0.9), point(3, 0.8), point(4, 0.7), point(5, 0.8), point(9, 0.9)]
    assert [(p.plan.cost, p.accuracy) for p in front_of(points)] == [(3, 0.8), (5, 0.9)]


def test_the_command_prints_the_front(
    tmp_path: Path, nmpack_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = nmpack_command(
        "search", "fashion_resnet", "--images", "64", "--budgets", "0.4,0.6", "--tiles", "32",
        "--densities", "0.25", "--json", tmp_path / "front.json", "--plot", tmp_path / "front.svg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "plans evaluated on 64 images" in done.stdout
    plans = json.loads((tmp_path / "front.json").read_text())["plans"]
    assert plans
    assert any(plan["front"] for plan in plans)
    assert all(plan["share"] <= 0.6 for plan in plans)
    assert (tmp_path / "front.svg").read_text().startswith("<?xml")
    wrong = nmpack_command("search", "fashion_resnet", "--budgets", "half")
    assert "expected shares such as 0.25,0.5, got 'half'" in wrong.stderr
