# SPDX-License-Identifier: BSD-3-Clause
"""What nmpack needs to know of a ``.tflite`` file, read without an interpreter.

The file is untrusted: whatever it holds, reading it ends in a :class:`TFLiteFile` or in one
:class:`~nmpack.errors.ModelError`. What it may hold is in :mod:`nmpack.tflite.model`.
"""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError
from nmpack.tflite.block_rows import decode
from nmpack.tflite.flatbuffer import Table
from nmpack.tflite.model import LayerInfo, Signature, Subgraph, TensorInfo
from nmpack.tflite.records import Budget, Record
from nmpack.tflite.subgraphs import SubgraphReader

# An honest file states each list once, in at least a byte for each unit of the budget; a hostile
# one shares a long list between many tables.
_MAX_SHARING = 4
_MIN_BUDGET = 1000
# Bounds time and memory for any file, to about 15 seconds and 250 MiB. An addition with its tensor
# and its buffer takes 85 of this; other operators have more tensors, but few a buffer for each.
_MOST_OPERATORS = 100_000
_MAX_BUDGET = 120 * _MOST_OPERATORS
# Types of the schema that numpy has, too.
_ARRAYS = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128",
)  # fmt: skip


class TFLiteFile:
    """A model: its subgraphs, and the buffers that they share.

    Attributes:
        path: of the file.
        subgraphs: all of them, at least one, in the file's order.
        signatures: likewise, of all subgraphs.
    """

    def __init__(self, path: str | Path) -> None:
        """Open and check the file at ``path``.

        Raises:
            ModelError: it cannot be read, is truncated, or holds an impossible offset.
        """
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                self._data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else None
            raise ModelError(f"{self.path}: cannot be read: {why or error}") from error
        try:
            self._parse()
        except ModelError as error:
            raise ModelError(f"{self.path}: not a usable .tflite file: {error}") from error

    def _parse(self) -> None:
        size = len(self._data)
        budget = _budget(size)
        model = Record(Table.root(self._data, b"TFL3"), "Model", budget)
        if model["version"] != 3:
            raise ModelError(f"expected schema version 3, got {model['version']}")
        self._buffers = model["buffers"]
        self._metadata = {item["name"]: item["buffer"] for item in model["metadata"]}
        codes = [
            (max(code["builtin_code"], code["deprecated_builtin_code"]), code["version"],
             code["custom_code"])
            for code in model["operator_codes"]
        ]  # fmt: skip
        records = model["subgraphs"]
        if not records:
            raise ModelError("expected at least one subgraph, got none")
        signatures = _signatures(model, len(records))
        keys: dict[int, list[str]] = {}
        for item in signatures:
            keys.setdefault(item.subgraph, []).append(item.key)
        reader = SubgraphReader(codes, len(self._buffers), self._holds, budget)
        found: list[Subgraph] = []
        for index, record in enumerate(records):
            try:
                found.append(reader.read(index, record, tuple(keys.get(index, ()))))
            except ModelError as error:
                where = f"subgraph {index} of {len(records)}: " if len(records) > 1 else ""
                raise ModelError(f"{where}{error}") from error
        for item in signatures:
            _require_tensors(item, len(found[item.subgraph].tensors))
        self.subgraphs, self.signatures = tuple(found), signatures

    @property
    def primary(self) -> Subgraph:
        """The subgraph that an interpreter runs when nobody names a signature: the first."""
        return self.subgraphs[0]

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The convolutions and fully connected layers of all subgraphs."""
        return tuple(item for graph in self.subgraphs for item in graph.layers)

    @property
    def convolutions(self) -> tuple[LayerInfo, ...]:
        """The convolutions of all subgraphs."""
        return tuple(item for graph in self.subgraphs for item in graph.convolutions)

    def span(self, tensor: TensorInfo) -> tuple[int, int]:
        """Return ``(offset, length)`` in bytes of a tensor in the file; length 0 if not stored.

        Raises:
            ModelError: the buffer lies outside of the file.
        """
        return self._span(tensor.buffer)

    def _holds(self, buffer: int) -> bool:
        return self._span(buffer)[1] > 0

    def _span(self, buffer: int) -> tuple[int, int]:
        record = self._buffers[buffer]
        offset, length = record.span("data")
        if length == 0 and (offset := record["offset"]) > 1:
            length = record["size"]
            if offset + length > len(self._data):
                raise ModelError(f"{self.path}: a buffer at byte {offset} lies outside of the file")
        return offset, length

    def metadata(self, name: str) -> bytes | None:
        """Return what the file carries under ``name`` for others, None where there is nothing.

        Raises:
            ModelError: its buffer is not there, or lies outside of the file.
        """
        if (buffer := self._metadata.get(name)) is None:
            return None
        if buffer >= len(self._buffers):
            raise ModelError(f"{self.path}: metadata is buffer {buffer} of {len(self._buffers)}")
        offset, length = self._span(buffer)
        return bytes(self._data[offset : offset + length])

    def array(self, tensor: TensorInfo) -> npt.NDArray[Any]:
        """Return a tensor as a read-only array over the file, or decoded from block rows.

        Raises:
            ModelError: its type is not supported, its sparse storage is of another kind than
                :mod:`nmpack.tflite.storage` writes, or its size is wrong.
        """
        where = f"{self.path}: tensor {tensor.name!r}"
        if tensor.dtype not in _ARRAYS:
            raise ModelError(f"{where}: {tensor.dtype} is not supported")
        kind = np.dtype(tensor.dtype)
        offset, length = self.span(tensor)
        if tensor.encoding is not None:
            if kind not in (np.float32, np.int8):
                raise ModelError(f"{where}: sparse storage of {tensor.dtype} is not supported")
            values = np.frombuffer(self._data, np.uint8, length, offset)
            try:
                return decode(tensor.encoding, tensor.shape, values, kind)
            except ModelError as error:
                raise ModelError(f"{where}: {error}") from error
        if any(size < 1 for size in tensor.shape):
            raise ModelError(
                f"{where}: expected each axis to be at least 1, got shape {tensor.shape}"
            )
        count = math.prod(tensor.shape)
        expected = count * kind.itemsize
        if length != expected:
            raise ModelError(
                f"{where}: shape {tensor.shape} needs {expected} bytes, the file holds {length}"
            )
        flat = np.frombuffer(self._data, kind, count, offset)
        return flat.reshape(tensor.shape)


def _budget(size: int) -> Budget:
    """Return what may be read of a file of ``size`` bytes."""
    amount = _MIN_BUDGET + _MAX_SHARING * size
    if amount <= _MAX_BUDGET:
        return Budget(amount, f"it refers to its {size} bytes more than any model does")
    most = f"a model of {_MOST_OPERATORS:,} operators"
    return Budget(_MAX_BUDGET, f"it has more operators and tensors, or longer lists, than {most}")


def _signatures(model: Record, subgraphs: int) -> tuple[Signature, ...]:
    found = []
    for item in model["signature_defs"]:
        key, index = item["signature_key"], item["subgraph_index"]
        if index >= subgraphs:
            raise ModelError(f"the signature {key[:80]!r} runs subgraph {index} of {subgraphs}")
        inputs, outputs = (
            tuple((end["name"], end["tensor_index"]) for end in item[side])
            for side in ("inputs", "outputs")
        )
        found.append(Signature(key, index, inputs, outputs))
    return tuple(found)


def _require_tensors(signature: Signature, tensors: int) -> None:
    for name, index in (*signature.inputs, *signature.outputs):
        if index >= tensors:
            raise ModelError(
                f"the signature {signature.key[:80]!r} has tensor {index} of {tensors} "
                f"as {name[:80]!r}"
            )
