# SPDX-License-Identifier: BSD-3-Clause
"""Whole networks: what they become, what they compute, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from host_programs import HostPrograms, require_reference
from small_networks import draw, keep, one_convolution, residual, two_ends
from tflite_graph import Graph, Quantization, activation, options

from nmpack.errors import ModelError, NmpackError
from nmpack.mcu.compiler import compile_model, identifier
from nmpack.mcu.operators.context import TARGETS
from nmpack.tflite.builder import packed, unpacked
from nmpack.tflite.storage import to_sparse_storage


def written(tmp_path: Path, content: bytes, name: str = "model") -> Path:
    path = tmp_path / f"{name}.tflite"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("target", TARGETS)
def test_a_whole_network_is_that_of_the_reference(tmp_path: Path, target: str) -> None:
    program = compile_model(written(tmp_path, residual()), target=target)
    kinds = [step.kind for step in program.steps]
    assert kinds == ["CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]
    require_reference(tmp_path, [program])


def test_zeros_are_found_and_left_out(tmp_path: Path) -> None:
    pruned = compile_model(written(tmp_path, residual()), target="xcv")
    dense = compile_model(written(tmp_path, residual(pruned=False), "dense"), target="xcv")
    first, whole = pruned.steps[0], dense.steps[0]
    assert first.pattern == "1:8 in tiles of 4"
    assert whole.kernel == "dense4x4"
    assert first.dense_macs == whole.dense_macs == whole.macs == 12 * 12 * 16 * 72
    assert first.macs < whole.macs / 5
    assert pruned.weight_bytes < dense.weight_bytes
    assert first.cycles["xcv"] < 0.7 * whole.cycles["xcv"]


def test_a_named_kernel_is_taken_where_it_fits(tmp_path: Path) -> None:
    path = written(tmp_path, residual())
    assert compile_model(path, kernel="dense1x2").steps[0].kernel == "dense1x2"
    with pytest.raises(ModelError, match=r"operator 0 CONV_2D .*expected one of .*got 'best'"):
        compile_model(path, kernel="best")


def test_several_inputs_and_outputs_have_memory_of_their_own(tmp_path: Path) -> None:
    program = compile_model(written(tmp_path, two_ends()))
    assert (program.plan.input_bytes, program.plan.output_bytes) == (30, 45)
    assert program.plan.output_offsets == (0, 15, 30)
    assert [step.kind for step in program.steps] == ["ADD", "COPY", "COPY"]
    require_reference(tmp_path, [program])


def test_filters_in_sparse_storage_are_read(tmp_path: Path) -> None:
    graph, x, y = one_convolution(keep(draw(32, 3, 3, 64), 1, 4, 32), size=5)
    dense = written(tmp_path, graph.model([x], [y]), "dense")
    sparse = tmp_path / "sparse.tflite"
    to_sparse_storage(dense, sparse)
    assert sparse.stat().st_size < dense.stat().st_size
    first, second = (compile_model(path, name="net") for path in (dense, sparse))
    assert first.steps[0].parameters == second.steps[0].parameters
    for one, other in zip(first.steps[0].constants, second.steps[0].constants, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_all_unsupported_operators_are_named_with_their_index(tmp_path: Path) -> None:
    graph, x, y = one_convolution()
    shape = graph.tensors[y].shape
    a, b = (graph.tensor(shape, np.int8, Quantization([0.05], 0)) for _ in range(2))
    graph.add("FLOOR", [y], a)
    graph.add("COS", [a], b)
    path = written(tmp_path, graph.model([x], [b]))
    with pytest.raises(ModelError) as caught:
        compile_model(path)
    assert str(caught.value) == (
        f"{path}: operator 1 FLOOR, operator 2 COS are not supported on microcontrollers"
    )


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"shape": [1, 6, 6, 9]}, r"operator 0 CONV_2D .*an output of shape \(1, 6, 6, 8\), got"),
        ({"shape": [1, 6, 6, 0]}, "expected a fixed shape, got"),
        ({"type": schema.TensorType.FLOAT32}, "expected output of int8, got float32"),
        ({"type": schema.TensorType.STRING}, "expected a type of int8, .*got string"),
        ({"quantization": None}, "expected one scale of its output, got 0"),
        ({"isVariable": True}, "keeps its values from call to call"),
        ({"shape": [1, 1 << 15, 1 << 15, 8]}, "expected at most 67108864 bytes"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Any], wrong: str
) -> None:
    graph, x, y = one_convolution(**change)
    path = written(tmp_path, graph.model([x], [y]))
    with pytest.raises(ModelError, match=wrong) as caught:
        compile_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_any_number_of_samples_is_what_the_shape_states(tmp_path: Path) -> None:
    graph, x, y = one_convolution(shapeSignature=[-1, 6, 6, 8])
    graph.tensors[x].shapeSignature = [-1, 6, 6, 4]
    program = compile_model(written(tmp_path, graph.model([x], [y])))
    assert program.plan.input_bytes == 6 * 6 * 4
    require_reference(tmp_path, [program])


def test_images_of_any_size_are_refused(tmp_path: Path) -> None:
    graph, x, y = one_convolution()
    graph.tensors[x].shapeSignature = [1, -1, -1, 4]
    with pytest.raises(ModelError, match=r"an input of fixed shape, got \[1, -1, -1, 4\]: convert"):
        compile_model(written(tmp_path, graph.model([x], [y])))


@pytest.mark.parametrize(
    ("scale", "zero", "wrong"),
    [
        (0.0, 0, "expected positive finite scales, got 0.0"),
        (-1.0, 0, "expected positive finite scales, got -1.0"),
        (np.inf, 0, "expected positive finite scales, got inf"),
        (np.nan, 0, "expected positive finite scales, got nan"),
        (0.05, 128, "expected zero points of int8 from -128 to 127, got 128"),
        (0.05, 1 << 40, "expected zero points of int8 from -128 to 127, got"),
        (1e-38, 0, r"expected scales whose ratio is below 2\^30"),
    ],
)
def test_impossible_quantization_is_refused(
    tmp_path: Path, scale: float, zero: int, wrong: str
) -> None:
    graph, x, y = one_convolution()
    graph.tensors[y].quantization.scale = [scale]
    graph.tensors[y].quantization.zeroPoint = [zero]
    graph.operators[0].builtinOptions.fusedActivationFunction = activation("NONE")
    with pytest.raises(ModelError, match=wrong):
        compile_model(written(tmp_path, graph.model([x], [y])))


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        ("strideH", 0, "strides and dilations start at 1"),
        ("strideW", 1 << 20, "expected strides and dilations from 1"),
        ("dilationWFactor", -3, "strides and dilations start at 1"),
        ("padding", 7, "expected SAME or VALID as padding, got"),
        ("fusedActivationFunction", activation("TANH"), "the activation TANH is not supported"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, field: str, value: int, wrong: str) -> None:
    graph, x, y = one_convolution()
    setattr(graph.operators[0].builtinOptions, field, value)
    with pytest.raises(ModelError, match=wrong):
        compile_model(written(tmp_path, graph.model([x], [y])))


def _order(path: Path, change: str) -> None:
    _, model = unpacked(path)
    graph = model.subgraphs[0]
    if change == "reads before":
        graph.operators = graph.operators[::-1]
    elif change == "writes twice":
        graph.operators = [*graph.operators, graph.operators[0]]
    elif change == "nothing writes":
        graph.operators = graph.operators[:-1]
    elif change == "no output":
        graph.outputs = []
    elif change == "input twice":
        graph.inputs = [*graph.inputs, *graph.inputs]
    else:
        graph.operators[0].inputs = [0, -1, 2]
    path.write_bytes(packed(model))


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ("reads before", "reads tensor .*, which nothing has written"),
        ("writes twice", "writes tensor .*, which has its values already"),
        ("nothing writes", "is an output, but nothing writes it"),
        ("no output", "expected a network with an input and an output"),
        ("input twice", "a tensor is an input twice"),
        ("left out", "a convolution needs an input, weights and one output"),
    ],
)
def test_an_impossible_order_is_refused(tmp_path: Path, change: str, wrong: str) -> None:
    path = written(tmp_path, residual())
    _order(path, change)
    with pytest.raises(ModelError, match=wrong):
        compile_model(path)


def test_weights_that_are_computed_are_refused(tmp_path: Path) -> None:
    graph = Graph()
    x = graph.tensor((1, 4), np.int8, Quantization([0.02]))
    w = graph.tensor((3, 4), np.int8, Quantization([0.02]))
    y = graph.tensor((1, 3), np.int8, Quantization([0.02]))
    graph.add("FULLY_CONNECTED", [x, w], y, options("FullyConnectedOptions"))
    with pytest.raises(ModelError, match="expected a constant as weights, got one that is"):
        compile_model(written(tmp_path, graph.model([x, w], [y])))


def test_a_network_that_computes_nothing_copies(tmp_path: Path) -> None:
    graph = Graph()
    x = graph.tensor((1, 7), np.int8, Quantization([0.02]))
    path = written(tmp_path, graph.model([x], [x]))
    program = compile_model(path)
    assert [step.kind for step in program.steps] == ["COPY"]
    (got,) = HostPrograms(tmp_path, [program]).run([(0, b"\x01\x02\xff\x80\x7f\x00\x05")])
    assert got == b"\x01\x02\xff\x80\x7f\x00\x05"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kws", "kws"), ("my model-2.int8", "my_model_2_int8"), ("8bit", "net_8bit"),
        ("für", "f_r"), ("___", "net"), ("static", "static_net"), ("nm_copy", "net_nm_copy"),
        ("test", "test_net"), ("string", "string_net"), ("LICENSE", "LICENSE_net"),
    ],
)  # fmt: skip
def test_a_file_name_becomes_an_identifier(name: str, expected: str) -> None:
    assert identifier(Path(f"{name}.tflite")) == expected


@pytest.mark.parametrize(
    "name", ["", "8", "a-b", "while", "nm_conv2d_s8", "build", "a" * 61, "é", "_a"]
)
def test_a_name_that_is_no_identifier_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, residual())
    with pytest.raises(NmpackError, match=re.escape("expected a C identifier")):
        compile_model(path, name=name)


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NmpackError, match=r"expected one of host, .*got 'arm'"):
        compile_model(tmp_path / "model.tflite", target="arm")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.tflite: cannot be read"):
        compile_model(tmp_path / "none.tflite")
