# SPDX-License-Identifier: BSD-3-Clause
"""Weights that others compute, or made in inference mode, and scripts: reasons and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kind_samples import QUARTER, body, image
from torch import nn
from torch.nn.utils import parametrizations

import nmpack.torch
from nmpack.convert import torch_to_tflite
from nmpack.errors import ModelError, SelectionError

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.mark.parametrize("wrap", ["weight_norm", "spectral_norm"])
def test_weights_that_others_compute_say_so(wrap: str) -> None:
    for module in (nn.utils, parametrizations):
        model = body(wrap=getattr(module, wrap))
        rows = {row.name: row for row in nmpack.torch.prune_(model, QUARTER)}
        assert "another parametrization (" in rows["2"].reason
        assert wrap.replace("_", "") in rows["2"].reason.lower()
        with pytest.raises(SelectionError, match=r"2: its weight .* must be removed first"):
            nmpack.torch.prune_(body(wrap=getattr(module, wrap)), QUARTER, select="2")


def test_weights_of_inference_mode_say_what_to_do() -> None:
    with torch.inference_mode():
        model = body()
    with pytest.raises(ModelError, match=r"0: .* inference mode.*copy\.deepcopy"):
        nmpack.torch.prune_(model, QUARTER)


def test_a_model_that_was_pruned_in_inference_mode_can_be_trained() -> None:
    model = body()
    with torch.inference_mode():
        nmpack.torch.prune_(model, QUARTER)
    model(image()).sum().backward()
    assert model[4].parametrizations.weight.original.grad is not None


def test_a_script_among_ordinary_modules_is_named(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), torch.jit.script(nn.Conv2d(16, 16, 3)))
    with pytest.raises(ModelError, match="1: expected an ordinary module, got TorchScript"):
        torch_to_tflite(model, tmp_path / "m.tflite", (12, 12, 3))
