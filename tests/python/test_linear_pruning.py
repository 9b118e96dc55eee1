# SPDX-License-Identifier: BSD-3-Clause
"""Networks made of linear layers, and tiles of 1 and 4: selection, masks, detection, training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import nmpack.torch
from nmpack import NMPattern
from nmpack.models import build
from nmpack.sparsity.detection import detect_pattern
from nmpack.sparsity.schedule import Gradual
from nmpack.sparsity.selection import PruneReport

pytestmark = pytest.mark.torch


def dense(report: PruneReport) -> dict[str, str]:
    return {row.name: row.reason for row in report if row.pattern is None}


def test_a_transformer_is_pruned_but_for_patches_and_head() -> None:
    model = build("vit_tiny28")
    report = nmpack.torch.prune_(model, NMPattern(1, 8, tile=4))
    assert dense(report) == {
        "patches": "first convolution (stem)",
        "head": "dense in the model's published list (head)",
    }
    assert len(report.pruned) == 24
    assert all(row.density == pytest.approx(1 / 8, abs=1e-3) for row in report.pruned)
    assert report.density == pytest.approx((1_769_472 / 8 + 3072) / (1_769_472 + 3072), abs=1e-3)


def test_an_own_network_keeps_its_last_linear_layer() -> None:
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 5))
    report = nmpack.torch.prune_(model, NMPattern(1, 8, tile=1))
    assert dense(report) == {
        "0": "K must be a multiple of M=8, got K=12 columns",
        "3": "last linear layer (head)",
    }
    assert [row.name for row in report.pruned] == ["2"]


def test_classifiers_of_convolutional_networks_stay_dense() -> None:
    report = nmpack.torch.prune_(build("resnet8"), NMPattern(1, 8, tile=4))
    assert dense(report) == {
        "conv1": "first convolution (stem)",
        "fc": "linear layers are pruned only where they are selected",
    }


def test_what_a_pattern_does_not_divide_stays_dense() -> None:
    report = nmpack.torch.prune_(build("mobilenet_v1_025"), NMPattern(1, 16, tile=4))
    told = dense(report)
    assert told["blocks.0.3"] == "K must be a multiple of M=16, got K=8 columns"
    assert told["blocks.1.0"] == "16 groups"
    assert len(report.pruned) == 12
    report = nmpack.torch.prune_(build("autoencoder"), NMPattern(1, 16, tile=4))
    assert set(dense(report)) == {"layers.12", "layers.15"}


@pytest.mark.parametrize("tile", [1, 4])
@pytest.mark.parametrize("m", [4, 8, 16])
@pytest.mark.parametrize("layer", [nn.Linear(96, 30), nn.Conv2d(16, 30, 3)], ids=["linear", "conv"])
def test_tiles_of_one_and_four_are_held_and_found(layer: nn.Module, tile: int, m: int) -> None:
    torch.manual_seed(m)
    layer.reset_parameters()
    model = nn.Sequential(layer)
    nmpack.torch.prune_(model, NMPattern(1, m, tile=tile), select="0")
    values = nmpack.torch.weights(model[0])
    kept = (values.reshape(30, -1, m) != 0).sum(2)
    assert (kept == 1).all()
    for start in range(0, 30, tile):
        rows = values.reshape(30, -1)[start : start + tile] != 0
        assert (rows == rows[0]).all()
    found = detect_pattern(values)
    assert (found.tile, found.n, found.m) == (tile, 1, m)
    whole = np.rint(values / np.abs(values).max() * 127)
    found = detect_pattern(whole, rounded=True)
    assert (found.tile, found.n, found.m) == (tile, 1, m)


def test_masks_are_held_while_a_transformer_trains() -> None:
    torch.manual_seed(0)
    model = build("vit_tiny28")
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    pruner = nmpack.torch.Pruner(model, NMPattern(1, 8, tile=4), Gradual(4, every=2))
    pruner.attach(optimizer)
    images, labels = torch.randn(4, 1, 28, 28), torch.arange(4)
    for _ in range(6):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    before = model.blocks[0].fc1.weight.detach().clone()
    assert (before != 0).float().mean().item() == pytest.approx(1 / 8, abs=1e-3)
    nmpack.torch.finalize_(model)
    assert torch.equal(model.blocks[0].fc1.weight, before)
    assert set(model.state_dict()) == set(build("vit_tiny28").state_dict())
