# SPDX-License-Identifier: BSD-3-Clause
"""What kernels.toml stands for: kernels, their X-macro lists, and tables of configurations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from textwrap import indent

from .kernelcosts import BASE, Cost, Costs, Slot, Tile, Width
from .kernelspec import Pixels, Spec, Strips, TypeSpec
from .kerneltypes import F16, F32, ElementType

TABLES = PurePosixPath("src/configs/nm-tables.h")
HASH = PurePosixPath("src/configs/nm-hash.h")
_TOP = """\
// Auto-generated file. Do not edit!
//   Specification: kernels.toml
//   Generator: apply_patches.py
//
// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

"""
_LIST_HEAD = "// One row a micro-kernel: declaration, test and benchmark are made from it.\n"
_LISTS = {
    "f32-nmconv": (
        "f32-nmconv-minmax.h",
        "XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale): a tile is nr * nr_scale output "
        "channels wide.",
    ),
    "f32-nmspmm": (
        "f32-nmspmm-minmax.h",
        "XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, dense): mr output channels of strips "
        "of nr * nr_scale pixels.",
    ),
    "x32-packim2col": (
        "x32-packim2col.h",
        "XNN_UKERNEL(arch_flags, ukernel, op): op is COPY (bits), MAX or ADD (f32).",
    ),
    "f16-nmconv": (
        "f16-nmconv-minmax.h",
        "XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, log2_image_size, f32_sums): a tile is "
        "nr * nr_scale output channels wide.",
    ),
    "f16-nmspmm": (
        "f16-nmspmm-minmax.h",
        "XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, dense, f32_sums): mr output channels "
        "of strips of nr * nr_scale pixels.",
    ),
    "x16-packim2col": (
        "x16-packim2col.h",
        "XNN_UKERNEL(arch_flags, ukernel, op): op is COPY (bits) or MAX (f16).",
    ),
    "qs8-qc8w-nmconv": (
        "qs8-qc8w-nmconv-minmax-fp32.h",
        "XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, kr, log2_weight_size, "
        "log2_image_size, input_offset): a tile is nr * nr_scale output channels wide, kr columns "
        "at a time.",
    ),
    "qs8-qc8w-nmspmm": (
        "qs8-qc8w-nmspmm-minmax-fp32.h",
        "XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, kr, log2_weight_size, input_offset): "
        "mr output channels of strips of nr * nr_scale pixels, kr columns at a time.",
    ),
    "x8-packim2col": (
        "x8-packim2col.h",
        "XNN_UKERNEL(arch_flags, ukernel, op): op is COPY (bits) or MAX (s8).",
    ),
}
_TABLES_HEAD = """\
// Entries of configurations, and costs, of each instruction set. Widths count elements; of RISC-V
// Vector, whose registers are as long as the processor likes, registers.

#pragma once

#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/microparams-init.h"
#include "xnnpack/nm-pooling.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"
#include "xnnpack/packim2col.h"
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel: its family, what its template is given, and its row in the list."""

    family: str
    isa: str
    file: str
    defines: dict[str, object]
    name: str
    columns: tuple[object, ...]
    # Another family's, or None.
    shared_template: str | None = None

    @property
    def template(self) -> PurePosixPath:
        return PurePosixPath("src", f"{self.shared_template or f'{self.family}/{self.isa}'}.c.in")

    @property
    def path(self) -> PurePosixPath:
        return PurePosixPath("src", self.family, "gen", f"{self.file}.c")


def kernels(spec: Spec) -> list[Kernel]:
    return [kernel for kind, of_type in spec.types.items() for kernel in _kernels(kind, of_type)]


def _kernels(kind: ElementType, spec: TypeSpec) -> list[Kernel]:
    result = []
    for isa, costs in spec.costs.items():
        result += [
            _nmconv(kind, isa, spec.pixels[isa], tile) for slot in costs.nmconv for tile in slot
        ]
        for dense in (False, True) if kind.dense else (False,):
            result += [
                _nmspmm(kind, isa, spec.strips[isa], tile, dense)
                for slot in costs.nmspmm
                for tile in slot
            ]
    for isa, pooling in spec.pooling.items():
        result += [_packim2col(kind, isa, op, pooling.template) for op in kind.pooling]
    return result


def _nmconv(kind: ElementType, isa: str, pixels: Pixels, tile: Tile) -> Kernel:
    shape = _shape(tile, pixels.columns)
    columns: tuple[object, ...] = (tile.mr, tile.nr.count, _scale(kind, tile.nr))
    if "columns" in kind.pixel_options:
        columns += (pixels.columns, _log2(pixels.weight_bytes))
    if "image_bytes" in kind.pixel_options:
        columns += (_log2(pixels.image_bytes),)
    if "f32_sums" in kind.pixel_options:
        columns += (_c_bool(pixels.f32_sums),)
    if "input_offset" in kind.pixel_options:
        columns += (pixels.input_offset,)
    name = _with_sums(kind.nmconv, pixels.f32_sums)
    return Kernel(
        kind.nmconv,
        isa,
        f"{name}-{shape}-{kind.variant}-{isa}",
        {**_defines(tile), "DATATYPE": kind.name.upper()},
        f"xnn_{_c(name)}_{_c(kind.variant)}_ukernel_{shape}__{isa}",
        columns,
        pixels.template,
    )


def _nmspmm(kind: ElementType, isa: str, strips: Strips, tile: Tile, dense: bool) -> Kernel:
    shape = _shape(tile, strips.columns)
    columns: tuple[object, ...] = (tile.mr, tile.nr.count, _scale(kind, tile.nr))
    defines: dict[str, object] = {"DATATYPE": kind.name.upper()}
    if kind.dense:
        defines["DENSE"] = int(dense)
        columns += (_c_bool(dense),)
    if "f32_sums" in kind.options:
        columns += (_c_bool(strips.f32_sums),)
    if "columns" in kind.options:
        columns += (strips.columns, _log2(strips.weight_bytes), strips.input_offset)
    name = _with_sums(kind.nmspmm, strips.f32_sums)
    return Kernel(
        kind.nmspmm,
        isa,
        f"{name}-{shape}-{kind.variant}-{isa}{'-dense' if dense else ''}",
        {**_defines(tile), **defines},
        f"xnn_{_c(name)}_{_c(kind.variant)}_ukernel_{shape}__{isa}{'_dense' if dense else ''}",
        columns,
        strips.template,
    )


def _packim2col(kind: ElementType, isa: str, op: str, template: str | None) -> Kernel:
    name = f"xnn_{_c(kind.pooling[op])}_ukernel__{isa}"
    defines = {"OP": op, "DATATYPE": kind.name.upper()}
    return Kernel(kind.packim2col, isa, f"{kind.pooling[op]}-{isa}", defines, name, (op,), template)


def _with_sums(family: str, f32_sums: bool) -> str:
    return family.replace("-", "-f32acc-", 1) if f32_sums else family


def _c_bool(value: bool) -> str:
    return str(value).lower()


def _c(name: str) -> str:
    return name.replace("-", "_")


def _shape(tile: Tile, columns: int) -> str:
    return f"{tile}c{columns}" if columns > 1 else f"{tile}"


def _log2(size: int) -> int:
    return size.bit_length() - 1


def _defines(tile: Tile) -> dict[str, object]:
    return {"MR": tile.mr, "LMUL" if tile.nr.vectors else "NR": tile.nr.count}


def _scale(kind: ElementType, width: Width) -> object:
    """How many elements, of qs8 sums, the unit of width has."""
    element = "xnn_float16" if kind is F16 else "float"
    return f"xnn_init_hardware_config()->vlenb / sizeof({element})" if width.vectors else 1


def texts(spec: Spec) -> dict[PurePosixPath, str]:
    """The lists and the tables."""
    result = {}
    families = {f for kind in spec.types for f in (kind.nmconv, kind.nmspmm, kind.packim2col)}
    for family, (name, comment) in _LISTS.items():
        if family not in families:
            continue
        rows = dict.fromkeys(spec.isas, "")
        for kernel in kernels(spec):
            if kernel.family == family:
                rows[kernel.isa] += _list_row(spec, kernel)
        text = f"{_TOP}{_LIST_HEAD}// {comment}\n{_guarded(spec, rows)}"
        result[PurePosixPath("src", family, name)] = text
    tables = {
        isa: "\n".join(
            table for kind, of in spec.types.items() for table in _isa_tables(kind, of, isa)
        )
        for isa in spec.isas
    }
    result[TABLES] = (
        _TOP + _TABLES_HEAD + _cost_names(spec) + _guarded(spec, tables, separator="\n")
    )
    return result


def hash_header(digest: str) -> str:
    """The header that tells kernels and operators from those of another version."""
    return (
        f"{_TOP}// Of the sources of kernels and operators: times are of these and no others.\n\n"
        f'#pragma once\n\n#define XNN_NM_SOURCES_HASH "{digest}"\n'
    )


def _list_row(spec: Spec, kernel: Kernel) -> str:
    columns = (spec.isas[kernel.isa].flags, kernel.name, *kernel.columns)
    return f"XNN_UKERNEL({', '.join(map(str, columns))})\n"


def _guarded(spec: Spec, parts: dict[str, str], separator: str = "") -> str:
    """Parts of instruction sets, by name, each where its kernels are compiled."""
    result = ""
    for guard, names in groupby((isa for isa in parts if parts[isa]), lambda i: spec.isas[i].guard):
        text = separator.join(parts[name] for name in names)
        result += f"\n#if {guard}\n{text}#endif  // {guard}\n" if guard else f"\n{text}"
    return result


def _isa_tables(kind: ElementType, spec: TypeSpec, isa: str) -> Iterator[str]:
    """What configurations take of one instruction set, as C."""
    if isa in spec.pooling:
        members = {"COPY": "copy", "MAX": "max", "ADD": "add"}
        fields = [(members[op], _packim2col(kind, isa, op, None).name) for op in kind.pooling]
        fields.append(("nr", str(spec.pooling[isa].strip.count)))
        name = f"{kind.pooling['MAX'].partition('-')[0]}_cnhw_pooling_{isa}"
        yield _table(f"struct xnn_cnhw_pooling_config {name}", _fields(fields))
    if isa not in spec.costs:
        return
    costs = spec.costs[isa]
    if costs.nmconv:
        slots = "".join(_block("", _nmconv_slot(kind, spec, isa, slot)) for slot in costs.nmconv)
        name = f"{_c(kind.nmconv)}_{isa}"
        yield _table(f"struct xnn_nmconv_config {name}[XNN_MAX_NMCONV_KERNELS]", slots)
    if costs.nmspmm:
        slots = "".join(_block("", _nmspmm_slot(kind, spec, isa, slot)) for slot in costs.nmspmm)
        name = f"{_c(kind.nmspmm)}_{isa}"
        yield _table(f"struct xnn_nmspmm_config {name}[XNN_MAX_NMSPMM_KERNELS]", slots)
    measured = "".join(f"// {line}\n" for line in costs.measured)
    name = f"{'' if kind is F32 else f'{kind.name}_'}nm_costs_{isa}"
    yield _table(f"struct xnn_nm_costs {name}", _cost_fields(costs), measured)


def _cost_names(spec: Spec) -> str:
    """The members of struct xnn_nm_costs as an X-macro list."""
    members = spec.types[F32].costs[BASE].members
    rows = "".join(f" \\\n  COST({name})" for name in members)
    return f"\n// Members of struct xnn_nm_costs.\n#define XNN_NM_COSTS(COST){rows}\n"


def _nmconv_slot(kind: ElementType, spec: TypeSpec, isa: str, slot: Slot) -> str:
    (tile,) = slot
    pixels = spec.pixels[isa]
    ukernel = _nmconv(kind, isa, pixels, tile).name
    fields = [
        ("ukernel", f"(xnn_nmconv_ukernel_fn) {ukernel}"),
        ("mr", str(tile.mr)),
        ("nr", str(tile.nr.count)),
        ("log2_image_size", str(_log2(pixels.image_bytes))),
    ]
    weights = [
        ("kr", str(pixels.columns)),
        ("log2_size", str(_log2(pixels.weight_bytes))),
        ("input_offset", str(pixels.input_offset)),
    ]
    return _fields(fields) + _block(".weights = ", _fields(weights))


def _nmspmm_slot(kind: ElementType, spec: TypeSpec, isa: str, slot: Slot) -> str:
    strips = spec.strips[isa]
    nr = next(iter(slot)).nr.count
    ukernels = ""
    variants = (
        (("ukernel", False), ("dense_ukernel", True)) if kind.dense else (("ukernel", False),)
    )
    for member, dense in variants:
        rows = [
            f"[{tile.mr - 1}] = (xnn_nmspmm_ukernel_fn) "
            f"{_nmspmm(kind, isa, strips, tile, dense).name},\n"
            for tile in slot
        ]
        ukernels += _block(f".{member} = ", "".join(rows))
    packed = [
        ("pack", _packim2col(kind, strips.pack, "COPY", None).name),
        ("mr", str(max(tile.mr for tile in slot))),
        ("nr", str(nr)),
        ("granularity", str(strips.granularity or nr)),
    ]
    weights = [
        ("kr", str(strips.columns)),
        ("log2_size", str(_log2(strips.weight_bytes))),
        ("input_offset", str(strips.input_offset)),
    ]
    return ukernels + _fields(packed) + _block(".weights = ", _fields(weights))


def _cost_fields(costs: Costs) -> str:
    return _fields([(name, _value(value)) for name, value in costs.members.items()])


def _value(value: Cost | Slot) -> str:
    if isinstance(value, float):
        return f"{value!r}f"
    if isinstance(value, dict):  # by rows
        return "{" + ", ".join(f"[{t.mr - 1}] = {_value(cost)}" for t, cost in value.items()) + "}"
    items = [_value(item) for item in value]
    if isinstance(value[0], dict):
        return "{\n" + "".join(f"  {item},\n" for item in items) + "}"
    return "{" + ", ".join(items) + "}"


def _table(declaration: str, content: str, comment: str = "") -> str:
    return f"{comment}static const {declaration} = {{\n{indent(content, '  ')}}};\n"


def _fields(fields: list[tuple[str, str]]) -> str:
    return "".join(f".{name} = {value},\n" for name, value in fields)


def _block(head: str, content: str) -> str:
    return f"{head}{{\n{indent(content, '  ')}}},\n"
