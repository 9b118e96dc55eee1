# SPDX-License-Identifier: BSD-3-Clause
"""Models that cannot be pruned as they are: one sentence says what was seen and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nmpack.keras
import nmpack.torch
from nmpack.errors import ModelError, NmpackError, SelectionError
from nmpack.quiet import import_keras
from nmpack.sparsity.pattern import NMPattern

pytestmark = [
    pytest.mark.torch,
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]
HALF = NMPattern(2, 4, tile=8)


def lazy() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.LazyConv2d(16, 3), nn.LazyLinear(8))


def meta() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 16, 3))


VERBS: dict[str, Callable[[nn.Module], Any]] = {
    "prune_": lambda model: nmpack.torch.prune_(model, HALF),
    "Pruner": lambda model: nmpack.torch.Pruner(model, HALF),
    "permute_": lambda model: nmpack.torch.permute_(model, torch.zeros(1, 4, 9, 9), HALF),
    "inspect": nmpack.torch.inspect,
    "adopt_": nmpack.torch.adopt_,
    "collect": lambda model: nmpack.torch.collect(model, [(torch.zeros(1, 4, 9, 9), None)]),
}


@pytest.mark.parametrize("verb", VERBS)
def test_weights_without_values_say_what_to_do(verb: str) -> None:
    with pytest.raises(ModelError, match=r"2: this lazy layer .* call the model once on a sample"):
        VERBS[verb](lazy())
    with pytest.raises(ModelError, match=r"0: .* meta device.* load them onto the CPU first"):
        VERBS[verb](meta())


def test_a_lazy_model_can_be_pruned_once_it_was_called() -> None:
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyConv2d(16, 3))
    model(torch.zeros(1, 4, 9, 9))
    assert [row.name for row in nmpack.torch.prune_(model, HALF).pruned] == ["1"]


def test_complex_weights_are_refused_and_unchanged() -> None:
    weight = torch.randn(16, 8, 3, 3, dtype=torch.complex64)
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 16, 3))
    model[1].weight = nn.Parameter(weight.clone())
    with pytest.raises(ModelError, match="1: expected real weights to prune, got complex64"):
        nmpack.torch.prune_(model, HALF)
    assert torch.equal(model[1].weight, weight)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_pruned_and_kept(kind: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 16, 3)).to(kind)
    before = model[1].weight.detach().clone()
    assert len(nmpack.torch.prune_(model, HALF).pruned) == 1
    nmpack.torch.finalize_(model)
    after = model[1].weight
    assert after.dtype == kind
    assert (after == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(after[after != 0], before[after != 0])


TORCH: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "transposed": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 8, 2)),
        r"nothing to prune among 1 layer; 0: first convolution \(stem\); to prune such a layer all "
        r"the same, name it in select; cannot be pruned, being neither 2D convolutions nor linear "
        r"layers: 1 \(ConvTranspose2d\)",
    ),
    "1D": (
        lambda: nn.Sequential(nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8), nn.Conv1d(8, 8, 3)),
        r"no 2D convolution and no linear layer; cannot .*: 0 \(Conv1d\), 2 \(Conv1d\)$",
    ),
    "lazy and many": (
        lambda: nn.Sequential(nn.LazyConvTranspose2d(4, 3), *(nn.Conv3d(2, 2, 1) for _ in "12345")),
        r"0 \(LazyConvTranspose2d\), 1 \(Conv3d\), 2 \(Conv3d\), 3 \(Conv3d\) and 2 more$",
    ),
    "none": (nn.ReLU, "nothing to prune: the model has no 2D convolution and no linear layer$"),
    "linear": (
        lambda: nn.Sequential(nn.Linear(7, 8), nn.Linear(8, 8)),
        r"among 2 layers; 0: K must be a multiple of M=4, got K=7 columns; "
        r"1: last linear layer \(head\); to prune",
    ),
}


@pytest.mark.parametrize("kind", TORCH)
def test_nothing_to_prune_says_what_was_seen(kind: str) -> None:
    build, says = TORCH[kind]
    with pytest.raises(SelectionError, match=says):
        nmpack.torch.prune_(build(), HALF)


def test_a_glob_that_names_a_transposed_convolution_is_told_so() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ConvTranspose2d(8, 8, 2))
    for selection in ({"select": "1"}, {"pattern": {"1": HALF}}):
        arguments = {"pattern": HALF} | selection
        with pytest.raises(SelectionError, match=r"'1' matches only what cannot .*: 1 \(ConvTran"):
            nmpack.torch.prune_(model, **arguments)


def test_a_parametrized_layer_is_seen_as_itself() -> None:
    normed = nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 8, 1))
    with pytest.raises(SelectionError, match=r"linear layers: 1 \(Conv1d\)$"):
        nmpack.torch.prune_(nn.Sequential(nn.Conv2d(4, 8, 3), normed), HALF)


def test_keras_says_what_was_seen() -> None:
    keras = import_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((9, 9, 4)),
            layers.Conv2D(8, 3, name="stem"),
            layers.DepthwiseConv2D(3, name="deep"),
            keras.Sequential([layers.Conv2DTranspose(8, 2, name="up")], name="inner"),
        ]
    )
    with pytest.raises(SelectionError) as caught:
        nmpack.keras.prune_(model, HALF)
    assert "among 1 layer; stem: first convolution (stem)" in str(caught.value)
    assert "linear layers: deep (DepthwiseConv2D), inner/up (Conv2DTranspose)" in str(caught.value)
    flat = keras.Sequential([keras.Input((9, 4)), layers.Conv1D(8, 3, name="one")])
    with pytest.raises(SelectionError, match=r"no linear layer; .*: one \(Conv1D\)$"):
        nmpack.keras.prune_(flat, HALF)


def test_a_keras_model_without_layers_yet_is_told_so() -> None:
    keras = import_keras()

    class Late(keras.Model):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.one = keras.layers.Conv2D(8, 3)
            self.one.build(shape)

        def call(self, x: Any) -> Any:
            return self.one(x)

    with pytest.raises(NmpackError, match="late: has no weights yet; call the model once"):
        nmpack.keras.prune_(Late(), HALF)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_keras_prunes_other_precisions(policy: str) -> None:
    keras = import_keras()
    keras.utils.set_random_seed(0)
    inputs = keras.Input((9, 9, 4))
    x = keras.layers.Conv2D(8, 3, dtype=policy)(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(16, 3, dtype=policy, name="body")(x))
    kind = model.get_layer("body").kernel.dtype
    assert nmpack.keras.prune_(model, HALF).pruned[0].density == pytest.approx(0.5, abs=0.01)
    assert model.get_layer("body").kernel.dtype == kind


def test_the_other_framework_s_model_is_told_so() -> None:
    with pytest.raises(ModelError, match=r"expected a torch\.nn\.Module, got function"):
        nmpack.torch.prune_(lambda x: x, HALF)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="expected a Keras model or layer, got ReLU"):
        nmpack.keras.prune_(nn.ReLU(), HALF)
