# SPDX-License-Identifier: BSD-3-Clause
"""The times of operators that the delegate writes as JSON, schema 1 (its option ``profile``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmpack.errors import InterpreterError
from nmpack.runtime.delegate_report import Choice, get_field, read_choice, read_file

#: The delegate keeps the last runs of each partition, so many.
MOST_RUNS = 1000


@dataclass(frozen=True, slots=True)
class ProfiledOperator:
    """An operator of a partition, in the order in which they run.

    Attributes:
        type, kind: XNNPACK's names of it and of its micro-kernel; the latter may be empty.
        kernel: where the micro-kernel is in the delegate's file; 0 when unknown.
        name: of the tensor that it writes, or reads if it is a conversion; may be empty.
        nodes: the model's operators that it computes, by index in their subgraph.
        choice: of a convolution, what was chosen and why; None otherwise.
        conversion: whether it only brings an image from one layout to the other.
        multiplications: by weights, if none of them were zero.
        nanoseconds: of each run that was kept.
    """

    type: str
    kind: str
    kernel: int
    name: str
    nodes: tuple[int, ...]
    choice: Choice | None
    conversion: bool
    multiplications: int
    nanoseconds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProfiledPartition:
    """Operators ``nodes`` of one subgraph, planned for inputs of some shapes and some threads.

    ``runs`` counts all, of which the last :data:`MOST_RUNS` are in ``nanoseconds``, which has the
    time of the whole partition, and in the operators'.
    """

    subgraph: int
    nodes: tuple[int, ...]
    inputs: tuple[tuple[int, ...], ...]
    threads: int
    runs: int
    nanoseconds: tuple[int, ...]
    operators: tuple[ProfiledOperator, ...]


@dataclass(frozen=True, slots=True)
class DelegateProfile:
    """All partitions that ran, and the most that was measured.

    ``peaks`` are numbers of threads, element types, and billions of operations a second.
    """

    partitions: tuple[ProfiledPartition, ...] = ()
    peaks: tuple[tuple[int, str, float], ...] = ()


def read_profile(path: Path) -> DelegateProfile:
    """Read a delegate's profile; an absent file means that it ran nothing.

    Raises:
        InterpreterError: the file is not a profile of schema 1.
    """
    return read_file(path, "profile", 1, _profile, DelegateProfile())


def _profile(content: Any) -> DelegateProfile:
    return DelegateProfile(
        tuple(_partition(item) for item in get_field(content, "partitions", list)),
        tuple(
            (
                get_field(item, "threads", int),
                get_field(item, "type", str),
                get_field(item, "megaflops", int) / 1e3,
            )
            for item in get_field(content, "peaks", list)
        ),
    )


def _partition(item: Any) -> ProfiledPartition:
    times = _numbers(item, "nanoseconds")
    operators = tuple(_operator(one) for one in get_field(item, "operators", list))
    runs = get_field(item, "runs", int)
    if any(len(one.nanoseconds) != len(times) for one in operators) or runs < max(len(times), 1):
        raise InterpreterError("the delegate's profile: expected a time for each operator and run")
    return ProfiledPartition(
        get_field(item, "subgraph", int),
        _numbers(item, "nodes"),
        tuple(_whole(shape, "inputs") for shape in get_field(item, "inputs", list)),
        get_field(item, "threads", int),
        runs,
        times,
        operators,
    )


def _operator(item: Any) -> ProfiledOperator:
    return ProfiledOperator(
        get_field(item, "type", str),
        get_field(item, "kind", str),
        get_field(item, "kernel", int),
        get_field(item, "name", str),
        _numbers(item, "nodes"),
        read_choice(item["layer"]) if "layer" in item else None,
        get_field(item, "conversion", bool),
        get_field(item, "multiplications", int),
        _numbers(item, "nanoseconds"),
    )


def _numbers(item: Any, key: str) -> tuple[int, ...]:
    return _whole(get_field(item, key, list), key)


def _whole(values: Any, key: str) -> tuple[int, ...]:
    if type(values) is not list or not all(type(value) is int for value in values):
        raise InterpreterError(
            f"the delegate's profile: expected whole numbers as {key!r}, got {values!r:.80}"
        )
    return tuple(values)
