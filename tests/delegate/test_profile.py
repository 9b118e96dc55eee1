# SPDX-License-Identifier: BSD-3-Clause
"""The option ``profile``: times of operators, and the model's operators that they belong to."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate
from conv_models import numbers
from drawn_networks import network
from odd_graphs import left
from signatures import Subgraph, join
from sound_models import BASES, small_network
from tflite_graph import activation, options

from nmpack.runtime.elf import read_functions
from nmpack.runtime.interpreter import find_delegate

pytestmark = pytest.mark.delegate
SIZE = 8
CHANNELS = 16


def convolve(graph: Subgraph, x: int, seed: int, activated: str = "NONE") -> int:
    """Append a pruned 3x3 convolution that keeps the image's shape."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((CHANNELS, 3, 3, CHANNELS)).astype(np.float32)
    weights[:, :, :, ::4] = 0.0
    setting = options(
        "Conv2DOptions", padding=0, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1,
        fusedActivationFunction=activation(activated),
    )  # fmt: skip
    shape = graph.tensors[x].shape
    filters = [graph.constant(weights), graph.constant(np.zeros(CHANNELS, np.float32))]
    return graph.add("CONV_2D", [x, *filters], graph.tensor(shape), setting)


def residual(*, between: bool = False) -> bytes:
    """Return CONV_2D, CONV_2D, ADD, RELU; ``between`` puts what we leave in the middle."""
    graph = Subgraph()
    shape = (1, SIZE, SIZE, CHANNELS)
    x = graph.tensor(shape)
    y = convolve(graph, x, 1, "RELU")
    if between:
        y = left(graph, y)
    z = convolve(graph, y, 2)
    z = graph.add("ADD", [z, y], graph.tensor(shape), options("AddOptions"))
    graph.inputs, graph.outputs = [x], [graph.add("RELU", [z], graph.tensor(shape))]
    return join({"": graph})


def start(model: bytes, delegate: Any) -> Interpreter:
    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_delegates=[delegate],
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


def ours(**settings: str) -> Any:
    return load_delegate(str(find_delegate()), settings)


def partitions(path: Path) -> list[dict[str, Any]]:
    value = json.loads(path.read_text(encoding="utf-8"))
    assert (value["schema"], value["dropped"]) == (1, 0)
    return list(value["partitions"])


def profiled(model: bytes, folder: Path, runs: int = 3, **settings: str) -> list[dict[str, Any]]:
    """Run a model, and return what the delegate wrote once the interpreter had gone."""
    path = folder / "profile.json"
    interpreter = start(model, ours(profile=str(path), **settings))
    for _ in range(runs):
        interpreter.invoke()
    assert not path.exists()
    del interpreter
    assert [item.name for item in folder.iterdir()] == ["profile.json"]
    return partitions(path)


def assert_whole(partition: dict[str, Any], runs: int) -> None:
    """Operators fit into the partition's time, and compute all of its nodes."""
    assert partition["runs"] == len(partition["nanoseconds"]) == runs
    for run in range(runs):
        spent = [item["nanoseconds"][run] for item in partition["operators"]]
        assert 0 < sum(spent) <= partition["nanoseconds"][run]
    computed = {node for item in partition["operators"] for node in item["nodes"]}
    assert computed == set(partition["nodes"])


LAYOUTS = [
    {"nm": "off"},
    {"nm": "auto"},
    {"nm": "force", "layout": "nhwc"},
    {"nm": "force", "layout": "cnhw"},
]


@pytest.mark.parametrize("settings", LAYOUTS)
def test_fused_and_converted_operators_are_those_of_the_model(
    settings: dict[str, str], tmp_path: Path
) -> None:
    (partition,) = profiled(residual(), tmp_path, **settings)
    assert partition["inputs"] == [[1, SIZE, SIZE, CHANNELS]]
    assert_whole(partition, 3)
    layers = [item for item in partition["operators"] if "layer" in item]
    assert [item["layer"]["node"] for item in layers] == [0, 1]
    assert [item["name"] for item in layers] == [item["layer"]["name"] for item in layers]
    functions = read_functions(find_delegate())
    for item in layers:
        assert item["multiplications"] == SIZE * SIZE * CHANNELS * 9 * CHANNELS
        symbol = functions.at(item["kernel"])
        assert symbol is not None
        assert item["kind"].lower() in symbol
    fused = layers[1]["layer"]["operator"] == "nm"
    assert fused or settings["nm"] != "force"
    assert layers[1]["nodes"][:2] == ([1, 2] if fused else [1])
    assert layers[1]["layer"]["fused_addition"] == fused
    conversions = [item for item in partition["operators"] if item["conversion"]]
    # Which layout is faster by itself is for the processor's costs to say.
    (layout,) = {item["layer"]["layout"] for item in layers}
    assert layout == settings.get("layout", layout).upper()
    assert settings["nm"] != "off" or layout == "NHWC"
    assert len(conversions) == (2 if layout == "CNHW" else 0)
    assert all(item["nodes"] == [] for item in conversions)
    assert [item["name"] for item in conversions] == ["t0", "t7"][: len(conversions)]


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("settings", LAYOUTS)
def test_every_convolution_of_a_drawn_network_is_one_operator(
    number: int, settings: dict[str, str], tmp_path: Path
) -> None:
    rng = np.random.default_rng([parity.SEED, 77, number])
    drawn = network(rng)
    (partition,) = profiled(drawn.model, tmp_path, runs=1, num_threads="2", **settings)
    layers = [item for item in partition["operators"] if "layer" in item]
    assert len(layers) == drawn.convolutions + drawn.dense_convolutions
    nodes = [item["layer"]["node"] for item in layers]
    assert len(set(nodes)) == len(nodes)
    assert all(node in item["nodes"] for node, item in zip(nodes, layers, strict=True))
    assert_whole(partition, 1)


@pytest.mark.parametrize("model", BASES, ids=lambda base: base.__name__)
def test_models_of_many_operators(model: Any, tmp_path: Path) -> None:
    for partition in profiled(model(), tmp_path):
        # Constants are unpacked when a partition is planned, by no operator.
        partition["nodes"] = sorted(
            {node for item in partition["operators"] for node in item["nodes"]}
        )
        assert_whole(partition, 3)
        assert all(item["type"] for item in partition["operators"])


def test_two_partitions(tmp_path: Path) -> None:
    first, second = profiled(residual(between=True), tmp_path, nm="force")
    assert (first["nodes"], second["nodes"]) == ([0], [2, 3, 4])
    assert_whole(first, 3)
    assert_whole(second, 3)


def test_another_shape_is_another_profile(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    interpreter = start(residual(), ours(profile=str(path)))
    index = interpreter.get_input_details()[0]["index"]
    for batch, runs in ((1, 1), (3, 2), (2, 0), (1, 1)):
        interpreter.resize_tensor_input(index, (batch, SIZE, SIZE, CHANNELS))
        interpreter.allocate_tensors()
        for _ in range(runs):
            interpreter.invoke()
    del interpreter
    found = partitions(path)
    assert [(item["inputs"][0][0], item["runs"]) for item in found] == [(1, 1), (3, 2), (1, 1)]
    counts = [item["operators"][0]["multiplications"] for item in found]
    assert counts[1] == 3 * counts[0] == 3 * counts[2]


def test_interpreters_of_one_delegate(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    delegate = ours(profile=str(path))
    one, two = start(residual(), delegate), start(small_network(), delegate)
    one.invoke()
    two.invoke()
    two.invoke()
    del two
    assert [item["runs"] for item in partitions(path)] == [2]
    del one, delegate
    assert [item["runs"] for item in partitions(path)] == [2, 1]


def test_the_last_thousand_runs_are_kept(tmp_path: Path) -> None:
    (partition,) = profiled(small_network(), tmp_path, runs=1003)
    assert partition["runs"] == 1003
    assert {len(item["nanoseconds"]) for item in [partition, *partition["operators"]]} == {1000}


def test_a_peak_is_measured_for_the_threads_that_ran(tmp_path: Path) -> None:
    profiled(small_network(), tmp_path, num_threads="1")
    peaks = json.loads((tmp_path / "profile.json").read_text())["peaks"]
    assert [peak["type"] for peak in peaks] == ["f32", "qs8"][: len(peaks)]
    assert len(peaks) == (2 if platform.machine() == "x86_64" else 1)
    for peak in peaks:
        assert peak["threads"] == 1
        # Scalar arithmetic of a slow core, and sixty-four bytes at a time of a fast one.
        assert 500 < peak["megaflops"] < 4_000_000


@pytest.mark.parametrize("settings", LAYOUTS)
def test_outputs_are_the_same(settings: dict[str, str], tmp_path: Path) -> None:
    image = numbers(np.random.default_rng(5), (1, SIZE, SIZE, CHANNELS), integers=False)
    outputs = []
    for extra in ({}, {"profile": str(tmp_path / "profile.json")}):
        interpreter = start(residual(), ours(**settings, **extra))
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert np.array_equal(*outputs)


def test_a_folder_that_goes_away_is_said_and_ends_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    interpreter = start(residual(), ours(profile=str(folder / "profile.json")))
    interpreter.invoke()
    folder.rmdir()
    del interpreter
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("nmpack: ")]
    assert said == [
        f"nmpack: cannot create a file beside '{folder}/profile.json': No such file or directory"
    ]


def test_the_time_of_the_partition_is_within_that_of_the_interpreter(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    interpreter = start(residual(), ours(profile=str(path), num_threads="2"))
    took = []
    for _ in range(5):
        begin = time.perf_counter_ns()
        interpreter.invoke()
        took.append(time.perf_counter_ns() - begin)
    del interpreter
    (partition,) = partitions(path)
    for inner, outer in zip(partition["nanoseconds"], took, strict=True):
        assert inner <= outer
