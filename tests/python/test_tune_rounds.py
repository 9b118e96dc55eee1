# SPDX-License-Identifier: BSD-3-Clause
"""nmpack.tune: what is decided from rounds of trials, and how a budget is spent."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tune_samples import DEFINITION, race

from nmpack.errors import NmpackError
from nmpack.tune.budget import Budget
from nmpack.tune.measuring import chunk_size
from nmpack.tune.rounds import (
    FINAL_ROUNDS,
    LEAST_ROUNDS,
    MOST_ROUNDS,
    decide,
    finalists,
    hopeful,
    interval,
    levels,
    race_is_over,
    ratios,
    rounds_of,
)

CLEAR = {"dense": 400.0, "nhwc-6x16": 150.0, "cnhw-4x24": 100.0, "cnhw-8x16": 80.0}


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=40))
def test_an_interval_is_between_values_and_holds_the_median(values: list[float]) -> None:
    low, high = interval(values)
    assert low <= np.median(values) <= high
    if len(values) < LEAST_ROUNDS:
        assert (low, high) == (0.0, math.inf)
    else:
        assert {low, high} <= set(values)


def test_an_interval_holds_the_true_median_in_95_percent() -> None:
    drawn = np.random.default_rng(1).exponential(size=(2000, 12))
    held = sum(low <= math.log(2) <= high for low, high in map(interval, drawn.tolist()))
    assert held / len(drawn) >= 0.94


def test_ratios_are_of_rounds_that_have_both() -> None:
    found = rounds_of(race([{"dense": 4.0, "cnhw-4x24": 1.0}, {"dense": 5.0}]), "race")
    assert ratios(found, "dense", "cnhw-4x24") == [4.0]
    assert (levels(found)["dense"].n, levels(found)["dense"].median) == (2, 4.5)


def test_nothing_is_decided_without_enough_rounds() -> None:
    few = rounds_of(race([CLEAR] * (LEAST_ROUNDS - 1)), "race")
    assert not race_is_over(DEFINITION, few)
    assert race_is_over(DEFINITION, rounds_of(race([CLEAR] * LEAST_ROUNDS), "race"))
    decision = decide(DEFINITION, [])
    assert not decision.finished
    assert decision.choices["cnhw"].name == decision.defaults["cnhw"].name == "cnhw-4x24"


def test_what_is_alike_ends_by_precision_or_by_the_most_rounds() -> None:
    alike = [CLEAR | {"cnhw-8x16": 100.0 + 0.1 * (-1) ** index} for index in range(10)]
    assert race_is_over(DEFINITION, rounds_of(race(alike), "race"))
    noisy = [CLEAR | {"cnhw-8x16": 100.0 + 20.0 * (-1) ** index} for index in range(MOST_ROUNDS)]
    assert not race_is_over(DEFINITION, rounds_of(race(noisy[:-1]), "race"))
    assert race_is_over(DEFINITION, rounds_of(race(noisy), "race"))


def test_the_hopeless_are_given_up_after_enough_rounds_but_no_default() -> None:
    rows = [CLEAR | {"dense": 100.0}] * 4
    names = [item.name for item in hopeful(DEFINITION, rounds_of(race(rows), "race"))]
    assert names == ["dense", "nhwc-6x16", "cnhw-4x24", "cnhw-8x16"]
    rows = [CLEAR | {"cnhw-8x16": 200.0}] * 4
    assert len(hopeful(DEFINITION, rounds_of(race(rows[:3]), "race"))) == 4
    names = [item.name for item in hopeful(DEFINITION, rounds_of(race(rows), "race"))]
    assert names == ["nhwc-6x16", "cnhw-4x24"]


def test_a_winner_has_to_win_the_final() -> None:
    rows = race([CLEAR] * LEAST_ROUNDS)
    last = finalists(DEFINITION, rounds_of(rows, "race"))
    assert [item.name for item in last] == ["cnhw-4x24", "cnhw-8x16"]
    assert not decide(DEFINITION, rows).finished
    final = race([{"cnhw-4x24": 100.0, "cnhw-8x16": 90.0}] * FINAL_ROUNDS, "final")
    decision = decide(DEFINITION, rows + final)
    assert decision.finished
    assert decision.choices["cnhw"].name == "cnhw-8x16"
    assert decision.choices["nhwc"].name == "nhwc-6x16"
    gain = decision.gains["cnhw"]
    assert gain is not None
    assert gain.median == pytest.approx(100 / 90)
    assert decision.gains["nhwc"] is None


def test_the_default_is_kept_where_the_gain_is_within_the_spread() -> None:
    rows = race([CLEAR] * LEAST_ROUNDS)
    values = [80.0, 95.0, 99.0, 120.0] * (FINAL_ROUNDS // 4)
    final = race([{"cnhw-4x24": 100.0, "cnhw-8x16": value} for value in values], "final")
    decision = decide(DEFINITION, rows + final)
    assert decision.finished
    assert decision.choices["cnhw"].name == "cnhw-4x24"
    gain = decision.gains["cnhw"]
    assert gain is not None
    assert 0.0 < gain.median - 1.0 < gain.iqr


def test_the_choice_over_all_is_that_of_its_layout() -> None:
    rows = race([CLEAR | {"cnhw-8x16": value} for value in (60.0, 95.0, 99.0, 140.0) * 6])
    final = race([{"cnhw-4x24": 100.0, "cnhw-8x16": 90.0}] * FINAL_ROUNDS, "final")
    decision = decide(DEFINITION, rows + final)
    # The race's spread alone would not let it win.
    assert decision.choices["cnhw"].name == "cnhw-8x16"
    assert decision.choice == decision.choices["cnhw"]
    assert decision.gain == decision.gains["cnhw"]
    # Another layout that may be as fast is not taken for certain.
    rows = race([CLEAR | {"nhwc-6x16": value} for value in (60.0, 80.0, 99.0, 140.0) * 6])
    decision = decide(DEFINITION, rows + final)
    assert decision.levels["nhwc-6x16"].median < decision.levels["cnhw-8x16"].median
    assert decision.choice == decision.choices["cnhw"]
    assert decision.choice is not None
    assert decision.choice.name == "cnhw-8x16"


def test_rounds_in_which_the_reference_drifts_do_not_count_beside_steady_ones() -> None:
    steady = race([CLEAR])
    drifting = [
        replace(item, round=1, number=10 + item.number, session="1" * 32)
        for item in race([CLEAR | {"dense": 9.0}])
    ]
    again = replace(drifting[2], number=20, summary=race([{"x": 200.0}])[0].summary)
    rows = [*steady, *drifting, again]
    assert [item.steady for item in rounds_of(rows, "race")] == [True]
    assert [item.steady for item in rounds_of([*drifting, again], "race")] == [False]
    assert levels(rounds_of([*drifting, again], "race"))[again.candidate].median == 150.0


def test_a_round_that_was_cut_off_is_not_steady() -> None:
    drifting = [
        replace(item, round=index, number=10 * index + item.number)
        for index in range(3)
        for item in race([CLEAR])
    ]
    drifting = [
        replace(item, summary=race([{"x": 200.0}])[0].summary) if item.number % 10 == 4 else item
        for item in drifting
    ]
    assert [item.steady for item in rounds_of(drifting, "race")] == [False] * 3
    cut = replace(drifting[0], round=9, number=90)
    assert len(rounds_of([*drifting, cut], "race")) == 4


def test_failed_candidates_are_left_out() -> None:
    rows = race([CLEAR] * LEAST_ROUNDS)
    decision = decide(DEFINITION, rows, ["cnhw-8x16"])
    assert decision.finished
    assert decision.choices["cnhw"].name == "cnhw-4x24"
    assert decide(DEFINITION, [], [item.name for item in DEFINITION.candidates]).choices == {}


def test_a_budget_gives_what_is_left_to_those_behind() -> None:
    now = 100.0
    budget = Budget(30.0, [4.0, 1.0], lambda: now)
    budget.begin()
    assert not budget.spent
    now = 119.0
    assert not budget.spent
    now = 120.0
    assert budget.spent
    assert budget.left == pytest.approx(10.0)
    now = 105.0
    budget.begin()
    now = 129.0
    assert not budget.spent
    now = 131.0
    assert budget.spent
    assert budget.left == 0.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_impossible_budgets(seconds: float) -> None:
    with pytest.raises(NmpackError, match="more than 0 seconds"):
        Budget(seconds, [1.0])


def test_chunks() -> None:
    assert [chunk_size(x) for x in (1.0, 0.05, 0.04, 0.003, 1e-9)] == [1, 1, 2, 4, 64]
