# SPDX-License-Identifier: BSD-3-Clause
"""A network as operators and tensors of known size, checked before anything is made of it.

The file is untrusted: what cannot be a network of fixed size ends in one
:class:`~nmpack.errors.ModelError`. Whether an operator's tensors fit the operator is for what
lowers it to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import Operator, Options, TensorInfo
from nmpack.tflite.names import printable, short_names

#: Element types that generated C knows, and their bytes.
ITEM_BYTES = {"int8": 1, "bool": 1, "int16": 2, "int32": 4, "float32": 4, "int64": 8}
# What zero points of a type may be.
_ZERO_POINTS = {"int8": (-128, 127), "int16": (0, 0)}
# Far more than any microcontroller has; bounds what a hostile file makes of us.
_MOST_BYTES = 1 << 26
_MOST_OPERATORS = 1000
_MOST_AXES = 6

Array = npt.NDArray[Any]


@dataclass(slots=True, eq=False)
class Tensor:
    """A tensor of the network; each is equal to itself only.

    Attributes:
        index: in the file's first subgraph.
        name: as the file states it, made printable.
        shape: static, each axis at least 1; ``()`` is a scalar.
        dtype: a key of :data:`ITEM_BYTES`.
        scale: ``[1]`` or one for each index of ``dimension``, positive and finite; None where the
            tensor is not quantized.
        zero_point: likewise, in the range of the type.
        dimension: the axis that scales are along.
        data: values of a constant, of ``shape``; folding sets it.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: npt.NDArray[np.float32] | None = None
    zero_point: npt.NDArray[np.int64] | None = None
    dimension: int = 0
    data: Array | None = None

    @property
    def elements(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        return self.elements * ITEM_BYTES[self.dtype]

    @property
    def constant(self) -> bool:
        """Whether its values are known."""
        return self.data is not None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator.

    Attributes:
        index: in the file's first subgraph.
        name: of the operator in TFLite, as ``CONV_2D``.
        label: of the layer, for a user: distinct and at most 60 characters.
        inputs: None where an optional one is left out.
        outputs: what it writes, at least one.
        options: what the file states, of whatever kind.
        version: of the operator.
    """

    index: int
    name: str
    label: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Options | None
    version: int

    def options_of(self, kind: str) -> Options | None:
        """Return the options if they are of that kind, as interpreters read them; else None."""
        return self.options if self.options is not None and self.options.kind == kind else None


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A network.

    Attributes:
        tensors: those that are used, by index.
        operators: in the order of execution.
        inputs, outputs: in the file's order.
    """

    tensors: dict[int, Tensor]
    operators: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read_graph(file: TFLiteFile) -> Graph:
    """Return the first subgraph of a file.

    Raises:
        ModelError: a tensor has no fixed size, an impossible quantization or a type that generated
            C has not; something is read before it is written, or written twice; or it is too large.
    """
    try:
        return _read(file)
    except ModelError as error:
        where = f"{file.path}: "
        text = str(error).removeprefix(where)
        raise ModelError(f"{where}{text}") from error


def _read(file: TFLiteFile) -> Graph:
    graph = file.primary
    if len(graph.operators) > _MOST_OPERATORS:
        raise ModelError(
            f"expected at most {_MOST_OPERATORS} operators, got {len(graph.operators)}"
        )
    if not graph.inputs or not graph.outputs:
        raise ModelError("expected a network with an input and an output")
    if len(set(graph.inputs)) != len(graph.inputs):
        raise ModelError("a tensor is an input twice")
    written = {index for operator in graph.operators for index in operator.outputs}
    used = sorted(
        {*graph.inputs, *graph.outputs, *written}
        | {index for operator in graph.operators for index in operator.inputs if index >= 0}
    )
    computed = {*graph.inputs, *written}
    tensors = {index: _tensor(file, graph.tensors[index], index in computed) for index in used}
    _require_size(tensors.values())
    _require_order(graph.inputs, graph.outputs, graph.operators, tensors)
    for index in graph.inputs:
        _require_fixed(graph.tensors[index])
    labels = short_names(
        [tensors[operator.outputs[0]].name or operator.name for operator in graph.operators]
    )
    nodes = tuple(
        Node(
            index,
            operator.name if not operator.custom else f"CUSTOM {printable(operator.custom[:60])}",
            label,
            tuple(tensors[i] if i >= 0 else None for i in operator.inputs),
            tuple(tensors[i] for i in operator.outputs),
            operator.options,
            operator.version,
        )
        for index, (operator, label) in enumerate(zip(graph.operators, labels, strict=True))
    )
    return Graph(
        tensors,
        nodes,
        tuple(tensors[i] for i in graph.inputs),
        tuple(tensors[i] for i in graph.outputs),
    )


def _require_fixed(info: TensorInfo) -> None:
    """Check an input; of any number of samples an interpreter takes as many as the shape states."""
    if -1 in info.shape_signature[1:]:
        raise ModelError(
            f"tensor {info.index} {printable(info.name[:60])!r}: expected an input of fixed shape, "
            f"got {list(info.shape_signature)}: convert with a fixed size"
        )


def _tensor(file: TFLiteFile, info: TensorInfo, computed: bool) -> Tensor:
    """Return a checked tensor; ``computed``: an input or what an operator writes."""
    name = printable(info.name[:200])
    where = f"tensor {info.index} {name[:60]!r}"
    if info.dtype not in ITEM_BYTES:
        expected = ", ".join(ITEM_BYTES)
        raise ModelError(f"{where}: expected a type of {expected}, got {info.dtype}")
    if any(size < 1 for size in info.shape):
        raise ModelError(
            f"{where}: expected a fixed shape, got {list(info.shape)}: convert with a fixed size"
        )
    if len(info.shape) > _MOST_AXES:
        raise ModelError(f"{where}: expected at most {_MOST_AXES} axes, got {len(info.shape)}")
    if info.variable:
        raise ModelError(f"{where} keeps its values from call to call, which is not supported")
    tensor = Tensor(info.index, name, tuple(map(int, info.shape)), info.dtype)
    if tensor.nbytes > _MOST_BYTES:
        raise ModelError(f"{where}: expected at most {_MOST_BYTES} bytes, got {tensor.nbytes}")
    _quantize(tensor, info, where)
    stored = file.span(info)[1] > 0
    if computed and stored:
        raise ModelError(f"{where} is computed, but the file has values for it")
    if stored:
        tensor.data = file.array(info)
    return tensor


def _quantize(tensor: Tensor, info: TensorInfo, where: str) -> None:
    """Take over scales and zero points of the types whose arithmetic needs them."""
    if info.quantization_details is not None:
        kind = info.quantization_details.kind
        raise ModelError(f"{where}: quantization of the kind {kind} is not supported")
    quantization = info.quantization
    if quantization is None or tensor.dtype not in ("int8", "int16", "int32"):
        return
    scale, zero_point = quantization.scale, quantization.zero_point
    if not (np.isfinite(scale) & (scale > 0)).all():
        wrong = scale[~(np.isfinite(scale) & (scale > 0))][0]
        raise ModelError(f"{where}: expected positive finite scales, got {wrong}")
    low, high = _ZERO_POINTS.get(tensor.dtype, (0, 0))
    outside = (zero_point < low) | (zero_point > high)
    if outside.any():
        raise ModelError(
            f"{where}: expected zero points of {tensor.dtype} from {low} to {high}, "
            f"got {zero_point[outside][0]}"
        )
    tensor.scale = np.array(scale, np.float32)
    tensor.zero_point = np.array(zero_point, np.int64)
    tensor.dimension = int(quantization.dimension)


def _require_size(tensors: Any) -> None:
    total = sum(tensor.nbytes for tensor in tensors)
    if total > 8 * _MOST_BYTES:
        raise ModelError(f"expected at most {8 * _MOST_BYTES} bytes of tensors, got {total}")


def _require_order(
    inputs: Sequence[int],
    outputs: Sequence[int],
    operators: Sequence[Operator],
    tensors: dict[int, Tensor],
) -> None:
    """Check that each tensor is written once, and before it is read."""
    known = {index for index, tensor in tensors.items() if tensor.constant} | set(inputs)
    for place, operator in enumerate(operators):
        what = f"operator {place} {operator.name}"
        if not operator.outputs:
            raise ModelError(f"{what} has no output")
        for index in operator.inputs:
            if index >= 0 and index not in known:
                raise ModelError(f"{what} reads tensor {index}, which nothing has written")
        for index in operator.outputs:
            if index in known:
                raise ModelError(f"{what} writes tensor {index}, which has its values already")
            known.add(index)
    for index in outputs:
        if index not in known:
            raise ModelError(f"tensor {index} is an output, but nothing writes it")
