# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack profile``: rows, shares and names; no test depends on how long something takes."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from int8_samples import int8_network
from subgraph_files import branches, loop

from nmpack.cli import main
from nmpack.errors import InterpreterError, NmpackError
from nmpack.measure.inspection import inspect
from nmpack.measure.profile import profile
from nmpack.measure.profile_report import ProfileReport, by_operator
from nmpack.runtime.delegate_profile import read_profile
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.process import EngineProcess

pytestmark = [pytest.mark.delegate, pytest.mark.usefixtures("delegate")]
Models = Callable[[str], Path]


@pytest.fixture(scope="module")
def report(models: Models) -> ProfileReport:
    return profile(models("pruned"), runs=12, warmup=2)


@pytest.mark.torch
def test_every_layer_of_the_file_has_one_row(report: ProfileReport, models: Models) -> None:
    layers = inspect(models("pruned")).layers
    kinds = ("CONV_2D", "FULLY_CONNECTED")
    rows = [
        row
        for row in report.rows
        if any(kind in one for kind in kinds for one in row.file_operators)
    ]
    assert [row.name for row in rows] == [layer.name for layer in layers]
    for row, layer in zip(rows, layers, strict=True):
        assert layer.node in row.nodes
        assert row.layout == layer.layout
        kind = "Fully Connected" if layer.linear else "Convolution"
        assert row.operator == kind + (" + add" if layer.fused_addition else "")
        family = row.kernel.split()[0]
        if layer.operator == "nm":
            assert family == ("nmconv" if layer.layout == "NHWC" else "nmspmm")
            assert row.density == layer.column_density
        else:
            assert family in ("gemm", "igemm")
            assert row.density == 1.0
        assert row.symbol is not None
        assert family in row.symbol


@pytest.mark.torch
def test_shares_add_up_to_everything(report: ProfileReport) -> None:
    value = json.loads(json.dumps(report.to_dict()))
    assert value["schema"] == 1
    rest = (value["within_seconds"] + value["outside_seconds"]) / report.total
    assert sum(row["share"] for row in value["operators"]) + rest == pytest.approx(1.0)
    assert all(row["seconds"]["n"] == 12 for row in value["operators"])
    assert value["operators_left"] == 0
    for row in report.rows:
        assert row.calls == 1.0
        assert 0 < row.seconds.least <= row.seconds.median
        assert row.gflops <= row.dense_gflops
    sums = by_operator(report)
    assert sum(count for count, _, _ in sums.values()) == len(report.rows)
    assert sum(seconds for _, _, seconds in sums.values()) == pytest.approx(
        sum(row.per_inference for row in report.rows)
    )


def test_a_body_that_one_inference_runs_and_another_does_not(tmp_path: Path) -> None:
    """The input is the same each time, and with it the branch that IF takes."""
    path = tmp_path / "if.tflite"
    path.write_bytes(branches().packed())
    found = profile(path, engine=nmpack_engine(alone=True), runs=4, warmup=0)
    assert {row.calls for row in found.rows} == {1.0}
    assert len({row.subgraph for row in found.rows}) == 1
    assert found.left == len(inspect(path).left or ()) + 1 + (found.rows[0].subgraph == 1)


def test_a_body_that_runs_several_times(tmp_path: Path) -> None:
    path = tmp_path / "while.tflite"
    # The first input is a whole number from 0 to 99: one of them is drawn.
    path.write_bytes(loop(200).packed())
    found = profile(path, engine=nmpack_engine(alone=True), runs=4, warmup=1)
    (row,) = [row for row in found.rows if row.file_operators == ("CONV_2D",)]
    assert row.subgraph == 2
    assert 100 < row.calls <= 200
    assert row.calls == round(row.calls)
    assert row.per_inference == row.calls * row.seconds.median
    # The delegate keeps as many of the last runs as it likes.
    assert row.seconds.n == min(4 * row.calls, 1000)
    assert found.total > 0


@pytest.mark.torch
def test_the_command_prints_and_writes(
    models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.json"
    arguments = ["profile", str(models("pruned")), "--runs", "3", "--warmup", "0", "--by-time"]
    assert main([*arguments, "--json", str(path)]) == 0
    said = capsys.readouterr().out
    for text in (
        "Gop/s",
        "GFLOP/s of f32",
        "% of peak",
        "times called",
        "while it is not",
        "peak: ",
        "layer1",
    ):
        assert text in said
    value = json.loads(path.read_text())
    assert value["peak_gflops"] == value["peaks"]["f32"] > 0


def test_bytes_are_told_from_floats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = int8_network(tmp_path / "bytes.tflite")
    found = profile(path, runs=2, warmup=0)
    layers = [row for row in found.rows if row.multiplications]
    assert len(layers) == 3
    assert {row.element_type for row in layers} == {"qs8"}
    # Of operators that XNNPACK does not name a type of, the file says it.
    assert {row.element_type for row in found.rows if row.nodes} == {"qs8"}
    for row in layers:
        share = row.gflops / found.peaks["qs8"] if "qs8" in found.peaks else None
        assert found.share_of_peak(row) == share
    assert main(["profile", str(path), "--runs", "2", "--json", str(tmp_path / "p.json")]) == 0
    said = capsys.readouterr().out
    assert "GFLOP/s" not in said
    if platform.machine() == "x86_64":
        assert "GOP/s of qs8" in said
        # Bytes are multiplied at least as fast as floats of the same width.
        assert found.peaks["qs8"] > 0.9 * found.peaks["f32"]
    value = json.loads((tmp_path / "p.json").read_text())
    assert {item["element_type"] for item in value["operators"]} >= {"qs8"}


@pytest.mark.torch
@pytest.mark.riscv64
def test_under_an_emulator_it_counts(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(models("pruned")), "--target", "riscv64", "--vlen", "512"]) == 0
    said = capsys.readouterr().out
    for text in ("M instructions", "no times", "layer1.0.conv1", "__rvv"):
        assert text in said
    assert "Gop/s" not in said


@pytest.mark.torch
def test_what_cannot_be_profiled_is_one_sentence(models: Models) -> None:
    with pytest.raises(NmpackError, match="expected an engine with a delegate"):
        profile(models("dense"), engine=Engine("built-in"))
    with pytest.raises(NmpackError, match="at least 1 run"):
        profile(models("dense"), runs=0)
    with pytest.raises(NmpackError, match="at most 1000"):
        profile(models("dense"), runs=1000, warmup=1)
    engine = nmpack_engine()
    with pytest.raises(InterpreterError, match="unknown option 'profiling'"):
        profile(models("dense"), engine=replace(engine, options={"profiling": "1"}))


OPERATOR = {
    "type": "Convolution (NHWC, F32)", "kind": "GEMM", "kernel": 7, "name": "a", "nodes": [0],
    "conversion": False, "multiplications": 9, "nanoseconds": [1, 2],
}  # fmt: skip
PARTITION = {
    "subgraph": 0, "nodes": [0], "inputs": [[1, 2]], "threads": 1, "runs": 2,
    "nanoseconds": [3, 4], "operators": [OPERATOR],
}  # fmt: skip


@pytest.mark.torch
def test_the_end_of_who_writes_a_profile_is_waited_for(models: Models, tmp_path: Path) -> None:
    for options, seconds in ({}, 5.0), ({"profile": str(tmp_path / "profile.json")}, 77.0):
        engine = replace(nmpack_engine(), options=options)
        with EngineProcess(models("pruned"), engine, timeout=77.0) as child:
            assert child.seconds_to_end == seconds


def written(folder: Path, value: Any) -> Path:
    path = folder / "profile.json"
    path.write_text(json.dumps(value))
    return path


def test_reads_what_the_delegate_writes(tmp_path: Path) -> None:
    peak = {"threads": 2, "type": "qs8", "megaflops": 500}
    value = {"schema": 1, "partitions": [PARTITION], "peaks": [peak]}
    found = read_profile(written(tmp_path, value))
    assert found.peaks == ((2, "qs8", 0.5),)
    assert found.partitions[0].operators[0].nanoseconds == (1, 2)
    assert read_profile(tmp_path / "absent.json").partitions == ()


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"schema": 2},
        {"schema": True},
        {"schema": 1, "partitions": []},
        {"schema": 1, "peaks": [], "partitions": [3]},
        {"schema": 1, "peaks": [], "partitions": [PARTITION | {"inputs": [[1.5]]}]},
        {"schema": 1, "peaks": [], "partitions": [PARTITION | {"nanoseconds": [1]}]},
        {"schema": 1, "peaks": [], "partitions": [PARTITION | {"runs": 1}]},
        {"schema": 1, "peaks": [], "partitions": [PARTITION | {"runs": 0}]},
        {"schema": 1, "peaks": [], "partitions": [PARTITION | {"operators": [{}]}]},
        {"schema": 1, "peaks": [{"threads": 1, "megaflops": 9}], "partitions": []},
        {"schema": 1, "peaks": [{"threads": 1, "type": "f32", "megaflops": "9"}], "partitions": []},
    ],
)
def test_refuses_another_file(value: Any, tmp_path: Path) -> None:
    with pytest.raises(InterpreterError, match="expected"):
        read_profile(written(tmp_path, value))
