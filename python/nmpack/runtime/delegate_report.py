# SPDX-License-Identifier: BSD-3-Clause
"""The report that the delegate writes as JSON, schema 3: what it runs, how, and what it left."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nmpack.errors import InterpreterError

T = TypeVar("T")
_KINDS = {int: "a whole number", str: "a string", bool: "true or false", list: "a list"}


@dataclass(frozen=True, slots=True)
class Choice:
    """How the delegate runs one layer.

    Attributes:
        node: index in the operators of its subgraph.
        operator: ``nm`` or ``dense``.
        reason: why.
        layout: ``NHWC`` or ``CNHW``.
        fused_addition: whether it adds a residual, too.
        tile_height: output channels per tile of the kernel, 0 when unknown.
        column_density, predicted_speedup: None when unknown.
    """

    node: int
    operator: str
    reason: str
    layout: str
    fused_addition: bool
    tile_height: int
    column_density: float | None
    predicted_speedup: float | None


@dataclass(frozen=True, slots=True)
class Partition:
    """Operators ``nodes`` of one subgraph, which the delegate runs as one.

    ``layout_conversions`` are the images that it brings from one layout to the other.
    """

    subgraph: int
    nodes: tuple[int, ...]
    layout_conversions: int
    layers: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class LeftOperator:
    """An operator that the delegate left to the interpreter; ``operator`` is its built-in code."""

    subgraph: int
    node: int
    operator: int
    reason: str


@dataclass(frozen=True, slots=True)
class DelegateReport:
    """All partitions, and all operators that were left."""

    partitions: tuple[Partition, ...] = ()
    left: tuple[LeftOperator, ...] = ()


def read_report(path: Path) -> DelegateReport:
    """Read a delegate's report; an absent file means that it took nothing.

    Raises:
        InterpreterError: the file is not a report of schema 3.
    """
    return read_file(path, "report", 3, _report, DelegateReport())


def read_file(path: Path, what: str, schema: int, read: Callable[[Any], T], absent: T) -> T:
    """Read what the delegate wrote as JSON of a schema; an absent file is ``absent``.

    Raises:
        InterpreterError: the file is not such a ``what``.
    """
    if not path.exists():
        return absent
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        found = content.get("schema") if isinstance(content, dict) else None
        if type(found) is not int or found != schema:
            raise InterpreterError(
                f"expected a delegate {what} of schema {schema}, got {content!r:.80}"
            )
        return read(content)
    except (OSError, ValueError, RecursionError, OverflowError) as error:
        raise InterpreterError(f"the delegate's {what} cannot be read: {error!r:.200}") from error


def _report(content: Any) -> DelegateReport:
    return DelegateReport(
        tuple(_partition(item) for item in get_field(content, "partitions", list)),
        tuple(_left(item) for item in get_field(content, "left", list)),
    )


def _partition(item: Any) -> Partition:
    nodes = get_field(item, "nodes", list)
    if not all(type(node) is int for node in nodes):
        raise InterpreterError(
            f"the delegate's report: expected whole numbers as 'nodes', got {nodes!r:.80}"
        )
    return Partition(
        get_field(item, "subgraph", int),
        tuple(nodes),
        get_field(item, "layout_conversions", int),
        tuple(read_choice(choice) for choice in get_field(item, "layers", list)),
    )


def read_choice(item: Any) -> Choice:
    return Choice(
        get_field(item, "node", int),
        get_field(item, "operator", str),
        get_field(item, "reason", str),
        get_field(item, "layout", str),
        get_field(item, "fused_addition", bool),
        get_field(item, "tile_height", int),
        _number(item, "column_density"),
        _number(item, "predicted_speedup"),
    )


def _left(item: Any) -> LeftOperator:
    return LeftOperator(
        get_field(item, "subgraph", int),
        get_field(item, "node", int),
        get_field(item, "operator", int),
        get_field(item, "reason", str),
    )


def get_field(item: Any, key: str, kind: type) -> Any:
    """Return a field that must be there, of exactly this type: true is no number."""
    value = item.get(key) if isinstance(item, dict) else None
    if type(value) is not kind:
        raise InterpreterError(
            f"the delegate's report: expected {_KINDS[kind]} as {key!r}, got {value!r:.80} "
            f"in {item!r:.80}"
        )
    return value


def _number(item: dict[str, Any], key: str) -> float | None:
    """Return a finite number, or None where the delegate wrote null: JSON has no infinity."""
    value = item.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value):
        raise InterpreterError(
            f"the delegate's report: expected a number or null as {key!r}, got {value!r:.80}"
        )
    return float(value)
