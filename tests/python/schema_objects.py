# SPDX-License-Identifier: BSD-3-Clause
"""What we read of a file against the objects of the module that flatc made of the schema."""

from __future__ import annotations

import importlib.util
import math
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import Operator, Options, Subgraph, TensorInfo
from nmpack.tflite.schema import fields

PACKAGES = {"ai_edge_litert": "", "tensorflow": "lite/python/"}


@cache
def schema_of(package: str) -> ModuleType:
    """Return the schema's module of a package, which itself is not imported: that takes long."""
    found = importlib.util.find_spec(package)
    assert found is not None
    (folder,) = found.submodule_search_locations
    place = f"{folder}/{PACKAGES[package]}schema_py_generated.py"
    spec = importlib.util.spec_from_file_location(f"{package}_schema", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def require_same(file: TFLiteFile, schema: ModuleType) -> None:
    """Compare all of a file: every field that both know, and the defaults of those that we add."""
    model = schema.ModelT.InitFromPackedBuf(file.path.read_bytes(), 0)
    assert len(file.subgraphs) == len(model.subgraphs)
    for graph, wanted in zip(file.subgraphs, model.subgraphs, strict=True):
        _require_graph(graph, wanted, model, schema)
    for ours, item in zip(file.signatures, model.signatureDefs or (), strict=True):
        assert (ours.key, ours.subgraph) == (_text(item.signatureKey), item.subgraphIndex)
        for ends, maps in ((ours.inputs, item.inputs), (ours.outputs, item.outputs)):
            assert ends == tuple((_text(end.name), end.tensorIndex) for end in maps)


def _require_graph(graph: Subgraph, wanted: Any, model: Any, schema: ModuleType) -> None:
    assert graph.name == _text(wanted.name)
    assert (graph.inputs, graph.outputs) == (_all(wanted.inputs), _all(wanted.outputs))
    for tensor, item in zip(graph.tensors, wanted.tensors, strict=True):
        _require_tensor(tensor, item, schema)
    for operator, item in zip(graph.operators, wanted.operators or (), strict=True):
        code = model.operatorCodes[item.opcodeIndex]
        assert operator.code == max(code.builtinCode, code.deprecatedBuiltinCode)
        assert getattr(schema.BuiltinOperator, operator.name) == operator.code
        assert (operator.version, operator.custom) == (code.version, _text(code.customCode))
        _require_operator(operator, item, schema)


def _require_operator(operator: Operator, item: Any, schema: ModuleType) -> None:
    assert (operator.inputs, operator.outputs) == (_all(item.inputs), _all(item.outputs))
    assert operator.intermediates == _all(item.intermediates)
    assert operator.mutating == _all(item.mutatingVariableInputs)
    assert bytes(operator.custom_options) == bytes(_all(item.customOptions))
    wanted = item.builtinOptions or item.builtinOptions2
    kinds = (schema.BuiltinOptions, item.builtinOptionsType)
    if item.builtinOptions2Type:
        kinds = (schema.BuiltinOptions2, item.builtinOptions2Type)
    require_options(operator.options, wanted, *kinds, schema)


def require_options(
    options: Options | None, wanted: Any, kinds: Any, number: int, schema: ModuleType
) -> None:
    """Compare a table that a union chose with flatc's object."""
    if not number:
        assert options is None
        return
    assert options is not None
    assert getattr(kinds, options.kind) == number
    assert type(wanted).__name__ == f"{options.kind}T"
    theirs = {name.lower(): value for name, value in vars(wanted).items()}
    assert theirs.keys() <= {name.replace("_", "") for name in options.values}, options.kind
    for name, value in options.values.items():
        where = f"{options.kind}.{name}"
        assert getattr(options, name) is value
        field = fields(options.kind)[name]
        key = name.replace("_", "")
        if key not in theirs:
            assert value in (field.default, f"{field.names} {field.default}", (), b"", ""), where
        elif field.many:
            assert _same(_plain(value, field.names, schema), _all(theirs[key])), where
            assert isinstance(value, bytes if field.kind == "B" else tuple), where
        elif field.kind == "str":
            assert value == _text(theirs[key]), where
        else:
            (number,) = _plain((value,), field.names, schema)
            assert _same((number,), (theirs[key],)), where
            assert type(number) is type(theirs[key]), where


def _require_tensor(tensor: TensorInfo, item: Any, schema: ModuleType) -> None:
    assert (tensor.name, tensor.buffer) == (_text(item.name), item.buffer)
    assert (tensor.shape, tensor.shape_signature) == (_all(item.shape), _all(item.shapeSignature))
    assert getattr(schema.TensorType, tensor.dtype.upper()) == item.type
    assert tensor.variable == item.isVariable
    _require_quantization(tensor, item.quantization, schema)
    if item.sparsity is None:
        assert tensor.encoding is None
        return
    encoding = tensor.encoding
    assert encoding is not None
    assert (encoding.order, encoding.blocks) == (
        _all(item.sparsity.traversalOrder),
        _all(item.sparsity.blockMap),
    )
    for axis, wanted in zip(encoding.axes, item.sparsity.dimMetadata, strict=True):
        assert getattr(schema.DimensionType, axis.format) == wanted.format
        assert axis.size == wanted.denseSize
        for ours, theirs in (
            (axis.segments, wanted.arraySegments), (axis.indices, wanted.arrayIndices),
        ):  # fmt: skip
            assert (ours is None) == (theirs is None)
            assert ours is None or np.array_equal(ours, theirs.values)


def _require_quantization(tensor: TensorInfo, wanted: Any, schema: ModuleType) -> None:
    ours = tensor.quantization
    scale = () if wanted is None or wanted.scale is None else wanted.scale
    if not len(scale):
        assert ours is None
    else:
        assert ours is not None
        assert ours.dimension == wanted.quantizedDimension
        assert ours.scale.dtype == np.float32
        assert ours.zero_point.dtype == np.int64
        assert np.array_equal(ours.scale, np.asarray(scale, np.float32), equal_nan=True)
        assert np.array_equal(ours.zero_point, wanted.zeroPoint)
        assert ours.per_axis == (len(scale) > 1)
    if wanted is not None:
        kinds = schema.QuantizationDetails
        details = tensor.quantization_details
        require_options(details, wanted.details, kinds, wanted.detailsType, schema)


def _plain(values: Any, enumeration: str, schema: ModuleType) -> tuple[Any, ...]:
    """Return names of an enumeration as numbers."""
    if not enumeration:
        return tuple(values)
    kind = getattr(schema, enumeration)
    unknown = f"{enumeration} "
    return tuple(
        int(item.removeprefix(unknown)) if item.startswith(unknown) else getattr(kind, item)
        for item in values
    )


def _same(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    return len(ours) == len(theirs) and all(
        one == two or (math.isnan(one) and math.isnan(two))
        for one, two in zip(ours, theirs, strict=True)
    )


def _all(values: Any) -> tuple[Any, ...]:
    return () if values is None else tuple(values)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
