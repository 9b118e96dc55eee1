# SPDX-License-Identifier: BSD-3-Clause
"""Every operator, its options and every tensor's quantization, as flatc's own modules read them.

``NMPACK_DAMAGE_SEED`` draws other damage, ``NMPACK_DAMAGE_COUNT`` more of it.
"""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import flatbuffers
import hostile_operators  # noqa: F401  adds its cases to the others
import numpy as np
import pytest
from conv_models import model as convolution_model
from drawn_convolutions import KINDS, draw
from drawn_networks import network
from drawn_operators import OPERATORS
from every_operator import every_operator
from hostile_convolutions import CASES
from odd_graphs import CASES as ODD
from schema_objects import PACKAGES, require_same, schema_of
from signatures import join
from sound_models import BASES
from subgraph_files import branches, sharing, two_signatures

from nmpack.errors import ModelError, NmpackError
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import Operator, Options

SEED = int(os.environ.get("NMPACK_DAMAGE_SEED", "1"))
COUNT = int(os.environ.get("NMPACK_DAMAGE_COUNT", "150"))


@pytest.fixture(scope="module", params=sorted(PACKAGES))
def schema(request: pytest.FixtureRequest) -> ModuleType:
    """The schema's module of each package in turn."""
    return schema_of(request.param)


def read(content: bytes, folder: Path) -> TFLiteFile:
    """Write a model and open it."""
    path = folder / "model.tflite"
    path.write_bytes(content)
    return TFLiteFile(path)


@pytest.mark.parametrize("seed", range(1, 9))
def test_every_operator_and_table_of_options(schema: ModuleType, seed: int, tmp_path: Path) -> None:
    file = read(every_operator(schema, seed), tmp_path)
    assert {item.code for item in file.primary.operators} == set(range(len(file.primary.operators)))
    require_same(file, schema)


def drawn_models() -> dict[str, Callable[[], bytes]]:
    """Return the models of the tests of kernels and of the delegate, by name."""
    found: dict[str, Callable[[], bytes]] = {case.__name__: case for case in BASES}
    found |= {case.__name__: lambda case=case: join({"run": case()}) for case in ODD}
    found |= {"two signatures": two_signatures().packed, "branches": branches().packed}
    for seed in range(1, 4):
        generator = np.random.default_rng(seed)
        for name, operator in OPERATORS.items():
            found[f"{name} {seed}"] = lambda make=operator, rng=generator: make(rng).model
        for kind in KINDS:
            item = draw(kind, (1, seed))
            found[f"{kind} {seed}"] = lambda item=item: convolution_model(item)
        found[f"network {seed}"] = lambda rng=generator: network(rng).model
    return found


MODELS = drawn_models()


@pytest.mark.parametrize("name", MODELS)
def test_models_of_other_tests(name: str, schema: ModuleType, tmp_path: Path) -> None:
    require_same(read(MODELS[name](), tmp_path), schema)


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["dense", "pruned"])
def test_converted_models(models: Callable[[str], Path], kind: str, schema: ModuleType) -> None:
    file = TFLiteFile(models(kind))
    require_same(file, schema)
    for item in file.convolutions:
        operator = file.primary.operators[item.node]
        kinds = ("Conv2DOptions", "DepthwiseConv2DOptions")
        assert operator.options_of(kinds[item.depthwise]) is operator.options
        assert operator.options_of(kinds[not item.depthwise]) is None
        assert operator.options.padding in ("SAME", "VALID")
        assert operator.options.fused_activation_function in ("NONE", "RELU")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_hostile_model_is_read_right_or_one_error(
    case: Callable[[], bytes], schema: ModuleType, tmp_path: Path
) -> None:
    said = ""
    try:
        require_same(read(case(), tmp_path), schema)
    except ModelError as error:
        said = str(error)
    assert not said or said.startswith(f"{tmp_path / 'model.tflite'}: not a usable .tflite file: ")


def read_all(file: TFLiteFile) -> None:
    """Touch whatever a file was read into."""
    for graph in file.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization is not None:
                assert len(tensor.quantization.scale) == len(tensor.quantization.zero_point)
                tensor.quantization.scale.sum(dtype=np.float64)
        for item in graph.operators:
            assert item.name
            bytes(item.custom_options)
            for name in item.options.values if item.options else ():
                getattr(item.options, name)


@pytest.mark.parametrize("seed", range(SEED, SEED + 6))
def test_damage_ends_in_a_result_or_one_error(seed: int, tmp_path: Path) -> None:
    whole = every_operator(schema_of("ai_edge_litert"), seed)
    generator = random.Random(seed)
    path = tmp_path / "damaged.tflite"
    messages = []
    for _ in range(COUNT):
        damaged = bytearray(whole)
        for place in generator.choices(range(8, len(whole)), k=generator.choice([1, 2, 8, 40])):
            damaged[place] = generator.choice([0, 1, 4, 0x7F, 0x80, 0xFF, generator.randrange(256)])
        if generator.random() < 0.1:
            del damaged[generator.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        try:
            read_all(TFLiteFile(path))
        except NmpackError as error:
            messages.append(str(error))
    assert len(messages) > COUNT // 5
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in messages)


Change = Callable[[Any, Any], None]


def changed(change: Change, folder: Path) -> TFLiteFile:
    """Read the model of two signatures after a change of its first subgraph."""
    schema = schema_of("ai_edge_litert")
    model = schema.ModelT.InitFromPackedBuf(two_signatures().packed(), 0)
    change(schema, model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return read(bytes(builder.Output()), folder)


def _quantize(scales: int, points: int, axis: int) -> Change:
    def change(schema: Any, model: Any) -> None:
        item = model.subgraphs[0].tensors[1].quantization = schema.QuantizationParametersT()
        item.scale, item.zeroPoint, item.quantizedDimension = [1.0] * scales, [0] * points, axis

    return change


def _both_options(schema: Any, model: Any) -> None:
    item = model.subgraphs[0].operators[0]
    item.builtinOptions2Type = schema.BuiltinOptions2.DilateOptions
    item.builtinOptions2 = schema.DilateOptionsT()


def _a_signature_of_no_tensor(_schema: Any, model: Any) -> None:
    model.signatureDefs[0].outputs[0].tensorIndex = 99


def _large_custom_options(_schema: Any, model: Any) -> None:
    item = model.subgraphs[0].operators[0]
    item.largeCustomOptionsOffset, item.largeCustomOptionsSize = 1 << 40, 1 << 62


def _an_intermediate_of_no_tensor(_schema: Any, model: Any) -> None:
    model.subgraphs[0].operators[0].intermediates = [-1, 99]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_quantize(2, 1, 0), "has 2 scales, expected as many zero points, got 1"),
        (_quantize(1, 0, 0), "has 1 scales, expected as many zero points, got 0"),
        (_quantize(2, 2, 0), "expected 1 or 32 scales along axis 0, got 2"),
        (_quantize(1, 1, 4), r"shape \[32, 3, 3, 32\] is quantized along axis 4"),
        (_quantize(1, 1, -1), r"shape \[32, 3, 3, 32\] is quantized along axis -1"),
        (_both_options, "expected one kind of options .*, got Conv2DOptions and DilateOptions"),
        (_a_signature_of_no_tensor, "the signature 'encode' has tensor 99 of 8 as 'out0'"),
        (_large_custom_options, "custom options at byte 1099511627776 lie outside of the file"),
        (_an_intermediate_of_no_tensor, "an operator's intermediate is tensor 99 of 8"),
    ],
)
def test_a_lie_about_an_operator_or_tensor_is_one_error(
    change: Change, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=rf"model\.tflite: not a usable \.tflite file: .*{says}"):
        changed(change, tmp_path)


@pytest.mark.parametrize(
    ("operators", "numbers", "says"),
    [
        (5000, 5000, r"it refers to its \d+ bytes more than any model does"),
        (
            1,
            1_000_001,
            "it has more operators and tensors, or longer lists, than a model of 100,000",
        ),
    ],
)
def test_options_that_are_too_long_together_are_one_error(
    operators: int, numbers: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nmpack.tflite.file._MAX_BUDGET", 2_000_000)
    with pytest.raises(ModelError, match=says):
        read(sharing(1, 1, operators, 1, numbers), tmp_path)
    assert len(read(sharing(1, 1, 3, 1, 100), tmp_path).primary.operators) == 3


def test_options_that_are_not_there_or_too_new(tmp_path: Path) -> None:
    def change(schema: Any, model: Any) -> None:
        stated, unknown, absent = model.subgraphs[0].operators
        stated.builtinOptionsType = schema.BuiltinOptions.Pool2DOptions
        stated.builtinOptions = schema.Pool2DOptionsT()
        unknown.builtinOptionsType = 200
        absent.builtinOptions = None

    file = changed(change, tmp_path)
    stated, unknown, absent = file.primary.operators
    # Of another kind than the operator's: an interpreter sees none, and neither does a convolution.
    assert stated.options_of("Conv2DOptions") is None
    assert stated.options.stride_h == 0
    assert file.convolutions[0].stride == (1, 1)
    assert unknown.options == Options("BuiltinOptions 200", {})
    assert absent.options is None
    with pytest.raises(AttributeError, match="Pool2DOptions has no field 'beta'"):
        _ = stated.options.beta


def test_values_can_be_copied_and_have_names(tmp_path: Path) -> None:
    operator = read(two_signatures().packed(), tmp_path).primary.operators[0]
    assert isinstance(operator, Operator)
    assert copy.deepcopy(operator.options) == operator.options
    assert operator.name == "CONV_2D"
    assert operator.options.fused_activation_function == "NONE"
    assert (operator.options.padding, operator.options.dilation_h_factor) == ("SAME", 1)


def test_a_signature_names_its_tensors(tmp_path: Path) -> None:
    file = read(two_signatures().packed(), tmp_path)
    assert [(item.key, item.subgraph) for item in file.signatures] == [("encode", 0), ("decode", 1)]
    for item in file.signatures:
        graph = file.subgraphs[item.subgraph]
        assert [index for _, index in item.inputs] == list(graph.inputs)
        assert [index for _, index in item.outputs] == list(graph.outputs)
        assert [name for name, _ in item.inputs + item.outputs] == ["in0", "out0"]
