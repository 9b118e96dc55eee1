# SPDX-License-Identifier: BSD-3-Clause
"""kernels/kernels.toml, read and checked against struct xnn_nm_costs of include/xnnpack-nm.h."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kernelbounds import load_bounds
from .kernelcosts import Costs, Width, complete, read_costs, width
from .kerneltypes import F32, TYPES, ElementType
from .specrows import SPEC, bad, check_keys, rows, text
from .tomlfile import read_toml

_MOST_COLUMNS = 4
_TEMPLATE = re.compile(r"[a-z0-9-]+/[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Isa:
    """Where kernels are compiled, '' for everywhere, and what a processor must have.

    Scalable: how many elements a vector register holds is for the processor to say.
    """

    guard: str
    flags: str
    scalable: bool


@dataclass(frozen=True, slots=True)
class Pooling:
    """How many pixels a strip has when pooling packs it, and the template; None: one of its own."""

    strip: Width
    template: str | None


@dataclass(frozen=True, slots=True)
class Pixels:
    """How micro-kernels for NHWC images read them.

    columns are multiplied together, their weights interleaved; weight_bytes and image_bytes are how
    wide weights are packed and images are copied; input_offset, f32_sums and template as in Strips.
    """

    columns: int
    weight_bytes: int
    image_bytes: int
    input_offset: int
    f32_sums: bool
    template: str | None


@dataclass(frozen=True, slots=True)
class Strips:
    """What packs the strips of CNHW images, and pixels that cost the same; None: a strip's.

    columns are multiplied together, their weights interleaved; weight_bytes is how wide a weight is
    packed; input_offset is added to each byte of the input. f32_sums: sums are wider than elements.
    template as in Pooling.
    """

    pack: str
    granularity: int | None
    columns: int
    weight_bytes: int
    input_offset: int
    f32_sums: bool
    template: str | None


@dataclass(frozen=True, slots=True)
class TypeSpec:
    """What there is of an element type, by instruction set."""

    pooling: dict[str, Pooling]
    pixels: dict[str, Pixels]
    strips: dict[str, Strips]
    costs: dict[str, Costs]


@dataclass(frozen=True, slots=True)
class Spec:
    isas: dict[str, Isa]
    types: dict[ElementType, TypeSpec]


def load_spec(overlay: Path) -> Spec:
    """Reads the overlay's kernels.toml; raises ToolError with one sentence for what is wrong."""
    data = read_toml(overlay / SPEC, f"kernels/{SPEC}", "it lists the micro-kernels")
    bounds = load_bounds(overlay)
    others = [section for kind in TYPES if kind is not F32 for section in kind.sections]
    check_keys("the file", data, ("isa", *F32.sections), others)
    isas = {name: _isa(where, row) for name, where, row in rows("isa", data)}
    types = {}
    for kind in (kind for kind in TYPES if any(section in data for section in kind.sections)):
        check_keys("the file", data, kind.sections, data)
        types[kind] = _load_type(kind, data, isas, bounds)
        _check_widths(kind, types[kind], isas)
        _check_guards(kind, types[kind], isas)
    return Spec(isas, types)


def _load_type(
    kind: ElementType, data: dict[str, Any], isas: dict[str, Isa], bounds: dict[str, list[int]]
) -> TypeSpec:
    pooling = {name: _pooling(where, row) for name, where, row in rows(kind.packim2col, data, isas)}
    if kind.pixels is None:
        pixels = {name: _pixels(kind, "", {}) for name in isas}
    else:
        pixels = {
            name: _pixels(kind, where, row) for name, where, row in rows(kind.pixels, data, isas)
        }
    strips = {
        name: _strips(kind, where, row, pooling)
        for name, where, row in rows(kind.nmspmm, data, isas)
    }
    tables = {
        name: read_costs(where, row, bounds) for name, where, row in rows(kind.costs, data, isas)
    }
    tables = complete(kind.costs, tables, bounds)
    for name, costs in tables.items():
        if costs.nmspmm and name not in strips:
            has = f"{kind.costs}.{name} has nmspmm_percent"
            bad(kind.nmspmm, f"a table {name}, as {has}", list(strips))
        if costs.nmconv and name not in pixels:
            has = f"{kind.costs}.{name} has nmconv_percent"
            bad(kind.nmconv, f"a table {name}, as {has}", list(pixels))
    return TypeSpec(pooling, pixels, strips, tables)


def _check_widths(kind: ElementType, spec: TypeSpec, isas: dict[str, Isa]) -> None:
    """Templates of scalable instruction sets count vector registers, the others elements."""
    for name, pooling in spec.pooling.items():
        strip = pooling.strip
        _check_width(f"{kind.packim2col}.{name}.strip", isas[name], strip, strip)
    for name, costs in spec.costs.items():
        for member, slots in (("nmconv_percent", costs.nmconv), ("nmspmm_percent", costs.nmspmm)):
            for tile in (tile for slot in slots for tile in slot):
                _check_width(f"{kind.costs}.{name}.{member}", isas[name], tile.nr, tile)


def _check_width(where: str, isa: Isa, width: Width, got: object) -> None:
    if isa.scalable and not width.vectors:
        bad(where, "vector registers as '4v', since the instruction set is scalable", str(got))
    if width.vectors and not isa.scalable:
        bad(where, "a number of elements, since the instruction set is not scalable", str(got))


def _check_guards(kind: ElementType, spec: TypeSpec, isas: dict[str, Isa]) -> None:
    """What packs a strip is compiled wherever that which reads it is."""
    for name, strips in spec.strips.items():
        guard = isas[strips.pack].guard
        narrower = isas[name].guard.startswith((f"{guard} && ", f"({guard}) && "))
        if guard not in ("", isas[name].guard) and not narrower:
            where = f"{kind.nmspmm}.{name}.pack"
            expected = f"an instruction set without a guard or with one that {name}'s begins with"
            bad(where, expected, strips.pack)


def _isa(where: str, row: dict[str, Any]) -> Isa:
    check_keys(where, row, ("flags",), ("guard", "scalable"))
    guard = text(f"{where}.guard", row["guard"]) if "guard" in row else ""
    scalable = row.get("scalable", False)
    if not isinstance(scalable, bool):
        bad(f"{where}.scalable", "true or false", scalable)
    return Isa(guard, text(f"{where}.flags", row["flags"]), scalable)


def _pooling(where: str, row: dict[str, Any]) -> Pooling:
    check_keys(where, row, ("strip",), ("template",))
    return Pooling(width(f"{where}.strip", row["strip"]), _template(where, row))


def _template(where: str, row: dict[str, Any]) -> str | None:
    """Another family's, as 'family/isa'."""
    value = row.get("template")
    if value is not None and not (isinstance(value, str) and _TEMPLATE.fullmatch(value)):
        bad(f"{where}.template", "a family and an instruction set as 'f32-nmspmm/rvv'", value)
    return value


def _pixels(kind: ElementType, where: str, row: dict[str, Any]) -> Pixels:
    check_keys(where, row, (), kind.pixel_options)
    return Pixels(
        _columns(where, row),
        _bytes(kind, where, row, "weight_bytes"),
        _bytes(kind, where, row, "image_bytes"),
        _input_offset(where, row),
        _f32_sums(where, row),
        _template(where, row),
    )


def _columns(where: str, row: dict[str, Any]) -> int:
    columns = row.get("columns", 1)
    if type(columns) is not int or not 1 <= columns <= _MOST_COLUMNS:
        bad(f"{where}.columns", f"a number of columns from 1 to {_MOST_COLUMNS}", columns)
    return columns


def _bytes(kind: ElementType, where: str, row: dict[str, Any], name: str) -> int:
    """As wide as an element, or twice that."""
    size = row.get(name, kind.size)
    if type(size) is not int or size not in (kind.size, 2 * kind.size):
        bad(f"{where}.{name}", f"{kind.size} or {2 * kind.size}", size)
    return size


def _f32_sums(where: str, row: dict[str, Any]) -> bool:
    value = row.get("f32_sums", False)
    if not isinstance(value, bool):
        bad(f"{where}.f32_sums", "true or false", value)
    return value


def _input_offset(where: str, row: dict[str, Any]) -> int:
    offset = row.get("input_offset", 0)
    if type(offset) is not int or not 0 <= offset < 2**8:
        bad(f"{where}.input_offset", "a number from 0 to 255", offset)
    return offset


def _strips(
    kind: ElementType, where: str, row: dict[str, Any], pooling: dict[str, Pooling]
) -> Strips:
    check_keys(where, row, ("pack",), ("granularity", "template", *kind.options))
    if row["pack"] not in pooling:
        bad(f"{where}.pack", f"a table of [{kind.packim2col}] ({', '.join(pooling)})", row["pack"])
    granularity = row.get("granularity")
    if granularity is not None and (type(granularity) is not int or not 1 <= granularity < 2**16):
        bad(f"{where}.granularity", "a number of pixels, at least 1 and of 16 bits", granularity)
    return Strips(
        row["pack"],
        granularity,
        _columns(where, row),
        _bytes(kind, where, row, "weight_bytes"),
        _input_offset(where, row),
        _f32_sums(where, row),
        _template(where, row),
    )
