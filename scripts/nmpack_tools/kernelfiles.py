# SPDX-License-Identifier: BSD-3-Clause
"""What kernels.toml stands for: kernels, their X-macro lists, and tables of configurations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from textwrap import indent

from .kernelcosts import BASE, Cost, Costs, Slot, Tile, Width
from .kernelspec import Spec

TABLES = PurePosixPath("src/configs/nm-tables.h")
HASH = PurePosixPath("src/configs/nm-hash.h")
_POOLING = {"COPY": "x32-packim2col", "MAX": "f32-maxpool-cnhw", "ADD": "f32-avgpool-cnhw"}
_VECTOR_LENGTH = "xnn_init_hardware_config()->vlenb / sizeof(float)"
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

    @property
    def template(self) -> PurePosixPath:
        return PurePosixPath("src", self.family, f"{self.isa}.c.in")

    @property
    def path(self) -> PurePosixPath:
        return PurePosixPath("src", self.family, "gen", f"{self.file}.c")


def kernels(spec: Spec) -> list[Kernel]:
    result = []
    for isa, costs in spec.costs.items():
        result += [_nmconv(isa, tile) for slot in costs.nmconv for tile in slot]
        for dense in (False, True):
            result += [_nmspmm(isa, tile, dense) for slot in costs.nmspmm for tile in slot]
    result += [_packim2col(isa, op) for isa in spec.pooling for op in _POOLING]
    return result


def _nmconv(isa: str, tile: Tile) -> Kernel:
    return Kernel(
        "f32-nmconv",
        isa,
        f"f32-nmconv-{tile}-minmax-{isa}",
        _defines(tile),
        f"xnn_f32_nmconv_minmax_ukernel_{tile}__{isa}",
        (tile.mr, tile.nr.count, _scale(tile.nr)),
    )


def _nmspmm(isa: str, tile: Tile, dense: bool) -> Kernel:
    return Kernel(
        "f32-nmspmm",
        isa,
        f"f32-nmspmm-{tile}-minmax-{isa}{'-dense' if dense else ''}",
        {**_defines(tile), "DENSE": int(dense)},
        f"xnn_f32_nmspmm_minmax_ukernel_{tile}__{isa}{'_dense' if dense else ''}",
        (tile.mr, tile.nr.count, _scale(tile.nr), str(dense).lower()),
    )


def _packim2col(isa: str, op: str) -> Kernel:
    name = f"xnn_{_POOLING[op].replace('-', '_')}_ukernel__{isa}"
    return Kernel("x32-packim2col", isa, f"{_POOLING[op]}-{isa}", {"OP": op}, name, (op,))


def _defines(tile: Tile) -> dict[str, object]:
    return {"MR": tile.mr, "LMUL" if tile.nr.vectors else "NR": tile.nr.count}


def _scale(width: Width) -> object:
    return _VECTOR_LENGTH if width.vectors else 1


def texts(spec: Spec) -> dict[PurePosixPath, str]:
    """The lists and the tables."""
    result = {}
    for family, (name, comment) in _LISTS.items():
        rows = dict.fromkeys(spec.isas, "")
        for kernel in kernels(spec):
            if kernel.family == family:
                rows[kernel.isa] += _list_row(spec, kernel)
        text = f"{_TOP}{_LIST_HEAD}// {comment}\n{_guarded(spec, rows)}"
        result[PurePosixPath("src", family, name)] = text
    tables = {isa: "\n".join(_isa_tables(spec, isa)) for isa in spec.isas}
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


def _isa_tables(spec: Spec, isa: str) -> Iterator[str]:
    """What configurations take of one instruction set, as C."""
    if isa in spec.pooling:
        fields = [
            ("copy", _packim2col(isa, "COPY").name),
            ("max", _packim2col(isa, "MAX").name),
            ("add", _packim2col(isa, "ADD").name),
            ("nr", str(spec.pooling[isa].count)),
        ]
        yield _table(f"struct xnn_cnhw_pooling_config f32_cnhw_pooling_{isa}", _fields(fields))
    if isa not in spec.costs:
        return
    costs = spec.costs[isa]
    if costs.nmconv:
        slots = "".join(_block("", _nmconv_slot(isa, slot)) for slot in costs.nmconv)
        yield _table(f"struct xnn_nmconv_config f32_nmconv_{isa}[XNN_MAX_NMCONV_KERNELS]", slots)
    if costs.nmspmm:
        slots = "".join(_block("", _nmspmm_slot(spec, isa, slot)) for slot in costs.nmspmm)
        yield _table(f"struct xnn_nmspmm_config f32_nmspmm_{isa}[XNN_MAX_NMSPMM_KERNELS]", slots)
    measured = "".join(f"// {line}\n" for line in costs.measured)
    yield _table(f"struct xnn_nm_costs nm_costs_{isa}", _cost_fields(costs), measured)


def _cost_names(spec: Spec) -> str:
    """The members of struct xnn_nm_costs as an X-macro list."""
    rows = "".join(f" \\\n  COST({name})" for name in spec.costs[BASE].members)
    return f"\n// Members of struct xnn_nm_costs.\n#define XNN_NM_COSTS(COST){rows}\n"


def _nmconv_slot(isa: str, slot: Slot) -> str:
    (tile,) = slot
    return _fields(
        [
            ("ukernel", f"(xnn_nmconv_ukernel_fn) {_nmconv(isa, tile).name}"),
            ("init", "(xnn_init_nm_params_fn) xnn_init_f32_minmax_scalar_params"),
            ("mr", str(tile.mr)),
            ("nr", str(tile.nr.count)),
        ]
    )


def _nmspmm_slot(spec: Spec, isa: str, slot: Slot) -> str:
    strips = spec.strips[isa]
    nr = next(iter(slot)).nr.count
    ukernels = ""
    for member, dense in (("ukernel", False), ("dense_ukernel", True)):
        rows = [
            f"[{tile.mr - 1}] = (xnn_nmspmm_ukernel_fn) {_nmspmm(isa, tile, dense).name},\n"
            for tile in slot
        ]
        ukernels += _block(f".{member} = ", "".join(rows))
    return ukernels + _fields(
        [
            ("pack", _packim2col(strips.pack, "COPY").name),
            ("init", "(xnn_init_nm_params_fn) xnn_init_f32_minmax_scalar_params"),
            ("mr", str(max(tile.mr for tile in slot))),
            ("nr", str(nr)),
            ("granularity", str(strips.granularity or nr)),
        ]
    )


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
