# SPDX-License-Identifier: BSD-3-Clause
"""What rounds of trials say: levels, ratios with their intervals, and which candidate to take.

In a round every candidate has one trial, a short chunk of runs; its value is the chunk's least
time, which an interruption does not raise. A level is the median of these over rounds, its spread
the quartiles. Two candidates are compared by the ratio in each round, so that what slows the whole
machine down cancels. All of it is computed from trials alone: those of an earlier tuning count
as those of now do.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nmpack.measure.stats import Summary, summarise
from nmpack.tune.protocol import LAYOUTS, Candidate, Definition

RACE, FINAL = "race", "final"
STAGES = (RACE, FINAL)
#: Rounds before an interval of 95 % exists, and so before anything is decided.
LEAST_ROUNDS = 6
MOST_ROUNDS = 24
FINAL_ROUNDS = 8
#: The best two of a layout need no telling apart where their ratio is known to this.
PRECISION = 0.01
#: A candidate is given up where its lower quartile is so many times the best's upper one.
HOPELESS = 1.1
_EARLY_ROUNDS = 4
#: A round is unsteady where the reference's two trials in it differ by more than this.
DRIFT = 0.1


@dataclass(frozen=True, slots=True)
class Trial:
    """One chunk of runs.

    Attributes:
        session, number: of a tuning, a random name; of the trial in it, from 0 on.
        stage: ``race`` of all candidates, ``final`` of the finalists with the layer made anew.
        round: that it belongs to, of the session's rounds of this layer and stage.
        candidate: its name.
        unit: of the values: ``ns``, ``instructions`` or ``x60-cycles``.
        summary: of the runs.
        at: seconds since 1970.
    """

    session: str
    number: int
    stage: str
    round: int
    candidate: str
    unit: str
    summary: Summary
    at: float


@dataclass(frozen=True, slots=True)
class Round:
    """Values by candidate; ``steady`` says whether the reference kept its level."""

    values: Mapping[str, float]
    steady: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What is known of a layer.

    Attributes:
        levels: of each candidate that was timed, over rounds, in the trials' unit.
        defaults: by layout, what the default costs choose.
        choices: by layout, the default unless another gains more than the spread of the gain.
        gains: by layout, the default's time out of the best other's; None without enough rounds of
            another that seems better.
        default, choice, gain: the same among the layouts' choices, conversions aside: that of the
            default's layout unless another layout's gains more than the spread of the gain. None
            where no candidate is left.
        finished: whether more rounds would change nothing.
    """

    levels: Mapping[str, Summary]
    defaults: Mapping[str, Candidate]
    choices: Mapping[str, Candidate]
    gains: Mapping[str, Summary | None]
    default: Candidate | None
    choice: Candidate | None
    gain: Summary | None
    finished: bool


def rounds_of(trials: Iterable[Trial], stage: str) -> list[Round]:
    """Group the trials of a stage; an unsteady round counts only while no other is there."""
    grouped: defaultdict[tuple[str, int], list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.stage == stage:
            grouped[trial.session, trial.round].append(trial)
    rounds = [_round(sorted(group, key=lambda trial: trial.number)) for group in grouped.values()]
    return [item for item in rounds if item.steady] or rounds


def _round(trials: Sequence[Trial]) -> Round:
    values: dict[str, float] = {}
    # A round that was cut off timed its reference once, and says nothing of drift.
    steady = False
    for trial in trials:
        value = trial.summary.least
        if trial.candidate in values:
            # The reference is timed twice.
            first = values[trial.candidate]
            steady = abs(value / first - 1.0) <= DRIFT
            value = 0.5 * (first + value)
        values[trial.candidate] = value
    return Round(values, steady)


def levels(rounds: Sequence[Round]) -> dict[str, Summary]:
    """Summarise each candidate over the rounds."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for item in rounds:
        for name, value in item.values.items():
            found[name].append(value)
    return {name: summarise(values) for name, values in found.items()}


def ratios(rounds: Sequence[Round], slow: str, fast: str) -> list[float]:
    """Return slow / fast of each round that has both."""
    return [
        item.values[slow] / item.values[fast]
        for item in rounds
        if slow in item.values and fast in item.values
    ]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return an interval that holds the median with 95 %, whatever the values' distribution.

    It is between two of the values; everything where fewer than :data:`LEAST_ROUNDS` are there.
    """
    count = len(values)
    outside, below = -1, 0.0
    for rank in range(count // 2):
        below += math.comb(count, rank) * 0.5**count
        if below > 0.025:
            break
        outside = rank
    if outside < 0:
        return 0.0, math.inf
    ordered = sorted(values)
    return ordered[outside], ordered[count - 1 - outside]


def default_of(candidates: Iterable[Candidate]) -> Candidate:
    """Return what the default costs choose among candidates of one layout, or of all."""
    return min(candidates, key=lambda item: item.predicted)


def by_layout(definition: Definition) -> dict[str, list[Candidate]]:
    """Return the candidates of each layout that has any."""
    found = {
        layout: [item for item in definition.candidates if item.layout == layout]
        for layout in LAYOUTS
    }
    return {layout: items for layout, items in found.items() if items}


def hopeful(definition: Definition, rounds: Sequence[Round]) -> list[Candidate]:
    """Return the candidates that are worth further rounds, of every layout at least its default.

    A layout's other candidates stay until each has its rounds and is slower beyond doubt.
    """
    found = levels(rounds)
    kept = []
    for items in by_layout(definition).values():
        timed = [found[item.name] for item in items if item.name in found]
        limit = min((HOPELESS * level.q3 for level in timed), default=math.inf)
        default = default_of(items)
        for item in items:
            level = found.get(item.name)
            if item is default or level is None or level.n < _EARLY_ROUNDS or level.q1 <= limit:
                kept.append(item)
    return kept


def race_is_over(definition: Definition, rounds: Sequence[Round]) -> bool:
    """Tell whether the best two of each layout are told apart, or as alike as can be told."""
    found = levels(rounds)
    live = {item.name for item in hopeful(definition, rounds)}
    for items in by_layout(definition).values():
        contenders = [item.name for item in items if item.name in live]
        if any(name not in found for name in contenders):
            return False
        if len(contenders) < 2:
            continue
        best, second = sorted(contenders, key=lambda name: found[name].median)[:2]
        values = ratios(rounds, second, best)
        low, high = interval(values)
        told = low > 1.0 or high - low <= 2.0 * PRECISION
        if not told and len(values) < MOST_ROUNDS:
            return False
    return True


def finalists(definition: Definition, rounds: Sequence[Round]) -> list[Candidate]:
    """Return the default and the best of each layout where these differ."""
    found = levels(rounds)
    kept = []
    for items in by_layout(definition).values():
        timed = [item for item in items if item.name in found]
        default = default_of(items)
        best = min(timed, key=lambda item: found[item.name].median, default=default)
        if best is not default:
            kept += [default, best]
    return kept


def decide(definition: Definition, trials: Sequence[Trial], failed: Iterable[str] = ()) -> Decision:
    """Say what is known of a layer.

    Args:
        definition: of the layer.
        trials: of it, of one unit, old and new ones.
        failed: candidates that cannot be timed.
    """
    definition = without(definition, failed)
    race, final = rounds_of(trials, RACE), rounds_of(trials, FINAL)
    over = race_is_over(definition, race)
    last = finalists(definition, race)
    shared = sum(all(item.name in found.values for item in last) for found in final)
    found = levels(race) | levels(final)
    defaults, choices = {}, {}
    gains: dict[str, Summary | None] = {}
    for layout, items in by_layout(definition).items():
        default = defaults[layout] = default_of(items)
        best = next((x for x in last if x.layout == layout and x is not default), default)
        rows = final if shared >= LEAST_ROUNDS else race
        choices[layout], gains[layout] = _chosen(rows, default, best)
    done = over and (not last or shared >= FINAL_ROUNDS)
    if not defaults:
        return Decision(found, {}, {}, {}, None, None, None, done)
    first = default_of(defaults.values())
    timed = [item for item in choices.values() if item.name in found]
    best = min(timed, key=lambda item: found[item.name].median, default=first)
    choice, gain = choices[first.layout], gains[first.layout]
    if best.layout != first.layout:
        other, gained = _chosen(race, first, best)
        if other is best:
            choice, gain = best, gained
    return Decision(found, defaults, choices, gains, first, choice, gain, done)


def _chosen(
    rounds: Sequence[Round], default: Candidate, best: Candidate
) -> tuple[Candidate, Summary | None]:
    """Return the best where its gain exceeds the gain's spread, else the default; and the gain."""
    values = [] if best is default else ratios(rounds, default.name, best.name)
    if len(values) < LEAST_ROUNDS:
        return default, None
    gain = summarise(values)
    return (best if gain.median - 1.0 > gain.iqr else default), gain


def without(definition: Definition, failed: Iterable[str]) -> Definition:
    """Return a definition without some of its candidates."""
    names = set(failed)
    kept = tuple(item for item in definition.candidates if item.name not in names)
    return Definition(definition.macs, definition.kept_macs, definition.densities, kept)
