# SPDX-License-Identifier: BSD-3-Clause
"""Where the time of a model goes: each operator of the delegate, timed while the model runs.

The delegate times its operators on request (its option ``profile``). A second process runs the
model without, in turns with the first, so that it can be said what asking cost. The peak is that
of a loop of multiply-adds that needs no memory, which the delegate runs on the same threads.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nmpack.errors import InterpreterError, NmpackError
from nmpack.measure.machine import describe_machine
from nmpack.measure.profile_report import OperatorRow, ProfileReport
from nmpack.measure.stats import summarise
from nmpack.progress import Progress, silent
from nmpack.runtime.delegate_profile import (
    MOST_RUNS,
    DelegateProfile,
    ProfiledOperator,
    ProfiledPartition,
    read_profile,
)
from nmpack.runtime.elf import read_functions
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.process import EngineProcess
from nmpack.runtime.runner import prepare_inputs
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import Subgraph
from nmpack.tflite.names import short_names
from nmpack.tflite.operator_codes import operator_name

_KERNEL = re.compile(
    r"_(gemm|igemm|dwconv|nmconv|nmspmm|spmm|vmulcaddc)_\w*?ukernel_([0-9a-z]+)__([0-9a-z]+)"
)
_LAYOUT = re.compile(r"\b(NHWC|CNHW|NCHW)\b")
_TURNS = 5


def profile(
    model: str | Path,
    *,
    engine: Engine | None = None,
    runs: int = 50,
    warmup: int = 5,
    seed: int = 0,
    progress: Progress = silent,
) -> ProfileReport:
    """Time every operator that the delegate runs.

    Args:
        model: path of a ``.tflite`` file.
        engine: our delegate and how it runs, :func:`nmpack_engine` by default.
        runs: inferences that count, 1 to 1000 with the ``warmup`` before them, which do not.
        seed: of the random inputs.
        progress: called with (done, total).

    Raises:
        ModelError: the file is not a usable model.
        MissingError, InterpreterError: see :class:`EngineProcess`; the delegate runs nothing of it.
        NmpackError: an argument is out of range, or the engine has no delegate.
    """
    if runs < 1 or warmup < 0 or runs + warmup > MOST_RUNS:
        raise NmpackError(
            f"expected at least 1 run, and with the warm-up at most {MOST_RUNS}, "
            f"got {runs} and {warmup}"
        )
    engine = engine or nmpack_engine()
    if engine.library is None:
        raise NmpackError("expected an engine with a delegate, got the interpreter alone")
    file = TFLiteFile(model)
    with tempfile.TemporaryDirectory(prefix="nmpack-") as folder:
        path = Path(folder) / "profile.json"
        asking = replace(engine, options=dict(engine.options) | {"profile": str(path)})
        machine = describe_machine()
        with EngineProcess(model, engine) as plain, EngineProcess(model, asking) as profiled:
            times = _take_turns((profiled, plain), runs, warmup, seed, progress)
            versions = profiled.versions
        found = read_profile(path)
    if not found.partitions:
        raise InterpreterError(f"the delegate runs no operator of {model}; see 'nmpack inspect'")
    rows = _rows(found, file.subgraphs, engine.library, runs, warmup)
    taken = {(part.subgraph, node) for part in found.partitions for node in part.nodes}
    threads = max(part.threads for part in found.partitions)
    return ProfileReport(
        Path(model).stem,
        engine,
        rows,
        summarise(times[0]),
        summarise(times[1]),
        sum(_within(part, runs, warmup) for part in found.partitions),
        _outside(found, times[0], warmup),
        sum(len(graph.operators) for graph in file.subgraphs) - len(taken),
        dict(found.peaks).get(threads),
        threads,
        versions,
        machine,
    )


def _take_turns(
    children: Sequence[EngineProcess], runs: int, warmup: int, seed: int, progress: Progress
) -> list[list[float]]:
    """Run the children in turns; returns each one's seconds. The first ``warmup`` do not count."""
    for child in children:
        child.feed(prepare_inputs(child.inputs, seed)[0])
        child.time(0, settle=warmup)
    times: list[list[float]] = [[] for _ in children]
    turns = min(_TURNS, runs)
    for turn in range(turns):
        share = runs * (turn + 1) // turns - runs * turn // turns
        for own, child in zip(times, children, strict=True):
            own += child.time(share)
        progress(turn + 1, turns)
    return times


def _calls(part: ProfiledPartition, runs: int, warmup: int) -> float:
    """How often a partition runs in one inference: in loops and branches not once."""
    return part.runs / (runs + warmup)


def _kept(part: ProfiledPartition, times: Sequence[int], runs: int, warmup: int) -> Sequence[float]:
    """Return the seconds of what ran after the warm-up."""
    count = min(len(times), max(1, round(_calls(part, runs, warmup) * runs)))
    return [value / 1e9 for value in times[len(times) - count :]]


def _within(part: ProfiledPartition, runs: int, warmup: int) -> float:
    """Return the seconds of an inference that a partition spends in none of its operators."""
    spent = zip(*(one.nanoseconds for one in part.operators), strict=True)
    rest = [whole - sum(each) for whole, each in zip(part.nanoseconds, spent, strict=True)]
    return summarise(_kept(part, rest, runs, warmup)).median * _calls(part, runs, warmup)


def _outside(found: DelegateProfile, seconds: Sequence[float], warmup: int) -> float:
    """Return the seconds of an inference outside of partitions: the median, if each ran once."""
    runs = len(seconds)
    kept = [_kept(part, part.nanoseconds, runs, warmup) for part in found.partitions]
    if all(part.runs == runs + warmup for part in found.partitions):
        each = zip(seconds, *kept, strict=True)
        return max(0.0, summarise([whole - sum(parts) for whole, *parts in each]).median)
    busy = sum(
        _calls(part, runs, warmup) * sum(times) / len(times)
        for part, times in zip(found.partitions, kept, strict=True)
    )
    return max(0.0, sum(seconds) / runs - busy)


def _rows(
    found: DelegateProfile, graphs: tuple[Subgraph, ...], library: str, runs: int, warmup: int
) -> tuple[OperatorRow, ...]:
    functions = read_functions(library)
    every = [(part, one) for part in found.partitions for one in part.operators]
    tensors = list(dict.fromkeys(one.name for _, one in every))
    names = dict(zip(tensors, short_names(tensors), strict=True))
    places = {id(part): place for place, part in enumerate(found.partitions)}
    rows = []
    for part, one in every:
        symbol = functions.at(one.kernel) if one.kernel else None
        seconds = _kept(part, one.nanoseconds, runs, warmup)
        rows.append(
            OperatorRow(
                part.subgraph,
                places[id(part)],
                one.nodes,
                _file_operators(graphs, part.subgraph, one.nodes),
                names[one.name],
                one.name,
                _operator(one),
                _kernel(one, symbol),
                symbol,
                _layout(one),
                _density(one),
                one.multiplications,
                summarise(seconds),
                seconds[0],
                _calls(part, runs, warmup),
            )
        )
    return tuple(rows)


def _file_operators(
    graphs: tuple[Subgraph, ...], subgraph: int, nodes: tuple[int, ...]
) -> tuple[str, ...]:
    if not 0 <= subgraph < len(graphs):
        raise InterpreterError(f"the delegate's profile names subgraph {subgraph}: not in the file")
    operators = graphs[subgraph].operators
    if not all(0 <= node < len(operators) for node in nodes):
        raise InterpreterError(
            f"the delegate's profile names operators {list(nodes)} of subgraph {subgraph}, which "
            f"has {len(operators)}"
        )
    return tuple(operator_name(operators[node].code) for node in nodes)


def _operator(one: ProfiledOperator) -> str:
    if one.conversion:
        return "Layout conversion"
    fused = " + add" if one.choice is not None and one.choice.fused_addition else ""
    return one.type.partition(" (")[0] + fused


def _kernel(one: ProfiledOperator, symbol: str | None) -> str:
    """Return the micro-kernel's family, tile and instruction set, as its name has them."""
    match = _KERNEL.search(symbol or "")
    if match is None:
        return one.kind.lower()
    family, tile, isa = match.groups()
    # Blocks of rows are of any height up to that of the tallest.
    return f"{family} {'up to ' if family == 'nmspmm' else ''}{tile} {isa}"


def _layout(one: ProfiledOperator) -> str:
    if one.choice is not None:
        return one.choice.layout
    match = _LAYOUT.search(one.type)
    return match[0] if match else ""


def _density(one: ProfiledOperator) -> float | None:
    """Dense operators compute with every weight, also with those that are zero."""
    if one.multiplications == 0:
        return None
    choice = one.choice
    if choice is None or choice.operator != "nm" or choice.column_density is None:
        return 1.0
    return choice.column_density
