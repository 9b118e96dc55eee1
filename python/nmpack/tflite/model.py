# SPDX-License-Identifier: BSD-3-Clause
"""What a ``.tflite`` file holds, as values: tensors, operators, subgraphs, signatures.

A subgraph is a graph of its own: the first is what an interpreter runs when nobody names a
signature, others belong to further signatures, or are run by an operator (IF, WHILE, …) of
another. Subgraphs number their tensors and operators each from 0, and share the file's buffers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.tflite.operator_codes import operator_name

_NOTHING = memoryview(b"")


@dataclass(frozen=True, slots=True)
class Options:
    """A table of the schema that a union chose: ``options.stride_w`` is its field.

    Attributes:
        kind: name of the table, as ``Conv2DOptions``; of one that is too new to be known
            ``BuiltinOptions 140``, without fields.
        values: its fields by the schema's names. Numbers, truth values, text and bytes; numbers
            of an enumeration are its names, as ``SAME`` or, unknown, ``Padding 7``; vectors are
            tuples. What the file leaves out has the schema's default.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        """Return the field ``name``."""
        values = object.__getattribute__(self, "values")
        if name in values:
            return values[name]
        raise AttributeError(f"{self.kind} has no field {name!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Quantization:
    """``real = scale * (stored - zero_point)``, for a whole tensor or each index of an axis.

    Attributes:
        scale: ``[1]`` or as long as the axis, float32; a read-only view of the file, as they are:
            nothing says that they are positive, or numbers.
        zero_point: likewise, int64.
        dimension: the axis.
    """

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    dimension: int

    @property
    def per_axis(self) -> bool:
        """Whether the indices of :attr:`dimension` have scales of their own."""
        return len(self.scale) > 1


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One axis of sparse storage.

    Attributes:
        format: ``DENSE`` or ``SPARSE_CSR``.
        size: of a dense one.
        segments, indices: of a compressed one, views of the file; else None.
    """

    format: str
    size: int
    segments: npt.NDArray[Any] | None
    indices: npt.NDArray[Any] | None


@dataclass(frozen=True, slots=True, eq=False)
class Sparsity:
    """How a tensor is stored sparsely: TFLite's SparsityParameters.

    Attributes:
        position: byte offset in the file; tensors may share one.
        order: the axes in the order of traversal, those of blocks behind the tensor's own.
        blocks: the axis of the tensor that each axis of a block divides.
        axes: in the order of traversal.
    """

    position: int
    order: tuple[int, ...]
    blocks: tuple[int, ...]
    axes: tuple[Axis, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TensorInfo:
    """A tensor of one subgraph; each is equal to itself only.

    Attributes:
        index: place in its subgraph's list.
        name: as the file states it.
        shape: a dynamic axis is -1 or its placeholder.
        dtype: the schema's name in small letters, as ``float32``, ``int4`` or ``string``.
        buffer: index of the buffer that holds its values; 0 is empty by convention.
        encoding: how it is stored sparsely, None where it is dense.
        quantization: None where there is none, or none of this kind.
        quantization_details: another kind, as ``BlockwiseQuantization``.
        variable: whether it keeps its values from call to call.
        shape_signature: the shape with -1 for dynamic axes; empty where all are fixed.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    buffer: int
    encoding: Sparsity | None = None
    quantization: Quantization | None = None
    quantization_details: Options | None = None
    variable: bool = False
    shape_signature: tuple[int, ...] = ()

    @property
    def sparse(self) -> bool:
        """Whether it is stored sparsely."""
        return self.encoding is not None


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    Attributes:
        code: its built-in code, see :mod:`nmpack.tflite.operator_codes`.
        inputs: the tensors it reads, -1 where an optional one is left out.
        outputs: those it writes.
        options: what the file states, None where it states nothing. Nothing says that they are of
            the kind that the operator expects: see :meth:`options_of`.
        version: of the operator, at least 1 in honest files.
        custom: name of an operator that is not built in, whose code is CUSTOM.
        custom_options: bytes in a form that such an operator knows, a view of the file.
        intermediates: tensors that some operators keep values in, -1 where one is left out.
        mutating: for each input whether it is changed; empty where none is.
    """

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options | None = None
    version: int = 1
    custom: str = ""
    custom_options: memoryview = _NOTHING
    intermediates: tuple[int, ...] = ()
    mutating: tuple[bool, ...] = ()

    @property
    def name(self) -> str:
        """The schema's name of the operator, as ``CONV_2D``."""
        return operator_name(self.code)

    def options_of(self, kind: str) -> Options | None:
        """Return the options if they are of that kind, as interpreters read them; else None."""
        return self.options if self.options is not None and self.options.kind == kind else None


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED operator.

    Attributes:
        subgraph, node: where it is: index of the subgraph, and in that subgraph's operators.
        output: the tensor that it writes.
        depthwise: whether it is the depthwise kind.
        weights: the stored weight tensor, or None when the weights are computed.
        shape: OHWI of the weights (TFLite's ``1HWO`` for the depthwise kind); a fully connected
            layer is a 1x1 convolution of an image whose pixels are the rows of its input.
        stride, dilation: (height, width).
        groups: input channels / weight input channels.
        linear: whether it is fully connected.
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
    linear: bool = False

    @property
    def name(self) -> str:
        """Name of the output tensor, which other subgraphs may use as well."""
        return self.output.name

    @property
    def rows(self) -> int | None:
        """Rows that a fully connected layer computes, of all leading axes; None if not fixed."""
        leading = self.output.shape[:-1]
        fixed = self.linear and not self.output.shape_signature and min(leading, default=1) > 0
        return math.prod(leading) if fixed else None


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
        layers: convolutions and fully connected layers among the operators, in order.
    """

    index: int
    name: str
    signatures: tuple[str, ...]
    tensors: tuple[TensorInfo, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]
    layers: tuple[LayerInfo, ...]

    @property
    def is_open(self) -> bool:
        """Whether it leaves the size of an input open."""
        inputs = [self.tensors[index] for index in self.inputs]
        return any(-1 in (*tensor.shape, *tensor.shape_signature) for tensor in inputs)

    def resized(self, shapes: Mapping[int, tuple[int, ...]]) -> Subgraph:
        """Return the same with other shapes of tensors, which are fixed then.

        Args:
            shapes: by the tensors' indices; others stay as they are.
        """
        tensors = tuple(
            replace(tensor, shape=shapes[index], shape_signature=()) if index in shapes else tensor
            for index, tensor in enumerate(self.tensors)
        )
        layers = tuple(replace(item, output=tensors[item.output.index]) for item in self.layers)
        return replace(self, tensors=tensors, layers=layers)

    @property
    def convolutions(self) -> tuple[LayerInfo, ...]:
        """The convolutions among the layers."""
        return tuple(item for item in self.layers if not item.linear)


@dataclass(frozen=True, slots=True)
class Signature:
    """A name under which a subgraph is run.

    Attributes:
        key: the name.
        subgraph: index of what it runs.
        inputs, outputs: name and tensor of each, in the file's order.
    """

    key: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
