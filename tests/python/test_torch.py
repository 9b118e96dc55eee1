# SPDX-License-Identifier: BSD-3-Clause
"""Pruning PyTorch models in place."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import nmpack.torch
from nmpack.errors import PatternError, SelectionError
from nmpack.models import fashion_resnet, resnet50
from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import NMPattern

pytestmark = pytest.mark.torch
HALF = NMPattern(2, 4, tile=8)


def small(groups: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3, groups=groups), nn.Conv2d(32, 8, 1)
    )


def test_default_selection_is_every_residual_block_convolution() -> None:
    model = resnet50()
    report = nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=32))
    assert [row.name for row in report if row.pattern is None] == ["conv1", "fc"]
    assert len(report.pruned) == 52
    # Single weights are zero by chance.
    assert all(row.density == pytest.approx(0.25, abs=1e-3) for row in report.pruned)
    assert report.layers[0].reason == "first convolution (stem)"


def test_narrow_and_grouped_convolutions_stay_dense_with_a_reason() -> None:
    report = nmpack.torch.prune_(small(), NMPattern(2, 4, tile=16))
    assert [row.reason for row in report] == [
        "first convolution (stem)",
        "",
        "8 output channels are fewer than one tile of 16",
    ]
    assert nmpack.torch.prune_(small(groups=4), HALF).layers[1].reason == "4 groups"


def test_the_mask_is_the_one_of_the_ohwi_matrix() -> None:
    model = small(groups=2)
    before = nmpack.torch.weights(model[2])
    nmpack.torch.prune_(model, HALF, select="2")
    mask = compute_mask(before, HALF, groups=2)
    assert np.array_equal(nmpack.torch.weights(model[2]), before * mask)


def test_fine_tuning_holds_the_mask() -> None:
    model = fashion_resnet()
    nmpack.torch.prune_(model, HALF)
    held = {n: nmpack.torch.weights(m) != 0 for n, m in convolutions(model)}
    before = {n: nmpack.torch.weights(m) for n, m in convolutions(model)}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    for step in range(3):
        images = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(step))
        loss = nn.functional.cross_entropy(model(images), torch.arange(8))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, layer in convolutions(model):
        assert not (nmpack.torch.weights(layer) != 0)[~held[name]].any()
        assert not np.array_equal(nmpack.torch.weights(layer), before[name])


def convolutions(model: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    return [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]


def test_state_dict_and_deepcopy_carry_the_mask() -> None:
    model = small()
    nmpack.torch.prune_(model, HALF)
    clone = copy.deepcopy(model)
    other = small()
    nmpack.torch.prune_(other, NMPattern(1, 4, tile=8))
    other.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 9, 9)
    expected = model(images)
    assert torch.equal(clone(images), expected)
    assert torch.equal(other(images), expected)
    assert "2.parametrizations.weight.0.mask" in model.state_dict()


def test_finalize_bakes_the_zeros_in_and_restores_the_names() -> None:
    model = small()
    names = list(model.state_dict())
    nmpack.torch.prune_(model, HALF)
    images = torch.randn(2, 3, 9, 9)
    expected = model(images)
    assert nmpack.torch.finalize_(model) is model
    assert list(model.state_dict()) == names
    assert torch.equal(model(images), expected)
    assert (model[2].weight == 0).float().mean().item() == pytest.approx(0.5)
    assert isinstance(model[2].weight, nn.Parameter)
    assert all(row.pattern is None for row in nmpack.torch.inspect(model))


def test_finalizing_a_deepcopy_leaves_the_original_pruned() -> None:
    model = small()
    nmpack.torch.prune_(model, HALF)
    clone = nmpack.torch.finalize_(copy.deepcopy(model))
    assert isinstance(clone[2].weight, nn.Parameter)
    assert model[2].parametrizations["weight"][0].mask is not None
    images = torch.randn(2, 3, 9, 9)
    assert torch.equal(model(images), clone(images))


def test_pruning_twice_changes_nothing() -> None:
    model = small()
    first = nmpack.torch.prune_(model, HALF)
    weights = nmpack.torch.weights(model[2])
    assert nmpack.torch.prune_(model, HALF) == first
    assert np.array_equal(nmpack.torch.weights(model[2]), weights)
    assert len(model[2].parametrizations["weight"]) == 1


def test_selection_by_glob_type_and_predicate() -> None:
    def pruned(**select: object) -> list[str]:
        return [r.name for r in nmpack.torch.prune_(small(), HALF, **select).pruned]

    assert pruned(select="[23]") == ["2", "3"]
    assert pruned(select=["2", "3"], exclude="3") == ["2"]
    assert pruned(select=lambda _, layer: layer.kernel_size == (1, 1)) == ["3"]
    with pytest.raises(PatternError, match="0: K must be a multiple of M=4, got K=27"):
        pruned(select=nn.Conv2d)


@pytest.mark.parametrize(
    ("select", "exclude", "says"),
    [
        ("layer*", (), "matches no convolution and no linear layer; names look like 0, 2"),
        (None, "stem", "exclude 'stem' matches no"),
        (nn.Linear, (), "nothing to prune among 3"),
        (lambda *_: False, (), "nothing to prune"),
        ([1], (), "globs or types"),
        (3, (), "a glob, a type or a predicate"),
    ],
)
def test_a_selection_of_nothing_is_an_error(select: object, exclude: object, says: str) -> None:
    with pytest.raises(SelectionError, match=says):
        nmpack.torch.prune_(small(), HALF, select=select, exclude=exclude)


def test_an_error_leaves_the_model_unchanged() -> None:
    model = small()
    with torch.no_grad():
        model[3].weight[0, 0] = float("nan")
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(PatternError, match="3: weights must be finite, got 1"):
        nmpack.torch.prune_(model, HALF)
    assert list(model.state_dict()) == list(state)
    assert torch.equal(model[2].weight, state["2.weight"])


def test_a_mask_of_torch_prune_is_not_overlaid() -> None:
    model = small()
    torch_prune.l1_unstructured(model[2], "weight", 0.5)
    with pytest.raises(SelectionError, match=r"2: already pruned by torch\.nn\.utils\.prune"):
        nmpack.torch.prune_(model, HALF)
