# SPDX-License-Identifier: BSD-3-Clause
"""Where the time of a model goes: each operator of the delegate, timed while the model runs.

The delegate times its operators on request (its option ``profile``). A second process runs the
model without, in turns with the first, so that it can be said what asking cost. The peak is that
of a loop of multiply-adds that needs no memory, which the delegate runs on the same threads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from nmpack.errors import InterpreterError, NmpackError
from nmpack.measure.machine import describe_machine
from nmpack.measure.profile_report import ProfileReport
from nmpack.measure.profile_rows import calls_of, kept_of, rows_of
from nmpack.measure.stats import summarise
from nmpack.progress import Progress, silent
from nmpack.runtime.child import Signature
from nmpack.runtime.delegate_profile import (
    MOST_RUNS,
    DelegateProfile,
    ProfiledPartition,
    read_profile,
)
from nmpack.runtime.inputs import prepare_inputs
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.process import EngineProcess
from nmpack.runtime.sizes import Shapes
from nmpack.tflite.file import TFLiteFile

_TURNS = 5


def profile(
    model: str | Path,
    *,
    engine: Engine | None = None,
    runs: int = 50,
    warmup: int = 5,
    seed: int = 0,
    shapes: Shapes | None = None,
    progress: Progress = silent,
) -> ProfileReport:
    """Time every operator that the delegate runs.

    Args:
        model: path of a ``.tflite`` file.
        engine: our delegate and how it runs, :func:`nmpack_engine` by default.
        runs: inferences that count, 1 to 1000 with the ``warmup`` before them, which do not.
        seed: of the random inputs.
        shapes: of inputs whose sizes the file leaves open.
        progress: called with (done, total).

    Raises:
        ModelError: the file is not a usable model.
        MissingError, InterpreterError: see :class:`EngineProcess`; the delegate runs nothing of it.
        NmpackError: an argument is out of range, a shape does not fit, or the engine has no
            delegate.
    """
    jobs = [(model, engine or nmpack_engine())]
    return profile_in_turns(
        jobs, runs=runs, warmup=warmup, seed=seed, shapes=shapes, progress=progress
    )[0]


def profile_in_turns(
    jobs: Sequence[tuple[str | Path, Engine]],
    *,
    runs: int = 50,
    warmup: int = 5,
    seed: int = 0,
    shapes: Shapes | None = None,
    progress: Progress = silent,
) -> list[ProfileReport]:
    """Time the operators of several models or engines, which take turns, as :func:`profile` does.

    Args:
        jobs: a model's path and the engine for it, each.
        runs, warmup, seed, shapes, progress: as for :func:`profile`, of each.

    Returns:
        A report for each, in the same order.
    """
    if runs < 1 or warmup < 0 or runs + warmup > MOST_RUNS:
        raise NmpackError(
            f"expected at least 1 run, and with the warm-up at most {MOST_RUNS}, "
            f"got {runs} and {warmup}"
        )
    if any(engine.library is None for _, engine in jobs):
        raise NmpackError("expected an engine with a delegate, got the interpreter alone")
    files = [TFLiteFile(model) for model, _ in jobs]
    with tempfile.TemporaryDirectory(prefix="nmpack-") as folder:
        paths = [Path(folder) / f"{place}.json" for place in range(len(jobs))]
        machine = describe_machine()
        with ExitStack() as stack:
            children = []
            for (model, engine), path in zip(jobs, paths, strict=True):
                asking = replace(engine, options=dict(engine.options) | {"profile": str(path)})
                children += [
                    stack.enter_context(EngineProcess(model, each, shapes=shapes))
                    for each in (asking, engine)
                ]
            times = _take_turns(children, runs, warmup, seed, progress)
            versions = [child.versions for child in children]
            inputs = [child.inputs for child in children[::2]]
        found = [read_profile(path) for path in paths]
    return [
        _report(
            file, engine, one, times[place : place + 2], warmup, versions[place], machine, sizes
        )
        for place, file, (_, engine), one, sizes in zip(
            range(0, len(times), 2), files, jobs, found, inputs, strict=True
        )
    ]


def _report(
    file: TFLiteFile,
    engine: Engine,
    found: DelegateProfile,
    times: Sequence[Sequence[float]],
    warmup: int,
    versions: dict[str, str],
    machine: dict[str, Any],
    inputs: tuple[Signature, ...],
) -> ProfileReport:
    """Bring together what the delegate wrote and what the profiled and the plain child took."""
    if not found.partitions:
        raise InterpreterError(
            f"the delegate runs no operator of {file.path}; see 'nmpack inspect'"
        )
    assert engine.library is not None
    runs = len(times[0])
    taken = {(part.subgraph, node) for part in found.partitions for node in part.nodes}
    threads = max(part.threads for part in found.partitions)
    return ProfileReport(
        file.path.stem,
        engine,
        rows_of(found, file.subgraphs, engine.library, runs, warmup),
        summarise(times[0]),
        summarise(times[1]),
        sum(_within(part, runs, warmup) for part in found.partitions),
        _outside(found, times[0], warmup),
        sum(len(graph.operators) for graph in file.subgraphs) - len(taken),
        {kind: peak for count, kind, peak in found.peaks if count == threads},
        threads,
        versions,
        machine,
        inputs,
    )


def _take_turns(
    children: Sequence[EngineProcess], runs: int, warmup: int, seed: int, progress: Progress
) -> list[list[float]]:
    """Run the children in turns; returns each one's seconds. The first ``warmup`` do not count.

    Whoever has no turn is paused: its threads would wait actively.
    """
    for child in children:
        child.feed(prepare_inputs(child.inputs, seed)[0])
        child.time(0, settle=warmup)
        child.pause()
    times: list[list[float]] = [[] for _ in children]
    turns = min(_TURNS, runs)
    for turn in range(turns):
        share = runs * (turn + 1) // turns - runs * turn // turns
        for own, child in zip(times, children, strict=True):
            child.resume()
            own += child.time(share)
            child.pause()
        progress(turn + 1, turns)
    for child in children:
        child.resume()
    return times


def _within(part: ProfiledPartition, runs: int, warmup: int) -> float:
    """Return the seconds of an inference that a partition spends in none of its operators."""
    spent = zip(*(one.nanoseconds for one in part.operators), strict=True)
    rest = [whole - sum(each) for whole, each in zip(part.nanoseconds, spent, strict=True)]
    return summarise(kept_of(part, rest, runs, warmup)).median * calls_of(part, runs, warmup)


def _outside(found: DelegateProfile, seconds: Sequence[float], warmup: int) -> float:
    """Return the seconds of an inference outside of partitions: the median, if each ran once."""
    runs = len(seconds)
    kept = [kept_of(part, part.nanoseconds, runs, warmup) for part in found.partitions]
    if all(part.runs == runs + warmup for part in found.partitions):
        each = zip(seconds, *kept, strict=True)
        return max(0.0, summarise([whole - sum(parts) for whole, *parts in each]).median)
    busy = sum(
        calls_of(part, runs, warmup) * sum(times) / len(times)
        for part, times in zip(found.partitions, kept, strict=True)
    )
    return max(0.0, sum(seconds) / runs - busy)
