# SPDX-License-Identifier: BSD-3-Clause
"""Our table of TFLite's schema against what flatc made of it: for Python, and once for C++."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as litert

from nmpack.tflite.operator_codes import CALLING, CONV_2D, operator_code, operator_name
from nmpack.tflite.schema import Field, fields, name_of, names_of
from nmpack.tflite.schema_data import ENUMERATIONS, TABLES

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "third_party/tensorflow/tensorflow/lite/schema/schema_generated.h"
C_TYPES = {
    "bool": "?", "int8_t": "b", "uint8_t": "B", "int16_t": "h", "uint16_t": "H", "int32_t": "i",
    "uint32_t": "I", "int64_t": "q", "uint64_t": "Q", "float": "f", "double": "d",
    "::flatbuffers::String": "str", "void": "union",
}  # fmt: skip
# The numbers of operators are read as numbers.
PLAIN = {"BuiltinOperator"}


@pytest.fixture(scope="module")
def tool() -> Any:
    """tools/tflite_schema.py."""
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools/tflite_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_what_the_pinned_schema_says(tool: Any) -> None:
    assert tool.TARGET.read_text("utf-8") == tool.generate(litert), "run tools/tflite_schema.py"


def test_a_byte_of_no_known_enumeration_is_refused(tool: Any) -> None:
    rows = dict(tool._ENUMERATIONS)
    del tool._ENUMERATIONS["padding"]
    try:
        with pytest.raises(SystemExit, match=r"Conv2DOptions\.padding: expected a byte to be of"):
            tool.generate(litert)
    finally:
        tool._ENUMERATIONS.update(rows)


def header_tables() -> dict[str, dict[str, tuple[int, str, bool, str, str]]]:
    """Return slot, kind, many, enumeration and default of each field of each table in C++."""
    text = HEADER.read_text("utf-8")
    found = {}
    for table, body in re.findall(
        r"^struct (\w+) FLATBUFFERS_FINAL_CLASS .*?\{(.*?)^\};", text, re.DOTALL | re.MULTILINE
    ):
        slots = {
            name: (int(place) - 4) // 2 for name, place in re.findall(r"VT_(\w+) = (\d+)", body)
        }
        rows = {}
        for kind, name, rest in re.findall(
            r"^  (?:const )?([\w:<> ]+?) \*?(\w+)\(\) const \{\n(.*)", body, re.MULTILINE
        ):
            if name.upper() in slots:
                rows[name] = (slots[name.upper()], *_c_kind(kind), *_c_default(rest))
        assert {name.upper() for name in rows} == slots.keys(), table
        found[table] = rows
    return found


def _c_kind(kind: str) -> tuple[str, bool, str]:
    many = kind.startswith("::flatbuffers::Vector<")
    plain = kind.removeprefix("::flatbuffers::Vector<").removesuffix(">") if many else kind
    plain = plain.removeprefix("::flatbuffers::Offset<").removesuffix(">")
    plain = C_TYPES.get(plain, plain.removeprefix("tflite::"))
    return plain, many, plain if plain in ENUMERATIONS else ""


def _c_default(body: str) -> tuple[str]:
    match = re.search(r"GetField<\w+>\(VT_\w+, ([-\d.]+)f?\)", body)
    return (match[1] if match else "",)


def test_slots_types_enumerations_and_defaults_are_those_of_the_c_header() -> None:
    tables = header_tables()
    assert len(tables) > 140
    for table, rows in tables.items():
        ours = fields(table)
        assert rows.keys() <= ours.keys(), table
        for name, (slot, kind, many, enumeration, default) in rows.items():
            field = ours[name]
            assert (field.slot, field.many) == (slot, many), (table, name)
            if enumeration and enumeration not in PLAIN:
                assert field.names == enumeration, (table, name)
            elif not enumeration:
                # A vector of truth values is one of bytes in C++.
                assert (field.kind.replace("?", "B") if many else field.kind) == kind, (table, name)
            assert field.default == float(default or 0), (table, name)


def test_enumerations_of_the_c_header_are_ours_or_the_start_of_ours() -> None:
    text = HEADER.read_text("utf-8")
    known = 0
    for name, body in re.findall(r"^enum (\w+) : \w+ \{(.*?)\}", text, re.DOTALL | re.MULTILINE):
        rows = re.findall(rf"{name}_(\w+) = (\d+)", body)
        assert rows, name
        for value, number in rows:
            assert name_of(name, int(number)) == value
        known += 1
    assert known > 12


def test_numbers_that_are_not_known_are_named_by_number() -> None:
    assert name_of("Padding", 1) == "VALID"
    assert name_of("Padding", 2) == "Padding 2"
    assert name_of("Padding", -1) == "Padding -1"
    assert operator_name(CONV_2D) == "CONV_2D"
    assert operator_name(-1) == "operator -1"
    assert operator_name(100_000) == "operator 100000"
    assert [operator_name(code) for code in CALLING] == ["CALL", "IF", "WHILE", "CALL_ONCE"]
    assert operator_code("FULLY_CONNECTED") == litert.BuiltinOperator.FULLY_CONNECTED


def test_options_hold_no_tables() -> None:
    """Reading them goes no deeper than one table, then."""
    kinds = {*names_of("BuiltinOptions"), *names_of("BuiltinOptions2")}
    kinds |= set(names_of("QuantizationDetails"))
    assert len(kinds) > 140
    for kind in kinds:
        assert all(len(field.kind) == 1 or field.kind == "str" for field in fields(kind).values())
    assert set(TABLES) & kinds


def test_fields_that_are_no_longer_used_leave_their_slots() -> None:
    assert fields("ResizeBilinearOptions")["align_corners"] == Field(
        "align_corners", 2, "?", False, "", False
    )
    assert fields("SignatureDef")["subgraph_index"].slot == 4
    assert fields("AbsOptions") == {}
