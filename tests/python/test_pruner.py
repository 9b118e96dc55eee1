# SPDX-License-Identifier: BSD-3-Clause
"""Pruning along a schedule, scores that look at data, and masks in the midst of PyTorch's tools."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune as torch_prune

import nmpack.torch
from nmpack.errors import NmpackError, PatternError, SelectionError
from nmpack.models import build
from nmpack.sparsity.mask import Evidence, compute_mask
from nmpack.sparsity.pattern import NMPattern, Unstructured
from nmpack.sparsity.schedule import Dynamic, Gradual, OneShot, Schedule, to_dict
from nmpack.torch.evidence import column_squares
from nmpack.torch.holding import finalized_copy, held, original

pytestmark = pytest.mark.torch
QUARTER = NMPattern.from_sparsity(0.75, tile=8)


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 8),
    )  # fmt: skip


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 3, 9, 9, generator=generator), torch.arange(8)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    images, labels = batch(seed)
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    optimizer.step()


def density(layer: nn.Module) -> float:
    return float((nmpack.torch.weights(layer) != 0).mean())


def test_gradual_pruning_follows_the_cubic_and_never_brings_a_column_back() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = Gradual(begin=2, end=10, every=2)
    pruner = nmpack.torch.Pruner(model, QUARTER, schedule, select="3").attach(optimizer)
    seen, mask = [density(model[3])], nmpack.torch.weights(model[3]) != 0
    for index in range(12):
        step(model, optimizer, index)
        now = nmpack.torch.weights(model[3]) != 0
        assert not (now & ~mask).any()
        seen.append(density(model[3]))
        mask = now
    assert pruner.steps == 12
    assert seen[:3] == [1.0, 1.0, 1.0]
    assert seen[4] == seen[5] == pytest.approx(1 - 0.75 * (1 - 0.75**3), abs=0.01)
    assert seen[10] == seen[12] == 0.25


def test_dynamic_pruning_revives_columns_then_holds_the_mask() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    schedule = Dynamic(end=4, every=2, decay=0.0)
    nmpack.torch.Pruner(model, QUARTER, schedule, select="3").attach(optimizer)
    layer = model[3]
    pruned = ~held(layer).mask
    with torch.no_grad():
        original(layer)[pruned] *= 100.0  # as if they had learnt a lot meanwhile
    before = original(layer).detach().clone()
    step(model, optimizer, 0)
    assert (original(layer)[pruned] != before[pruned]).any(), "the gradient goes straight through"
    assert not layer.weight[pruned].any()
    step(model, optimizer, 1)
    assert not torch.equal(~held(layer).mask, pruned), "the mask was computed anew"
    assert density(layer) == 0.25
    for index in range(2, 6):
        step(model, optimizer, index)
    final = held(layer).mask.clone()
    before = original(layer).detach().clone()
    step(model, optimizer, 9)
    assert torch.equal(held(layer).mask, final)
    assert torch.equal(original(layer)[~final], before[~final])
    assert not torch.equal(original(layer)[final], before[final])


def test_the_decay_is_the_one_of_sr_ste() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    nmpack.torch.Pruner(model, QUARTER, Dynamic(end=9, decay=0.1), select="3").attach(optimizer)
    layer = model[3]
    images, labels = batch(0)
    F.cross_entropy(model(images), labels).backward()
    before, gradient = original(layer).detach().clone(), original(layer).grad.clone()
    optimizer.step()
    pruned = torch.where(held(layer).mask, 0.0, before)
    torch.testing.assert_close(original(layer), before - 0.5 * (gradient + 0.1 * pruned))


@pytest.mark.parametrize(
    "schedule", [OneShot(), Gradual(end=6, every=2), Dynamic(end=6, every=2, warm_up=3)]
)
@pytest.mark.parametrize("stop", [1, 4, 7])
def test_stopping_and_resuming_gives_the_same_bits(
    schedule: Schedule, stop: int, tmp_path: Path
) -> None:
    def parts() -> tuple[nn.Module, torch.optim.Optimizer, nmpack.torch.Pruner]:
        model = small()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        pruner = nmpack.torch.Pruner(model, QUARTER, schedule, select="3").attach(optimizer)
        return model, optimizer, pruner

    whole = parts()
    for index in range(8):
        step(*whole[:2], index)
    first = parts()
    for index in range(stop):
        step(*first[:2], index)
    torch.save([part.state_dict() for part in first], tmp_path / "stopped.pt")
    second = parts()
    for part, state in zip(second, torch.load(tmp_path / "stopped.pt"), strict=True):
        part.load_state_dict(state)
    for index in range(stop, 8):
        step(*second[:2], index)
    expected = whole[0].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in second[0].state_dict().items())


def test_resuming_another_schedule_is_an_error() -> None:
    state = nmpack.torch.Pruner(small(), QUARTER, Gradual(end=6), select="3").state_dict()
    with pytest.raises(PatternError, match="resumes with the schedule it was saved with"):
        nmpack.torch.Pruner(small(), QUARTER, select="3").load_state_dict(state)
    with pytest.raises(PatternError, match="resumes with the layers"):
        nmpack.torch.Pruner(small(), QUARTER, Gradual(end=6), select="7").load_state_dict(state)


@pytest.mark.parametrize("schedule", [OneShot(), Gradual(3, 1, 2), Dynamic(5, 2, 0.5, 1)])
def test_a_schedule_is_written_down_whole(schedule: Schedule) -> None:
    values = to_dict(schedule)
    assert values.pop("kind") == type(schedule).__name__.lower()
    assert type(schedule)(**values) == schedule


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Gradual(end=0), "0 <= begin < end"),
        (lambda: Gradual(end=5, every=0), "every=0"),
        (lambda: Dynamic(end=5, warm_up=6), "warm_up"),
        (lambda: Dynamic(end=5, decay=-1.0), "decay"),
        (
            lambda: nmpack.torch.Pruner(small(), NMPattern(3), Gradual(end=5), select="3"),
            "count of the row",
        ),
    ],
)
def test_an_impossible_schedule_is_an_error(make: Callable[[], object], says: str) -> None:
    with pytest.raises(PatternError, match=says):
        make()


def test_taylor_and_activation_scores_see_the_data() -> None:
    model = small()
    batches = [batch(0), batch(1)]
    state = copy.deepcopy(model.state_dict())
    evidence = nmpack.torch.collect(model, batches, loss=F.cross_entropy)
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    twin = copy.deepcopy(model).eval()
    sum(F.cross_entropy(twin(images), labels) for images, labels in batches).backward()
    gradient = twin[3].weight.grad.permute(0, 2, 3, 1).numpy() / 2
    np.testing.assert_allclose(evidence["3"].gradient, gradient, rtol=1e-5, atol=1e-8)
    weights = nmpack.torch.weights(model[3])
    for score in ("taylor", "activation"):
        one = copy.deepcopy(model)
        nmpack.torch.prune_(one, QUARTER, select="3", score=score, evidence=evidence)
        mask = compute_mask(weights, QUARTER, score=score, evidence=evidence["3"])
        assert np.array_equal(nmpack.torch.weights(one[3]), weights * mask)
    with pytest.raises(PatternError, match="3: the score 'taylor' needs gradients"):
        nmpack.torch.prune_(model, QUARTER, select="3", score="taylor")
    with pytest.raises(NmpackError, match="at least one batch"):
        nmpack.torch.collect(model, [])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.Conv2d(4, 6, (2, 3), dilation=(2, 1), padding="same"),
        nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"),
        nn.Linear(4, 6),
    ],
    ids=["groups", "same", "reflect", "linear"],
)
def test_column_norms_are_those_of_the_im2col_matrix(layer: nn.Module) -> None:
    # The gradient of a sum of y**2 / 2 at zero weights and unit outputs would need the matrix; a
    # weight of one at a single column gives exactly that column.
    x = torch.randn(3, 4, 9, 8) if isinstance(layer, nn.Conv2d) else torch.randn(3, 5, 4)
    total, count = column_squares(layer, x)
    flat = layer.weight.reshape(6, -1) if isinstance(layer, nn.Linear) else None
    columns = total.shape[1]
    groups = total.shape[0]
    nn.init.zeros_(layer.bias)
    for column in range(columns):
        with torch.no_grad():
            layer.weight.zero_()
            if flat is None:
                ky, rest = divmod(column, layer.weight.shape[3] * layer.weight.shape[1])
                kx, channel = divmod(rest, layer.weight.shape[1])
                layer.weight[:, channel, ky, kx] = 1.0
            else:
                layer.weight[:, column] = 1.0
            y = layer(x).double()
        y = y.movedim(1, -1) if isinstance(layer, nn.Conv2d) else y
        squares = y.square().reshape(-1, 6).sum(0)[:: 6 // groups]
        torch.testing.assert_close(total[:, column], squares, rtol=1e-5, atol=1e-5)
        assert count == y.numel() // 6


def test_two_dimensional_blocks_row_wise_and_unstructured() -> None:
    model = small()
    nmpack.torch.prune_(model, NMPattern(1, 2, tile=4, block=4), select="3")
    blocks = (nmpack.torch.weights(model[3]) != 0).reshape(4, 4, 36, 4)
    assert (blocks.all(axis=(1, 3)) | ~blocks.any(axis=(1, 3))).all()
    assert (blocks.any(axis=(1, 3)).reshape(4, 18, 2).sum(axis=2) == 1).all()
    nmpack.torch.prune_(model := small(), NMPattern(2, 4, tile=1), select="3")
    assert ((nmpack.torch.weights(model[3]) != 0).reshape(-1, 4).sum(axis=1) == 2).all()
    nmpack.torch.prune_(model := small(), Unstructured(0.3), select="3")
    weights = np.abs(nmpack.torch.weights(model[3]))
    assert density(model[3]) == pytest.approx(0.3, abs=1e-3)
    assert (
        weights[weights > 0].min()
        >= np.sort(np.abs(nmpack.torch.weights(small()[3])).ravel())[int(0.69 * weights.size)]
    )
    with pytest.raises(PatternError, match="3: K must be a multiple of the block, 5, got K=144"):
        nmpack.torch.prune_(small(), NMPattern(1, 2, tile=4, block=5), select="3")


def test_linear_layers_and_patterns_by_layer() -> None:
    model = small()
    report = nmpack.torch.prune_(
        model, {"3": NMPattern(1, 4, tile=16), "0": None, "7": NMPattern(8, tile=4)}
    )
    assert {row.name: (str(row.pattern), row.reason) for row in report} == {
        "0": ("None", "dense by '0'"),
        "3": ("1:4 kept, tile 16", ""),
        "7": ("8 columns of the row kept, tile 4", ""),
    }
    assert (density(model[3]), density(model[7])) == (0.25, 0.5)
    with pytest.raises(SelectionError, match="pattern 'conv' matches no"):
        nmpack.torch.prune_(model, {"conv": QUARTER})
    with pytest.raises(SelectionError, match="expected a pattern"):
        nmpack.torch.prune_(model, 0.25)


def test_an_optimizer_made_before_pruning_goes_on() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parameter = model[3].weight
    nmpack.torch.prune_(model, QUARTER, select="3")
    assert original(model[3]) is parameter
    before = nmpack.torch.weights(model[3])
    step(model, optimizer, 0)
    assert not np.array_equal(nmpack.torch.weights(model[3]), before)
    nmpack.torch.finalize_(model)
    assert model[3].weight is parameter
    after = nmpack.torch.weights(model[3])
    step(model, optimizer, 1)
    assert not np.array_equal(nmpack.torch.weights(model[3]), after)


def test_masks_of_torch_prune_are_adopted_and_finalized() -> None:
    model = small()
    torch_prune.ln_structured(model[3], "weight", 0.5, n=1, dim=1)
    assert "adopt_" in nmpack.torch.inspect(model).layers[1].reason
    expected = nmpack.torch.weights(model[3])
    twin = finalized_copy(model)
    assert np.array_equal(nmpack.torch.weights(twin[3]), expected)
    assert isinstance(twin[3].weight, nn.Parameter)
    assert nmpack.torch.adopt_(model) == ("3",)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step(model, optimizer, 0)
    trained = nmpack.torch.weights(model[3])
    assert np.array_equal(trained != 0, expected != 0)
    assert not np.array_equal(trained, expected)
    with pytest.raises(SelectionError, match="no convolution or linear layer has a mask"):
        nmpack.torch.adopt_(small())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_masks_of_torch_ao_pruning_are_adopted() -> None:
    from torch.ao import pruning

    model = small()
    sparsifier = pruning.WeightNormSparsifier(sparsity_level=0.5, sparse_block_shape=(1, 4))
    sparsifier.prepare(model, [{"tensor_fqn": "7.weight"}])
    sparsifier.step()
    expected = nmpack.torch.weights(model[7])
    assert (expected == 0).mean() == pytest.approx(0.5)
    assert nmpack.torch.adopt_(model) == ("7",)
    assert np.array_equal(nmpack.torch.weights(model[7]), expected)
    assert isinstance(nmpack.torch.finalize_(model)[7].weight, nn.Parameter)


@pytest.mark.parametrize(
    ("masks", "error", "says"),
    [
        ({"3": torch.ones(16, 16, 3, 1)}, PatternError, "3: a mask must have the weights' shape"),
        ({"3": torch.zeros(16, 16, 3, 3)}, PatternError, "3: a mask must keep at least one"),
        ({"9": torch.ones(1)}, SelectionError, "'9', which is no layer"),
    ],
)
def test_a_mask_that_does_not_match_names_the_layer(
    masks: dict[str, torch.Tensor], error: type[NmpackError], says: str
) -> None:
    model = small()
    names = list(model.state_dict())
    with pytest.raises(error, match=says):
        nmpack.torch.adopt_(model, masks)
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compile_and_export_keep_the_function(feedback: bool) -> None:
    model = small().eval()
    schedule = Dynamic(end=5) if feedback else OneShot()
    nmpack.torch.Pruner(model, QUARTER, schedule, select="3")
    images = batch(0)[0]
    expected = model(images)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), expected)
    compiled(images).sum().backward()
    mask = held(model[3]).mask
    assert bool(original(model[3]).grad[~mask].any()) == feedback
    exported = torch.export.export(model, (images,))
    torch.testing.assert_close(exported.module()(images), expected)
    assert [row.name for row in nmpack.torch.inspect(compiled).pruned] == ["3"]


def test_batch_norm_is_the_mean_over_the_batches_and_mends_one_shot_pruning() -> None:
    model = build("resnet20").train()
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(32, 3, 32, 32, generator=generator) for _ in range(4)]
    nmpack.torch.reestimate_batch_norm_(model, batches)
    dense = copy.deepcopy(model).eval()
    nmpack.torch.prune_(model, QUARTER)
    parameters = {name: value.clone() for name, value in model.named_parameters()}
    with torch.no_grad():
        before = F.mse_loss(copy.deepcopy(model).eval()(batches[0]), dense(batches[0]))
        assert nmpack.torch.reestimate_batch_norm_(model, batches) == 4
        after = F.mse_loss(copy.deepcopy(model).eval()(batches[0]), dense(batches[0]))
    assert after < before
    assert model.training
    assert model.bn1.momentum == 0.1
    assert all(torch.equal(value, parameters[n]) for n, value in model.named_parameters())
    seen = torch.stack(
        [F.conv2d(x, model.conv1.weight, padding=1).mean((0, 2, 3)) for x in batches]
    )
    torch.testing.assert_close(model.bn1.running_mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    with pytest.raises(NmpackError, match="without a batch"):
        nmpack.torch.reestimate_batch_norm_(model, [])
    assert nmpack.torch.reestimate_batch_norm_(nn.Conv2d(1, 1, 1), []) == 0


def test_evidence_of_another_shape_is_an_error() -> None:
    weights = np.ones((4, 6))
    with pytest.raises(PatternError, match="body: gradients need the weights' shape"):
        compute_mask(weights, QUARTER, score="taylor", evidence=Evidence(np.ones(3)), layer="body")
    with pytest.raises(PatternError, match=r"body: activations need .*, got \(1, 5\)"):
        compute_mask(
            weights, QUARTER, score="activation", evidence=Evidence(None, np.ones((1, 5))),
            layer="body",
        )  # fmt: skip
    with pytest.raises(PatternError, match="a score out of l1, l2, taylor, activation, got 'l3'"):
        compute_mask(weights, QUARTER, score="l3")
