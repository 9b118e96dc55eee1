# SPDX-License-Identifier: BSD-3-Clause
"""Layers that share a weight: one mask while they train, one weight after; or one is pruned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kind_samples import QUARTER, Twice, assert_file_is_model, image
from torch import nn

import nmpack.torch

pytestmark = [
    pytest.mark.torch,
    pytest.mark.delegate,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_tied_weights_hold_one_mask_while_training_and_after(tmp_path: Path) -> None:
    torch.manual_seed(7)
    model = Twice()
    nmpack.torch.prune_(model, QUARTER)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model(image()).square().mean().backward()
        optimizer.step()
    assert torch.equal(model.one.weight, model.two.weight)
    assert (model.one.weight == 0).float().mean().item() == pytest.approx(0.75, abs=0.01)
    assert_file_is_model(model, (image(),), tmp_path)
    nmpack.torch.finalize_(model)
    assert torch.equal(model.one.weight, model.two.weight)


def test_of_tied_weights_one_may_stay_dense(tmp_path: Path) -> None:
    torch.manual_seed(8)
    model = Twice().eval()
    nmpack.torch.prune_(model, QUARTER, select="one")
    before = model(image())
    assert_file_is_model(model, (image(),), tmp_path)
    assert torch.equal(nmpack.torch.finalize_(model)(image()), before)
    assert (model.two.weight != 0).all()
    assert (model.one.weight == 0).float().mean().item() == pytest.approx(0.75, abs=0.01)


def test_of_tied_weights_torch_may_have_pruned_one() -> None:
    torch.manual_seed(8)
    model = Twice().eval()
    nn.utils.prune.l1_unstructured(model.one, "weight", 0.5)
    before = model(image())
    assert torch.equal(nmpack.torch.finalize_(model)(image()), before)
    assert (model.two.weight != 0).all()
