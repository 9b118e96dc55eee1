# SPDX-License-Identifier: BSD-3-Clause
"""What a file and the delegate's report say together; the reports here are written by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from rich.console import Console
from subgraph_files import Model, branches, two_signatures

from nmpack.cli import tables
from nmpack.cli.progress import console
from nmpack.errors import InterpreterError
from nmpack.measure.decisions import LeftReport
from nmpack.measure.inspection import ModelReport, explain
from nmpack.runtime.delegate_report import read_report
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.operator_codes import CALLING, CONV_2D, DENSIFY, operator_name

ABS, IF = schema.BuiltinOperator.ABS, schema.BuiltinOperator.IF


def choice(node: int, operator: str = "nm", **other: Any) -> dict[str, Any]:
    """Return a convolution of a report, all fields that the delegate writes."""
    return {
        "name": "same", "operator": operator, "reason": f"reason {node}", "node": node,
        "layout": "CNHW", "fused_addition": False, "node_id": 0, "filter_id": 1, "groups": 1,
        "group_input_channels": 32, "group_output_channels": 32, "kernel_height": 3,
        "kernel_width": 3, "element_density": 0.25, "column_density": 0.25, "tile_height": 32,
        "pixel_tile": 7, "predicted_speedup": 3.5,
    } | other  # fmt: skip


def partition(subgraph: int, nodes: list[int], *choices: dict[str, Any]) -> dict[str, Any]:
    """Return a partition of a report."""
    return {
        "subgraph": subgraph,
        "nodes": nodes,
        "layout_conversions": 2,
        "layers": list(choices),
    }


def left(subgraph: int, node: int, operator: int, reason: str) -> dict[str, Any]:
    """Return an operator that a report says is left."""
    return {"subgraph": subgraph, "node": node, "operator": operator, "reason": reason}


def report(partitions: list[Any], left: list[Any]) -> dict[str, Any]:
    """Return a whole report."""
    return {"schema": 3, "threads": 1, "partitions": partitions, "left": left}


def explained(folder: Path, model: Model, content: Any) -> ModelReport:
    """Write both files and bring them together."""
    (folder / "model.tflite").write_bytes(model.packed())
    path = folder / "report.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return explain(TFLiteFile(folder / "model.tflite"), read_report(path))


def printed(model: ModelReport) -> str:
    """Return what ``nmpack inspect`` prints."""
    screen = Console(file=io.StringIO(), width=200, markup=False, emoji=False, highlight=False)
    screen.print(tables.inspect_table(model))
    return screen.file.getvalue()


TWO = report(
    [
        partition(1, [1], choice(1, "dense", layout="NHWC", reason="not pruned")),
        partition(0, [0, 2], choice(2), choice(0)),
    ],
    [left(0, 1, ABS, "not today"), left(1, 0, CONV_2D, "its image is odd")],
)


def test_operators_are_matched_by_subgraph_and_number(tmp_path: Path) -> None:
    """Both subgraphs have outputs of the same names, and the report another order."""
    found = explained(tmp_path, two_signatures(), TWO)
    rows = {(row.subgraph, row.node): row for row in found.layers}
    assert [*rows] == [(0, 0), (0, 2), (1, 0), (1, 1)]
    assert {place: (row.operator, row.reason) for place, row in rows.items()} == {
        (0, 0): ("nm", "reason 0"),
        (0, 2): ("nm", "reason 2"),
        (1, 0): ("interpreter", "its image is odd"),
        (1, 1): ("dense", "not pruned"),
    }
    assert [row.name for row in found.layers] == ["same", "same#2"] * 2
    assert [row.layout for row in found.layers] == ["CNHW", "CNHW", None, "NHWC"]
    assert [str(row.fit) for row in found.layers] == [
        "1:4 kept, tile 32", "1:4 kept, tile 32", "1:4 kept, tile 32", "dense",
    ]  # fmt: skip
    assert (found.operators, found.partitions, found.delegated, found.conversions) == (5, 2, 3, 4)
    assert found.left == (
        LeftReport(0, 1, "ABS", "not today"),
        LeftReport(1, 0, "CONV_2D", "its image is odd"),
    )


def test_json_names_every_subgraph(tmp_path: Path) -> None:
    value = json.loads(json.dumps(explained(tmp_path, two_signatures(), TWO).to_dict()))
    assert value["schema"] == 3
    assert value["subgraphs"] == [
        {"index": 0, "name": "main", "signatures": ["encode"], "operators": 3,
         "partitions": 1, "delegated": 2},
        {"index": 1, "name": "other", "signatures": ["decode"], "operators": 2,
         "partitions": 1, "delegated": 1},
    ]  # fmt: skip
    assert [(row["subgraph"], row["node"]) for row in value["layers"]] == [
        (0, 0), (0, 2), (1, 0), (1, 1),
    ]  # fmt: skip
    assert value["left"][0] == {
        "subgraph": 0, "node": 1, "operator": "ABS", "reason": "not today",
    }  # fmt: skip


def test_the_table_marks_subgraphs_only_where_there_are_several(tmp_path: Path) -> None:
    text = printed(explained(tmp_path, two_signatures(), TWO))
    assert "│ subgraph │ layer" in text.replace("┃", "│")
    assert text.count("0 encode") == text.count("1 decode") == 2
    assert "4 layers among 5 operators of 2 subgraphs; the delegate takes 3 operators" in text
    assert "left to the interpreter: 1 ABS: not today" in text
    one = two_signatures()
    del one.parts[1], one.signatures[1]
    content = report([partition(0, [0, 1, 2], choice(0), choice(2))], [])
    text = printed(explained(tmp_path, one, content))
    assert "subgraph" not in text
    assert "left to" not in text


def test_the_table_counts_layers_that_are_worth_it_not_all_of_their_operator(
    tmp_path: Path,
) -> None:
    one = two_signatures()
    del one.parts[1], one.signatures[1]
    rows = choice(0, reason="chosen"), choice(2, reason="too few columns are zero")
    text = printed(explained(tmp_path, one, report([partition(0, [0, 1, 2], *rows)], [])))
    assert "with 2 conversions of layout; N:M is chosen for 1 layer " in text


def test_bodies_are_rows_and_one_that_was_not_prepared_says_so(tmp_path: Path) -> None:
    content = report([partition(2, [0, 1], choice(1))], [left(0, 0, IF, "no dimensions")])
    found = explained(tmp_path, branches(), content)
    assert [(row.subgraph, row.node, row.operator) for row in found.layers] == [
        (1, 0, "interpreter"),
        (2, 1, "nm"),
    ]
    silent = "the interpreter does not prepare it"
    assert found.layers[0].reason == silent
    assert found.left is not None
    assert [item.reason for item in found.left] == ["no dimensions", silent]
    assert found.operators == 4 == found.delegated + len(found.left)
    text = printed(found)
    assert "1 then" in text
    assert "2 else" in text


def test_left_operators_are_grouped_in_a_few_lines(tmp_path: Path) -> None:
    model = two_signatures()
    found = explained(tmp_path, model, report([], []))
    kinds = ["ABS", "ADD", "CUSTOM", "EXP", "LOG", "POW"]
    many = [LeftReport(0, i, kinds[i % 6], f"reason {min(i // 40, 8)}") for i in range(600)]
    lines = tables._left_lines(many)
    assert len(lines) == 5
    assert lines[0].startswith("left to the interpreter: 47 ")
    assert lines[0].endswith("2 other kinds: reason 8")
    assert lines[4] == "left to the interpreter: 200 more for 5 other reasons"
    assert found.left is not None
    assert {item.reason for item in found.left} == {"the delegate reports nothing"}
    assert "5 ABS" not in printed(found)
    assert "left to the interpreter: 4 CONV_2D, 1 ABS: the delegate reports nothing" in printed(
        found
    )


def test_names_of_a_file_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = two_signatures()
    model.parts[0].graph.tensors[3].name = "[bold]x :smile: \x1b[2J"
    model.signatures[0] = ("[/b]\x1b", 0)
    found = explained(tmp_path, model, report([], [left(0, 0, CONV_2D, "[/i] \x07\x1b[1m")]))
    console().print(tables.inspect_table(found))
    text = capsys.readouterr().out
    assert "[bold]x :smile: \ufffd[2J" in text
    assert "0 [/b]\ufffd" in text
    assert "[/i] \ufffd\ufffd[1m" in text
    assert "\x1b" not in text


GOOD = report([partition(0, [0, 1, 2], choice(0), choice(2))], [left(1, 0, CONV_2D, "x")])


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    """Return GOOD with one thing replaced."""
    result = json.loads(json.dumps(GOOD))
    at = result
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return result


CASES: list[tuple[Any, str]] = [
    ("", "cannot be read"),
    ("[" * 100_000, "cannot be read"),
    ('{"schema": 3, "partitions": ' + "9" * 5000 + "}", "cannot be read"),
    ("[]", r"schema 3, got \[\]"),
    ("null", "schema 3, got None"),
    ({"schema": 1, "partitions": []}, "schema 3, got {'schema': 1"),
    ({"schema": True}, "schema 3"),
    ({"schema": 3}, "expected a list as 'partitions', got None"),
    (changed(["partitions"], {"0": 1}), "expected a list as 'partitions', got {'0': 1}"),
    (changed(["left"], None), "expected a list as 'left'"),
    (changed(["left"], [3]), "expected a whole number as 'subgraph', got None in 3"),
    (changed(["left", 0, "reason"], 3), "expected a string as 'reason', got 3"),
    (changed(["left", 0, "subgraph"], 2), "names subgraph 2, the file has 2"),
    (changed(["left", 0, "node"], -1), "names operator -1 of subgraph 1, which has 2"),
    (changed(["left", 0, "operator"], 0), "operator 0 of subgraph 1 is CONV_2D, not ADD"),
    (changed(["left", 0, "operator"], 10**30), "is CONV_2D, not operator 1000000"),
    (changed(["partitions", 0], "x"), "expected a list as 'nodes', got None in 'x'"),
    (changed(["partitions", 0, "nodes"], 3), "expected a list as 'nodes', got 3"),
    (changed(["partitions", 0, "nodes"], [0, True]), r"whole numbers as 'nodes', got \[0, True\]"),
    (changed(["partitions", 0, "nodes"], [0, [1]]), "whole numbers as 'nodes'"),
    (changed(["partitions", 0, "nodes"], [0, 2, 3]), "operator 3 of subgraph 0, which has 3"),
    (changed(["partitions", 0, "nodes"], [0, 2, 0]), "operator 0 of subgraph 0 in two partitions"),
    (changed(["partitions", 0, "nodes"], [0, 1]), "operator 2 of subgraph 0 is not in the"),
    (changed(["partitions", 0, "subgraph"], -1), "names subgraph -1, the file has 2"),
    (changed(["partitions", 0, "layout_conversions"], "2"), "'layout_conversions', got '2'"),
    (changed(["partitions", 0, "layers", 0, "node"], 3), "operator 3 .* is not in the part"),
    (changed(["partitions", 0, "layers", 0, "operator"], None), "a string as 'operator'"),
    (changed(["partitions", 0, "layers", 0, "fused_addition"], 1), "true or false as"),
    (changed(["partitions", 0, "layers", 0, "tile_height"], 1.5), "whole number as 'tile"),
    (changed(["partitions", 0, "layers", 0, "column_density"], "x"), "a number or null as"),
    (json.dumps(changed(["partitions", 0, "layers", 0, "column_density"], float("nan"))),
     "a number or null as 'column_density', got nan"),
    (changed(["partitions", 0, "layers", 0, "predicted_speedup"], 10**400), "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "says"), CASES)
def test_a_bad_report_is_one_error(content: Any, says: str, tmp_path: Path) -> None:
    explained(tmp_path, two_signatures(), GOOD)
    with pytest.raises(InterpreterError, match=says) as caught:
        explained(tmp_path, two_signatures(), content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_absent_report_took_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(two_signatures().packed())
    found = explain(TFLiteFile(tmp_path / "model.tflite"), read_report(tmp_path / "absent.json"))
    assert (found.partitions, found.delegated) == (0, 0)
    assert {row.operator for row in found.layers} == {"interpreter"}


def test_operators_are_named_as_the_schema_names_them() -> None:
    known = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    assert [operator_name(code) for code in range(len(known))] == [known[i] for i in sorted(known)]
    assert operator_name(len(known)) == f"operator {len(known)}"
    assert operator_name(-1) == "operator -1"
    assert (CONV_2D, DENSIFY, IF in CALLING) == (3, 124, True)
