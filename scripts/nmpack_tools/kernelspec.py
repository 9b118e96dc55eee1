# SPDX-License-Identifier: BSD-3-Clause
"""kernels/kernels.toml, read and checked against struct xnn_nm_costs of include/xnnpack-nm.h."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kernelbounds import load_bounds
from .kernelcosts import Costs, Width, complete, read_costs, width
from .specrows import SPEC, bad, check_keys, rows, text
from .tomlfile import read_toml

_SECTIONS = ("isa", "x32-packim2col", "f32-nmspmm", "costs")


@dataclass(frozen=True, slots=True)
class Isa:
    """Where kernels are compiled, '' for everywhere, and what a processor must have.

    Scalable: how many elements a vector register holds is for the processor to say.
    """

    guard: str
    flags: str
    scalable: bool


@dataclass(frozen=True, slots=True)
class Strips:
    """What packs the strips of CNHW images, and pixels that cost the same; None: a strip's."""

    pack: str
    granularity: int | None


@dataclass(frozen=True, slots=True)
class Spec:
    isas: dict[str, Isa]
    pooling: dict[str, Width]
    strips: dict[str, Strips]
    costs: dict[str, Costs]


def load_spec(overlay: Path) -> Spec:
    """Reads the overlay's kernels.toml; raises ToolError with one sentence for what is wrong."""
    data = read_toml(overlay / SPEC, f"kernels/{SPEC}", "it lists the micro-kernels")
    bounds = load_bounds(overlay)
    check_keys("the file", data, _SECTIONS, optional=())
    isas = {name: _isa(where, row) for name, where, row in rows("isa", data)}
    pooling = {
        name: _pooling(where, row) for name, where, row in rows("x32-packim2col", data, isas)
    }
    strips = {
        name: _strips(where, row, pooling) for name, where, row in rows("f32-nmspmm", data, isas)
    }
    tables = {
        name: read_costs(where, row, bounds) for name, where, row in rows("costs", data, isas)
    }
    tables = complete(tables, bounds)
    for name, costs in tables.items():
        if costs.nmspmm and name not in strips:
            bad("f32-nmspmm", f"a table {name}, as costs.{name} has nmspmm_percent", list(strips))
    spec = Spec(isas, pooling, strips, tables)
    _check_widths(spec)
    _check_guards(spec)
    return spec


def _check_widths(spec: Spec) -> None:
    """Templates of scalable instruction sets count vector registers, the others elements."""
    for name, strip in spec.pooling.items():
        _check_width(f"x32-packim2col.{name}.strip", spec.isas[name], strip, strip)
    for name, costs in spec.costs.items():
        for member, slots in (("nmconv_percent", costs.nmconv), ("nmspmm_percent", costs.nmspmm)):
            for tile in (tile for slot in slots for tile in slot):
                _check_width(f"costs.{name}.{member}", spec.isas[name], tile.nr, tile)


def _check_width(where: str, isa: Isa, width: Width, got: object) -> None:
    if isa.scalable and not width.vectors:
        bad(where, "vector registers as '4v', since the instruction set is scalable", str(got))
    if width.vectors and not isa.scalable:
        bad(where, "a number of elements, since the instruction set is not scalable", str(got))


def _check_guards(spec: Spec) -> None:
    """What packs a strip is compiled wherever that which reads it is."""
    for name, strips in spec.strips.items():
        guard = spec.isas[strips.pack].guard
        if guard not in ("", spec.isas[name].guard):
            where = f"f32-nmspmm.{name}.pack"
            bad(where, f"an instruction set without a guard or with that of {name}", strips.pack)


def _isa(where: str, row: dict[str, Any]) -> Isa:
    check_keys(where, row, ("flags",), ("guard", "scalable"))
    guard = text(f"{where}.guard", row["guard"]) if "guard" in row else ""
    scalable = row.get("scalable", False)
    if not isinstance(scalable, bool):
        bad(f"{where}.scalable", "true or false", scalable)
    return Isa(guard, text(f"{where}.flags", row["flags"]), scalable)


def _pooling(where: str, row: dict[str, Any]) -> Width:
    check_keys(where, row, ("strip",), ())
    return width(f"{where}.strip", row["strip"])


def _strips(where: str, row: dict[str, Any], pooling: dict[str, Width]) -> Strips:
    check_keys(where, row, ("pack",), ("granularity",))
    if row["pack"] not in pooling:
        bad(f"{where}.pack", f"a table of [x32-packim2col] ({', '.join(pooling)})", row["pack"])
    granularity = row.get("granularity")
    if granularity is not None and (type(granularity) is not int or not 1 <= granularity < 2**16):
        bad(f"{where}.granularity", "a number of pixels, at least 1 and of 16 bits", granularity)
    return Strips(row["pack"], granularity)
