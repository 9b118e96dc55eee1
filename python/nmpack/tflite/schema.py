# SPDX-License-Identifier: BSD-3-Clause
"""TFLite's schema by name: where a field is in its table, of what type, and what numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from nmpack.tflite.schema_data import ENUMERATIONS, TABLES


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a table.

    Attributes:
        name, slot: as the schema has them.
        kind: a :mod:`struct` code, ``str``, ``union`` or the name of a table.
        many: whether it is a vector of that.
        names: the enumeration of a number, and of a union's tables; empty for other fields.
        default: what a number is that the file leaves out.
    """

    name: str
    slot: int
    kind: str
    many: bool
    names: str
    default: int | float | bool


@cache
def fields(table: str) -> dict[str, Field]:
    """Return the fields of a table, by name and in the schema's order."""
    found = {}
    for slot, text in enumerate(TABLES.get(table, "").split()):
        if text != "-":
            name, _, rest = text.partition(":")
            kind, _, default = rest.partition("=")
            plain, _, names = kind.strip("[]").partition("/")
            found[name] = Field(
                name, slot, plain, kind.startswith("["), names, _default(plain, default)
            )
    return found


def _default(kind: str, text: str) -> int | float | bool:
    if kind == "?":
        return text == "True"
    return float(text or 0) if kind in ("f", "d") else int(text or 0)


@cache
def names_of(enumeration: str) -> tuple[str, ...]:
    """Return the names of an enumeration in the order of their numbers, from 0 on."""
    return tuple(ENUMERATIONS[enumeration].split())


def name_of(enumeration: str, number: int) -> str:
    """Return the name of a number, or ``Padding 7``: a newer schema may have more."""
    names = names_of(enumeration)
    return names[number] if 0 <= number < len(names) else f"{enumeration} {number}"
