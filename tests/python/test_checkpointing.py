# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints on real models: same training bit for bit, and the memory that was predicted."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nmpack.torch
from nmpack import NMPattern, checkpointing
from nmpack.checkpointing import CheckpointingError, Planner
from nmpack.checkpointing.costs import chain_of, least_peak, segments_of
from nmpack.checkpointing.planning import Plan
from nmpack.cli import main
from nmpack.models import fashion_resnet, resnet18, resnet50

pytestmark = pytest.mark.torch


class Vgg(nn.Module):
    """Asks for the size of a value, changes in place, drops out."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 16), (16, 24), (24, 24)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(24, 32), nn.ReLU(True), nn.Dropout(0.5))
        self.last = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        if x.shape[2:] != (1, 1):
            x = F.adaptive_avg_pool2d(x, 1)
        return self.last(self.classifier(x.view(x.size(0), -1)))


class Dense(nn.Module):
    """Every layer sees all before it, joined anew by each: several tensors cross every cut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(8 * (i + 1), 8, 3, padding=1) for i in range(6))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8 * (i + 1)) for i in range(6))
        self.scale = nn.Parameter(torch.ones(56, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = [self.stem(x)]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            found.append(layer(F.relu(norm(torch.cat(found, 1)))))
        return (torch.cat(found, 1) * self.scale).mean((2, 3))


def _pruned() -> nn.Module:
    model = fashion_resnet()
    nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=32))
    return model


def _spectral() -> nn.Module:
    first = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 3, padding=1))
    rest = [nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3)) for _ in range(3)]
    return nn.Sequential(first, *rest, nn.Flatten())


Case = tuple[Callable[[], nn.Module], tuple[int, ...]]
CASES: dict[str, Case] = {
    "fashion_resnet": (fashion_resnet, (4, 1, 28, 28)),
    "resnet18": (lambda: resnet18(num_classes=10), (2, 3, 64, 64)),
    "resnet50": (lambda: resnet50(num_classes=10), (2, 3, 64, 64)),
    "pruned": (_pruned, (4, 1, 28, 28)),
    "vgg": (Vgg, (3, 3, 24, 24)),
    "dense": (Dense, (2, 3, 20, 20)),
    "spectral": (_spectral, (2, 3, 16, 16)),
}


def make(case: str) -> tuple[nn.Module, torch.Tensor]:
    """Return a seeded model with one sample."""
    build, shape = CASES[case]
    torch.manual_seed(1)
    return build(), torch.randn(shape)


def train(model: nn.Module, sample: torch.Tensor, steps: int = 2, **autocast: Any) -> list[Any]:
    """Train a few steps; returns losses, then gradients, parameters, buffers, random state."""
    torch.manual_seed(7)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(autocast)):
            output = model(sample)
            loss = output.float().square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    gradients = [p.grad for p in model.parameters()]
    return [*losses, *gradients, *model.state_dict().values(), torch.get_rng_state()]


def assert_equal(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b), "not equal bit for bit"


def plans(planner: Planner) -> list[Plan]:
    found = [planner.plan(method) for method in ("revised", "sqrt", "every:1", "every:3", "none")]
    if planner.trace.simple:
        found.append(planner.plan("static"))
    middle = (found[0].predicted_least + found[0].predicted_none) // 2
    return [*found, planner.plan(budget=middle)]


@pytest.mark.parametrize("case", CASES)
def test_training_is_the_same_bit_for_bit(case: str) -> None:
    model, sample = make(case)
    truth = train(copy.deepcopy(model), sample)
    for plan in plans(Planner(model, sample)):
        own = checkpointing.apply_(copy.deepcopy(model), plan)
        assert_equal(train(own, sample), truth)


@pytest.mark.parametrize("case", ["resnet18", "vgg", "dense"])
def test_autocast_is_the_same_bit_for_bit(case: str) -> None:
    model, sample = make(case)
    truth = train(copy.deepcopy(model), sample, autocast=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plan = checkpointing.plan(model, sample)
    assert plan.recomputed > 0
    assert_equal(train(checkpointing.apply_(model, plan), sample, autocast=True), truth)


@pytest.mark.parametrize("case", CASES)
def test_the_peak_is_as_predicted(case: str) -> None:
    model, sample = make(case)
    planner = Planner(model, sample)
    for plan in plans(planner):
        report = checkpointing.report(model, sample, plan)
        # Random states and copies of statistics, some KiB a segment, are not predicted.
        slack = 0.05 * report.step.peak + 12_000 * len(plan.segments)
        assert abs(plan.predicted_peak - report.step.peak) <= slack, (case, str(report))
        assert plan.predicted_peak >= plan.predicted_least


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("inside", [False, True, None])
def test_the_linear_algorithm_is_optimal_on_traces(case: str, inside: bool | None) -> None:
    model, sample = make(case)
    planner = Planner(model, sample, inside=inside)
    least = planner.costs.peak(segments_of(least_peak(planner.costs)))
    assert planner.plan().predicted_peak <= planner.plan().predicted_least == least
    if planner.trace.simple:
        chain = chain_of(planner.trace)
        bound = checkpointing.revised_linear(chain)
        assert bound.cost == checkpointing.revised_quadratic(chain).cost <= least
        for plan in plans(planner):
            cuts = (*tuple(s.start for s in plan.segments), len(planner.costs))
            if all(s.recomputed for s in plan.segments[:-1]):
                assert checkpointing.revised_cost(chain, cuts) <= plan.predicted_peak
    for plan in plans(planner):
        assert plan.predicted_peak >= least


def test_least_recomputation_agrees_with_every_plan() -> None:
    model, sample = make("fashion_resnet")
    costs = Planner(model, sample).costs
    n = len(costs)
    assert n <= 14
    from nmpack.checkpointing.costs import Segment, least_recomputation

    every: list[tuple[int, float]] = []

    def extend(done: list[Segment]) -> None:
        start = done[-1].stop if done else 0
        for stop in range(start + 1, n + 1):
            for again in (True, False) if stop < n else (False,):
                now = [*done, Segment(start, stop, again)]
                if stop < n:
                    extend(now)
                else:
                    every.append((costs.peak(now), costs.recomputation(now)))

    # All 3^(n-1) plans of the first stages would be too many; the last seven stages are enough.
    cut = n - 7
    terms = (costs.segment, costs.whole, costs.across, costs.kept)
    part = type(costs)(*(term[cut:, cut:] for term in terms), costs.seconds[cut:])
    costs, n = part, 7
    extend([])
    assert len(every) == 3**6
    peaks = sorted({peak for peak, _ in every})
    for budget in peaks:
        segments = least_recomputation(costs, budget)
        assert segments is not None
        assert costs.peak(segments) <= budget
        truth = min(seconds for peak, seconds in every if peak <= budget)
        assert costs.recomputation(segments) == pytest.approx(truth, abs=n * 1e-6)
    assert least_recomputation(costs, peaks[0] - 1) is None


def test_a_budget_is_kept_with_less_recomputation_the_larger_it_is() -> None:
    model, sample = make("resnet18")
    planner = Planner(model, sample)
    least, none = planner.plan().predicted_least, planner.plan("none").predicted_peak
    before = float("inf")
    for budget in (least, (least + none) // 2, none):
        plan = planner.plan(budget=budget)
        assert plan.predicted_peak <= budget
        assert plan.recomputation <= before
        before = plan.recomputation
    assert before == 0.0
    assert plan.segments == planner.plan("none").segments


def test_a_budget_that_cannot_be_met_says_the_least_that_can() -> None:
    model, sample = make("resnet18")
    least = checkpointing.plan(model, sample).predicted_least
    with pytest.raises(CheckpointingError, match=f"at least {least} bytes .* got 1000 "):
        checkpointing.plan(model, sample, budget=1000)
    assert checkpointing.plan(model, sample, budget=least).predicted_peak == least


def test_a_model_without_legal_cuts_says_so() -> None:
    with pytest.raises(CheckpointingError, match="Linear has no legal cut point"):
        checkpointing.plan(nn.Linear(3, 3), torch.randn(2, 3))

    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.relu() if x.sum() > 0 else x

    with pytest.raises(CheckpointingError, match=r"Branches has no legal cut point: .* flow"):
        checkpointing.plan(Branches(), torch.randn(2, 3))


def test_planning_leaves_the_model_as_it_was() -> None:
    model, sample = make("spectral")
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    plan = checkpointing.plan(model, sample)
    checkpointing.report(model, sample, plan)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters())
    assert "forward" not in vars(model)
    checkpointing.plan(model, sample)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_stays_itself_under_a_plan(tmp_path: Path) -> None:
    model, sample = make("resnet18")
    names = list(model.state_dict())
    truth = train(copy.deepcopy(model), sample)
    checkpointing.apply_(model, checkpointing.plan(model, sample))
    assert list(model.state_dict()) == names
    twin = copy.deepcopy(model)
    loaded = pickle.loads(pickle.dumps(model))
    torch.save(model, tmp_path / "model.pt")
    saved = torch.load(tmp_path / "model.pt", weights_only=False)
    for own in (twin, loaded, saved):
        assert checkpointing.applied(own).model is own
        assert_equal(train(own, sample), truth)
    assert_equal(train(checkpointing.remove_(model), sample), truth)
    assert checkpointing.applied(model) is None


def test_another_batch_size_and_evaluation_run_as_without() -> None:
    for case in ("vgg", "resnet18"):
        model, sample = make(case)
        own = checkpointing.apply_(copy.deepcopy(model), checkpointing.plan(model, sample))
        other = torch.cat([sample, sample])[1:]
        assert_equal(train(own, other), train(model, other))
        assert torch.equal(own.eval()(sample), model.eval()(sample))
        with torch.no_grad():
            own.train()(sample)


def test_a_graph_can_be_propagated_twice() -> None:
    model, sample = make("spectral")
    plan = checkpointing.plan(model, sample)
    found = []
    for own in (copy.deepcopy(model), checkpointing.apply_(copy.deepcopy(model), plan)):
        loss = own(sample).square().mean()
        loss.backward(retain_graph=True)
        loss.backward()
        found.append([p.grad for p in own.parameters()] + list(own.buffers()))
    assert_equal(*found)


def test_frozen_layers_and_pruning_after_planning() -> None:
    model, sample = make("resnet18")
    model.conv1.weight.requires_grad_(False)
    model.layer1.requires_grad_(False)
    plan = checkpointing.plan(model, sample)
    truth, own = copy.deepcopy(model), checkpointing.apply_(copy.deepcopy(model), plan)
    truth(sample).sum().backward()
    own(sample).sum().backward()
    for a, b in zip(truth.parameters(), own.parameters(), strict=True):
        assert (a.grad is None and b.grad is None) or torch.equal(a.grad, b.grad)
    with pytest.raises(CheckpointingError, match="the forward pass that was planned for"):
        checkpointing.apply_(make("fashion_resnet")[0], plan)


def test_a_model_of_token_numbers_and_a_flag() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(50, 16)
            self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(6))

        def forward(self, tokens: torch.Tensor, scale: float, twice: bool = False) -> Any:
            x = self.embedding(tokens).reshape(tokens.shape[0], -1, 16)
            if x.shape[0] > 100:
                raise ValueError("too many")
            for layer in self.layers:
                x = torch.tanh(layer(x)) * scale
            return {"mean": x.mean(1), "all": [x, tokens] if twice else [x]}

    torch.manual_seed(0)
    model, sample = Tokens(), (torch.randint(50, (4, 7)), 1.5)
    plan = checkpointing.plan(model, sample)
    assert plan.trace.sized
    assert plan.recomputed > 0
    own = checkpointing.apply_(copy.deepcopy(model), plan)
    for one in (model, own):
        one(*sample)["all"][0].sum().backward()
    assert_equal([p.grad for p in own.parameters()], [p.grad for p in model.parameters()])
    assert list(own(*sample)) == ["mean", "all"]


def test_wrong_use_is_named() -> None:
    model, sample = make("resnet18")
    with pytest.raises(CheckpointingError, match="training mode"):
        checkpointing.plan(copy.deepcopy(model).eval(), sample)
    with pytest.raises(CheckpointingError, match="a method of revised"):
        checkpointing.plan(model, sample, method="best")
    with pytest.raises(CheckpointingError, match="method revised with a budget"):
        checkpointing.plan(model, sample, method="sqrt", budget=10**9)
    checkpointing.apply_(model, checkpointing.plan(model, sample))
    with pytest.raises(CheckpointingError, match="remove_ first"):
        checkpointing.plan(model, sample)
    with pytest.raises(CheckpointingError, match="1 positional"):
        model(x=sample)
    with pytest.raises(CheckpointingError, match="'auto' or bytes"):
        checkpointing.parse_bytes("lots")


def test_fit_takes_a_budget_or_what_is_free() -> None:
    model, sample = make("resnet18")
    plan = checkpointing.fit_(model, sample, "auto")
    assert plan.recomputed == 0
    checkpointing.remove_(model)
    plan = checkpointing.fit_(model, sample, plan.predicted_least)
    assert plan.recomputed > 0
    assert checkpointing.applied(model).plan is plan
    assert checkpointing.parse_bytes("1.5GiB") == 3 * 2**29
    assert checkpointing.parse_bytes("800M") == 800_000_000
    assert checkpointing.parse_bytes(17) == 17


def test_the_compiler_takes_it() -> None:
    model, sample = make("resnet18")
    truth = copy.deepcopy(model)
    own = checkpointing.apply_(model, checkpointing.plan(model, sample))
    compiled = torch.compile(own, backend="aot_eager", fullgraph=True)
    loss, expected = compiled(sample).square().mean(), truth(sample).square().mean()
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for a, b in zip(own.parameters(), truth.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4)
    for a, b in zip(own.buffers(), truth.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_ddp_takes_it(tmp_path: Path) -> None:
    model, sample = make("resnet18")
    truth = train(copy.deepcopy(model), sample)
    own = checkpointing.apply_(model, checkpointing.plan(model, sample))
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(own)
        found = train(wrapped, sample)
    finally:
        torch.distributed.destroy_process_group()
    assert_equal(found, truth)


def test_report_and_plot(tmp_path: Path) -> None:
    model, sample = make("resnet18")
    planner = Planner(model, sample)
    reports = {
        method: checkpointing.report(model, sample, planner.plan(method))
        for method in ("none", "revised")
    }
    numbers = reports["revised"].to_dict()
    assert numbers["measured_peak"] < reports["none"].to_dict()["measured_peak"]
    assert "segments recomputed" in str(reports["revised"])
    begun = [name for name, _ in reports["revised"].step.marks]
    again = [name for name in begun if name.startswith("recompute")]
    assert len(again) == planner.plan().recomputed
    for suffix in ("png", "svg"):
        path = tmp_path / f"memory.{suffix}"
        checkpointing.plot(reports, path)
        assert path.stat().st_size > 1000


def test_the_command_plans_measures_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written, drawn = tmp_path / "report.json", tmp_path / "memory.svg"
    options = ["--batch", "4", "--compare", "--json", str(written), "--plot", str(drawn)]
    assert main(["checkpoint", "fashion_resnet", *options]) == 0
    assert "peak predicted" in capsys.readouterr().out
    plan, none = json.loads(written.read_text())["reports"]
    assert plan["measured_peak"] < none["measured_peak"]
    assert plan["predicted_peak"] == plan["predicted_least"]
    assert drawn.stat().st_size > 1000
    assert main(["checkpoint", "fashion_resnet", "--batch", "4", "--memory", "1K"]) == 1
    assert f"at least {plan['predicted_least']} bytes" in capsys.readouterr().err
    half = str((plan["predicted_peak"] + none["predicted_peak"]) // 2)
    assert main(["checkpoint", "fashion_resnet", "--batch", "4", "--memory", half]) == 0
