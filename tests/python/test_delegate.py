# SPDX-License-Identifier: BSD-3-Clause
"""The built delegate in every interpreter: parity, choices, options, hostile models."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nmpack.errors import InterpreterError, NmpackError
from nmpack.measure.benchmark import bench
from nmpack.measure.inspection import inspect
from nmpack.runtime.interpreter import PACKAGES, Engine, load_delegate, nmpack_engine
from nmpack.runtime.process import EngineProcess
from nmpack.runtime.runner import compare, run

pytestmark = [pytest.mark.delegate, pytest.mark.torch, pytest.mark.usefixtures("delegate")]
Models = Callable[[str], Path]
KINDS = ("dense", "pruned", "nm")


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_stock_interpreter(models: Models, kind: str) -> None:
    stock = run(models(kind), 3, engine=Engine("stock"))
    for alone in (False, True):
        gap = compare(
            stock.outputs, run(models(kind), 3, engine=nmpack_engine(alone=alone)).outputs
        )
        assert gap.relative < 1e-5
        assert gap.top1 == 1.0


@pytest.mark.parametrize("interpreter", PACKAGES)
def test_every_interpreter_runs_all_of_it_in_the_delegate(models: Models, interpreter: str) -> None:
    """The absence of an interpreter is a failure here, not a skip."""
    stock = run(models("pruned"), 3, engine=Engine("stock", interpreter))
    engine = nmpack_engine(interpreter=interpreter, alone=True)
    assert compare(stock.outputs, run(models("pruned"), 3, engine=engine).outputs).relative < 1e-5
    report = inspect(models("pruned"), engine=engine)
    assert (report.partitions, report.delegated) == (1, report.operators)


@pytest.mark.parametrize("interpreter", ["ai-edge-litert", "tflite-runtime"])
def test_an_unknown_option_is_named(models: Models, interpreter: str) -> None:
    engine = nmpack_engine(interpreter=interpreter, options={"nmm": "auto"})
    with pytest.raises(InterpreterError, match=r"unknown option 'nmm'.*num_threads.*nm=auto"):
        run(models("dense"), engine=engine)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_threads": 0}, "'num_threads': expected an integer from 1 to 256, got '0'"),
        ({"num_threads": 257}, "got '257'"),
        ({"num_threads": "2x"}, "got '2x'"),
        ({"nm": "yes"}, "'nm': expected auto, off or force, got 'yes'"),
        ({"verbose": 2}, "'verbose': expected 0 or 1, got '2'"),
        ({"report": ""}, "'report'"),
        ({"": "x"}, "unknown option ''"),
    ],
)
def test_a_bad_value_is_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(InterpreterError, match=says):
        load_delegate(options=options)


def test_load_delegate_in_this_process(models: Models, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    report = tmp_path / "report.json"
    delegate = load_delegate(options={"num_threads": 2, "verbose": False, "report": report})
    interpreter = Interpreter(str(models("pruned")), experimental_delegates=[delegate])
    interpreter.allocate_tensors()
    interpreter.invoke()
    value = json.loads(report.read_text())
    assert value["schema"] == 3
    assert len(value["partitions"]) == 1
    assert [item.name for item in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_inspect_tells_the_operator_and_the_reason(models: Models, kind: str) -> None:
    report = inspect(models(kind))
    assert report.partitions == 1
    assert report.delegated == report.operators
    for row in report.layers:
        assert row.operator in ("nm", "dense"), row
        assert row.reason, row
        if row.operator == "nm":
            assert row.fit is not None
            assert row.tile_height > 0
            assert row.column_density is not None
            assert row.column_density >= row.fit.element_density
    chosen = [row.operator for row in report.layers if not (row.depthwise or row.linear)]
    if kind == "dense":
        # Unpruned filters change only where the dense operator is known to be slower.
        assert all(row.column_density == 1.0 for row in report.layers if not row.depthwise)
    elif kind == "pruned":
        assert set(chosen) == {"nm"}


def test_off_and_force(models: Models) -> None:
    def operators(nm: str) -> set[str | None]:
        rows = inspect(models("nm"), engine=nmpack_engine(options={"nm": nm}, alone=True))
        return {row.operator for row in rows.layers if not row.depthwise}

    assert operators("off") == {"dense"}
    assert operators("force") == {"nm"}
    stock = run(models("nm"), 5, engine=Engine("stock"))
    for nm in ("off", "force"):
        ours = run(models("nm"), 5, engine=nmpack_engine(options={"nm": nm}, alone=True))
        assert compare(stock.outputs, ours.outputs).relative < 1e-5


def test_two_threads_agree(models: Models) -> None:
    stock = run(models("pruned"), 9, engine=Engine("stock"))
    ours = run(models("pruned"), 9, engine=nmpack_engine(threads=2, alone=True))
    assert compare(stock.outputs, ours.outputs).relative < 1e-5


def test_verbose_logs_every_convolution(models: Models) -> None:
    with EngineProcess(models("pruned"), nmpack_engine(options={"verbose": True})) as child:
        log = child.log()
    report = inspect(models("pruned"))
    assert sum("chosen" in line for line in log.splitlines()) == sum(
        row.operator == "nm" for row in report.layers
    )


def test_damaged_models_end_in_a_result_or_one_error(models: Models, tmp_path: Path) -> None:
    whole = models("pruned").read_bytes()
    generator = random.Random(5)
    path = tmp_path / "damaged.tflite"
    cases = [whole[: generator.randrange(len(whole))] for _ in range(6)]
    for _ in range(24):
        damaged = bytearray(whole)
        for _ in range(generator.choice([1, 3, 9])):
            # Tables are at the end of a converted file, weights in front of them.
            place = generator.choice([generator.randrange(len(whole) - 20_000, len(whole)),
                                      generator.randrange(8, 3000)])  # fmt: skip
            damaged[place] = generator.randrange(256)
        cases.append(bytes(damaged))
    refused = 0
    for content in cases:
        path.write_bytes(content)
        try:
            inspect(path, engine=nmpack_engine(alone=True))
            run(path, engine=nmpack_engine(alone=True), timeout=60)
        except NmpackError:
            refused += 1
    assert refused >= 6


def test_bench_against_the_built_in(models: Models) -> None:
    report = bench(models("pruned"), rounds=2, repeat=1, warmup=1)
    assert [item.engine.name for item in report.timings] == ["built-in", "nmpack"]
    assert [(r.contender, r.baseline) for r in report.ratios] == [
        ("pruned/nmpack", "pruned/built-in")
    ]


def test_command_line(
    models: Models, nmpack_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = nmpack_command("run", models("pruned"), "--compare", "--alone")
    assert done.returncode == 0, done.stderr
    assert "agrees with the stock" in done.stdout
    done = nmpack_command("inspect", models("pruned"))
    assert done.returncode == 0, done.stderr
    assert "in 1 partition" in done.stdout
    done = nmpack_command(
        "bench", models("pruned"), "--rounds", "1", "--repeat", "1", "--json", tmp_path / "b.json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "b.json").read_text())["schema"] == 1
    done = nmpack_command("run", models("pruned"), "--option", "nm=maybe")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "expected auto, off or force, got 'maybe'" in done.stderr
