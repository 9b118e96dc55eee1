# SPDX-License-Identifier: BSD-3-Clause
"""What nmpack needs to know of a ``.tflite`` file, read without an interpreter.

The file is untrusted: whatever it holds, reading it ends in a :class:`TFLiteFile` or in one
:class:`~nmpack.errors.ModelError`. Field numbers follow version 3 of TFLite's schema.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.block_rows import decode
from nmpack.errors import ModelError
from nmpack.flatbuffer import Table

CONV_2D = 3
DEPTHWISE_CONV_2D = 4
DEQUANTIZE = 6
_DENSIFY = 124
_DTYPES: dict[int, tuple[str, Any]] = {
    0: ("float32", np.float32),
    1: ("float16", np.float16),
    2: ("int32", np.int32),
    3: ("uint8", np.uint8),
    4: ("int64", np.int64),
    6: ("bool", np.bool_),
    7: ("int16", np.int16),
    9: ("int8", np.int8),
    10: ("float64", np.float64),
}
_MAX_ITEMS = 1_000_000
# An honest file states each list once; a hostile one shares a long list between many operators.
_MAX_SHARING = 16


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's name, shape (a dynamic axis is -1 or its placeholder), type and buffer index.

    ``encoding`` is the table that describes sparse storage.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    buffer: int
    sparse: bool
    encoding: Table | None = None


@dataclass(frozen=True, slots=True)
class ConvolutionInfo:
    """One CONV_2D or DEPTHWISE_CONV_2D operator.

    Attributes:
        name: name of the output tensor.
        depthwise: whether it is the depthwise kind.
        weights: index of the stored weight tensor, or None when the weights are computed.
        shape: OHWI of the weights (TFLite's ``1HWO`` for the depthwise kind).
        stride, dilation: (height, width).
        groups: input channels / weight input channels.
    """

    name: str
    depthwise: bool
    weights: int | None
    shape: tuple[int, ...]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


class TFLiteFile:
    """The first subgraph of a model, its convolutions and the buffers that hold their weights.

    ``kinds`` are the builtin codes of all its operators, in order.
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
        for index, what in ((1, "operator codes"), (2, "subgraphs"), (4, "buffers")):
            _limit(model.count(index), what)
        self._budget = 1_000_000 + _MAX_SHARING * len(self._data)
        self._buffers = list(model.tables(4))
        codes = [_builtin_code(code) for code in model.tables(1)]
        graph = next(model.tables(2), None)
        if graph is None:
            raise ModelError("expected at least one subgraph, got none")
        _limit(graph.count(0), "tensors")
        _limit(graph.count(3), "operators")
        self.tensors = tuple(self._tensor(item) for item in graph.tables(0))
        self.inputs = self._indices(graph.ints(1), "a graph input")
        self.outputs = self._indices(graph.ints(2), "a graph output")
        self.operators = graph.count(3)
        producers: dict[int, tuple[int, tuple[int, ...]]] = {}
        found: list[ConvolutionInfo] = []
        kinds: list[int] = []
        for item in graph.tables(3):
            code = item.scalar(0, "I")
            if code >= len(codes):
                raise ModelError(f"an operator uses code {code} of {len(codes)}")
            kinds.append(codes[code])
            inputs, outputs = item.ints(1), item.ints(2)
            self._spend(8 + len(inputs) + len(outputs))
            self._indices([i for i in inputs if i != -1], "an operator input")
            for tensor in self._indices(outputs, "an operator output"):
                producers[tensor] = (codes[code], inputs)
            if codes[code] in (CONV_2D, DEPTHWISE_CONV_2D):
                found.append(self._convolution(codes[code], item, inputs, outputs, producers))
        self.convolutions = tuple(found)
        self.kinds = tuple(kinds)

    def _tensor(self, table: Table) -> TensorInfo:
        dtype, _ = _DTYPES.get(table.scalar(1, "b"), (f"type {table.scalar(1, 'b')}", None))
        buffer = table.scalar(2, "I")
        if buffer >= len(self._buffers):
            raise ModelError(f"a tensor uses buffer {buffer} of {len(self._buffers)}")
        shape, name = table.ints(0), table.text(3)
        self._spend(8 + len(shape) + len(name))
        if len(shape) > 16 or any(size < -1 for size in shape):
            raise ModelError(f"a tensor has the impossible shape {list(shape)[:17]}")
        encoding = table.table(6)
        return TensorInfo(name, shape, dtype, buffer, encoding is not None, encoding)

    def _spend(self, amount: int) -> None:
        self._budget -= amount
        if self._budget < 0:
            raise ModelError(f"it refers to its {len(self._data)} bytes more than any model does")

    def _indices(self, values: tuple[int, ...] | list[int], what: str) -> tuple[int, ...]:
        for value in values:
            if not 0 <= value < len(self.tensors):
                raise ModelError(f"{what} is tensor {value} of {len(self.tensors)}")
        return tuple(values)

    def _convolution(
        self,
        code: int,
        item: Table,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        producers: dict[int, tuple[int, tuple[int, ...]]],
    ) -> ConvolutionInfo:
        if len(inputs) < 2 or len(outputs) != 1 or -1 in inputs[:2]:
            raise ModelError("a convolution needs an input, weights and one output")
        weights: int | None = inputs[1]
        shape = self.tensors[inputs[1]].shape
        if len(shape) != 4 or any(size < 1 for size in shape):
            raise ModelError(f"convolution weights must have four positive axes, got {shape}")
        if inputs[1] in producers:
            producer, sources = producers[inputs[1]]
            unpacked = producer in (DEQUANTIZE, _DENSIFY) and len(sources) == 1
            weights = sources[0] if unpacked and self.has_data(sources[0]) else None
        elif not self.has_data(inputs[1]):
            weights = None
        if weights is not None and self.tensors[weights].shape != shape:
            raise ModelError(f"weights of shape {shape} come from {self.tensors[weights].shape}")
        options = item.table(4)
        depthwise = code == DEPTHWISE_CONV_2D
        first = 4 + int(depthwise)
        stride = dilation = (1, 1)
        if options is not None:
            stride = (options.scalar(2, "i"), options.scalar(1, "i"))
            dilation = (options.scalar(first + 1, "i", 1), options.scalar(first, "i", 1))
        if min(stride + dilation) < 1:
            raise ModelError(f"strides and dilations start at 1, got {stride} and {dilation}")
        source = self.tensors[inputs[0]].shape
        channels = source[3] if len(source) == 4 and source[3] > 0 else shape[3]
        groups = shape[3] if depthwise else max(channels // shape[3], 1)
        if not depthwise and shape[0] % groups != 0:
            raise ModelError(f"{shape[0]} output channels do not divide into {groups} groups")
        name = self.tensors[outputs[0]].name
        return ConvolutionInfo(name, depthwise, weights, shape, stride, dilation, groups)

    def has_data(self, index: int) -> bool:
        """Tell whether tensor ``index`` is stored in the file."""
        return self.span(index)[1] > 0

    def span(self, index: int) -> tuple[int, int]:
        """Return ``(offset, length)`` in bytes of tensor ``index`` in the file; length 0 if none.

        Raises:
            ModelError: the buffer lies outside of the file.
        """
        table = self._buffers[self.tensors[index].buffer]
        offset, length = table.bytes_span(0)
        if length == 0 and (offset := table.scalar(1, "Q")) > 1:
            length = table.scalar(2, "Q")
            if offset + length > len(self._data):
                raise ModelError(f"{self.path}: a buffer at byte {offset} lies outside of the file")
        return offset, length

    def array(self, index: int) -> npt.NDArray[Any]:
        """Return tensor ``index`` as a read-only array over the file, or decoded from block rows.

        Raises:
            ModelError: its type is not supported, its sparse storage is of another kind than
                :mod:`nmpack.storage` writes, or its size is wrong.
        """
        tensor = self.tensors[index]
        where = f"{self.path}: tensor {tensor.name!r}"
        kind = next((item[1] for item in _DTYPES.values() if item[0] == tensor.dtype), None)
        if kind is None:
            raise ModelError(f"{where}: {tensor.dtype} is not supported")
        if tensor.encoding is not None:
            if kind is not np.float32:
                raise ModelError(f"{where}: sparse storage of {tensor.dtype} is not supported")
            offset, length = self.span(index)
            values = np.frombuffer(self._data, np.uint8, length, offset)
            try:
                return decode(tensor.encoding, tensor.shape, values)
            except ModelError as error:
                raise ModelError(f"{where}: {error}") from error
        offset, length = self.span(index)
        count = math.prod(tensor.shape)
        expected = count * np.dtype(kind).itemsize
        if length != expected or count < 1:
            raise ModelError(
                f"{where}: shape {tensor.shape} needs {expected} bytes, the file holds {length}"
            )
        flat = np.frombuffer(self._data, kind, count, offset)
        return flat.reshape(tensor.shape)


def _builtin_code(table: Table) -> int:
    return max(table.scalar(3, "i"), table.scalar(0, "b"))


def _limit(count: int, what: str) -> None:
    if count > _MAX_ITEMS:
        raise ModelError(f"expected at most {_MAX_ITEMS} {what}, got {count}")
