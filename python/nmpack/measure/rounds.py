# SPDX-License-Identifier: BSD-3-Clause
"""Interleaved rounds: contenders take turns, and only one of them does anything at a time.

Each round visits every contender, in an order that rotates, so that drift and noisy neighbours hit
all alike. A visit starts with one unmeasured run that brings the contender's data back into the
caches. Whoever is not visited is paused: thread pools that wait actively would take processor time
from the one that is measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from nmpack.errors import NmpackError
from nmpack.progress import Progress, silent
from nmpack.runtime.child import ChildProcess


def interleave(
    children: Sequence[ChildProcess],
    *,
    rounds: int,
    repeat: int,
    warmup: int,
    progress: Progress = silent,
    lost: dict[int, NmpackError] | None = None,
) -> list[list[tuple[float, ...]]]:
    """Time every child in every round.

    Args:
        children: fed and ready to run.
        rounds, repeat, warmup: as for :func:`nmpack.measure.benchmark.bench`.
        progress: called with (rounds done, rounds).
        lost: where given, a child that fails goes in here by its index, with what it said, and the
            others go on; without it the first failure is raised.

    Returns:
        For each child the seconds of its runs, a tuple a round.
    """
    times: list[list[tuple[float, ...]]] = [[] for _ in children]
    dropped = lost if lost is not None else {}

    def visit(index: int, runs: int, settle: int) -> tuple[float, ...]:
        if index in dropped:
            return ()
        child = children[index]
        try:
            child.resume()
            seconds = tuple(child.time(runs, settle))
            child.pause()
            return seconds
        except NmpackError as error:
            if lost is None:
                raise
            dropped[index] = error
            return ()

    for index in range(len(children)):
        visit(index, 0, warmup)
    for turn in range(rounds):
        progress(turn, rounds)
        for step in range(len(children)):
            index = (turn + step) % len(children)
            times[index].append(visit(index, repeat, 1))
    progress(rounds, rounds)
    for child in children:
        child.resume()
    return times


def require_counts(rounds: int, repeat: int, warmup: int) -> None:
    """Check how often is measured.

    Raises:
        NmpackError: too few.
    """
    for name, value, least in (("rounds", rounds, 1), ("repeat", repeat, 1), ("warmup", warmup, 0)):
        if value < least:
            raise NmpackError(f"{name} must be at least {least}, got {value}")
