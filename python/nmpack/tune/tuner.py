# SPDX-License-Identifier: BSD-3-Clause
"""Tune the layers of a model: what is known is taken from the records, the rest is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nmpack.errors import NmpackError
from nmpack.tune.budget import Budget
from nmpack.tune.counting import Counter, decide_counted
from nmpack.tune.entries import Subject
from nmpack.tune.layers import ModelLayer
from nmpack.tune.measuring import Race, Rig
from nmpack.tune.protocol import Candidate, Definition, Machine, RefusedError
from nmpack.tune.records import Found
from nmpack.tune.rounds import Decision, Trial, decide
from nmpack.tune.shapes import Setting
from nmpack.tune.store import Store
from nmpack.tune.targets import Target, require_kernels

TIME = "ns"
#: How far a drawn filter's densities may be from the model's. In tiles that are higher than the
#: pattern's, chance moves those of small layers by a few hundredths.
TOLERANCE = 0.1
_UNDECIDED = "not decided: the budget is spent, or the machine too unsteady"
#: Called with layers done, layers, and what comes next.
Tell = Callable[[int, int, str], None]


@dataclass(slots=True)
class Result:
    """What is known of one layer.

    Attributes:
        item: the layer.
        unit: of the levels.
        definition, decision: None where nothing is known.
        recorded, measured: trials from the records, and new ones.
        failed: candidates that could not be timed, and why.
        note: why nothing, or not all, is known; empty where all is.
    """

    item: ModelLayer
    unit: str
    definition: Definition | None = None
    decision: Decision | None = None
    recorded: int = 0
    measured: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def alike(self) -> bool:
        """Whether the filter that was drawn has the densities of the model's."""
        drawn = self.definition.densities if self.definition else self.item.densities
        pairs = zip(drawn, self.item.densities, strict=True)
        return all(abs(one - other) <= TOLERANCE for one, other in pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        decision = self.decision
        return {
            "layer": self.item.layer.to_dict(),
            "names": list(self.item.names),
            "densities": list(self.item.densities),
            "unit": self.unit,
            "candidates": self.definition.to_dict()["candidates"] if self.definition else [],
            "levels": {k: v.to_dict() for k, v in decision.levels.items()} if decision else {},
            "defaults": _names(decision.defaults) if decision else {},
            "choices": _names(decision.choices) if decision else {},
            "default": decision.default.name if decision and decision.default else None,
            "choice": decision.choice.name if decision and decision.choice else None,
            "gain": decision.gain.to_dict() if decision and decision.gain else None,
            "finished": bool(decision and decision.finished),
            "recorded": self.recorded,
            "measured": self.measured,
            "failed": dict(self.failed),
            "alike": self.alike,
            "note": self.note,
        }


@dataclass(slots=True)
class TuneReport:
    """A tuning, as far as it came.

    Attributes:
        machine: where the program runs.
        setting: how layers are timed.
        results: in the model's order.
        used, stale: trials of the records that were used, and that are of other builds.
        seconds: that it took.
        error: what ended it early, empty if nothing did.
    """

    machine: Machine
    setting: Setting
    results: tuple[Result, ...]
    used: int = 0
    stale: int = 0
    seconds: float = 0.0
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``schema`` is 1."""
        return {
            "schema": 1,
            "machine": self.machine.to_dict(),
            "setting": self.setting.to_dict(),
            "layers": [item.to_dict() for item in self.results],
            "records": {"used": self.used, "stale": self.stale},
            "seconds": self.seconds,
            "error": self.error,
        }


def tune(
    layers: Iterable[ModelLayer],
    target: Target,
    store: Store,
    *,
    threads: int = 1,
    budget: float = 120.0,
    kernels: str | None = None,
    tell: Tell = lambda _done, _total, _next: None,
) -> TuneReport:
    """Measure how fast each layer runs on each of its candidates.

    Args:
        layers: of a model.
        target: where.
        store: the records.
        threads: that share a layer's work; one where instructions are counted.
        budget: seconds, for everything that the records do not have.
        kernels: hash that the program's kernels have to have; None takes any.
        tell: is told how far it is.

    Returns:
        All that is known; ``error`` says why it is not more.

    Raises:
        NmpackError: the target cannot be used from the start.
    """
    start = time.monotonic()
    counter = target.counter()
    if counter is not None and threads != 1:
        raise NmpackError(f"instructions are counted with one thread, got --threads {threads}")
    with Rig(target) as rig:
        require_kernels(rig.machine, kernels, target.name)
        setting = Setting(threads, evict=evicted_bytes(rig.machine) if target.timed else 0)
        work = _Work(rig, store, setting, counter)
        results = [work.known(item) for item in layers]
        report = TuneReport(rig.machine, setting, tuple(results), store.used, store.stale)
        todo = sorted(
            (item for item in results if not (item.decision and item.decision.finished)),
            key=lambda item: -item.item.share,
        )
        clock = Budget(budget, [item.item.share for item in todo])
        try:
            for done, result in enumerate(todo, len(results) - len(todo)):
                tell(done, len(results), f"{result.item.layer.label}, {clock.left:.0f} s left")
                clock.begin()
                work.measure(result, clock)
        except NmpackError as error:
            report.error = str(error)
    tell(len(results), len(results), "")
    report.seconds = time.monotonic() - start
    return report


class _Work:
    """What every layer needs."""

    def __init__(self, rig: Rig, store: Store, setting: Setting, counter: Counter | None) -> None:
        self._rig, self._store, self._setting, self._counter = rig, store, setting, counter
        self._unit = counter.unit if counter else TIME
        self._found: dict[int, Found] = {}

    def known(self, item: ModelLayer) -> Result:
        """Return what the records have."""
        found = self._store.find(self._rig.machine, item.layer, self._setting)
        result = Result(
            item, self._unit, found.definition, note="not measured: the budget is spent"
        )
        self._found[id(result)] = found
        if found.definition is not None:
            self._conclude(result, found.trials, {})
            result.recorded = len(found.trials)
        return result

    def measure(self, result: Result, budget: Budget) -> None:
        """Measure a layer within the budget; a layer that is refused says so."""
        if budget.spent:
            return
        layer, old = result.item.layer, self._found[id(result)].trials
        try:
            result.definition = self._rig.define(layer, self._setting)
            subject = Subject(self._rig.machine, layer, self._setting, result.definition)
            if self._counter is not None:
                new = self._counter.count(layer, self._setting, result.definition)
                for trial in new:
                    self._store.add(subject, trial)
                self._conclude(result, [*old, *new], {})
                result.measured = len(new)
                return
        except RefusedError as error:
            result.note = str(error)
            return
        race = Race(
            self._rig, layer, self._setting, result.definition, old,
            lambda trial: self._store.add(subject, trial), budget,
        )  # fmt: skip
        refused = ""
        try:
            race.run()
        except RefusedError as error:
            refused = str(error)
        finally:
            self._conclude(result, race.trials, race.failed)
            result.measured = len(race.trials) - len(old)
        result.note = refused or result.note

    def _conclude(self, result: Result, trials: Sequence[Trial], failed: Mapping[str, str]) -> None:
        assert result.definition is not None
        wanted = [trial for trial in trials if trial.unit == self._unit]
        if self._counter is not None:
            result.decision = decide_counted(result.definition, wanted)
        else:
            result.decision = decide(result.definition, wanted, failed)
        result.failed = failed
        result.note = "" if result.decision.finished else _UNDECIDED


def evicted_bytes(machine: Machine) -> int:
    """Return twice the second cache: in a network weights come from beyond it."""
    return 2 * machine.caches[1] if len(machine.caches) > 1 else 0


def _names(candidates: Mapping[str, Candidate]) -> dict[str, str]:
    return {layout: item.name for layout, item in candidates.items()}
