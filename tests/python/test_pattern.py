# SPDX-License-Identifier: BSD-3-Clause
"""Laws of patterns and masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nmpack.errors import NmpackError, PatternError
from nmpack.sparsity.detection import detect_pattern
from nmpack.sparsity.mask import column_density, compute_mask, tiles
from nmpack.sparsity.pattern import NMPattern

FLOATS = st.floats(-8, 8, width=32)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, NMPattern, int]:
    """Weights [Cout, K] with many equal values, a pattern that fits them, and groups."""
    m = draw(st.integers(1, 8))
    columns = m * draw(st.integers(1, 6))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    rows = groups * draw(st.integers(1, 12))
    values = st.sampled_from([0.0, 1.0, -1.0, 0.5]) | FLOATS
    weights = draw(hnp.arrays(np.float32, (rows, columns), elements=values))
    tile = draw(st.integers(1, 9))
    if draw(st.booleans()):
        return weights, NMPattern(draw(st.integers(1, m)), m, tile), groups
    if draw(st.booleans()):
        return weights, NMPattern(draw(st.integers(1, columns)), None, tile), groups
    return weights, NMPattern.from_density(draw(st.floats(0.01, 1.0)), tile=tile), groups


@given(cases())
def test_a_mask_keeps_exactly_n_of_m(case: tuple[np.ndarray, NMPattern, int]) -> None:
    weights, pattern, groups = case
    mask = compute_mask(weights, pattern, groups=groups)
    columns = weights.shape[1]
    size = pattern.group_size(columns)
    counts = mask.reshape(weights.shape[0], columns // size, size).sum(axis=2)
    assert (counts == pattern.kept(columns)).all()


@given(cases())
def test_rows_of_one_tile_share_their_columns(case: tuple[np.ndarray, NMPattern, int]) -> None:
    weights, pattern, groups = case
    mask = compute_mask(weights, pattern, groups=groups)
    spans = tiles(weights.shape[0], pattern.tile, groups)
    assert [row for a, b in spans for row in range(a, b)] == list(range(weights.shape[0]))
    for start, stop in spans:
        assert stop - start <= pattern.tile
        assert start // (weights.shape[0] // groups) == (stop - 1) // (weights.shape[0] // groups)
        assert (mask[start:stop] == mask[start]).all()


@given(cases())
def test_kept_columns_score_at_least_as_high_as_pruned_ones(
    case: tuple[np.ndarray, NMPattern, int],
) -> None:
    weights, pattern, groups = case
    mask = compute_mask(weights, pattern, groups=groups)
    size = pattern.group_size(weights.shape[1])
    for start, stop in tiles(weights.shape[0], pattern.tile, groups):
        score = np.abs(weights[start:stop].astype(np.float64)).sum(axis=0).reshape(-1, size)
        kept = mask[start].reshape(-1, size)
        for row, keep in zip(score, kept, strict=True):
            if not keep.all():
                assert row[keep].min() >= row[~keep].max()


@given(cases())
def test_pruning_twice_changes_nothing(case: tuple[np.ndarray, NMPattern, int]) -> None:
    weights, pattern, groups = case
    mask = compute_mask(weights, pattern, groups=groups)
    again = compute_mask(weights * mask, pattern, groups=groups)
    assert (mask == again).all()


def test_equal_scores_keep_the_lower_column() -> None:
    mask = compute_mask(np.ones((3, 6), np.float32), NMPattern(1, 3, tile=2))
    assert mask.tolist() == [[True, False, False] * 2] * 3


def test_weights_in_four_axes_are_read_in_ohwi_order() -> None:
    weights = np.zeros((4, 1, 2, 3), np.float32)
    weights[:, 0, 1, 2] = 1.0
    mask = compute_mask(weights, NMPattern(1, None, tile=4))
    assert mask[:, 0, 1, 2].all()
    assert mask.sum() == 4


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ((5, 4, 8), "n <= m"),
        ((0, 4, 8), "n must be at least 1"),
        ((2, 0, 8), "m must be at least 1"),
        ((2, 4, 0), "tile must be at least 1"),
        ((2, 4, 1.5), "tile must be a whole number"),
        ((True, 4, 8), "must be a number"),
        ((0.5, 4, 8), "whole number"),
        ((0.0, None, 8), "above 0"),
        ((1.5, None, 8), "at most 1"),
        ((float("nan"), None, 8), "above 0"),
    ],
)
def test_a_malformed_pattern_names_the_rule(fields: tuple[object, ...], says: str) -> None:
    with pytest.raises(PatternError, match=says):
        NMPattern(*fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 2.0])
def test_a_sparsity_out_of_range_is_an_error(sparsity: float) -> None:
    with pytest.raises(PatternError, match="sparsity"):
        NMPattern.from_sparsity(sparsity)


@pytest.mark.parametrize(
    ("pattern", "weights", "groups", "says"),
    [
        (NMPattern(2, 4), np.ones((8, 6)), 1, "body: K must be a multiple of M=4, got K=6"),
        (NMPattern(7), np.ones((8, 6)), 1, "body: .*n=7 .*K=6"),
        (NMPattern(1, 2), np.full((2, 2), np.nan), 1, "body: weights must be finite, got 4"),
        (NMPattern(1, 2), np.array([[1.0, np.inf]]), 1, "body: weights must be finite, got 1"),
        (NMPattern(1, 2), np.ones((5, 2)), 2, "body: 5 output channels"),
        (NMPattern(1, 2), np.ones((0, 2)), 1, "body: weights need"),
    ],
)
def test_a_pattern_that_does_not_fit_names_the_layer_and_the_rule(
    pattern: NMPattern, weights: np.ndarray, groups: int, says: str
) -> None:
    with pytest.raises(PatternError, match=says) as caught:
        compute_mask(weights, pattern, groups=groups, layer="body")
    assert isinstance(caught.value, NmpackError)


def test_density_and_text() -> None:
    assert NMPattern(2, 4).density == 0.5
    assert NMPattern.from_sparsity(0.75).density == 0.25
    assert NMPattern(3).density is None
    assert NMPattern.from_sparsity(0.75, tile=8).kept(576) == 144
    assert NMPattern.from_density(0.001).kept(10) == 1
    assert NMPattern.parse("2:4", tile=8) == NMPattern(2, 4, 8)
    assert NMPattern.parse("25%") == NMPattern.from_sparsity(0.75)
    assert str(NMPattern(2, 4, 8)) == "2:4 kept, tile 8"
    with pytest.raises(PatternError, match="2:4"):
        NMPattern.parse("four")


@given(
    tile=st.sampled_from([1, 2, 4, 6, 8, 16, 32, 64]),
    group=st.sampled_from([(1, 4), (2, 4), (3, 8), (4, 16), None]),
    block=st.sampled_from([1, 1, 2, 4]),
    seed=st.integers(0, 1000),
)
def test_detection_finds_the_pattern_that_was_applied(
    tile: int, group: tuple[int, int] | None, block: int, seed: int
) -> None:
    weights = np.random.default_rng(seed).normal(size=(128, 3, 3, 64)).astype(np.float32)
    pattern = (
        NMPattern(*group, tile, block)
        if group
        else NMPattern.from_sparsity(0.75, tile=tile, block=block)
    )
    found = detect_pattern(weights * compute_mask(weights, pattern))
    assert (found.tile, found.block) == (tile, block)
    assert str(found).endswith(f"tile {tile}x{block}" if block > 1 else f"tile {tile}")
    assert (found.n, found.m) == (group or (144 // block, None))
    assert found.element_density == pytest.approx(pattern.density)
    assert found.column_density == pytest.approx(pattern.density)


def test_detection_calls_dense_dense_and_scattered_zeros_unstructured() -> None:
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(64, 3, 3, 32)).astype(np.float32)
    assert str(detect_pattern(weights)) == "dense"
    weights[0] = 0.0
    assert str(detect_pattern(weights)) == "dense"
    weights[generator.random(weights.shape) < 0.7] = 0.0
    assert str(detect_pattern(weights)) == "unstructured"
    assert detect_pattern(weights).column_density == 1.0


def test_detection_is_fast_on_extreme_shapes() -> None:
    # What a hostile file may hold: every row is a tile of its own, or one row is all there is.
    weights = np.zeros((4_000_000, 1), np.float32)
    weights[::7] = 1.0
    assert str(detect_pattern(weights)) == "unstructured"
    assert detect_pattern(weights.T).element_density == pytest.approx(1 / 7, abs=1e-3)
    with pytest.raises(PatternError, match="7 output channels do not divide into 2"):
        detect_pattern(np.ones((7, 4)), groups=2)


def test_column_density_counts_pairs_of_tile_and_column() -> None:
    weights = np.zeros((6, 4), np.float32)
    weights[0, 0] = weights[3, 1] = weights[5, 2] = 1.0
    assert column_density(weights, 2) == pytest.approx(3 / 12)
    assert column_density(weights, 4) == pytest.approx(3 / 8)
    assert column_density(weights, 4, groups=2) == pytest.approx(3 / 8)
