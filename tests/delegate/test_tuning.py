# SPDX-License-Identifier: BSD-3-Clause
"""Tuning tables: they decide what runs, and whatever is in them, the numbers stay the same."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, load_delegate
from sound_models import SAME, ramp
from tflite_graph import Graph, options

from nmpack.cli import main
from nmpack.element_types import NAMES
from nmpack.locations import find_measure
from nmpack.runtime.interpreter import find_delegate
from nmpack.tflite.network import Network, Steps
from nmpack.tune.embedding import embed
from nmpack.tune.records import Database
from nmpack.tune.table import TableError, read_table

pytestmark = pytest.mark.delegate
SIZES = "1 14 14 14 14 1 32 32 3 3 1 1 1 1"
DAMAGED = 1000
MANY_DAMAGED = 10_000
Run = Callable[..., tuple[np.ndarray, list[dict[str, Any]]]]


def ask(command: str) -> dict[str, Any]:
    """What the measuring program answers to one command."""
    done = subprocess.run(
        [find_measure("host")], input=f"{command}\n", capture_output=True, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def machine() -> dict[str, Any]:
    """What the measuring program says of this machine."""
    return ask("machine")


def candidates_of(dtype: str) -> list[str]:
    """Names of what the layer may run on, as the measuring program lists them."""
    keys = (
        "batch=1 input_height=14 input_width=14 groups=1 group_input_channels=32 "
        "group_output_channels=32 kernel_height=3 kernel_width=3 stride_height=1 stride_width=1 "
        "dilation_height=1 dilation_width=1 padding_top=1 padding_right=1 padding_bottom=1 "
        "padding_left=1 density=0.5 tile=32 block=1 seed=1 threads=1"
    )
    return [item["name"] for item in ask(f"layer a dtype={dtype} {keys}")["candidates"]]


@pytest.fixture(scope="module")
def candidates() -> list[str]:
    """Those of float32."""
    return candidates_of("f32")


def filter_weights() -> np.ndarray:
    """A filter with half of its input channels pruned."""
    weights = ramp(32, 3, 3, 32) + np.float32(0.01)
    weights[..., ::2] = 0
    return weights


def text(machine: dict[str, Any], *times: str, dtype: str = "f32", **changes: object) -> str:
    """A table of the one layer, or another machine's."""
    head = {
        "isa": machine["isa"], "vlen": machine["vlen"], "kernels": machine["kernels"],
        "cpu": machine["cpu"], "threads": 1, "unit_ps": 30.5,
    } | changes  # fmt: skip
    lines = ["nmpack-tuning 2", *(f"{key} {value}" for key, value in head.items())]
    if times:
        lines.append(f"layer {dtype} {SIZES} 0.5 0.5 0.5 {' '.join(times)}")
    return "\n".join([*lines, f"end {len(lines)}", ""])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one convolution."""
    graph = Graph()
    image = graph.tensor((1, 14, 14, 32))
    setting = options("Conv2DOptions", padding=SAME, strideH=1, strideW=1, dilationHFactor=1,
                      dilationWFactor=1, fusedActivationFunction=1)  # fmt: skip
    weights = [graph.constant(filter_weights()), graph.constant(ramp(32))]
    output = graph.add("CONV_2D", [image, *weights], graph.tensor((1, 14, 14, 32)), setting)
    path = tmp_path_factory.mktemp("tuning") / "model.tflite"
    path.write_bytes(graph.model([image], [output]))
    return path


@pytest.fixture(scope="module")
def bytes_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in int8."""
    return write_bytes_model(tmp_path_factory.mktemp("tuning") / "bytes.tflite", 5, pads=False)


def write_bytes_model(path: Path, zero_point: int, *, pads: bool) -> Path:
    """A convolution of int8, whose padding may be an operator of its own."""
    network = Network()
    image = x = network.tensor((1, 14, 14, 32), steps=Steps(0.01, zero_point))
    if pads:
        x = network.pad(x, 1)
    output = network.convolution(x, filter_weights(), ramp(32), valid=pads, steps=Steps(0.1, -3))
    path.write_bytes(network.finish(image, output))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a model with options of the delegate; returns the output and the report's layers."""

    def execute(model: Path, **chosen: str) -> tuple[np.ndarray, list[dict[str, Any]]]:
        report = tmp_path / "report.json"
        delegate = load_delegate(
            str(find_delegate()), {"num_threads": "1", "report": str(report)} | chosen
        )
        interpreter = Interpreter(str(model), experimental_delegates=[delegate])
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        image = np.random.default_rng(7).uniform(-1, 1, (1, 14, 14, 32))
        scale = 1 if given["dtype"] is np.float32 else 127
        interpreter.set_tensor(given["index"], (scale * image).astype(given["dtype"]))
        interpreter.invoke()
        output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        partitions = json.loads(report.read_text())["partitions"]
        return output, [layer for item in partitions for layer in item["layers"]]

    return execute


def same(one: np.ndarray, other: np.ndarray) -> bool:
    one, other = one.astype(float), other.astype(float)
    return bool(np.abs(one - other).max() <= 1e-5 * np.abs(one).max())


def test_the_fastest_of_a_table_runs(
    machine: dict[str, Any], candidates: list[str], model: Path, run: Run, tmp_path: Path
) -> None:
    expected, _ = run(model, tuning="none")
    assert candidates[0] == "dense"
    assert len(candidates) > 3
    for fastest in candidates:
        table = tmp_path / "a.tuning"
        times = [f"{name}={1000 if name == fastest else 1e9:g}" for name in candidates]
        table.write_text(text(machine, *times))
        layout, _, tile = fastest.partition("-")
        output, (layer,) = run(model, tuning=str(table), layout=layout if tile else "nhwc")
        assert layer["measured"]
        assert layer["operator"] == ("nm" if tile else "dense")
        if tile:
            assert layer["layout"] == layout.upper()
            columns = layer["pixel_tile"] if layout == "cnhw" else layer["tile_height"]
            assert columns == int(tile.split("x")[1])
        assert same(expected, output)


def test_a_table_decides_for_layers_of_its_type_alone(
    machine: dict[str, Any], bytes_model: Path, run: Run, tmp_path: Path
) -> None:
    # Half precision has costs and candidates, and nothing here tunes it yet.
    assert set(machine["types"]) - {"f16"} == set(NAMES)
    expected, (usual,) = run(bytes_model, tuning="none")
    table = tmp_path / "a.tuning"
    names = candidates_of("qs8")
    assert names[0] == "dense"
    assert len(names) > 2
    for fastest in names:
        times = [f"{name}={1000 if name == fastest else 1e9:g}" for name in names]
        content = text(machine, *times, dtype="qs8")
        table.write_text(content)
        output, (layer,) = run(bytes_model, tuning=str(table))
        assert layer["measured"]
        layout, _, tile = fastest.partition("-")
        assert (layer["operator"], layer["layout"]) == (
            ("nm", layout.upper()) if tile else ("dense", "NHWC")
        )
        if tile:
            columns = layer["pixel_tile"] if layout == "cnhw" else layer["tile_height"]
            assert columns == int(tile.split("x")[1])
        assert np.array_equal(expected, output)
        # Of floats, and of a time when there was nothing else.
        for other in (
            content.replace("layer qs8", "layer f32"),
            content.replace("layer qs8", "layer").replace("tuning 2", "tuning 1"),
        ):
            table.write_text(other)
            output, (layer,) = run(bytes_model, tuning=str(table))
            assert layer == usual
            assert np.array_equal(expected, output)


@pytest.mark.parametrize("zero_point", [5, 0, -5, -128])
def test_a_tuned_model_of_bytes_runs_by_its_table(
    run: Run, tmp_path: Path, zero_point: int
) -> None:
    """Also where XNNPACK joins padding to the layer, or does not."""
    path = write_bytes_model(tmp_path / "bytes.tflite", zero_point, pads=True)
    expected, (usual,) = run(path)
    assert not usual["measured"]
    records = str(tmp_path / "records.sqlite")
    assert main(["tune", str(path), "--budget", "1s", "--database", records, "--embed"]) == 0
    output, (layer,) = run(path)
    assert layer["measured"]
    assert np.array_equal(expected, output)
    with Database(records) as database:
        assert {subject.layer.dtype for subject, _ in database.subjects()} == {"qs8"}


def test_costs_are_of_a_type(
    machine: dict[str, Any], model: Path, bytes_model: Path, run: Run, tmp_path: Path
) -> None:
    table = tmp_path / "a.tuning"
    for dtype, path in (("f32", model), ("qs8", bytes_model)):
        (usual,) = run(path, tuning="none", layout="cnhw")[1]
        for other in NAMES:
            lines = text(machine).splitlines()[:-1]
            lines.append(f"cost {other} cnhw_operator 1e9")
            table.write_text("\n".join([*lines, f"end {len(lines)}", ""]))
            expected, _ = run(path, tuning="none")
            output, (layer,) = run(path, tuning=str(table), layout="cnhw")
            assert same(expected, output)
            # It has to run in CNHW, dearer than ever.
            dearer = layer["predicted_speedup"] < 0.01 * usual["predicted_speedup"]
            assert dearer == (dtype == other)


@pytest.mark.parametrize(
    "dtype", ["f64", "", "F32", "qs8%s%n", "qs8\0", "f32=1", "qs8" * 99, "q\x1b[2Js8"]
)
def test_a_hostile_type_is_said_and_not_used(
    machine: dict[str, Any], bytes_model: Path, run: Run, tmp_path: Path, dtype: str,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    content = text(machine, "dense=5", dtype=dtype)
    with pytest.raises(TableError, match="expected an element type"):
        read_table(content.encode(), "table")
    table = tmp_path / "a.tuning"
    table.write_text(content)
    expected, usual = run(bytes_model, tuning="none")
    output, layers = run(bytes_model, tuning=str(table))
    assert layers == usual
    assert np.array_equal(expected, output)
    said = (
        f"table '{table}' is not used: line 8: expected an element type that this library knows\n"
    )
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"isa": "z80"}, "the instruction set z80"),
        ({"vlen": 640}, "a vector length of 640"),
        ({"kernels": "0" * 16}, "the kernels 0000000000000000"),
        ({"cpu": "Babbage's"}, "the processor Babbage's"),
        ({"threads": 7}, "7 threads"),
    ],
)
def test_a_table_of_something_else_is_not_used(
    machine: dict[str, Any], model: Path, run: Run, tmp_path: Path, changes: dict[str, Any],
    reason: str, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    expected, (usual,) = run(model, tuning="none")
    table = tmp_path / "a.tuning"
    table.write_text(text(machine, "dense=1", "nhwc-1x1=1", **changes))
    output, (layer,) = run(model, tuning=str(table))
    assert layer == usual
    assert np.array_equal(expected, output)
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("nmpack:")]
    assert len(said) == 1
    assert said[0].startswith(f"nmpack: the tuning table '{table}' is not used: it is of {reason}")


def test_what_cannot_be_read_is_said_and_not_used(
    model: Path, run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expected, _ = run(model, tuning="none")
    large = tmp_path / "large"
    large.write_bytes(b"x" * ((1 << 20) + 1))
    for path, reason in (
        (tmp_path / "absent", "it cannot be read"),
        (tmp_path, "it cannot be read"),
        (large, "it has more than 1048576 bytes"),
        (Path("/dev/null"), "its first line is not 'nmpack-tuning 2'"),
    ):
        output, _ = run(model, tuning=str(path))
        assert np.array_equal(expected, output)
        assert f"table '{path}' is not used: {reason}\n" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("threads 1\n", "threads 01\n", "line 6: expected a whole number from 1 to 65536"),
        (SIZES, f"0{SIZES}", "line 8: expected a whole number from 1 to 2147483647"),
        ("dense=5", "dense=5 dense=6", "line 8: expected each candidate once"),
        (
            "end 8",
            f"layer f32 {SIZES} 0.50 0.5 0.5 dense=6\nend 9",
            "line 9: expected each layer once",
        ),
    ],
)
def test_both_readers_refuse_what_is_said_twice_or_not_plainly(
    machine: dict[str, Any], model: Path, run: Run, tmp_path: Path, before: str, after: str,
    reason: str, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    good = text(machine, "dense=5")
    read_table(good.encode(), "table")
    bad = good.replace(before, after)
    with pytest.raises(TableError):
        read_table(bad.encode(), "table")
    table = tmp_path / "a.tuning"
    table.write_text(bad)
    _, (layer,) = run(model, tuning=str(table), layout="nhwc")
    assert not layer["measured"]
    assert f"table '{table}' is not used: {reason}\n" in capfd.readouterr().err


def test_a_model_brings_its_table(
    machine: dict[str, Any], model: Path, run: Run, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    tuned = tmp_path / "tuned.tflite"
    embed(model, read_table(text(machine, "dense=1").encode(), "table"), tuned)
    expected, (usual,) = run(tuned, tuning="none", layout="nhwc")
    output, (layer,) = run(tuned, layout="nhwc")
    assert (usual["operator"], usual["measured"]) == ("nm", False)
    assert (layer["operator"], layer["measured"]) == ("dense", True)
    assert same(expected, output)
    expected, (usual,) = run(tuned, tuning="none")
    foreign = text(machine, "dense=1", threads=7)
    embed(model, read_table(foreign.encode(), "table"), tuned)
    capfd.readouterr()
    output, (layer,) = run(tuned)
    assert layer == usual
    assert "tuning" not in capfd.readouterr().err
    run(tuned, verbose="1")
    assert "the tuning table in the model is not used: it is of 7 threads" in capfd.readouterr().err


def damage(content: str, draw: random.Random) -> bytes:
    """A table with a few things wrong."""
    data = bytearray(content.encode())
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        match draw.randrange(5):
            case 0:
                del data[at : at + draw.randint(1, 40)]
            case 1:
                data[at : at + 1] = bytes([draw.randrange(256)])
            case 2:
                hostile = draw.choice(
                    ["nan", "inf", "-1", "1e999", "0x10", "99999999999999999999", "1e-99", "=", " ",
                     "\n", "end 9", "cost qs8 conversion nan", "cost f32 min_speedup 0\n", "\0",
                     "%s%n", "f32", "qs8", "f64 "]
                )  # fmt: skip
                data[at:at] = hostile.encode()
            case 3:
                lines = data.split(b"\n")
                lines.insert(draw.randrange(len(lines)), draw.choice(lines))
                data = bytearray(b"\n".join(lines))
            case _:
                data[at:at] = data[: draw.randrange(len(data) + 1)]
        data = data or bytearray(b" ")
    return bytes(data)


def check_damaged(
    count: int, machine: dict[str, Any], candidates: list[str], model: Path, run: Run, folder: Path
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # shown where it fails
    draw = random.Random(seed)
    expected, _ = run(model, tuning="none")
    table = folder / "damaged.tuning"
    for _ in range(count):
        times = [f"{name}={draw.uniform(1, 1e6):g}" for name in candidates]
        content = text(machine, *times).replace(
            "layer ",
            f"cost f32 conversion {draw.uniform(0, 1e4):g}\ncost qs8 pack_percent 0 5 6\nlayer ",
        )
        content = content.replace("end 8", "end 10")
        table.write_bytes(content.encode() if draw.random() < 0.1 else damage(content, draw))
        output, _ = run(model, tuning=str(table))
        assert same(expected, output), f"seed {seed}: {table.read_bytes()!r}"


def test_damaged_tables_change_no_output(
    machine: dict[str, Any], candidates: list[str], model: Path, run: Run, tmp_path: Path
) -> None:
    check_damaged(DAMAGED, machine, candidates, model, run, tmp_path)


@pytest.mark.slow
def test_many_damaged_tables_change_no_output(
    machine: dict[str, Any], candidates: list[str], model: Path, run: Run, tmp_path: Path
) -> None:
    check_damaged(MANY_DAMAGED, machine, candidates, model, run, tmp_path)
