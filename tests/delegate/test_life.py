# SPDX-License-Identifier: BSD-3-Clause
"""The life of a delegate: graphs, interpreters, resizes and processes in any order.

Each test starts from a fault that was reported of some TFLite delegate.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate
from signatures import Subgraph, join
from tflite_graph import activation, options

from nmpack.runtime.interpreter import find_delegate

pytestmark = pytest.mark.delegate
RESOLVERS = (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
SECONDS = 60
CONV = {
    "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1,
    "fusedActivationFunction": 0,
}  # fmt: skip


def convolution(seed: int, *, half: bool = True, batch: int = 1, size: int = 8) -> Subgraph:
    """A pruned convolution and a constant of the image's shape, stored in half precision."""
    rng = np.random.default_rng(seed)
    graph = Subgraph()
    x = graph.tensor((batch, size, size, 16))
    weights = rng.standard_normal((32, 3, 3, 16)).astype(np.float32)
    weights[:, :, :, rng.permutation(16)[:12]] = 0.0
    addend = rng.standard_normal((size, size, 32)).astype(np.float32)
    filters, constant = (_stored(graph, value, half=half) for value in (weights, addend))
    bias = graph.constant(rng.standard_normal(32).astype(np.float32))
    y = graph.add("CONV_2D", [x, filters, bias], graph.tensor((batch, size, size, 32)),
                  options("Conv2DOptions", padding=0, **CONV))  # fmt: skip
    z = graph.add("ADD", [y, constant], graph.tensor((batch, size, size, 32)),
                  options("AddOptions", fusedActivationFunction=activation("RELU")))  # fmt: skip
    graph.inputs, graph.outputs = [x], [z]
    return graph


def _stored(graph: Subgraph, value: np.ndarray, *, half: bool) -> int:
    if not half:
        return graph.constant(value)
    packed = graph.constant(value.astype(np.float16))
    return graph.add("DEQUANTIZE", [packed], graph.tensor(value.shape))


def two_signatures() -> bytes:
    return join({"first": convolution(1), "second": convolution(2)})


def ours(model: bytes, resolver: Any = RESOLVERS[1], delegate: Any = None, **how: str) -> Any:
    """An interpreter with our delegate."""
    delegate = delegate or load_delegate(str(find_delegate()), how)
    return Interpreter(model_content=model, experimental_delegates=[delegate],
                       experimental_op_resolver_type=resolver)  # fmt: skip


def stock(model: bytes) -> Any:
    return Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )


def image(seed: int, shape: tuple[int, ...] = (1, 8, 8, 16)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def signed(interpreter: Any, key: str, x: np.ndarray) -> np.ndarray:
    """Run a signature."""
    (result,) = interpreter.get_signature_runner(key)(x=x).values()
    return np.array(result)


def plain(interpreter: Any, x: np.ndarray) -> np.ndarray:
    """Run the first subgraph, resized to the input."""
    (detail,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(detail["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def assert_same(got: np.ndarray, expected: np.ndarray) -> None:
    assert not parity.difference([got], [expected], 1e-4)


@pytest.mark.parametrize("resolver", RESOLVERS)
@pytest.mark.parametrize("order", [("first", "second", "first"), ("second", "first", "second")])
def test_each_signature_keeps_its_constants(resolver: Any, order: tuple[str, ...]) -> None:
    model = two_signatures()
    mine, theirs = ours(model, resolver), stock(model)
    runners = {key: mine.get_signature_runner(key) for key in ("first", "second")}
    for number, key in enumerate(order):
        (got,) = runners[key](x=image(number)).values()
        assert_same(np.array(got), signed(theirs, key, image(number)))


@pytest.mark.parametrize("half", [False, True])
def test_one_delegate_serves_several_interpreters(*, half: bool) -> None:
    delegate = load_delegate(str(find_delegate()), {"num_threads": "2"})
    models = [join({"": convolution(seed, half=half)}) for seed in (3, 4, 5)]
    mine = [ours(model, delegate=delegate) for model in models]
    theirs = [stock(model) for model in models]
    for order in ((2, 0, 1), (1, 1, 0, 2)):
        for number in order:
            x = image(number, (1 + number, 8, 8, 16))
            assert_same(plain(mine[number], x), plain(theirs[number], x))
    del mine[1]
    assert_same(plain(mine[1], image(9)), plain(theirs[2], image(9)))


def test_interpreters_of_one_delegate_run_at_the_same_time() -> None:
    delegate = load_delegate(str(find_delegate()), {"num_threads": "2"})
    models = [join({"": convolution(seed, size=32)}) for seed in (6, 7)]
    x = image(1, (1, 32, 32, 16))
    expected = [plain(stock(model), x) for model in models]
    mine = [ours(model, delegate=delegate) for model in models]
    wrong: list[int] = []

    def run(number: int) -> None:
        for _ in range(40):
            if parity.difference([plain(mine[number], x)], [expected[number]], 1e-4):
                wrong.append(number)

    workers = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(SECONDS)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []


def dynamic_reshape() -> bytes:
    """What a converter makes of Reshape with a dynamic batch: a shape that is computed."""
    rng = np.random.default_rng(8)
    graph = convolution(8)
    (x,), (y,) = graph.inputs, graph.outputs
    for tensor in (x, y):
        graph.tensors[tensor].shapeSignature = [-1, 8, 8, graph.tensors[tensor].shape[3]]
    shape = graph.add(
        "SHAPE", [x], graph.tensor((4,), np.int32), options("ShapeOptions", outType=2)
    )
    ends = [graph.constant(np.array([value], np.int32)) for value in (0, 1, 1)]
    batch = graph.add("STRIDED_SLICE", [shape, *ends], graph.tensor((), np.int32),
                      options("StridedSliceOptions", shrinkAxisMask=1))  # fmt: skip
    rest = graph.constant(np.array(2048, np.int32))
    sizes = graph.add("PACK", [batch, rest], graph.tensor((2,), np.int32),
                      options("PackOptions", valuesCount=2))  # fmt: skip
    flat = graph.tensor((1, 2048))
    graph.tensors[flat].shapeSignature = [-1, 2048]
    graph.add("RESHAPE", [y, sizes], flat, options("ReshapeOptions"))
    weights = graph.constant(rng.standard_normal((5, 2048)).astype(np.float32) / 45)
    out = graph.tensor((1, 5))
    graph.tensors[out].shapeSignature = [-1, 5]
    graph.add("FULLY_CONNECTED", [flat, weights, -1], out, options("FullyConnectedOptions"))
    graph.outputs = [out]
    return join({"": graph})


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_dynamic_tensors_are_planned_after_a_resize(resolver: Any, tmp_path: Path) -> None:
    model, report = dynamic_reshape(), tmp_path / "report.json"
    mine, theirs = ours(model, resolver, report=str(report)), stock(model)
    for batch in (1, 3, 2, 3, 1):
        x = image(batch, (batch, 8, 8, 16))
        assert_same(plain(mine, x), plain(theirs, x))
        said = json.loads(report.read_text())
        taken = [node for partition in said["partitions"] for node in partition["nodes"]]
        left = {one["node"]: one["reason"] for one in said["left"]}
        assert sorted([*taken, *left]) == list(range(9))
        assert left[7] == "its shape is computed"
        assert {0, 1, 2, 3} <= set(taken)


def test_shapes_that_depend_on_data_are_left(tmp_path: Path) -> None:
    """A reshape to whatever an input says: what follows has no shape before the model runs."""
    graph = convolution(9)
    (y,) = graph.outputs
    sizes = graph.tensor((2,), np.int32)
    flat = graph.add("RESHAPE", [y, sizes], graph.tensor((1, 2048)), options("ReshapeOptions"))
    graph.add("TANH", [flat], out := graph.tensor((1, 2048)))
    graph.inputs, graph.outputs = [*graph.inputs, sizes], [out]
    model, report = join({"": graph}), tmp_path / "report.json"
    # The stock interpreter does not notice that the values change later on, either.
    for shape in ((2, 1024), (64, 32)):
        results = []
        for interpreter in (ours(model, report=str(report)), stock(model)):
            interpreter.allocate_tensors()
            x, sized = interpreter.get_input_details()
            interpreter.set_tensor(x["index"], image(1))
            interpreter.set_tensor(sized["index"], np.array(shape, np.int32))
            interpreter.invoke()
            (detail,) = interpreter.get_output_details()
            results.append(interpreter.get_tensor(detail["index"]))
        assert results[0].shape == shape
        assert_same(*results)
    left = {one["node"]: one["reason"] for one in json.loads(report.read_text())["left"]}
    assert "only when the model runs" in left[4]
    assert "only when the model runs" in left[5]


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_placeholder_images_are_planned_at_their_size(resolver: Any, tmp_path: Path) -> None:
    """Image size None is stored as 1 x 1, which no convolution without padding takes."""
    rng = np.random.default_rng(10)
    graph = Subgraph()
    x, y = graph.tensor((1, 1, 1, 16)), graph.tensor((1, 1, 1, 32))
    weights = rng.standard_normal((32, 3, 3, 16)).astype(np.float32)
    weights[:, :, :, 4:] = 0.0
    for tensor in (x, y):
        graph.tensors[tensor].shapeSignature = [-1, -1, -1, graph.tensors[tensor].shape[3]]
    graph.add("CONV_2D", [x, graph.constant(weights), graph.constant(np.ones(32, np.float32))], y,
              options("Conv2DOptions", padding=1, **CONV))  # fmt: skip
    graph.inputs, graph.outputs = [x], [y]
    model, report = join({"": graph}), tmp_path / "report.json"
    mine, theirs = ours(model, resolver, report=str(report), nm="force"), stock(model)
    for size in ((1, 9, 7, 16), (2, 30, 31, 16), (1, 3, 3, 16)):
        assert_same(plain(mine, image(1, size)), plain(theirs, image(1, size)))
        (partition,) = json.loads(report.read_text())["partitions"]
        assert [layer["operator"] for layer in partition["layers"]] == ["nm"]


def test_what_xnnpack_refuses_runs_on_the_interpreters_kernels(tmp_path: Path) -> None:
    """An empty batch: XNNPACK has no such shape, the interpreter does, and both recover."""
    model, report = join({"": convolution(11)}), tmp_path / "report.json"
    mine, theirs = ours(model, report=str(report)), stock(model)
    for batch in (1, 0, 2, 0, 1):
        x = image(batch, (batch, 8, 8, 16))
        assert_same(plain(mine, x), plain(theirs, x))
        said = json.loads(report.read_text())
        assert len(said["partitions"]) == (1 if batch else 0)
        assert len(said["left"]) == (0 if batch else 4)
        assert all("empty" in one["reason"] for one in said["left"])


def test_a_model_of_which_nothing_is_taken_runs(tmp_path: Path) -> None:
    graph = Subgraph()
    x, y = graph.tensor((2, 3), np.int32), graph.tensor((4,), np.int32)
    graph.add("SHAPE", [x], y, options("ShapeOptions", outType=2))
    graph.inputs, graph.outputs = [x], [y]
    interpreter = ours(join({"": graph}), report=str(tmp_path / "report.json"))
    interpreter.allocate_tensors()
    interpreter.invoke()
    said = json.loads((tmp_path / "report.json").read_text())
    assert said["partitions"] == []
    assert [(one["subgraph"], one["node"]) for one in said["left"]] == [(0, 0)]


@pytest.mark.parametrize(
    "case",
    [
        "a_child_process_runs_its_parents_interpreter",
        "a_child_process_lets_go_of_its_parents_interpreter",
        "a_fork_during_a_run_leaves_both_able",
    ],
)
def test_processes_that_fork(case: str) -> None:
    script = Path(__file__).with_name("forks.py")
    done = subprocess.run(
        [sys.executable, script, case], capture_output=True, text=True, check=False,
        timeout=4 * SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _threads(**how: Any) -> tuple[int, str]:
    """How many threads a fresh process reports, and what it says on standard error."""
    code = f"""
import json, sys, tempfile
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
from ai_edge_litert.interpreter import Interpreter, load_delegate
from test_life import convolution, join
report = tempfile.mktemp()
options = {{**{how.get("options", {})!r}, "report": report}}
model = join({{"": convolution(1)}})
interpreter = Interpreter(model_content=model, num_threads={how.get("threads")!r},
                          experimental_delegates=[load_delegate({str(find_delegate())!r}, options)])
interpreter.allocate_tensors()
interpreter.allocate_tensors()
print(json.load(open(report))["threads"])
"""
    command = [*how.get("prefix", []), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    said = [line for line in done.stderr.splitlines() if line.startswith("nmpack:")]
    return int(done.stdout), "\n".join(said)


def test_threads_follow_the_interpreter_and_what_may_be_used() -> None:
    usable = len(os.sched_getaffinity(0))
    one = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    assert _threads(threads=2)[0] == min(2, usable)
    assert _threads(threads=1)[0] == 1
    assert _threads(threads=1, options={"num_threads": "2"})[0] == min(2, usable)
    assert _threads(threads=2, prefix=one)[0] == 1
    count, said = _threads(options={"num_threads": "256"})
    assert count == usable
    assert said.startswith("nmpack: 256 threads are asked for, but this process may use ")
    assert said.count("\n") == 0
