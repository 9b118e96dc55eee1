# SPDX-License-Identifier: BSD-3-Clause
"""Tune before pruning: time what patterns would take, layer by layer, and propose one of them.

Time does not depend on which columns a tile keeps, so that shapes and patterns are enough: nothing
is pruned, and weights are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from nmpack.errors import NmpackError, PatternError, SelectionError
from nmpack.plans import DENSE, PlanFile, Rows
from nmpack.sources import Source
from nmpack.sparsity.pattern import NMPattern
from nmpack.tune.calls import Calls, adaptor_of, calls_of
from nmpack.tune.layers import ModelLayer, ModelLayers
from nmpack.tune.rounds import Decision
from nmpack.tune.shapes import Layer
from nmpack.tune.tuner import TuneReport

#: Patterns whose time is within this of the fastest are as fast, and so is an unpruned layer.
TOLERANCE = 0.03


@dataclass(frozen=True, slots=True)
class Question:
    """A layer and the patterns that it may get.

    Attributes:
        calls: what it computes.
        patterns: legal ones, in order; none where ``reason`` says why.
        reason: why it stays dense, empty where it need not.
    """

    calls: Calls
    patterns: tuple[NMPattern, ...]
    reason: str = ""

    @property
    def name(self) -> str:
        """The layer's path in the model."""
        return self.calls.weights.name


@dataclass(frozen=True, slots=True)
class Timed:
    """What a layer takes in one run of the model, on the best candidates: their names, seconds.

    ``finished`` says whether more rounds would change nothing.
    """

    seconds: float
    candidates: tuple[str, ...]
    finished: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What is proposed for a layer.

    Attributes:
        question: the layer.
        times: by pattern, None unpruned; of all that was measured.
        pattern: the proposal, None to stay dense.
        reason: why.
    """

    question: Question
    times: Mapping[NMPattern | None, Timed]
    pattern: NMPattern | None
    reason: str


def patterns_of(
    density: float, tiles: Sequence[int], blocks: Sequence[int]
) -> tuple[NMPattern, ...]:
    """Return the patterns of a density, each once, small tiles first.

    Raises:
        PatternError: the density prunes nothing, or a number is out of its range.
    """
    if not 0.0 < density < 1.0:
        raise PatternError(f"a density to prune to is above 0 and below 1, got {density:g}")
    pairs = sorted({(tile, block) for tile in tiles for block in blocks})
    return tuple(NMPattern.from_density(density, tile=tile, block=block) for tile, block in pairs)


def questions_of(
    source: Source,
    patterns: Sequence[NMPattern],
    *,
    select: Sequence[str] | None = None,
    exclude: Iterable[str] = (),
) -> tuple[Question, ...]:
    """Ask for every layer of a model which of the patterns it may get.

    The rule is that of ``prune_`` with each pattern alone. Blocks have to divide the channels.

    Raises:
        SelectionError: there is nothing to prune with any of the patterns.
        ModelError: the model does not run on one image.
    """
    legal: dict[str, list[NMPattern]] = {}
    reasons: dict[str, str] = {}
    refused: SelectionError | None = None
    for pattern in patterns:
        try:
            chosen = adaptor_of(source).choose(source.model, pattern, select, tuple(exclude))
        except SelectionError as error:
            refused = error
            continue
        for layer, wanted, reason in chosen:
            why = reason or _misfit(pattern, layer.shape)
            if wanted is not None and not why:
                legal.setdefault(layer.name, []).append(pattern)
            reasons.setdefault(layer.name, why)
    if not legal:
        raise refused or SelectionError(f"no layer takes any of {', '.join(map(str, patterns))}")
    found = []
    for calls in calls_of(source):
        name = calls.weights.name
        items = tuple(legal.get(name, ())) if calls.layers else ()
        reason = "" if items else reasons[name] or calls.note
        found.append(Question(calls, items, reason))
    return tuple(found)


def to_measure(questions: Iterable[Question]) -> ModelLayers:
    """List the distinct layers to time, unpruned and with each pattern, and what is left out."""
    names: dict[Layer, list[str]] = {}
    skipped = {}
    for question in questions:
        if question.calls.note:
            skipped[question.name] = question.calls.note
        for layer in question.calls.layers:
            for pattern in (None, *question.patterns):
                names.setdefault(pruned(layer, pattern), []).append(question.name)
    rows = (ModelLayer(layer, tuple(found), (layer.density,) * 3) for layer, found in names.items())
    return ModelLayers(tuple(rows), skipped)


def pruned(layer: Layer, pattern: NMPattern | None) -> Layer:
    """Return an unpruned layer with a pattern of a density."""
    if pattern is None:
        return layer
    values = layer.to_dict()
    columns = layer.kernel_height * layer.kernel_width * layer.group_input_channels
    share = pattern.kept(columns) * pattern.block / columns
    return Layer(**values | {"density": share, "tile": pattern.tile, "block": pattern.block})


def answers_of(
    questions: Iterable[Question], report: TuneReport, harm: Rows | None = None
) -> tuple[Answer, ...]:
    """Propose a pattern for every layer.

    Args:
        questions: what was asked.
        report: of :func:`~nmpack.tune.tuner.tune` on :func:`to_measure`.
        harm: by layer (or a glob, the first that matches) and pattern, how much it harms.

    Raises:
        NmpackError: nothing was timed.
    """
    decisions = {
        item.item.layer: item.decision for item in report.results if item.decision is not None
    }
    found = []
    for question in questions:
        times = {}
        for pattern in (None, *question.patterns):
            layers = [pruned(layer, pattern) for layer in question.calls.layers]
            timed = _timed([decisions.get(layer) for layer in layers])
            if timed is not None:
                times[pattern] = timed
        seconds = {pattern: item.seconds for pattern, item in times.items()}
        pattern, reason = None, question.reason
        if question.patterns:
            pattern, reason = propose(seconds, question.patterns, harm_of(question.name, harm))
        found.append(Answer(question, times, pattern, reason))
    if not any(answer.times for answer in found):
        raise NmpackError("nothing was timed: give a higher --budget")
    return tuple(found)


def propose(
    seconds: Mapping[NMPattern | None, float],
    patterns: Sequence[NMPattern],
    harm: Mapping[str, float],
) -> tuple[NMPattern | None, str]:
    """Choose a pattern by what each takes and, if that is known of all, harms; and say why.

    Among those within :data:`TOLERANCE` of the fastest the least harmful is taken, or the one with
    the smallest tile and block. A layer that gains no more than that stays dense.
    """
    missing = [pattern for pattern in (None, *patterns) if pattern not in seconds]
    if missing:
        return None, "not measured" if len(missing) > len(patterns) else "not all measured"
    fastest = min(patterns, key=lambda pattern: seconds[pattern])
    limit = seconds[fastest] * (1.0 + TOLERANCE)
    if seconds[None] <= limit:
        return None, "pruning gains nothing"
    near = [pattern for pattern in patterns if seconds[pattern] <= limit]
    if all(str(pattern) in harm for pattern in near):
        best = min(near, key=lambda pattern: (harm[str(pattern)], *_size(pattern)))
        return best, "the fastest" if len(near) == 1 else "harms least of the fastest"
    best = min(near, key=_size)
    within = 100.0 * (seconds[best] / seconds[fastest] - 1.0)
    return best, "the fastest" if best == fastest else f"smaller, {within:.1f}% slower"


def harm_of(name: str, harm: Rows | None) -> Mapping[str, float]:
    """Return what is known of a layer: by its name, else by the first glob that matches."""
    if harm is None:
        return {}
    glob = name if name in harm else next((x for x in harm if fnmatchcase(name, x)), None)
    return {} if glob is None else harm[glob]


def plan_of(answers: Iterable[Answer], report: TuneReport) -> PlanFile:
    """Return what is proposed with the times behind it, for a file."""
    seconds, patterns = {}, {}
    for answer in answers:
        name = answer.question.name
        patterns[name] = answer.pattern
        if None in answer.times:
            seconds[name] = {
                DENSE if pattern is None else str(pattern): timed.seconds
                for pattern, timed in answer.times.items()
            }
    machine = report.machine
    words = f"{machine.cpu} ({machine.isa}), kernels {machine.kernels}, {machine.compiler}"
    return PlanFile(seconds, patterns, words, report.setting.threads)


def _misfit(pattern: NMPattern, shape: tuple[int, ...]) -> str:
    """Say why a pattern does not fit weights OHWI, or nothing."""
    if shape[0] < pattern.tile:
        return f"{shape[0]} output channels are fewer than one tile of {pattern.tile}"
    if shape[3] % pattern.block:
        return f"{shape[3]} channels are no multiple of the block, {pattern.block}"
    return ""


def _size(pattern: NMPattern) -> tuple[int, int]:
    return pattern.tile * pattern.block, pattern.tile


def _timed(decisions: Sequence[Decision | None]) -> Timed | None:
    """Add up the best candidates' times; None where one is not known."""
    seconds, names, finished = 0.0, [], True
    for decision in decisions:
        if decision is None or decision.choice is None:
            return None
        level = decision.levels.get(decision.choice.name)
        if level is None:
            return None
        seconds += 1e-9 * level.median
        names.append(decision.choice.name)
        finished &= decision.finished
    return Timed(seconds, tuple(names), finished) if names else None
