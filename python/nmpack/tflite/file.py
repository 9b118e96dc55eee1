# SPDX-License-Identifier: BSD-3-Clause
"""What nmpack needs to know of a ``.tflite`` file, read without an interpreter.

The file is untrusted: whatever it holds, reading it ends in a :class:`TFLiteFile` or in one
:class:`~nmpack.errors.ModelError`. Field numbers follow version 3 of TFLite's schema.
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
from nmpack.tflite.subgraphs import (
    DTYPES,
    Budget,
    ConvolutionInfo,
    Subgraph,
    SubgraphReader,
    TensorInfo,
)

# An honest file states each list once, in at least a byte for each unit of the budget; a hostile
# one shares a long list between many tables. The second bounds time and memory for any file: a few
# seconds and 100 MiB.
_MAX_SHARING = 4
_MAX_BUDGET = 2_000_000
_MIN_BUDGET = 1000


class TFLiteFile:
    """A model: its subgraphs, and the buffers that they share.

    Attributes:
        path: of the file.
        subgraphs: all of them, at least one, in the file's order.
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
            raise ModelError(f"{self.path}: cannot be read: {error}") from error
        try:
            self._parse()
        except ModelError as error:
            raise ModelError(f"{self.path}: not a usable .tflite file: {error}") from error

    def _parse(self) -> None:
        model = Table.root(self._data, b"TFL3")
        version = model.scalar(0, "I")
        if version != 3:
            raise ModelError(f"expected schema version 3, got {version}")
        size = len(self._data)
        budget = Budget(min(_MIN_BUDGET + _MAX_SHARING * size, _MAX_BUDGET), size)
        self._buffers = budget.tables(model, 4)
        codes = [_builtin_code(code) for code in budget.tables(model, 1)]
        tables = budget.tables(model, 2)
        if not tables:
            raise ModelError("expected at least one subgraph, got none")
        signatures = _signatures(model, len(tables), budget)
        reader = SubgraphReader(codes, len(self._buffers), self._holds, budget)
        found: list[Subgraph] = []
        for index, table in enumerate(tables):
            try:
                found.append(reader.read(index, table, tuple(signatures.get(index, ()))))
            except ModelError as error:
                where = f"subgraph {index} of {len(tables)}: " if len(tables) > 1 else ""
                raise ModelError(f"{where}{error}") from error
        self.subgraphs = tuple(found)

    @property
    def primary(self) -> Subgraph:
        """The subgraph that an interpreter runs when nobody names a signature: the first."""
        return self.subgraphs[0]

    @property
    def convolutions(self) -> tuple[ConvolutionInfo, ...]:
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
        table = self._buffers[buffer]
        offset, length = table.bytes_span(0)
        if length == 0 and (offset := table.scalar(1, "Q")) > 1:
            length = table.scalar(2, "Q")
            if offset + length > len(self._data):
                raise ModelError(f"{self.path}: a buffer at byte {offset} lies outside of the file")
        return offset, length

    def array(self, tensor: TensorInfo) -> npt.NDArray[Any]:
        """Return a tensor as a read-only array over the file, or decoded from block rows.

        Raises:
            ModelError: its type is not supported, its sparse storage is of another kind than
                :mod:`nmpack.tflite.storage` writes, or its size is wrong.
        """
        where = f"{self.path}: tensor {tensor.name!r}"
        kind = next((item[1] for item in DTYPES.values() if item[0] == tensor.dtype), None)
        if kind is None:
            raise ModelError(f"{where}: {tensor.dtype} is not supported")
        offset, length = self.span(tensor)
        if tensor.encoding is not None:
            if kind is not np.float32:
                raise ModelError(f"{where}: sparse storage of {tensor.dtype} is not supported")
            values = np.frombuffer(self._data, np.uint8, length, offset)
            try:
                return decode(tensor.encoding, tensor.shape, values)
            except ModelError as error:
                raise ModelError(f"{where}: {error}") from error
        count = math.prod(tensor.shape)
        expected = count * np.dtype(kind).itemsize
        if length != expected or count < 1:
            raise ModelError(
                f"{where}: shape {tensor.shape} needs {expected} bytes, the file holds {length}"
            )
        flat = np.frombuffer(self._data, kind, count, offset)
        return flat.reshape(tensor.shape)


def _signatures(model: Table, subgraphs: int, budget: Budget) -> dict[int, list[str]]:
    """Return the keys of the signatures of each subgraph that has any."""
    found: dict[int, list[str]] = {}
    for item in budget.tables(model, 7):
        key, index = budget.text(item, 2), item.scalar(4, "I")
        if index >= subgraphs:
            raise ModelError(f"the signature {key[:80]!r} runs subgraph {index} of {subgraphs}")
        found.setdefault(index, []).append(key)
    return found


def _builtin_code(table: Table) -> int:
    return max(table.scalar(3, "i"), table.scalar(0, "b"))
