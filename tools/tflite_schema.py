#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes python/nmpack/tflite/schema_data.py: every table and enumeration of TFLite's schema.

They are taken from the module that flatc made of the schema in ai-edge-litert, at the version that
requirements/main.lock pins. Each accessor there is called once on a table that is not there, which
shows the default, and once on one that notes what is asked of it, which shows slot and type. What
flatc does not keep, which numbers belong to an enumeration, is stated here: a field of one byte
that is in no list is an error.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

TARGET = Path(__file__).resolve().parents[1] / "python/nmpack/tflite/schema_data.py"

_HEAD = '''# SPDX-License-Identifier: BSD-3-Clause
"""TFLite's schema, version 3. Made by tools/tflite_schema.py: edit that, not this.

A table is a list of ``name:type`` or ``name:type=default`` in the order of slots, ``-`` for one
that is no longer used; tables without fields are not listed. A type is a :mod:`struct` code,
``str``, a table, or ``union/`` and the enumeration that lists its tables; ``code/enumeration`` is a
number with names; ``[type]`` a vector.
"""

from __future__ import annotations
'''

#: Struct codes by flatbuffers' names of numbers.
_CODES = {
    "BoolFlags": "?",
    "Int8Flags": "b",
    "Uint8Flags": "B",
    "Int16Flags": "h",
    "Uint16Flags": "H",
    "Int32Flags": "i",
    "Uint32Flags": "I",
    "Int64Flags": "q",
    "Uint64Flags": "Q",
    "Float32Flags": "f",
    "Float64Flags": "d",
}

#: Enumerations of fields of one byte, by name; by table and name where that says more.
_ENUMERATIONS = {
    "LSHProjectionOptions.type": "LSHProjectionType",
    "algorithm": "RngAlgorithm",
    "array_indices_type": "SparseIndexVector",
    "array_segments_type": "SparseIndexVector",
    "builtin_options_2_type": "BuiltinOptions2",
    "builtin_options_type": "BuiltinOptions",
    "combiner": "CombinerType",
    "composite_attributes_format": "CustomOptionsFormat",
    "custom_options_format": "CustomOptionsFormat",
    "deprecated_builtin_code": "",
    "details_type": "QuantizationDetails",
    "format": "DimensionType",
    "fused_activation_function": "ActivationFunctionType",
    "idx_out_type": "TensorType",
    "in_data_type": "TensorType",
    "kernel_type": "LSTMKernelType",
    "key_dtype": "TensorType",
    "mode": "MirrorPadMode",
    "out_data_type": "TensorType",
    "out_type": "TensorType",
    "output_type": "TensorType",
    "padding": "Padding",
    "quantized_bias_type": "TensorType",
    "type": "TensorType",
    "value_dtype": "TensorType",
    "weights_format": "FullyConnectedOptionsWeightsFormat",
}
#: Likewise of four bytes, where most fields are plain numbers; operators are known by number, too.
_WIDE = {
    "compare_type": "StablehloComparisonType",
    "comparison_direction": "StablehloComparisonDirection",
    "precision_config": "StablehloPrecisionConfig",
    "reduce_function": "ReduceWindowFunction",
}


class _Asked:
    """A table for flatc's accessors: absent, or present and noting what is read."""

    Bytes, Pos = bytearray(16), 0

    def __init__(self, *, present: bool) -> None:
        self._present = present
        self.slot, self.kind, self.many = -1, "", False

    def Offset(self, place: int) -> int:  # noqa: N802
        self.slot = (place - 4) // 2
        return int(self._present)

    def Get(self, flags: type, _place: int) -> int:  # noqa: N802
        self.kind = _CODES[flags.__name__]
        return 0

    def Vector(self, _offset: int) -> int:  # noqa: N802
        self.many = True
        return 0

    def String(self, _offset: int) -> bytes:  # noqa: N802
        self.kind = "str"
        return b""

    def Indirect(self, _place: int) -> int:  # noqa: N802
        self.kind = "table"
        return 0

    def Union(self, _value: Any, _offset: int) -> None:  # noqa: N802
        self.kind = "union"


def snake(name: str) -> str:
    """Return the schema's name of a field that flatc spells ``DilationWFactor``."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    return re.sub(r"(?<=options)2", "_2", parts)


def _enumeration(kind: type) -> list[str]:
    numbers = {value: name for name, value in vars(kind).items() if not name.startswith("_")}
    if sorted(numbers) != list(range(len(numbers))):
        raise SystemExit(f"{kind.__name__}: expected numbers from 0 on, got {sorted(numbers)}")
    return [numbers[number] for number in range(len(numbers))]


def _accessors(kind: type) -> list[str]:
    """Return the accessors of a table's fields: vectors have three helpers more each."""
    names = [name for name, value in vars(kind).items() if inspect.isfunction(value)]
    helpers = {f"{name}{end}" for name in names for end in ("Length", "AsNumpy", "IsNone")}
    return [name for name in names if name not in helpers and name not in ("__init__", "Init")]


def _numbered(table: str, name: str, asked: _Asked) -> str:
    """Return the enumeration whose numbers a field holds, empty if it holds plain ones."""
    if asked.kind in ("i", "I"):
        return _WIDE.get(name, "")
    if asked.many or asked.kind not in ("b", "B"):
        return ""
    known = _ENUMERATIONS.get(f"{table}.{name}", _ENUMERATIONS.get(name))
    if known is None:
        raise SystemExit(f"{table}.{name}: expected a byte to be of a known enumeration")
    return known


def _field(kind: type, accessor: str) -> tuple[int, str]:
    """Return slot and text of one field."""
    function, name = getattr(kind, accessor), snake(accessor)
    absent, present, asked = kind(), kind(), _Asked(present=True)
    absent._tab, present._tab = _Asked(present=False), asked
    places = [0] * (len(inspect.signature(function).parameters) - 1)
    default, value = function(absent, *places), function(present, *places)
    text = type(value).__name__ if asked.kind == "table" else asked.kind
    if asked.kind == "union":
        text = f"union/{_ENUMERATIONS[f'{name}_type']}"
    elif enumeration := _numbered(kind.__name__, name, asked):
        text += f"/{enumeration}"
    if asked.many:
        text = f"[{text}]"
    elif default:
        text += f"={default}"
    return asked.slot, f"{name}:{text}"


def _table(kind: type) -> list[str]:
    fields = dict(_field(kind, accessor) for accessor in _accessors(kind))
    return [fields.get(slot, "-") for slot in range(max(fields, default=-1) + 1)]


def _listed(name: str, rows: dict[str, list[str]]) -> str:
    lines = [f"{name} = {{"]
    for key, words in rows.items():
        whole = " ".join(words)
        if len(short := f'    "{key}": "{whole}",') <= 100:
            lines.append(short)
            continue
        # As ruff lays it out: on one line of its own where it fits.
        width = 90 if len(whole) <= 90 else 89
        parts = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
        body = [f'        "{part} "' for part in parts[:-1]] + [f'        "{parts[-1]}"']
        lines += [f'    "{key}": (', *body, "    ),"]
    return "\n".join([*lines, "}"])


def generate(schema: ModuleType) -> str:
    """Return the text of ``schema_data.py`` for a module that flatc made."""
    kinds = {name: value for name, value in vars(schema).items() if inspect.isclass(value)}
    tables = {name: kind for name, kind in kinds.items() if hasattr(kind, "GetRootAs")}
    objects = {f"{name}T" for name in tables}
    enumerations = {
        name: _enumeration(kind)
        for name, kind in kinds.items()
        if name not in tables and name not in objects
    }
    listed = {name: fields for name, kind in tables.items() if (fields := _table(kind))}
    return "\n".join(
        (
            _HEAD,
            "#: Names in the order of their numbers, from 0 on.",
            _listed("ENUMERATIONS", enumerations),
            "",
            _listed("TABLES", listed),
            "",
        )
    )


def main() -> int:
    """Write the file, or compare it."""
    from ai_edge_litert import schema_py_generated

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it differs")
    check = parser.parse_args().check
    text = generate(schema_py_generated)
    if not check:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        print(f"{TARGET} is not what the schema says: run {sys.argv[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
