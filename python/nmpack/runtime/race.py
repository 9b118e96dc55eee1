# SPDX-License-Identifier: BSD-3-Clause
"""Time what takes microseconds against its rival, on a machine that does not keep still.

Turns are short and the rivals follow each other at once, so that a change of the clock rate or a
busy neighbour meets both sides of a pair. A turn's time is that of its fastest chunk of runs: what
took the processor away in between is no part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.errors import MismatchError
from nmpack.runtime.interpreter import Engine, allocate, open_interpreter

_CHUNK_SECONDS = 1e-4
_TURN_SECONDS = 1e-3
_LEAST_CHUNKS = 2


def race(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Let the calls take turns, in an order that is reversed from round to round.

    A turn begins with a run that brings the call's data back into the caches.

    Returns:
        For each call the seconds of a run, a number a round.
    """
    slowest = max(_warm_up(call) for call in calls)
    runs = max(1, round(_CHUNK_SECONDS / slowest))
    chunks = max(_LEAST_CHUNKS, round(_TURN_SECONDS / (slowest * runs)))
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds):
        order = range(len(calls))
        for index in reversed(order) if turn % 2 else order:
            calls[index]()
            times[index].append(min(_chunk(calls[index], runs) for _ in range(chunks)))
    return times


def race_engines(
    model: str | Path, engines: Sequence[Engine], rounds: int, seed: int
) -> tuple[list[list[float]], float]:
    """Open a model of float32 or int8 images in each engine, compare outputs, and let them race.

    Returns:
        What :func:`race` does; and the largest difference from the first engine's outputs, out of
        their largest magnitude.

    Raises:
        InterpreterError: an engine refuses the model.
        MismatchError: outputs are of different shapes, or not finite.
    """
    # A delegate is kept as long as its interpreter.
    opened = [open_interpreter(model, engine) for engine in engines]
    outputs: list[list[Any]] = []
    for engine, (interpreter, _) in zip(engines, opened, strict=True):
        allocate(interpreter, model, engine)
        generator = np.random.default_rng(seed)
        for item in interpreter.get_input_details():
            interpreter.set_tensor(item["index"], _drawn(generator, item))
        interpreter.invoke()
        details = interpreter.get_output_details()
        # Distances between bytes are no bytes.
        outputs.append(
            [interpreter.get_tensor(item["index"]).astype(np.float64) for item in details]
        )
    difference = max(_difference(outputs[0], other) for other in outputs)
    return race([interpreter.invoke for interpreter, _ in opened], rounds), difference


def _drawn(generator: np.random.Generator, item: Mapping[str, Any]) -> Any:
    if item["dtype"] is np.int8:
        return generator.integers(-128, 128, item["shape"], np.int8)
    return generator.uniform(-1.0, 1.0, item["shape"]).astype(np.float32)


def _difference(reference: Sequence[Any], other: Sequence[Any]) -> float:
    largest = 0.0
    for one, two in zip(reference, other, strict=True):
        if one.shape != two.shape or not (np.isfinite(one).all() and np.isfinite(two).all()):
            raise MismatchError(
                f"expected finite outputs of shape {one.shape}, got {two.shape} or a NaN"
            )
        scale = max(float(np.abs(one).max(initial=0.0)), 1e-30)
        largest = max(largest, float(np.abs(one - two).max(initial=0.0)) / scale)
    return largest


def _warm_up(call: Callable[[], object]) -> float:
    """Return about the seconds of a run."""
    call()
    return min(_chunk(call, 1) for _ in range(3))


def _chunk(call: Callable[[], object], runs: int) -> float:
    """Return the seconds of one run, of so many in a row."""
    start = time.perf_counter_ns()
    for _ in range(runs):
        call()
    return max(time.perf_counter_ns() - start, 1) / runs / 1e9
