# SPDX-License-Identifier: BSD-3-Clause
"""Partitions that XNNPACK runs at some shapes and the interpreter's kernels at others.

``NMPACK_FALLBACK_SEED`` draws other graphs, ``NMPACK_FALLBACK_COUNT`` more of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from odd_graphs import CASES
from signatures import Subgraph, join
from test_life import CONV, RESOLVERS, ours
from tflite_graph import options

from nmpack.locations import ROOT
from nmpack.runtime.interpreter import find_delegate

pytestmark = pytest.mark.delegate
SEED = int(os.environ.get("NMPACK_FALLBACK_SEED", "1"))
COUNT = int(os.environ.get("NMPACK_FALLBACK_COUNT", "40"))
SIZE, CHANNELS = 6, 4


def stock(model: bytes) -> Any:
    """The interpreter without any delegate."""
    return Interpreter(model_content=model, experimental_op_resolver_type=RESOLVERS[1])


def assert_same(got: list[np.ndarray], expected: list[np.ndarray], about: str = "") -> None:
    for mine, theirs in zip(got, expected, strict=True):
        scale = max(1.0, float(np.abs(theirs).max(initial=0.0)))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * scale, err_msg=about)


def run(interpreter: Any, images: list[np.ndarray]) -> list[np.ndarray]:
    """Resize the inputs to the images and run."""
    for detail, image in zip(interpreter.get_input_details(), images, strict=True):
        if tuple(detail["shape"]) != image.shape:
            interpreter.resize_tensor_input(detail["index"], image.shape)
    interpreter.allocate_tensors()
    for detail, image in zip(interpreter.get_input_details(), images, strict=True):
        interpreter.set_tensor(detail["index"], image)
    interpreter.invoke()
    details = interpreter.get_output_details()
    return [np.array(interpreter.get_tensor(detail["index"])) for detail in details]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_odd_graphs(case: Callable[[], Subgraph]) -> None:
    """Interpreters move nodes when they partition a graph, which most of these do not survive.

    The interpreter's own XNNPACK is not there: it computes some of them wrong.
    """
    model = join({"": case()})
    mine, theirs = ours(model), stock(model)
    for seed in range(3):
        image = np.random.default_rng(seed).uniform(-1, 1, (1, 8)).astype(np.float32)
        assert_same(run(mine, [image]), run(theirs, [image]))


class Chains:
    """A graph of chains, each with an input and a batch of its own, that share constants."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.graph = rng, Subgraph()
        self.half = bool(rng.integers(2))
        self.constants: dict[tuple[int, ...], list[int]] = {}
        self.chains = [[self.image()] for _ in range(rng.integers(1, 4))]
        self.graph.inputs = [chain[0] for chain in self.chains]
        for _ in range(rng.integers(3, 14)):
            self.append(self.chains[rng.integers(len(self.chains))])
        inner = [t for chain in self.chains for t in chain[1:-1] if rng.random() < 0.3]
        ends = {chain[-1] for chain in self.chains} - set(self.graph.inputs)
        self.graph.outputs = sorted(ends | set(inner))

    def image(self) -> int:
        index = self.graph.tensor((1, SIZE, SIZE, CHANNELS))
        self.graph.tensors[index].shapeSignature = [-1, SIZE, SIZE, CHANNELS]
        return index

    def constant(self, *shape: int) -> int:
        known = self.constants.setdefault(shape, [])
        if known and self.rng.random() < 0.4:
            return known[self.rng.integers(len(known))]
        # Values stay small, or their cosines would differ with the least error.
        value = (self.rng.uniform(0.5, 1.5, shape) / np.prod(shape[1:])).astype(np.float32)
        if self.half and self.rng.random() < 0.7:
            packed = self.graph.constant(value.astype(np.float16))
            known.append(self.graph.add("DEQUANTIZE", [packed], self.graph.tensor(shape)))
        else:
            known.append(self.graph.constant(value))
        return known[-1]

    def append(self, chain: list[int]) -> None:
        last, earlier = chain[-1], chain[self.rng.integers(len(chain))]
        plain = {"fusedActivationFunction": 0}
        bias = self.constant(CHANNELS)
        name, inputs, how = [
            ("ADD", [last, bias], options("AddOptions", **plain)),
            ("ADD", [last, earlier], options("AddOptions", **plain)),
            ("MUL", [last, bias], options("MulOptions", **plain)),
            ("CONV_2D", [last, self.constant(CHANNELS, 3, 3, CHANNELS), bias],
             options("Conv2DOptions", padding=0, **CONV)),
            ("DEPTHWISE_CONV_2D", [last, self.constant(1, 3, 3, CHANNELS), bias],
             options("DepthwiseConv2DOptions", padding=0, depthMultiplier=1, **CONV)),
            ("RELU", [last], None),
            ("COS", [last], options("CosOptions")),
        ][self.rng.integers(7)]  # fmt: skip
        chain.append(self.graph.add(name, inputs, self.image(), how))


@pytest.mark.parametrize("seed", range(SEED, SEED + COUNT))
def test_empty_batches_come_and_go(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = join({"": Chains(rng).graph})
    mine = ours(model, RESOLVERS[rng.integers(2)], num_threads=str(rng.integers(1, 3)))
    theirs = stock(model)
    for _ in range(6):
        batches = rng.integers(0, 4, len(theirs.get_input_details()))
        images = [
            rng.uniform(-1, 1, (batch, SIZE, SIZE, CHANNELS)).astype(np.float32)
            for batch in batches
        ]
        assert_same(run(mine, images), run(theirs, images), f"seed {seed}, batches {batches}")


def test_a_partition_on_the_interpreters_kernels_reads_what_another_unpacks() -> None:
    """The second partition's input is a dynamic tensor, which XNNPACK does not take."""
    graph = Subgraph()
    x = graph.tensor((1, 4))
    doubled = graph.add("ADD", [x, x], graph.tensor((1, 4)), options("AddOptions"))
    shape = graph.add("SHAPE", [doubled], graph.tensor((2,), np.int32),
                      options("ShapeOptions", outType=2))  # fmt: skip
    ends = [graph.constant(np.array([value], np.int32)) for value in (0, 1, 1)]
    rows = graph.add("STRIDED_SLICE", [shape, *ends], graph.tensor((), np.int32),
                     options("StridedSliceOptions", shrinkAxisMask=1))  # fmt: skip
    sizes = graph.add("PACK", [rows, graph.constant(np.array(4, np.int32))],
                      graph.tensor((2,), np.int32),
                      options("PackOptions", valuesCount=2))  # fmt: skip
    flat = graph.add("RESHAPE", [doubled, sizes], graph.tensor((1, 4)), options("ReshapeOptions"))
    matrix = graph.add("DEQUANTIZE", [graph.constant(np.eye(4, dtype=np.float16))],
                       graph.tensor((4, 4)))  # fmt: skip
    y = graph.add("FULLY_CONNECTED", [flat, matrix, -1], graph.tensor((1, 4)),
                  options("FullyConnectedOptions"))  # fmt: skip
    graph.inputs, graph.outputs = [x], [y, flat]
    image = np.array([[1, 2, 3, 4]], np.float32)
    for result in run(ours(join({"": graph})), [image]):
        np.testing.assert_array_equal(result, 2 * image)


def test_a_graph_of_many_partitions_takes_little_memory() -> None:
    """Each partition knows its own tensors, not those of the whole graph."""
    graph = Subgraph()
    x = last = graph.tensor((1, 8))
    for _ in range(1500):
        last = graph.add("ADD", [last, x], graph.tensor((1, 8)), options("AddOptions"))
        last = graph.add("COS", [last], graph.tensor((1, 8)), options("CosOptions"))
    graph.inputs, graph.outputs = [x], [last]
    model = join({"": graph})
    interpreter = ours(model)
    before = _resident()
    interpreter.allocate_tensors()
    assert _resident() - before < 600 * 2**20  # a few, and what a sanitizer keeps


def _resident() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_threads_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on processes that leaves room for none: one thread runs, and the user is told."""
    code = f"""
import os, resource, sys
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
import numpy as np
import numpy.testing
from test_life import convolution, image, join, ours, plain, stock
model = join({{"": convolution(1)}})
delegate = ours(model)  # everything is loaded before the user changes
if os.geteuid() == 0:  # whom no limit stops
    os.setgid(65534), os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
np.testing.assert_allclose(plain(ours(model, num_threads="2"), image(1)),
                           plain(stock(model), image(1)), atol=1e-4)
"""
    # Another user may look into neither root's home nor pytest's folders.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("NMPACK_DELEGATE", shutil.copy(find_delegate(), folder))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              check=False, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    # On one processor nobody tries to start a second.
    expected = int(len(os.sched_getaffinity(0)) > 1)
    assert done.stderr.count("nmpack: 2 threads cannot be started: one runs\n") == expected


def test_an_interpreter_that_applies_delegates_again_finds_the_same_nodes(tmp_path: Path) -> None:
    """tflite-runtime 2.14 does after each resize, and insists that nodes keep their delegate."""
    graph = Subgraph()
    x, last = graph.tensor((1, 8)), 0
    bias = graph.constant(np.ones(8, np.float32))
    first = graph.add("ADD", [x, bias], graph.tensor((1, 8)), options("AddOptions"))
    middle = graph.add("COS", [first], graph.tensor((1, 8)), options("CosOptions"))
    last = graph.add("ADD", [middle, bias], graph.tensor((1, 8)), options("AddOptions"))
    graph.inputs, graph.outputs = [x], [last]
    model = tmp_path / "model.tflite"
    model.write_bytes(join({"": graph}))
    code = f"""
import numpy as np
from tflite_runtime.interpreter import Interpreter, load_delegate
delegate = load_delegate({str(find_delegate())!r})
interpreter = Interpreter({str(model)!r}, experimental_delegates=[delegate])
for batch in (1, 2, 0, 1, 2):
    interpreter.resize_tensor_input({x}, [batch, 8])
    interpreter.allocate_tensors()
    interpreter.set_tensor({x}, np.ones((batch, 8), np.float32))
    interpreter.invoke()
    expected = np.full((batch, 8), np.cos(2.0) + 1)
    np.testing.assert_allclose(interpreter.get_tensor({last}), expected, rtol=1e-5)
"""
    python = ROOT / ".venv-tflite-runtime/bin/python"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False,
                          timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
