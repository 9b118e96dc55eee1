# SPDX-License-Identifier: BSD-3-Clause
"""Files that say, layer by layer, what patterns take or harm, and which one to prune to.

All are JSON with ``"schema": 1`` and ``"layers"``, numbers by layer and then by pattern, spelt as
``str(pattern)`` does. Whoever wrote them, a reader returns what is stated exactly, or raises.

- A **tuning record** has seconds; a pattern may be ``dense``. :func:`nmpack.budget.latency_costs`
  and ``nmpack search --record`` read it.
- A **plan** is a record with ``"patterns"``: of each layer the fields of its
  :class:`~nmpack.sparsity.pattern.NMPattern`, or null where it stays dense. ``nmpack tune
  --density`` writes it, ``nmpack prune --plan`` and ``nmpack finetune --plan`` read it.
- A **sensitivity record** has the harm, not negative. ``nmpack search --sensitivity`` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from nmpack.checks import FormatError, load_object, number, require_keys, shown
from nmpack.errors import ModelError, PatternError
from nmpack.files import write_json
from nmpack.sparsity.pattern import NMPattern, Pattern
from nmpack.sparsity.selection import literal_glob

#: Costs that a budget is spent from: counted for any machine, predicted for a microcontroller.
COUNTED, PREDICTED = ("macs", "weights"), ("cycles", "flash")

#: What the time of a layer that is not pruned is called.
DENSE = "dense"
_SCHEMA = 1
_LONGEST_NAME = 1000

#: By layer and then by pattern, as ``str`` spells it.
Rows = Mapping[str, Mapping[str, float]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PlanFile:
    """What a plan states.

    Attributes:
        seconds: of each layer, with each pattern that was measured and ``dense``.
        patterns: by layer; None stays dense.
        machine: what it was measured on, in words.
        threads: that shared a layer's work.
    """

    seconds: Rows
    patterns: Mapping[str, NMPattern | None]
    machine: str
    threads: int

    @property
    def mapping(self) -> dict[str, Pattern | None]:
        """The patterns by globs that match one layer each, as ``prune_`` takes them."""
        return {literal_glob(name): pattern for name, pattern in self.patterns.items()}


def save_plan(path: str | Path, plan: PlanFile) -> None:
    """Write a plan, whole or not at all."""
    patterns = {name: item and asdict(item) for name, item in plan.patterns.items()}
    content = {"machine": plan.machine, "threads": plan.threads, "patterns": patterns}
    write_json(path, {"schema": _SCHEMA, **content, "layers": plan.seconds})


def save_sensitivity(path: str | Path, harm: Mapping[str, Mapping[Any, float]]) -> None:
    """Write how much each pattern harms each layer, whole or not at all."""
    rows = {name: {str(item): value for item, value in row.items()} for name, row in harm.items()}
    write_json(path, {"schema": _SCHEMA, "layers": rows})


def load_plan(path: str | Path) -> PlanFile:
    """Read a plan.

    Raises:
        ModelError: it cannot be read, or is none.
    """

    def read(content: dict[str, Any]) -> PlanFile:
        require_keys(content, ("schema", "layers", "machine", "threads", "patterns"))
        machine, threads = content["machine"], content["threads"]
        if not isinstance(machine, str):
            raise FormatError(f"'machine' is to be a text, got {shown(machine)}")
        if type(threads) is not int or threads < 1:
            raise FormatError(f"'threads' is to be a whole number above 0, got {shown(threads)}")
        patterns = {
            name: None if item is None else _pattern(name, item)
            for name, item in _named(content["patterns"], "'patterns'").items()
        }
        return PlanFile(_rows(content["layers"]), patterns, machine, threads)

    return _load(path, "a plan of nmpack tune --density", read)


def load_seconds(path: str | Path) -> Rows:
    """Read the seconds of a tuning record, which may be a plan.

    Raises:
        ModelError: it cannot be read, or is none.
    """

    def read(content: dict[str, Any]) -> Rows:
        for extra in ("machine", "threads", "patterns"):
            content.pop(extra, None)
        require_keys(content, ("schema", "layers"))
        return _rows(content["layers"])

    return _load(path, "a tuning record of schema 1", read)


def load_sensitivity(path: str | Path) -> Rows:
    """Read a sensitivity record; names of layers may be globs.

    Raises:
        ModelError: it cannot be read, or is none.
    """

    def read(content: dict[str, Any]) -> Rows:
        require_keys(content, ("schema", "layers"))
        return _rows(content["layers"], zero=True)

    return _load(path, "a sensitivity record of schema 1", read)


def _load(path: str | Path, what: str, read: Callable[[dict[str, Any]], T]) -> T:
    try:
        content = load_object(path)
        if type(content.get("schema")) is not int or content["schema"] != _SCHEMA:
            raise FormatError(f"its schema is {shown(content.get('schema'))}")
        return read(content)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except FormatError as error:
        raise ModelError(f"{path}: expected {what}: {error}") from error


def _rows(value: object, *, zero: bool = False) -> dict[str, dict[str, float]]:
    """Check numbers by layer and pattern: above 0, or 0 where that is allowed."""
    found: dict[str, dict[str, float]] = {}
    for name, row in _named(value, "'layers'").items():
        found[name] = {}
        for pattern, item in _named(row, shown(name)).items():
            nothing = zero and type(item) in (int, float) and item == 0
            what = f"{shown(pattern)} of {shown(name)}"
            found[name][pattern] = 0.0 if nothing else number(item, what)
    return found


def _named(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{what} is to be an object, got {shown(value)}")
    for name in value:
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise FormatError(f"{what} has no printable name of a layer or pattern: {shown(name)}")
    return value


def _pattern(name: str, value: object) -> NMPattern:
    row = _named(value, shown(name))
    try:
        require_keys(row, [item.name for item in fields(NMPattern)])
        return NMPattern(**row)
    except (FormatError, PatternError) as error:
        raise FormatError(f"the pattern of {shown(name)}: {error}") from error
