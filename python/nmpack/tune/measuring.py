# SPDX-License-Identifier: BSD-3-Clause
"""Time the candidates of layers: interleaved rounds until :mod:`nmpack.tune.rounds` has decided."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from nmpack.measure.stats import summarise
from nmpack.runtime.ended import Ended
from nmpack.tune import rounds
from nmpack.tune.budget import Budget
from nmpack.tune.protocol import Candidate, Definition, Machine, RefusedError
from nmpack.tune.rounds import FINAL, RACE, Trial
from nmpack.tune.session import LostError, Session
from nmpack.tune.shapes import Layer, Setting

_CHUNK_SECONDS, _SLOW_SECONDS, _MOST_RUNS = 0.01, 0.05, 64
_MOST_LOSSES = 10


class Startable(Protocol):
    """Something that can start nmpack-measure: a target."""

    def start(self) -> Session:
        """Start it; see :class:`~nmpack.tune.session.Session` for what this may raise."""


class Rig(Ended):
    """A session that lasts: a program that ended is started anew, its layer made again."""

    def __init__(self, target: Startable) -> None:
        """Start the program and ask where it runs."""
        self._target = target
        self._losses = 0
        self._layer: tuple[Layer, Setting] | None = None
        self._session = target.start()
        try:
            self.machine: Machine = self._session.machine()
        except BaseException:
            self._session.close()
            raise

    def define(self, layer: Layer, setting: Setting) -> Definition:
        """Make a layer in place of the last one.

        Raises:
            RefusedError: the program does not know such a layer, or ends when it makes it.
            LostError: the program cannot be reached any more.
        """
        dropped, self._layer = self._layer, None
        try:
            if dropped is not None:
                self._session.drop("layer")
            definition = self._session.define("layer", layer, setting)
        except LostError as error:
            self._restart(error)
            try:
                definition = self._session.define("layer", layer, setting)
            except LostError as again:
                self._restart(again)
                raise RefusedError(str(again)) from again
        self._layer = (layer, setting)
        return definition

    def run(self, candidate: str, count: int, expected: float) -> list[float]:
        """Run a candidate of the layer; once more where the program ended.

        Raises:
            RefusedError: the candidate is refused, or ends the program each time.
            LostError: the program cannot be reached any more.
        """
        assert self._layer is not None
        evict, blamed = self._layer[1].evict, 0
        while True:
            try:
                return self._session.run("layer", candidate, count, evict, expected)
            except LostError as error:
                blamed += not error.dropped
                self._restart(error)
                if blamed == 2:
                    raise RefusedError(str(error)) from error

    def _restart(self, error: LostError) -> None:
        self._losses += 1
        self._session.close()
        if self._losses > _MOST_LOSSES:
            raise LostError(f"{error}; given up after {_MOST_LOSSES} starts") from error
        self._session = self._target.start()
        machine = self._session.machine()
        if (machine.hardware, machine.build) != (self.machine.hardware, self.machine.build):
            raise LostError(f"{error}; then another machine or program answered") from error
        if self._layer is not None:
            self._session.define("layer", *self._layer)

    def kill(self) -> None:
        """End the program by force."""
        self._session.kill()

    def close(self) -> None:
        """End the program."""
        self._session.close()


class Race:
    """The rounds of one layer.

    Attributes:
        trials: old and new ones.
        failed: why candidates cannot be timed, by name.
    """

    def __init__(
        self,
        rig: Rig,
        layer: Layer,
        setting: Setting,
        definition: Definition,
        trials: Sequence[Trial],
        record: Callable[[Trial], None],
        budget: Budget,
    ) -> None:
        """Take a layer that the rig has defined, and the trials that are known of it."""
        self._rig, self._layer, self._setting = rig, layer, setting
        self._definition, self._record, self._budget = definition, record, budget
        self.trials, self.failed = list(trials), dict[str, str]()
        self._session = secrets.token_hex(16)
        self._number = 0
        self._seconds: dict[str, float] = {}

    @property
    def decision(self) -> rounds.Decision:
        """What is known now."""
        return rounds.decide(self._definition, self.trials, self.failed)

    def run(self) -> None:
        """Race all candidates, then the finalists with the layer made anew, within the budget."""
        self._stage(RACE, self._racing)
        if self._finalists():
            self._rig.define(self._layer, self._setting)
            self._seconds.clear()
            self._stage(FINAL, self._finalists)

    def _left(self) -> Definition:
        return rounds.without(self._definition, self.failed)

    def _racing(self) -> list[Candidate]:
        found = rounds.rounds_of(self.trials, RACE)
        left = self._left()
        over = not left.candidates or rounds.race_is_over(left, found)
        return [] if over else rounds.hopeful(left, found)

    def _finalists(self) -> list[Candidate]:
        if self.decision.finished:
            return []
        return rounds.finalists(self._left(), rounds.rounds_of(self.trials, RACE))

    def _stage(self, stage: str, wanted: Callable[[], list[Candidate]]) -> None:
        # Rounds that the machine's drift spoils are repeated, but not for ever.
        for index in range(2 * rounds.MOST_ROUNDS):
            candidates = wanted()
            if not candidates or not self._round(stage, index, candidates):
                return

    def _round(self, stage: str, index: int, candidates: Sequence[Candidate]) -> bool:
        """Run one round, the reference first and last; returns whether there was time for it."""
        reference = rounds.default_of(candidates)
        others = [item for item in candidates if item is not reference]
        if others:
            turn = index % len(others)
            others = others[turn:] + others[:turn]
        for item in (reference, *others[:: -1 if index % 2 else 1], reference):
            if self._budget.spent:
                return False
            if item.name not in self.failed:
                self._trial(stage, index, item.name)
        return True

    def _trial(self, stage: str, index: int, name: str) -> None:
        try:
            if name not in self._seconds:
                # Warms up, and says how many runs a chunk is.
                self._seconds[name] = self._rig.run(name, 1, 0.0)[0] / 1e9
            seconds = self._seconds[name]
            count = chunk_size(seconds)
            times = self._rig.run(name, count, (count + 1) * seconds)
        except RefusedError as error:
            self.failed[name] = str(error)
            return
        trial = Trial(
            self._session, self._number, stage, index, name, "ns", summarise(times), time.time()
        )
        self._number += 1
        self.trials.append(trial)
        self._record(trial)


def chunk_size(seconds: float) -> int:
    """Return how many runs of so many seconds make a trial: one of slow ones, two or more else."""
    if seconds >= _SLOW_SECONDS:
        return 1
    return min(_MOST_RUNS, max(2, math.ceil(_CHUNK_SECONDS / seconds)))
