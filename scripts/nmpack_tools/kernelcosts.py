# SPDX-License-Identifier: BSD-3-Clause
"""The [costs] of kernels/kernels.toml, checked against struct xnn_nm_costs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from .specrows import bad, check_keys, text

# The costs that others fall back on.
BASE = "scalar"
_MICRO_KERNELS = ("nmconv_percent", "nmspmm_percent")
_MAX_COST = 1e9


@dataclass(frozen=True, slots=True)
class Width:
    """Elements; or vector registers, however long they are."""

    count: int
    vectors: bool

    def __str__(self) -> str:
        return f"{self.count}{'v' if self.vectors else ''}"


@dataclass(frozen=True, slots=True)
class Tile:
    mr: int
    nr: Width

    def __str__(self) -> str:
        return f"{self.mr}x{self.nr}"


# The kernels of one entry of a configuration, with their costs.
Slot = dict[Tile, float]
Cost = float | list[float] | list[Slot]


@dataclass(frozen=True, slots=True)
class Costs:
    """Every member of struct xnn_nm_costs, and the kernels that are this table's own, by slot.

    ``like`` names the table that has what this one does not state. ``of_scalar`` names the members
    that state what the base's micro-kernels, which run here, too, cost beside this unit.
    """

    like: str
    of_scalar: tuple[str, ...]
    measured: tuple[str, ...]
    members: dict[str, Cost]
    nmconv: list[Slot]
    nmspmm: list[Slot]


def width(where: str, value: object) -> Width:
    match = re.match(r"([1-9]\d{0,3})(v?)\Z", value) if isinstance(value, str) else None
    if match is None:
        bad(where, "a number of elements as '64' or of vector registers as '4v'", value)
    return Width(int(match[1]), match[2] == "v")


def read_costs(where: str, row: dict[str, Any], bounds: dict[str, list[int]]) -> Costs:
    check_keys(where, row, ("measured",), ("like", "of_scalar", *bounds))
    like = text(f"{where}.like", row.get("like", BASE))
    shared = row.get("of_scalar", [])
    if not isinstance(shared, list) or any(name not in _MICRO_KERNELS for name in shared):
        bad(f"{where}.of_scalar", f"a list of some of {', '.join(_MICRO_KERNELS)}", shared)
    if not isinstance(row["measured"], list):
        bad(f"{where}.measured", "a list of lines of text", row["measured"])
    measured = tuple(text(f"{where}.measured", line) for line in row["measured"])
    members: dict[str, Cost] = {}
    nmconv: list[Slot] = []
    nmspmm: list[Slot] = []
    for name, value in row.items():
        here, limits = f"{where}.{name}", bounds.get(name)
        if limits is None:  # measured, like, of_scalar
            continue
        if not limits:
            members[name] = _number(here, value)
        elif name == "nmconv_percent":
            nmconv = _slots(here, value, limits, one=True)
            members[name] = [cost for slot in nmconv for cost in slot.values()]
        elif name == "nmspmm_percent":
            members[name] = nmspmm = _slots(here, value, limits, one=False)
        else:
            members[name] = [_number(here, item) for item in _list(here, value, limits)]
    if like != BASE and (nmconv or nmspmm):
        bad(f"{where}.like", "it where no micro-kernels are stated", like)
    return Costs(like, tuple(shared), measured, members, nmconv, nmspmm)


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        bad(where, "a number", value)
    if not 0 <= value <= _MAX_COST:
        bad(where, f"a number from 0 to {_MAX_COST:g}", value)
    return float(value)


def _list(where: str, value: object, limits: list[int]) -> list[object]:
    if not isinstance(value, list) or not 1 <= len(value) <= limits[0]:
        bad(where, f"a list of 1 to {limits[0]} entries, one a slot", value)
    return value


def _slots(where: str, value: object, limits: list[int], *, one: bool) -> list[Slot]:
    """Slots of nmconv, of one micro-kernel each, or of nmspmm, from one row up."""
    slots = [_slot(where, item) for item in _list(where, value, limits)]
    for slot in slots:
        tiles = list(map(str, slot))
        if one and len(slot) != 1:
            bad(where, "one micro-kernel a slot", tiles)
        if len({tile.nr for tile in slot}) != 1:
            bad(where, "micro-kernels of one width in a slot", tiles)
        rows = {tile.mr for tile in slot}
        if max(rows) > limits[1] or (not one and 1 not in rows):
            among = "" if one else ", 1 among them"
            bad(where, f"micro-kernels of 1 to {limits[1]} rows in a slot{among}", tiles)
    keys = [str(next(iter(slot)) if one else next(iter(slot)).nr) for slot in slots]
    if len(set(keys)) != len(keys):
        bad(where, "slots that differ", keys)
    return slots


def _slot(where: str, value: object) -> Slot:
    if not isinstance(value, dict):
        bad(where, "a table of micro-kernels as { 6x16 = 100 }", value)
    return {_tile(where, name): _number(f"{where}.{name}", cost) for name, cost in value.items()}


def _tile(where: str, name: str) -> Tile:
    match = re.match(r"([1-9]\d{0,3})x([1-9]\d{0,3}v?)\Z", name)
    if match is None:
        bad(where, "a tile as '6x16' or '7x4v'", name)
    return Tile(int(match[1]), width(where, match[2]))


def complete(
    section: str, tables: dict[str, Costs], bounds: dict[str, list[int]]
) -> dict[str, Costs]:
    """With the base's or another's costs for what a table leaves out; checks that slots match."""
    if BASE not in tables:
        bad(section, f"a table {BASE}, which others fall back on", list(tables))
    base = tables[BASE].members
    for name in bounds:
        if name not in base:
            expected = f"every member of struct xnn_nm_costs, {name} too"
            bad(f"{section}.{BASE}", expected, list(base))
    result = {}
    for isa, costs in tables.items():
        other = tables.get(costs.like)
        if other is None or other.like != BASE:
            bad(f"{section}.{isa}.like", "a table that is like no other", costs.like)
        known = base | other.members | costs.members
        members = {name: known[name] for name in bounds}
        lengths = {name: len(value) for name, value in members.items() if isinstance(value, list)}
        slots = lengths["nmspmm_percent"]
        for name, length in lengths.items():
            if name != "nmconv_percent" and length != slots:
                expected = f"{slots} entries, as nmspmm_percent has"
                bad(f"{section}.{isa}.{name}", expected, members[name])
        result[isa] = replace(_own(section, isa, costs, tables[BASE]), members=members)
    return result


def _own(section: str, isa: str, costs: Costs, base: Costs) -> Costs:
    """Without the micro-kernels that are the base's; checks that they are."""
    stated = dict(zip(_MICRO_KERNELS, (costs.nmconv, costs.nmspmm), strict=True))
    theirs = dict(zip(_MICRO_KERNELS, (base.nmconv, base.nmspmm), strict=True))
    for name in costs.of_scalar:
        tiles, expected = ([[str(t) for t in slot] for slot in of[name]] for of in (stated, theirs))
        if isa == BASE or tiles != expected:
            bad(f"{section}.{isa}.{name}", f"the tiles of {BASE}, {expected}", tiles)
    nmconv, nmspmm = ([] if name in costs.of_scalar else stated[name] for name in _MICRO_KERNELS)
    return replace(costs, nmconv=nmconv, nmspmm=nmspmm)
