# SPDX-License-Identifier: BSD-3-Clause
"""Training with int8's rounding in sight: what is rounded, what is learned, and that it goes."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nmpack.torch
from nmpack.convert import torch_to_tflite
from nmpack.errors import ModelError, NmpackError, SelectionError
from nmpack.models import fashion_resnet
from nmpack.sparsity.pattern import NMPattern
from nmpack.training import Recipe, TensorImages, fine_tune

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
NAME = "layer1.0.conv1"


def pruned() -> nn.Module:
    torch.manual_seed(0)
    model = fashion_resnet()
    nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=32))
    return model


def test_weights_are_rounded_as_the_file_has_them_and_zeros_stay() -> None:
    model = pruned()
    layer = model.get_submodule(NAME)
    plain = layer.weight.detach().clone()
    assert nmpack.torch.fake_quantize_(model) == 10
    scale = plain.abs().amax((1, 2, 3), keepdim=True) / 127
    steps = layer.weight.detach() / scale
    assert torch.allclose(steps, (plain / scale).round(), atol=1e-3)
    assert not layer.weight[plain == 0].any()
    linear = model.get_submodule("fc")
    assert len(torch.unique((linear.weight.detach() / linear.weight.abs().max() * 127).round())) > 9
    with pytest.raises(SelectionError, match="expected a model that is not fake-quantized yet"):
        nmpack.torch.fake_quantize_(model)
    with pytest.raises(SelectionError, match="expected a convolution or a linear layer"):
        nmpack.torch.fake_quantize_(nn.ReLU())


def test_a_folded_batch_norm_rounds_to_the_same_steps() -> None:
    """A factor for each channel, also a negative one, is no matter to a scale for each channel."""
    weights = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    factors = torch.tensor([0.1, -3.0, 1e-3, 7.0, -0.5, 2.0, -1.0, 30.0]).reshape(-1, 1, 1, 1)

    def rounded(values: torch.Tensor) -> torch.Tensor:
        layer = nn.Conv2d(4, 8, 3)
        layer.weight.data.copy_(values)
        nmpack.torch.fake_quantize_(layer)
        return layer.weight.detach()

    assert torch.allclose(rounded(weights * factors), rounded(weights) * factors, rtol=1e-4)


def test_gradients_go_straight_through_where_the_mask_keeps() -> None:
    model, x = pruned().train(), torch.randn(4, 1, 28, 28)
    twin = copy.deepcopy(model)
    nmpack.torch.fake_quantize_(model)
    for one in (model, twin):
        F.cross_entropy(one(x), torch.tensor([1, 2, 3, 4])).backward()
    chain = model.get_submodule(NAME).parametrizations["weight"]
    gradient = chain.original.grad
    other = twin.get_submodule(NAME).parametrizations["weight"].original.grad
    assert not gradient[~chain[0].mask].any()
    cosine = F.cosine_similarity(gradient.flatten(), other.flatten(), dim=0)
    assert 0.9 < cosine < 0.99999


def test_ranges_are_learned_in_training_alone() -> None:
    layer = nn.Conv2d(1, 2, 1)
    nmpack.torch.fake_quantize_(layer)
    ranges = layer.nmpack_input.activation_post_process
    layer.train()(torch.tensor([-1.0, 3.0]).reshape(1, 1, 1, 2))
    assert (float(ranges.min_val), float(ranges.max_val)) == (-1.0, 3.0)
    layer.eval()(torch.full((1, 1, 1, 2), 50.0))
    assert float(ranges.max_val) == 3.0
    layer.train()(torch.full((1, 1, 1, 2), 50.0))
    assert 3.0 < float(ranges.max_val) < 4.0


@pytest.mark.parametrize("mask", [True, False])
def test_it_goes_without_a_trace(mask: bool) -> None:
    model = pruned() if mask else fashion_resnet()
    x = torch.randn(2, 1, 28, 28)
    names, before = list(model.state_dict()), model.eval()(x)
    assert nmpack.torch.remove_fake_quantization_(model) == 0
    nmpack.torch.fake_quantize_(model)
    assert not torch.equal(model.train()(x).detach(), before)
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    assert nmpack.torch.remove_fake_quantization_(model) == 10
    assert list(model.state_dict()) == names
    zeros = model.get_submodule(NAME).weight == 0
    assert bool(zeros.any()) == mask
    nmpack.torch.finalize_(model)
    assert list(model.state_dict()) == list(fashion_resnet().state_dict())


@pytest.mark.parametrize("wrapped", [False, True])
def test_it_is_neither_finalized_nor_converted(wrapped: bool, tmp_path: Path) -> None:
    model = pruned()
    nmpack.torch.fake_quantize_(model)
    model.train()(torch.randn(2, 1, 28, 28))
    given = nn.Sequential(model) if wrapped else copy.deepcopy(model)
    names = list(given.state_dict())
    says = r"not fake-quantized any more: call nmpack\.torch\.remove_fake_quantization_"
    with pytest.raises(ModelError, match=says):
        nmpack.torch.finalize_(given)
    with pytest.raises(ModelError, match=says):
        torch_to_tflite(given, tmp_path / "m.tflite", (28, 28, 1))
    assert list(given.state_dict()) == names
    assert not list(tmp_path.iterdir())


def test_fine_tuning_with_it(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.normal(size=(64, 1, 28, 28)).astype(np.float32))
    data = TensorImages(images, torch.from_numpy(generator.integers(0, 10, 64)), 10)
    recipe = Recipe(pattern="25%", tile=32, epochs=1, batch=16, qat=True, ema=0.9)
    model = fashion_resnet()
    outcome = fine_tune(model, data, data, recipe, tmp_path)
    assert outcome is not None
    assert outcome.steps == 4
    layer = model.get_submodule(NAME)
    assert torch.count_nonzero(layer.weight) == layer.weight.numel() // 4
    assert len(torch.unique(layer.weight[0])) > 128, "weights are not rounded in the end"
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    with pytest.raises(NmpackError, match="expected one of the two, got both"):
        fine_tune(model, data, data, recipe, tmp_path / "other", memory="auto")


def test_a_recipe_without_it_is_the_recipe_of_old() -> None:
    assert "qat" not in Recipe().to_dict()
    assert Recipe(**Recipe(qat=True).to_dict()).qat


def test_a_layer_takes_its_input_by_name() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1)).train()
    nmpack.torch.fake_quantize_(model)
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(model[0](input=x), model[0](x))
