# SPDX-License-Identifier: BSD-3-Clause
"""kernels/kernels.toml, read and checked against struct xnn_nm_costs of include/xnnpack-nm.h."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .console import ToolError
from .kernelcosts import HEADER, Costs, Width, complete, load_bounds, read_costs, width
from .specrows import SPEC, bad, check_keys, rows, text

_SECTIONS = ("isa", "x32-packim2col", "f32-nmspmm", "costs")


@dataclass(frozen=True, slots=True)
class Isa:
    """Where kernels are compiled, '' for everywhere, and what a processor must have."""

    guard: str
    flags: str


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
    try:
        data = tomllib.loads((overlay / SPEC).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ToolError(f"kernels/{SPEC} is missing: it lists the micro-kernels") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ToolError(f"kernels/{SPEC} is not valid TOML: {error}") from None
    bounds = load_bounds(overlay / HEADER)
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
    return Spec(isas, pooling, strips, tables)


def _isa(where: str, row: dict[str, Any]) -> Isa:
    check_keys(where, row, ("flags",), ("guard",))
    guard = text(f"{where}.guard", row["guard"]) if "guard" in row else ""
    return Isa(guard, text(f"{where}.flags", row["flags"]))


def _pooling(where: str, row: dict[str, Any]) -> Width:
    check_keys(where, row, ("strip",), ())
    return width(f"{where}.strip", row["strip"])


def _strips(where: str, row: dict[str, Any], pooling: dict[str, Width]) -> Strips:
    check_keys(where, row, ("pack",), ("granularity",))
    if row["pack"] not in pooling:
        bad(f"{where}.pack", f"a table of [x32-packim2col] ({', '.join(pooling)})", row["pack"])
    granularity = row.get("granularity")
    if granularity is not None and (type(granularity) is not int or granularity < 1):
        bad(f"{where}.granularity", "a number of pixels, at least 1", granularity)
    return Strips(row["pack"], granularity)
