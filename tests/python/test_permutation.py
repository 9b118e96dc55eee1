# SPDX-License-Identifier: BSD-3-Clause
"""Permuting channels: the function stays, more of the weights is kept."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nmpack.torch
from nmpack.errors import ModelError, SelectionError
from nmpack.models import ZOO, build
from nmpack.models.deit import DeiT
from nmpack.sparsity.pattern import NMPattern
from nmpack.sparsity.permutation import kept_share
from nmpack.torch.channels import channels_of, permute_channels_

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
QUARTER = NMPattern.from_sparsity(0.75, tile=8)


def shaken(model: nn.Module) -> nn.Module:
    """Give every batch norm its own statistics and gains, so that a wrong order shows."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in (
                (module.running_mean, -0.2, 0.2), (module.running_var, 0.7, 1.4),
                (module.weight.data, 0.5, 1.2), (module.bias.data, -0.2, 0.2),
            ):  # fmt: skip
                value.uniform_(low, high, generator=generator)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    return model.eval()


# Groups that may be permuted, and the layers that make their channels.
GROUPS = {
    "resnet18": (4 + 8, 20),  # a stream a stage, an inner width a block
    "resnet50": (1 + 4 + 32, 53),  # and the stem's own
    "resnet152": (1 + 4 + 100, 155),
    "densenet121": (120, 120),  # nothing is tied, all is strung together
    "mobilenet_v2": (7 + 17 + 1, 35),  # a stream a stage, a hidden width a block, the last
    "vgg16": (15, 15),
    "resnet20": (3 + 9, 21),
    "fashion_resnet": (1 + 2 + 3, 9),
    # The stream, and of each block the hidden width, and of each head its values and its scores.
    "deit_tiny": (1 + 12 * (1 + 2 * 3), 1 + 12 * (3 * 3 + 3)),
    "vit_b_16": (1 + 12 * (1 + 2 * 12), 1 + 12 * (3 * 12 + 3)),
    "vit_tiny28": (1 + 4 * (1 + 2 * 4), 1 + 4 * (3 * 4 + 3)),
}


@pytest.mark.parametrize("name", ZOO)
def test_any_permutation_leaves_the_function_unchanged(name: str) -> None:
    torch.manual_seed(0)
    model = shaken(build(name, num_classes=10))
    height, width, channels = ZOO[name].input_shape
    if ZOO[name].size != "fixed":
        height = width = 64 if channels == 3 else 28
    images = torch.randn(2, channels, height, width)
    found = channels_of(model, images[:1])
    makers = [maker for those in found.makers.values() for maker in those]
    assert len(makers) == len(set(makers))
    if name in GROUPS:
        assert (len(found.makers), len(makers)) == GROUPS[name]
    with torch.no_grad():
        expected = model(images)
        generator = np.random.default_rng(1)
        orders = {group: generator.permutation(size) for group, size in found.sizes.items()}
        before = {name: value.clone() for name, value in model.state_dict().items()}
        permute_channels_(model, found, orders)
        gap = (model(images) - expected).abs().max() / expected.abs().max()
    assert gap < 1e-4
    changed = [n for n, value in model.state_dict().items() if not torch.equal(value, before[n])]
    assert {f"{maker.name}.weight" for maker in makers} <= {
        re.sub(r"in_proj_weight$", "in_proj.weight", name) for name in changed
    }


@pytest.mark.parametrize("pattern", [QUARTER, NMPattern(1, 4, tile=16)], ids=str)
def test_more_of_the_score_is_kept_and_finalize_keeps_the_function(pattern: NMPattern) -> None:
    torch.manual_seed(0)
    model = shaken(build("resnet20"))
    images = torch.randn(1, 3, 32, 32)
    expected = model(images)
    rows = nmpack.torch.permute_(model, images, pattern)
    torch.testing.assert_close(model(images), expected, rtol=1e-3, atol=1e-4)
    assert len(rows) >= 11
    assert all(row.after >= row.before for row in rows)
    # Random weights gain little, a single tile of 16 rows nothing.
    assert all(row.after > row.before for row in rows if row.channels > pattern.tile)
    nmpack.torch.prune_(model, pattern)
    pruned = model(images)
    assert torch.equal(nmpack.torch.finalize_(model)(images), pruned)


def test_rows_that_want_the_same_columns_end_in_one_tile() -> None:
    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 8, 1)
            self.two = nn.Conv2d(8, 16, 1)
            self.head = nn.Linear(16 * 4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.flatten(F.relu(self.two(self.one(x))), 1))

    model = Chain()
    kind = torch.arange(16) % 4  # four kinds of rows, dealt out in turns
    with torch.no_grad():
        model.two.weight.mul_(0.01)
        for row in range(16):
            model.two.weight[row, 2 * kind[row] : 2 * kind[row] + 2] += 1.0
    pattern = NMPattern(2, tile=4)
    images = torch.randn(2, 3, 2, 2)
    expected = model(images)
    (row,) = nmpack.torch.permute_(model, images, pattern, select="two")
    assert row.layers == ("two",)
    assert row.after > 0.98 > 0.5 > row.before
    torch.testing.assert_close(model(images), expected)
    nmpack.torch.prune_(model, pattern, select="two")
    assert nmpack.torch.weights(model.two).min() >= 0.0
    assert nmpack.torch.weights(model.two).sum() > 31.0


def test_what_is_not_understood_stays_where_it_is() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 8, 1)
            self.two = nn.Conv2d(8, 8, 1, groups=2)
            self.shared = nn.Conv2d(8, 8, 1)
            self.out = nn.Conv2d(8, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.two(self.one(x))
            x = self.shared(self.shared(x))
            return self.out(x.roll(1, 1))

    found = channels_of(Odd(), torch.randn(1, 3, 4, 4))
    assert found.makers == {}


class Attention(nn.Module):
    """Self-attention in the ways in which networks write it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.inner = nn.Linear(24, 32)
        self.qkv = nn.Linear(32, 96)
        self.proj = nn.Linear(32, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        x = self.qkv(F.gelu(self.inner(x)))
        if self.way in ("fused", "unbound"):
            query, key, value = x.reshape(batch, tokens, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            query, key, value = (
                part.view(batch, tokens, 4, 8).transpose(1, 2) for part in x.split(32, -1)
            )
        if self.way == "fused":
            out = F.scaled_dot_product_attention(query, key, value)
        elif self.way == "three axes":
            query, key, value = (part.reshape(-1, tokens, 8) for part in (query, key, value))
            out = torch.bmm(torch.bmm(query * 0.3, key.mT).softmax(-1), value)
            out = out.reshape(batch, 4, tokens, 8)
        else:
            out = (query @ key.transpose(-2, -1) / 3.0).softmax(-1) @ value
        return self.proj(out.transpose(1, 2).reshape(batch, tokens, 32))


@pytest.mark.parametrize(
    ("way", "groups"), [("fused", 9), ("unbound", 9), ("split", 9), ("three axes", 1)]
)
def test_channels_of_heads_are_found_however_attention_is_written(way: str, groups: int) -> None:
    torch.manual_seed(0)
    model = Attention(way).eval()
    x = torch.randn(2, 5, 24)
    found = channels_of(model, x[:1])
    assert len(found.makers) == groups  # the hidden width, values and scores of each of four heads
    with torch.no_grad():
        expected = model(x)
        generator = np.random.default_rng(1)
        orders = {group: generator.permutation(size) for group, size in found.sizes.items()}
        permute_channels_(model, found, orders)
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-5)


def test_queries_and_keys_of_a_head_go_together_values_with_the_projection() -> None:
    model = Attention("fused").eval()
    found = channels_of(model, torch.zeros(1, 5, 24))
    starts = sorted(tuple(maker.start for maker in those) for those in found.makers.values())
    pairs = [(8 * head, 32 + 8 * head) for head in range(4)]
    assert starts == sorted([(0,), *pairs, *((64 + 8 * head,) for head in range(4))])
    followed = {use.name for use in found.uses if use.axis == 1}
    assert followed == {"qkv.weight", "proj.weight"}


def test_a_transformer_keeps_more_and_its_function() -> None:
    torch.manual_seed(0)
    model = DeiT(7, (32, 32, 3), width=64, heads=2, depth=2).eval()
    x = torch.randn(2, 3, 32, 32)
    pattern = NMPattern.from_density(0.25, tile=16)
    with torch.no_grad():
        expected = model(x)
        rows = nmpack.torch.permute_(model, x[:1], pattern)
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-5)
    assert len(rows) == 1 + 2 * (1 + 2 * 2)
    assert all(row.after > row.before for row in rows)
    assert rows[0].layers == tuple(
        f"blocks.{block}.{name}" for block in range(2) for name in ("attn.proj", "mlp.fc2")
    )


@pytest.mark.parametrize("tile", [16, 32])
def test_heads_that_share_a_tile_stay_where_they_are(tile: int) -> None:
    torch.manual_seed(0)
    model = DeiT(7, (32, 32, 3), width=64, heads=4, depth=1).eval()
    rows = nmpack.torch.permute_(
        model, torch.zeros(1, 3, 32, 32), NMPattern.from_density(0.25, tile=tile)
    )
    assert sum(row.layers == ("blocks.0.attn.qkv",) for row in rows) == (8 if tile == 16 else 0)


def test_errors() -> None:
    model = build("resnet20")
    images = torch.randn(1, 3, 32, 32)
    nmpack.torch.prune_(model, QUARTER)
    with pytest.raises(SelectionError, match=r"layer1\.0\.conv1: channels are permuted before"):
        nmpack.torch.permute_(model, images, QUARTER)

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x) if x.sum() > 0 else x

    with pytest.raises(ModelError, match=r"torch\.export cannot trace"):
        nmpack.torch.permute_(Branches(), images, QUARTER, select="conv")
    found = channels_of(build("resnet20"), images)
    group = next(iter(found.sizes))
    with pytest.raises(ModelError, match="expected a permutation of 16 channels"):
        permute_channels_(build("resnet20"), found, {group: np.zeros(16, np.int64)})


def test_the_share_kept_is_that_of_the_mask() -> None:
    scores = np.eye(4)
    scores /= scores.sum()
    assert kept_share([(scores, NMPattern(1, tile=2))], np.arange(4)) == 0.5
    assert kept_share([(scores, NMPattern(2, tile=2))], np.arange(4)) == 1.0
