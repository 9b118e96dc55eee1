# SPDX-License-Identifier: BSD-3-Clause
"""Time engines against each other, honestly.

Every contender (a model in an engine) lives in a process of its own, so that heaps, thread pools
and peak memory do not mix, and they take turns (:mod:`nmpack.measure.rounds`). Speed-ups are ratios
of the medians of one round, and their spread is the spread over rounds. Before anything is timed,
the engines' outputs on one model are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmpack.errors import NmpackError
from nmpack.measure.machine import describe_machine
from nmpack.measure.rounds import interleave, require_counts
from nmpack.measure.stats import Summary, milliseconds, paired_ratios, summarise
from nmpack.progress import Progress, silent
from nmpack.runtime.child import Signature
from nmpack.runtime.inputs import prepare_inputs
from nmpack.runtime.interpreter import DEFAULT_INTERPRETER, Engine, nmpack_engine
from nmpack.runtime.process import EngineProcess
from nmpack.runtime.runner import require_close
from nmpack.runtime.sizes import Shapes, shapes_of


@dataclass(frozen=True, slots=True)
class Timing:
    """One contender.

    Attributes:
        model, engine: labels.
        rounds: seconds of each measured run, one tuple a round.
        peak_memory: peak resident bytes of its process; ``memory_before`` is what the process held
            before it opened the model (Python and the interpreter's library).
        difference: relative difference of its outputs from the model's first engine.
    """

    model: str
    engine: Engine
    rounds: tuple[tuple[float, ...], ...]
    peak_memory: int
    memory_before: int
    difference: float

    @property
    def seconds(self) -> Summary:
        """Summary over all runs, in seconds."""
        return summarise([value for item in self.rounds for value in item])


@dataclass(frozen=True, slots=True)
class Ratio:
    """Speed-up of ``contender`` over ``baseline`` (labels ``model/engine``); above 1 is faster."""

    contender: str
    baseline: str
    speedup: Summary


@dataclass(frozen=True, slots=True)
class BenchReport:
    """The timings in the order asked for, and each one's speed-up over its baselines.

    Attributes:
        inputs: of each model, by its label, of the sizes that it ran with.
    """

    timings: tuple[Timing, ...]
    ratios: tuple[Ratio, ...]
    threads: int
    versions: dict[str, str]
    machine: dict[str, Any]
    inputs: dict[str, tuple[Signature, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``schema`` is 1, times are in milliseconds."""
        timings = []
        for item in self.timings:
            timings.append(
                {
                    "model": item.model,
                    "engine": item.engine.to_dict(),
                    "milliseconds": item.seconds.milliseconds(),
                    "rounds_ms": milliseconds(item.rounds),
                    "peak_memory_bytes": item.peak_memory,
                    "memory_before_bytes": item.memory_before,
                    "difference": item.difference,
                }
            )
        ratios = [
            {
                "contender": item.contender,
                "baseline": item.baseline,
                "speedup": item.speedup.to_dict(),
            }
            for item in self.ratios
        ]
        return {
            "schema": 1,
            "threads": self.threads,
            "machine": self.machine,
            "versions": self.versions,
            "timings": timings,
            "ratios": ratios,
            "inputs": {label: shapes_of(inputs) for label, inputs in self.inputs.items()},
        }


def default_engines(
    interpreter: str = DEFAULT_INTERPRETER, threads: int = 1
) -> tuple[Engine, Engine]:
    """Return the interpreter's built-in XNNPACK and our delegate, in this order."""
    return (
        Engine("built-in", interpreter, threads=threads),
        nmpack_engine(interpreter=interpreter, threads=threads),
    )


def bench(
    models: str | Path | Sequence[str | Path],
    engines: Sequence[Engine] | None = None,
    *,
    rounds: int = 10,
    repeat: int = 4,
    warmup: int = 3,
    seed: int = 0,
    tolerance: float = 1e-4,
    shapes: Shapes | None = None,
    progress: Progress = silent,
) -> BenchReport:
    """Time every engine on every model in one interleaved run.

    Args:
        models: paths of ``.tflite`` files; the first is the baseline of the others.
        engines: the first is the baseline of the others; :func:`default_engines` when None.
        rounds: interleaved rounds, at least 1.
        repeat: measured runs of a contender in a round, at least 1.
        warmup: unmeasured runs of every contender before the first round.
        seed: of the random inputs, the same for every engine.
        tolerance: relative difference of the outputs that still counts as equal.
        shapes: of inputs whose sizes the files leave open, the same for every model.
        progress: called with (rounds done, rounds).

    Raises:
        NmpackError: a shape does not fit.
        MismatchError: two engines disagree on a model.
        InterpreterError, MissingError: an engine cannot run.
    """
    paths = [Path(models)] if isinstance(models, str | Path) else [Path(item) for item in models]
    engines = tuple(default_engines() if engines is None else engines)
    _check(paths, engines, rounds, repeat, warmup)
    labels = [path.stem for path in paths]
    if len(set(labels)) < len(labels):
        labels = [str(path) for path in paths]
    pairs = [(label, path, engine) for label, path in zip(labels, paths, strict=True)
             for engine in engines]  # fmt: skip
    machine = describe_machine()
    with ExitStack() as stack:
        children = [
            stack.enter_context(EngineProcess(path, engine, shapes=shapes))
            for _, path, engine in pairs
        ]
        gaps = _agree(children, len(engines), labels, seed, tolerance)
        times = interleave(children, rounds=rounds, repeat=repeat, warmup=warmup, progress=progress)
        timings = tuple(
            Timing(label, engine, tuple(rows), child.peak_memory(), child.memory_before, gap)
            for (label, _, engine), rows, child, gap in zip(
                pairs, times, children, gaps, strict=True
            )
        )
        versions = {key: value for child in children for key, value in child.versions.items()}
        inputs = {label: child.inputs for (label, _, _), child in zip(pairs, children, strict=True)}
    return BenchReport(
        timings, _ratios(timings, len(engines)), engines[0].threads, versions, machine, inputs
    )


def _check(
    paths: Sequence[Path], engines: Sequence[Engine], rounds: int, repeat: int, warmup: int
) -> None:
    require_counts(rounds, repeat, warmup)
    if not paths or not engines:
        raise NmpackError("a benchmark needs at least one model and one engine")
    if len({engine.name for engine in engines}) < len(engines):
        raise NmpackError(f"engines need distinct names, got {[item.name for item in engines]}")
    if len({engine.threads for engine in engines}) > 1:
        raise NmpackError("every engine must have the same number of threads")


def _agree(
    children: Sequence[EngineProcess],
    engines: int,
    labels: Sequence[str],
    seed: int,
    tolerance: float,
) -> list[float]:
    """Feed every child and return its difference from the first engine on the same model."""
    gaps: list[float] = []
    reference: dict[str, Any] = {}
    for index, child in enumerate(children):
        arrays, samples = prepare_inputs(child.inputs, seed)
        child.feed(arrays)
        outputs = {str(i): array for i, array in enumerate(child.map(samples)[0])}
        if index % engines == 0:
            reference = outputs
        first = children[index - index % engines].engine.name
        what = f"{labels[index // engines]}: {child.engine.name} against {first}"
        gaps.append(require_close(reference, outputs, tolerance, what).relative)
    return gaps


def _ratios(timings: Sequence[Timing], engines: int) -> tuple[Ratio, ...]:
    """Pair each contender with its model's first engine and with the very first contender."""
    found = []
    for index, item in enumerate(timings):
        same_model = index - index % engines
        for base in sorted({same_model, 0} - {index}, reverse=True):
            label = f"{timings[base].model}/{timings[base].engine.name}"
            ratio = paired_ratios(timings[base].rounds, item.rounds)
            found.append(Ratio(f"{item.model}/{item.engine.name}", label, ratio))
    return tuple(found)
