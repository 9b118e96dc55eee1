# SPDX-License-Identifier: BSD-3-Clause
"""Look for layers that our delegate slows down: drawn ones, each against built-in XNNPACK.

A layer is a model of its own. Both engines open it in one child process and race: short turns, in
an order that alternates, a ratio each round (:mod:`nmpack.runtime.race`). A layer that seems slower
than the limit is measured again in new processes, and counts only if it is slower each time: a
neighbour's burst is not a slow layer, nor is memory that happens to lie badly.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.element_types import F32, QS8, ElementType
from nmpack.errors import InterpreterError, MismatchError, NmpackError
from nmpack.measure.decisions import CHOSEN
from nmpack.measure.drawn_layers import Layer, draw_layers, layer_file
from nmpack.measure.machine import describe_machine
from nmpack.measure.stats import Summary, paired_ratios, summarise
from nmpack.progress import Progress, silent
from nmpack.runtime.delegate_report import Choice, read_report
from nmpack.runtime.interpreter import DEFAULT_INTERPRETER, Engine, nmpack_engine
from nmpack.runtime.process import EngineProcess

#: A layer that takes more than this times built-in's time is slower.
LIMIT = 1.05
#: How often a layer that seems slower is measured again.
CONFIRMATIONS = 3
#: How far outputs may be apart, out of their largest; of bytes, one step of those that are used.
_TOLERANCES = {F32.name: 1e-4, QS8.name: 1 / 64}


@dataclass(frozen=True, slots=True)
class LayerTiming:
    """One layer, measured.

    Attributes:
        choice: what the delegate decided.
        built_in, nmpack: seconds of a run, over the rounds of the first measurement.
        speedups: built-in's time out of ours, over the rounds; the first measurement, then those
            that confirm it.
    """

    layer: Layer
    choice: Choice
    built_in: Summary
    nmpack: Summary
    speedups: tuple[Summary, ...]

    @property
    def speedup(self) -> float:
        """The median of the measurement that was kindest to us: slow is slow each time."""
        return max(item.median for item in self.speedups)

    @property
    def chosen(self) -> bool:
        """Whether N:M was chosen for its filter; in CNHW it may run on that operator without."""
        return self.choice.reason == CHOSEN

    def is_slower(self, limit: float = LIMIT) -> bool:
        """Whether every measurement took more than ``limit`` times built-in's time."""
        return self.speedup * limit < 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; times are in milliseconds."""
        return {
            "layer": self.layer.to_dict(),
            "operator": self.choice.operator,
            "layout": self.choice.layout,
            "reason": self.choice.reason,
            "tile_height": self.choice.tile_height,
            "column_density": self.choice.column_density,
            "predicted_speedup": self.choice.predicted_speedup,
            "built_in_ms": 1e3 * self.built_in.median,
            "nmpack_ms": 1e3 * self.nmpack.median,
            "speedup": self.speedup,
            "speedups": [item.to_dict() for item in self.speedups],
        }


@dataclass(frozen=True, slots=True)
class LayerBenchReport:
    """All layers in the order drawn, and what they were measured on."""

    timings: tuple[LayerTiming, ...]
    seed: int
    limit: float
    threads: int
    versions: dict[str, str]
    machine: dict[str, Any]

    @property
    def chosen(self) -> tuple[LayerTiming, ...]:
        """Layers that N:M was chosen for, by their filters."""
        return tuple(item for item in self.timings if item.chosen)

    @property
    def slower(self) -> tuple[LayerTiming, ...]:
        """Layers over the limit, slowest first, whichever operator they run on."""
        found = [item for item in self.timings if item.is_slower(self.limit)]
        return tuple(sorted(found, key=lambda item: item.speedup))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``schema`` is 1."""
        slower = {id(item) for item in self.slower}
        return {
            "schema": 1,
            "seed": self.seed,
            "limit": self.limit,
            "threads": self.threads,
            "machine": self.machine,
            "versions": self.versions,
            "layers": [item.to_dict() | {"slower": id(item) in slower} for item in self.timings],
            "chosen": len(self.chosen),
            "gain_of_chosen": geometric_mean([item.speedup for item in self.chosen]),
            "gain_of_all": geometric_mean([item.speedup for item in self.timings]),
        }


def geometric_mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean, or None of nothing."""
    return float(np.exp(np.mean(np.log(values)))) if values else None


def bench_layers(
    count: int = 200,
    seed: int = 0,
    *,
    interpreter: str = DEFAULT_INTERPRETER,
    library: str | Path | None = None,
    options: dict[str, str] | None = None,
    threads: int = 1,
    rounds: int = 15,
    limit: float = LIMIT,
    kind: ElementType = F32,
    linear: bool = False,
    progress: Progress = silent,
) -> LayerBenchReport:
    """Draw layers and time each on built-in XNNPACK and on our delegate.

    Args:
        count, seed: how many layers, and which (:func:`nmpack.measure.drawn_layers.draw_layers`).
        interpreter, library, options, threads: as in
            :func:`nmpack.runtime.interpreter.nmpack_engine`.
        rounds: turns of each engine in one measurement, at least 3.
        limit: how many times built-in's time a layer may take, above 1.
        kind: element type of the layers.
        linear: draw fully connected layers, not convolutions.
        progress: called with (layers done, layers).

    Raises:
        MismatchError: the engines disagree on a layer.
        InterpreterError, MissingError: an engine cannot run.
    """
    if rounds < 3:
        raise NmpackError(f"rounds must be at least 3, got {rounds}")
    if not limit > 1.0:
        raise NmpackError(f"the limit is how many times slower is too slow: above 1, got {limit}")
    layers = draw_layers(count, seed, kind=kind, linear=linear)
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="nmpack-") as name:
        report = Path(name) / "report.json"
        engines = (
            Engine("built-in", interpreter, threads=threads),
            nmpack_engine(
                interpreter=interpreter,
                library=library,
                options={**(options or {}), "report": str(report)},
                threads=threads,
            ),
        )
        bench = _Bench(Path(name) / "layer.tflite", report, engines, rounds)
        timings = []
        bench.write(layers[0], seed)
        with bench.start() as child:
            for index, layer in enumerate(layers):
                progress(index, count)
                bench.write(layer, seed + index)
                timings.append(bench.measure(layer, child, limit))
            progress(count, count)
            versions = child.versions
    return LayerBenchReport(tuple(timings), seed, limit, threads, versions, machine)


class _Bench:
    """Where the file of the present layer is, and how it is measured."""

    def __init__(
        self, model: Path, report: Path, engines: tuple[Engine, Engine], rounds: int
    ) -> None:
        self._model = model
        self._report = report
        self._engines = engines
        self._rounds = rounds

    def write(self, layer: Layer, seed: int) -> None:
        """Write the layer's file."""
        self._model.write_bytes(layer_file(layer, seed))

    def start(self) -> EngineProcess:
        """Start a process for the engines to race in."""
        return EngineProcess(self._model, self._engines[0])

    def measure(self, layer: Layer, child: EngineProcess, limit: float) -> LayerTiming:
        """Time one layer; again in new processes if it seems slower than ``limit``."""
        first = self._race(layer, child)
        choice = self._choice()
        speedups = [_speedup(first)]
        while speedups[-1].median * limit < 1.0 and len(speedups) <= CONFIRMATIONS:
            with self.start() as fresh:
                speedups.append(_speedup(self._race(layer, fresh)))
        built_in, ours = (summarise(times) for times in first)
        return LayerTiming(layer, choice, built_in, ours, tuple(speedups))

    def _race(self, layer: Layer, child: EngineProcess) -> list[list[float]]:
        self._report.unlink(missing_ok=True)
        times, difference = child.race(self._model, self._engines, self._rounds)
        tolerance = _TOLERANCES[layer.dtype]
        if difference > tolerance:
            raise MismatchError(
                f"{layer.shape}, {layer.pattern}: outputs differ by {difference:.3g} of the "
                f"largest value, expected at most {tolerance:g}"
            )
        return times

    def _choice(self) -> Choice:
        partitions = read_report(self._report).partitions
        if len(partitions) != 1 or len(partitions[0].layers) != 1:
            raise InterpreterError(
                f"expected the delegate to report on one layer, got {partitions!r:.200}"
            )
        return partitions[0].layers[0]


def _speedup(times: Sequence[Sequence[float]]) -> Summary:
    """Summarise built-in's time out of ours, round by round."""
    built_in, ours = ([[seconds] for seconds in row] for row in times)
    return paired_ratios(built_in, ours)
