# SPDX-License-Identifier: BSD-3-Clause
"""Smaller files: the weights of pruned layers in TFLite's own sparse encoding.

A filter [O, H, W, I], or [O, I] of a fully connected layer, is stored as blocks of T output
channels in compressed rows: for each tile of T rows and each tap (h, w) the list of the input
channels that hold a non-zero, and T values for each.
TFLite's DENSIFY operator makes the dense tensor when a model is loaded, so any interpreter that
knows it reads the file. What is not smaller stays as it is. A filter that several subgraphs share
is stored once, and each of them begins with a DENSIFY of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError
from nmpack.files import written_whole
from nmpack.tflite.block_rows import BlockRows, block_rows
from nmpack.tflite.builder import packed, unpacked
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import LayerInfo, TensorInfo
from nmpack.tflite.operator_codes import DENSIFY

#: What ``convert`` may write.
STORAGES = ("dense", "sparse")

# Numbers operators by their places, which DENSIFY operators move.
_DEPENDENCIES = b"model_control_dependencies"


@dataclass(frozen=True, slots=True)
class StorageReport:
    """What :func:`to_sparse_storage` did.

    Attributes:
        before, after: bytes of the file.
        stored: names of the filters that are sparse now; a shared one is named once.
        kept: how many layers' weights stayed dense.
    """

    before: int
    after: int
    stored: tuple[str, ...]
    kept: int


@dataclass(frozen=True, slots=True)
class _Filter:
    """A filter to be stored sparsely, and its tensors as (subgraph, tensor)."""

    rows: BlockRows
    buffer: int
    tensors: tuple[tuple[int, int], ...]
    name: str


def to_sparse_storage(source: str | Path, target: str | Path) -> StorageReport:
    """Write the model ``source`` with sparse storage to ``target`` (which may be the same file).

    Every filter of CONV_2D and FULLY_CONNECTED of float32, and of int8 CONV_2D with zero points 0,
    that becomes at least a tenth smaller is stored sparsely; all else, depthwise filters included,
    stays as it is. So does a filter whose buffer something else uses, too: it could not be left
    out.

    Raises:
        ModelError: ``source`` is not a usable model, or holds what would be lost.
        MissingError: ai-edge-litert, whose schema is used, is not installed.
    """
    file = TFLiteFile(source)
    filters = _filters(file)
    known = {place for item in filters for place in item.tensors}
    kept = sum(
        item.weights is None or (item.subgraph, item.weights.index) not in known
        for item in file.layers
    )
    content = _rewritten(file.path, filters) if filters else file.path.read_bytes()
    before = file.path.stat().st_size
    with written_whole(target) as temporary:
        temporary.write_bytes(content)
        TFLiteFile(temporary)
    return StorageReport(before, len(content), tuple(item.name for item in filters), kept)


def _filters(file: TFLiteFile) -> list[_Filter]:
    """Return what becomes smaller, by buffers that hold nothing but filters of one shape."""
    users = Counter(tensor.buffer for graph in file.subgraphs for tensor in graph.tensors)
    found: dict[int, dict[tuple[int, int], TensorInfo]] = {}
    for graph in file.subgraphs:
        # What the caller writes or reads cannot come from an operator of the graph.
        bound = {*graph.inputs, *graph.outputs}
        for item in graph.layers:
            tensor = item.weights
            if tensor is not None and _can_be_sparse(item, tensor) and tensor.index not in bound:
                found.setdefault(tensor.buffer, {})[graph.index, tensor.index] = tensor
    filters: list[_Filter] = []
    for buffer, tensors in found.items():
        first = next(iter(tensors.values()))
        alike = all(
            (tensor.shape, tensor.dtype) == (first.shape, first.dtype)
            for tensor in tensors.values()
        )
        if len(tensors) == users[buffer] and alike:
            rows = block_rows(file.array(first), tensors=len(tensors))
            if rows is not None:
                filters.append(_Filter(rows, buffer, tuple(tensors), first.name))
    return filters


def _can_be_sparse(item: LayerInfo, weights: TensorInfo) -> bool:
    if item.depthwise or weights.sparse:
        return False
    if weights.dtype == "int8":
        # ai-edge-litert 2.3 takes such a layer for its XNNPACK, and fails when it prepares it.
        if item.linear:
            return False
        scales = weights.quantization
        return scales is not None and not scales.zero_point.any()
    return weights.dtype == "float32"


def _rewritten(path: Path, filters: list[_Filter]) -> bytes:
    schema, model = unpacked(path)
    if any(item.name == _DEPENDENCIES for item in model.metadata or ()):
        raise ModelError(f"{path}: operators that state their order are not supported")
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = DENSIFY
    code.version = 1
    needed = {item.buffer for item in model.metadata or ()} | set(model.metadataBuffer or ())
    densify: dict[int, list[Any]] = {}
    for item in filters:
        buffer = schema.BufferT()
        buffer.data = item.rows.values.reshape(-1).view(np.uint8)
        for place, index in item.tensors:
            graph = model.subgraphs[place]
            dense = graph.tensors[index]
            stored = schema.TensorT()
            stored.name = _text(dense.name) + "/sparse"
            stored.shape, stored.type = dense.shape, dense.type
            stored.quantization = dense.quantization
            stored.sparsity = _sparsity(schema, item.rows, len(dense.shape))
            stored.buffer = len(model.buffers)
            dense.buffer = 0
            operator = schema.OperatorT()
            operator.opcodeIndex = len(model.operatorCodes)
            operator.inputs, operator.outputs = [len(graph.tensors)], [index]
            operator.builtinOptionsType = schema.BuiltinOptions.DensifyOptions
            operator.builtinOptions = schema.DensifyOptionsT()
            graph.tensors.append(stored)
            densify.setdefault(place, []).append(operator)
        model.buffers.append(buffer)
        if item.buffer not in needed:
            model.buffers[item.buffer].data = None
    model.operatorCodes.append(code)
    for place, operators in densify.items():
        graph = model.subgraphs[place]
        graph.operators = operators + list(graph.operators)
    return packed(model)


def _sparsity(schema: Any, rows: BlockRows, rank: int) -> Any:
    """Return SparsityParameters: tiles, h and w dense, channels compressed, a tile's rows dense."""
    outputs, height, width, _ = rows.shape
    taps = (height, width) if rank == 4 else ()
    result = schema.SparsityParametersT()
    result.traversalOrder, result.blockMap = list(range(rank + 1)), [0]
    result.dimMetadata = []
    for size in (outputs // rows.tile, *taps, None, rows.tile):
        axis = schema.DimensionMetadataT()
        kinds = schema.DimensionType
        axis.format = kinds.DENSE if size is not None else kinds.SPARSE_CSR
        if size is not None:
            axis.denseSize = size
        else:
            axis.arraySegmentsType, axis.arraySegments = _vector(schema, rows.segments)
            axis.arrayIndicesType, axis.arrayIndices = _vector(schema, rows.channels)
        result.dimMetadata.append(axis)
    return result


def _vector(schema: Any, values: npt.NDArray[Any]) -> tuple[int, Any]:
    kind = {"int32": "Int32Vector", "uint16": "Uint16Vector", "uint8": "Uint8Vector"}
    name = kind[values.dtype.name]
    vector = getattr(schema, name + "T")()
    vector.values = values
    return getattr(schema.SparseIndexVector, name), vector


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "")
