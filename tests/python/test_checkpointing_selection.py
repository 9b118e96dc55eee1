# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoint selection on sizes alone: every algorithm is exact for its objective."""

from __future__ import annotations

import os
import random
from itertools import accumulate

import pytest

from nmpack.checkpointing.chain import (
    Chain,
    CheckpointingError,
    keep_every,
    keep_none,
    keep_sqrt,
    revised_cost,
    static_cost,
)
from nmpack.checkpointing.selection import (
    brute_force,
    revised_linear,
    revised_quadratic,
    static_cubic,
)

SEED = int(os.environ["NMPACK_TEST_SEED"])
KINDS = ("equal", "zeros", "giant", "rising", "falling", "huge", "small", "any")


def _sizes(draw: random.Random, kind: str, n: int) -> list[int]:
    if kind == "equal":
        return [draw.randrange(9)] * n
    if kind == "zeros":
        return [draw.choice([0, 0, 0, 1, 7]) for _ in range(n)]
    if kind == "giant":
        sizes = [draw.randrange(5) for _ in range(n)]
        sizes[draw.randrange(n)] = 10**6
        return sizes
    if kind in ("rising", "falling"):
        return sorted((draw.randrange(100) for _ in range(n)), reverse=kind == "falling")
    return [draw.randrange({"huge": 10**40, "small": 4, "any": 1000}[kind]) for _ in range(n)]


def _general(draw: random.Random, n: int) -> Chain:
    """A chain of the form that tracing makes: its terms have nothing to do with each other."""
    sizes, keep = (_sizes(draw, draw.choice(KINDS), n) for _ in range(2))
    total = [0, *accumulate(sizes)]
    lower = [total[i] + draw.randrange(size + 1) for i, size in enumerate(sizes)]
    gap = [total[k + 1] + draw.randrange(60) for k in range(n - 1)]
    return Chain(keep, [0] * n, lower, gap)


def test_all_revised_algorithms_agree_with_brute_force_on_ten_thousand_chains() -> None:
    draw = random.Random(SEED)
    for number in range(10_000):
        n = draw.randrange(1, 15)
        kind = KINDS[number % len(KINDS)]
        sized = draw.random() < 0.75
        chain = Chain.from_sizes(_sizes(draw, kind, n)) if sized else _general(draw, n)
        truth = brute_force(chain, "revised")
        quadratic, linear = revised_quadratic(chain), revised_linear(chain)
        where = f"NMPACK_TEST_SEED={SEED}, chain {number}: {chain}"
        assert truth.cost == quadratic.cost == linear.cost, where
        for choice in (truth, quadratic, linear):
            assert revised_cost(chain, choice.checkpoints) == truth.cost, where


def test_the_static_program_agrees_with_brute_force() -> None:
    draw = random.Random(SEED)
    for number in range(3000):
        n = draw.randrange(1, 13)
        sized = draw.random() < 0.75
        sizes = _sizes(draw, KINDS[number % len(KINDS)], n)
        chain = Chain.from_sizes(sizes) if sized else _general(draw, n)
        truth, static = brute_force(chain, "static"), static_cubic(chain)
        where = f"NMPACK_TEST_SEED={SEED}, chain {number}: {chain}"
        assert truth.cost == static.cost, where
        assert static_cost(chain, static.checkpoints) == static.cost, where


@pytest.mark.parametrize("kind", KINDS)
def test_linear_agrees_with_quadratic_on_long_chains(kind: str) -> None:
    draw = random.Random(f"{SEED} {kind}")
    for n in (50, 400, draw.randrange(1000, 2000), 5000):
        for chain in (Chain.from_sizes(_sizes(draw, kind, n)), _general(draw, n)):
            linear, quadratic = revised_linear(chain), revised_quadratic(chain)
            assert linear.cost == quadratic.cost, f"NMPACK_TEST_SEED={SEED}, {kind}, n = {n}"
            assert revised_cost(chain, linear.checkpoints) == linear.cost


def test_linear_looks_at_each_size_a_bounded_number_of_times() -> None:
    class Counting(list[int]):
        reads = 0

        def __getitem__(self, index: int) -> int:  # type: ignore[override]
            Counting.reads += 1
            return super().__getitem__(index)

    draw = random.Random(SEED)
    for kind in KINDS:
        reads = []
        for n in (1000, 8000):
            chain = Chain.from_sizes(_sizes(draw, kind, n))
            counted = Chain(
                *(Counting(v) for v in (chain.keep, chain.upper, chain.lower, chain.gap))
            )
            Counting.reads = 0
            revised_linear(counted)
            reads.append(Counting.reads)
        assert reads[1] <= 12 * 8000, (kind, reads, SEED)


def test_the_published_formula_by_hand() -> None:
    # Keep 0, 2 and 4 of five equal layers: M(4) = 1, U(2, 4) = 1 + 1 + 1, M(2) = 1 + 3 = 4,
    # M(0) = 1 + max(4, 3) = 5. Without checkpoints U(0, 4) = 3 + 1 + 1, so M(0) = 6.
    chain = Chain.from_sizes([1] * 5)
    assert revised_cost(chain, (0, 2, 4)) == 5
    assert revised_cost(chain, keep_none(5)) == 6
    assert revised_linear(chain).cost == 5
    # static: 3 checkpoints and a segment of 3.
    assert static_cost(chain, (0, 2, 4)) == 6


def test_the_optimum_is_never_above_a_baseline() -> None:
    draw = random.Random(SEED)
    for _ in range(300):
        n = draw.randrange(1, 200)
        chain = Chain.from_sizes(_sizes(draw, draw.choice(KINDS), n))
        least, static = revised_linear(chain).cost, static_cubic(chain)
        assert least <= revised_cost(chain, static.checkpoints)
        for baseline in (keep_none(n), keep_sqrt(n), keep_every(n, 1), keep_every(n, 3)):
            assert least <= revised_cost(chain, baseline), SEED
            assert static.cost <= static_cost(chain, baseline), SEED


def test_baselines_have_their_distance() -> None:
    assert keep_none(1) == (0,)
    assert keep_none(5) == (0, 4)
    assert keep_every(8, 3) == (0, 3, 6, 7)
    assert keep_sqrt(1) == (0,)
    assert keep_sqrt(16) == (0, 4, 8, 12, 15)
    assert keep_sqrt(17) == (0, 5, 10, 15, 16)


def test_a_wrong_chain_is_named() -> None:
    with pytest.raises(CheckpointingError, match="n >= 1"):
        Chain.from_sizes([])
    with pytest.raises(CheckpointingError, match="at least 0, got -1"):
        Chain.from_sizes([3, -1])
    with pytest.raises(CheckpointingError, match="upper terms that never fall"):
        Chain([1, 1], [2, 1], [0, 0], [1])
    with pytest.raises(CheckpointingError, match="rising checkpoints from 0 to 2"):
        revised_cost(Chain.from_sizes([1, 1, 1]), (0, 1))
    with pytest.raises(CheckpointingError, match="at most 20 layers, got 21"):
        brute_force(Chain.from_sizes([1] * 21), "revised")
    with pytest.raises(CheckpointingError, match="at least 1, got 0"):
        keep_every(4, 0)
