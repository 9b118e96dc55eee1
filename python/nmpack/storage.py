# SPDX-License-Identifier: BSD-3-Clause
"""Smaller files: the weights of pruned convolutions in TFLite's own sparse encoding.

A filter [O, H, W, I] is stored as blocks of T output channels in compressed rows: for each tile
of T rows and each tap (h, w) the list of the input channels that hold a non-zero, and T values for
each.
TFLite's DENSIFY operator makes the dense tensor when a model is loaded, so any interpreter that
knows it reads the file. What is not smaller stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.block_rows import COMPRESSED, DENSE, BlockRows, block_rows
from nmpack.errors import ModelError
from nmpack.files import written_whole
from nmpack.quiet import import_module, silenced
from nmpack.tflite_file import TFLiteFile

#: What ``convert`` may write.
STORAGES = ("dense", "sparse")

_DENSIFY = 124
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class StorageReport:
    """What :func:`to_sparse_storage` did.

    Attributes:
        before, after: bytes of the file.
        stored: names of the weight tensors that are sparse now.
        kept: how many convolutions' weights stayed dense.
    """

    before: int
    after: int
    stored: tuple[str, ...]
    kept: int


def to_sparse_storage(source: str | Path, target: str | Path) -> StorageReport:
    """Write the model ``source`` with sparse storage to ``target`` (which may be the same file).

    Every CONV_2D filter of float32 that becomes at least a tenth smaller is stored sparsely; all
    else, the classifier and depthwise filters included, stays as it is.

    Raises:
        ModelError: ``source`` is not a usable model.
        MissingError: ai-edge-litert, whose schema is used, is not installed.
    """
    file = TFLiteFile(source)
    found: dict[int, BlockRows] = {}
    kept = 0
    for item in file.convolutions:
        index = item.weights
        rows = None
        if index is not None and not item.depthwise:
            tensor = file.tensors[index]
            if tensor.dtype == "float32" and not tensor.sparse and index not in file.inputs:
                rows = found.get(index) or block_rows(file.array(index))
        if rows is None:
            kept += 1
        else:
            assert index is not None
            found[index] = rows
    before = file.path.stat().st_size
    names = tuple(file.tensors[index].name for index in found)
    content = _rewritten(file.path, found)
    with written_whole(target) as temporary:
        temporary.write_bytes(content)
        TFLiteFile(temporary)
    return StorageReport(before, len(content), names, kept)


def _rewritten(path: Path, found: dict[int, BlockRows]) -> bytes:
    with silenced():
        schema = import_module("ai_edge_litert.schema_py_generated", "interpreter")
        flatbuffers = import_module("flatbuffers", "interpreter")
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    if any(buffer.offset for buffer in model.buffers):
        raise ModelError(f"{path}: buffers beside the flatbuffer are not supported")
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = _DENSIFY
    code.version = 1
    densify = []
    for index, rows in found.items():
        dense = graph.tensors[index]
        stored = schema.TensorT()
        stored.name = _text(dense.name) + "/sparse"
        stored.shape, stored.type = dense.shape, dense.type
        stored.sparsity = _sparsity(schema, rows)
        stored.buffer = len(model.buffers)
        buffer = schema.BufferT()
        buffer.data = rows.values.reshape(-1).view(np.uint8)
        model.buffers.append(buffer)
        if not _used_elsewhere(model, dense.buffer, index):
            model.buffers[dense.buffer].data = None
        dense.buffer = 0
        operator = schema.OperatorT()
        operator.opcodeIndex = len(model.operatorCodes)
        operator.inputs, operator.outputs = [len(graph.tensors)], [index]
        operator.builtinOptionsType = schema.BuiltinOptions.DensifyOptions
        operator.builtinOptions = schema.DensifyOptionsT()
        densify.append(operator)
        graph.tensors.append(stored)
    if densify:
        model.operatorCodes.append(code)
        graph.operators = densify + list(graph.operators)
    builder = _builder(flatbuffers)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _used_elsewhere(model: Any, buffer: int, index: int) -> bool:
    for number, graph in enumerate(model.subgraphs):
        for place, tensor in enumerate(graph.tensors):
            if tensor.buffer == buffer and (number, place) != (0, index):
                return True
    return False


def _sparsity(schema: Any, rows: BlockRows) -> Any:
    """Return SparsityParameters: tiles, h and w dense, channels compressed, a tile's rows dense."""
    outputs, height, width, _ = rows.shape
    result = schema.SparsityParametersT()
    result.traversalOrder, result.blockMap = [0, 1, 2, 3, 4], [0]
    result.dimMetadata = []
    for size in (outputs // rows.tile, height, width, None, rows.tile):
        axis = schema.DimensionMetadataT()
        axis.format = DENSE if size is not None else COMPRESSED
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


def _builder(flatbuffers: Any) -> Any:
    """Return a builder that aligns byte vectors as the schema wants, to 16."""

    base: Any = flatbuffers.Builder

    class Builder(base):  # type: ignore[misc]
        head: int

        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802
            if x.dtype.itemsize != 1 or not x.size:
                return super().CreateNumpyVector(x)
            self.StartVector(1, x.size, _ALIGNMENT)
            self.head = self.head - x.size
            self.Bytes[self.head : self.head + x.size] = x.tobytes()
            self.vectorNumElems = x.size
            return self.EndVector()

    return Builder(1 << 20)


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "")
