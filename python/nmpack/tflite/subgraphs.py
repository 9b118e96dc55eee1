# SPDX-License-Identifier: BSD-3-Clause
"""The subgraphs of a ``.tflite`` file as records, read within one budget for the whole file.

A subgraph is a graph of its own: the first is what an interpreter runs when nobody names a
signature, others belong to further signatures, or are run by an operator (IF, WHILE, …) of
another. Subgraphs number their tensors and operators each from 0, and share the file's buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmpack.errors import ModelError
from nmpack.tflite.flatbuffer import Table
from nmpack.tflite.operator_codes import CONV_2D, DENSIFY, DEPTHWISE_CONV_2D, DEQUANTIZE

#: Tensor types by their number in the schema: name, and numpy's type.
DTYPES: dict[int, tuple[str, Any]] = {
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
# Costs of what is read, in numbers of a list; a name's are per 8 characters. Convolutions are
# looked at afterwards, too.
_TABLE, _CONVOLUTION = 8, 64


@dataclass(frozen=True, slots=True, eq=False)
class TensorInfo:
    """A tensor of one subgraph; each is equal to itself only.

    Attributes:
        index: place in its subgraph's list.
        name, dtype: as the file states them.
        shape: a dynamic axis is -1 or its placeholder.
        buffer: index of the buffer that holds its values; 0 is empty by convention.
        encoding: the table that describes sparse storage, None where it is dense.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    buffer: int
    encoding: Table | None = None

    @property
    def sparse(self) -> bool:
        """Whether it is stored sparsely."""
        return self.encoding is not None


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: its built-in code, and the tensors it reads (-1: left out) and writes."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConvolutionInfo:
    """One CONV_2D or DEPTHWISE_CONV_2D operator.

    Attributes:
        subgraph, node: where it is: index of the subgraph, and in that subgraph's operators.
        output: the tensor that it writes.
        depthwise: whether it is the depthwise kind.
        weights: the stored weight tensor, or None when the weights are computed.
        shape: OHWI of the weights (TFLite's ``1HWO`` for the depthwise kind).
        stride, dilation: (height, width).
        groups: input channels / weight input channels.
    """

    subgraph: int
    node: int
    output: TensorInfo
    depthwise: bool
    weights: TensorInfo | None
    shape: tuple[int, ...]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def name(self) -> str:
        """Name of the output tensor, which other subgraphs may use as well."""
        return self.output.name


@dataclass(frozen=True, slots=True)
class Subgraph:
    """One subgraph.

    Attributes:
        index: place in the file.
        name: as the file states it, often empty or ``main``.
        signatures: keys of the signatures that run it.
        tensors: all of them, in the file's order.
        inputs, outputs: indices of tensors.
        operators: in the order of execution.
        convolutions: those among the operators, in order.
    """

    index: int
    name: str
    signatures: tuple[str, ...]
    tensors: tuple[TensorInfo, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]
    convolutions: tuple[ConvolutionInfo, ...]


class Budget:
    """How much may still be read: a hostile file refers to one long list from many places."""

    def __init__(self, amount: int, size: int) -> None:
        """Start with ``amount`` for a file of ``size`` bytes."""
        self._left, self._size = amount, size

    def spend(self, amount: int) -> None:
        """Take ``amount`` away.

        Raises:
            ModelError: that is more than is left.
        """
        self._left -= amount
        if self._left < 0:
            raise ModelError(f"it refers to its {self._size} bytes more than any model does")

    def tables(self, parent: Table, field: int) -> list[Table]:
        """Return the tables of a vector, paid for."""
        self.spend(_TABLE * parent.count(field))
        return list(parent.tables(field))

    def ints(self, parent: Table, field: int) -> tuple[int, ...]:
        """Return the numbers of a vector, paid for."""
        self.spend(parent.count(field))
        return parent.ints(field)

    def text(self, parent: Table, field: int) -> str:
        """Return a string, paid for."""
        text = parent.text(field)
        self.spend(len(text) // 8)
        return text


class SubgraphReader:
    """Reads subgraphs of one file, one after the other."""

    def __init__(
        self, codes: Sequence[int], buffers: int, stored: Callable[[int], bool], budget: Budget
    ) -> None:
        """Keep what the subgraphs refer to.

        Args:
            codes: built-in codes, which operators name by index.
            buffers: how many the file has.
            stored: whether the buffer of an index holds anything.
            budget: of the whole file.
        """
        self._codes, self._buffers, self._stored = codes, buffers, stored
        self._budget = budget

    def read(self, index: int, table: Table, signatures: tuple[str, ...]) -> Subgraph:
        """Return one subgraph.

        Raises:
            ModelError: it contradicts itself or refers to what is not there.
        """
        tensors = tuple(
            self._tensor(place, item) for place, item in enumerate(self._budget.tables(table, 0))
        )
        inputs = _indices(self._budget.ints(table, 1), len(tensors), "a graph input")
        outputs = _indices(self._budget.ints(table, 2), len(tensors), "a graph output")
        operators: list[Operator] = []
        producers: dict[int, Operator] = {}
        found: list[ConvolutionInfo] = []
        for item in self._budget.tables(table, 3):
            operator = self._operator(item, len(tensors))
            for tensor in operator.outputs:
                producers[tensor] = operator
            if operator.code in (CONV_2D, DEPTHWISE_CONV_2D):
                self._budget.spend(_CONVOLUTION)
                place = (index, len(operators))
                found.append(self._convolution(place, operator, item, tensors, producers))
            operators.append(operator)
        name = self._budget.text(table, 4)
        return Subgraph(
            index, name, signatures, tensors, inputs, outputs, tuple(operators), tuple(found)
        )

    def _tensor(self, index: int, table: Table) -> TensorInfo:
        kind = table.scalar(1, "b")
        dtype, _ = DTYPES.get(kind, (f"type {kind}", None))
        buffer = table.scalar(2, "I")
        if buffer >= self._buffers:
            raise ModelError(f"a tensor uses buffer {buffer} of {self._buffers}")
        shape, name = self._budget.ints(table, 0), self._budget.text(table, 3)
        if len(shape) > 16 or any(size < -1 for size in shape):
            raise ModelError(f"a tensor has the impossible shape {list(shape)[:17]}")
        return TensorInfo(index, name, shape, dtype, buffer, table.table(6))

    def _operator(self, table: Table, tensors: int) -> Operator:
        code = table.scalar(0, "I")
        if code >= len(self._codes):
            raise ModelError(f"an operator uses code {code} of {len(self._codes)}")
        inputs, outputs = self._budget.ints(table, 1), self._budget.ints(table, 2)
        _indices([i for i in inputs if i != -1], tensors, "an operator input")
        _indices(outputs, tensors, "an operator output")
        return Operator(self._codes[code], inputs, outputs)

    def _convolution(
        self,
        place: tuple[int, int],
        operator: Operator,
        table: Table,
        tensors: Sequence[TensorInfo],
        producers: dict[int, Operator],
    ) -> ConvolutionInfo:
        inputs, outputs = operator.inputs, operator.outputs
        if len(inputs) < 2 or len(outputs) != 1 or -1 in inputs[:2]:
            raise ModelError("a convolution needs an input, weights and one output")
        shape = tensors[inputs[1]].shape
        if len(shape) != 4 or any(size < 1 for size in shape):
            raise ModelError(f"convolution weights must have four positive axes, got {shape}")
        weights: TensorInfo | None = tensors[inputs[1]]
        if (producer := producers.get(inputs[1])) is not None:
            sources = [i for i in producer.inputs if i != -1]
            unpacked = producer.code in (DEQUANTIZE, DENSIFY) and len(sources) == 1
            weights = tensors[sources[0]] if unpacked else None
        if weights is not None and not self._stored(weights.buffer):
            weights = None
        if weights is not None and weights.shape != shape:
            raise ModelError(f"weights of shape {shape} come from {weights.shape}")
        depthwise = operator.code == DEPTHWISE_CONV_2D
        stride, dilation = _steps(table.table(4), depthwise=depthwise)
        source = tensors[inputs[0]].shape
        channels = source[3] if len(source) == 4 and source[3] > 0 else shape[3]
        groups = shape[3] if depthwise else max(channels // shape[3], 1)
        if not depthwise and shape[0] % groups != 0:
            raise ModelError(f"{shape[0]} output channels do not divide into {groups} groups")
        output = tensors[outputs[0]]
        return ConvolutionInfo(*place, output, depthwise, weights, shape, stride, dilation, groups)


def _steps(options: Table | None, *, depthwise: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return stride and dilation, each (height, width)."""
    if options is None:
        return (1, 1), (1, 1)
    first = 4 + int(depthwise)
    stride = (options.scalar(2, "i"), options.scalar(1, "i"))
    dilation = (options.scalar(first + 1, "i", 1), options.scalar(first, "i", 1))
    if min(stride + dilation) < 1:
        raise ModelError(f"strides and dilations start at 1, got {stride} and {dilation}")
    return stride, dilation


def _indices(values: Sequence[int], tensors: int, what: str) -> tuple[int, ...]:
    for value in values:
        if not 0 <= value < tensors:
            raise ModelError(f"{what} is tensor {value} of {tensors}")
    return tuple(values)
