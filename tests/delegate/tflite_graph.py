# SPDX-License-Identifier: BSD-3-Clause
"""Writes small .tflite models operator by operator, without a converter: a millisecond each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}


@dataclass(frozen=True)
class Quantization:
    """``real = scale * (stored - zero_point)``, one scale or one for each index of ``axis``."""

    scale: Sequence[float]
    zero_point: int = 0
    axis: int = 0


@dataclass
class Graph:
    """One subgraph in the making. Tensors are known by their number."""

    tensors: list[Any] = field(default_factory=list)
    operators: list[Any] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])

    def tensor(
        self,
        shape: Sequence[int],
        dtype: Any = np.float32,
        quantization: Quantization | None = None,
        buffer: int = 0,
    ) -> int:
        """Add a tensor that the interpreter allocates."""
        tensor = schema.TensorT()
        tensor.shape = [int(size) for size in shape]
        tensor.type = TYPES[np.dtype(dtype)]
        tensor.name = f"t{len(self.tensors)}"
        tensor.buffer = buffer
        if quantization is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [float(scale) for scale in quantization.scale]
            tensor.quantization.zeroPoint = [quantization.zero_point] * len(quantization.scale)
            tensor.quantization.quantizedDimension = quantization.axis
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, data: np.ndarray, quantization: Quantization | None = None) -> int:
        """Add a tensor whose values are part of the model."""
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        self.buffers.append(buffer)
        return self.tensor(data.shape, data.dtype, quantization, len(self.buffers) - 1)

    def add(self, name: str, inputs: Sequence[int], output: int, options: Any = None) -> int:
        """Add the built-in operator ``name`` and return its output."""
        code = getattr(schema.BuiltinOperator, name)
        if code not in self.codes:
            self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs = list(inputs)
        operator.outputs = [output]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.operators.append(operator)
        return output

    def model(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Return the file."""
        subgraph = schema.SubGraphT()
        subgraph.tensors = self.tensors
        subgraph.operators = self.operators
        subgraph.inputs = list(inputs)
        subgraph.outputs = list(outputs)
        model = schema.ModelT()
        model.version = 3
        model.subgraphs = [subgraph]
        model.buffers = self.buffers
        model.operatorCodes = []
        for code in self.codes:
            operator_code = schema.OperatorCodeT()
            operator_code.deprecatedBuiltinCode = min(code, 127)
            operator_code.builtinCode = code
            operator_code.version = 1
            model.operatorCodes.append(operator_code)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def options(kind: str, **fields: Any) -> Any:
    """Return an operator's options table, every field named."""
    table = getattr(schema, kind + "T")()
    for name, value in fields.items():
        if not hasattr(table, name):
            raise AttributeError(f"expected a field of {kind}, got {name}")
        setattr(table, name, value)
    return table


def activation(name: str) -> int:
    """Return the number of a fused activation."""
    number: int = getattr(schema.ActivationFunctionType, name)
    return number
