# SPDX-License-Identifier: BSD-3-Clause
"""Networks as ``.tflite`` files, written operator by operator without any framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.quiet import import_module, silenced
from nmpack.tflite.builder import packed

Array = npt.NDArray[Any]
_TYPES = {
    np.dtype(np.float32): "FLOAT32",
    np.dtype(np.int32): "INT32",
    np.dtype(np.int8): "INT8",
}


@dataclass(frozen=True, slots=True)
class Steps:
    """How numbers are quantized: ``real = scale * (stored - zero_point)``.

    Attributes:
        scale: one, or one for each index of the first axis.
    """

    scale: float | npt.NDArray[np.float32]
    zero_point: int = 0


class Network:
    """A graph in the making, of images in NHWC; tensors are numbers.

    Raises:
        MissingError: ai-edge-litert, whose schema is used, is not installed.
    """

    def __init__(self) -> None:
        with silenced():
            self._schema = import_module("ai_edge_litert.schema_py_generated", "interpreter")
        self._model = self._schema.ModelT()
        self._model.version, self._model.operatorCodes = 3, []
        self._model.buffers = [self._schema.BufferT()]
        self._graph = self._schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._codes: dict[str, int] = {}

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return tuple(self._graph.tensors[tensor].shape)

    def tensor(
        self, shape: tuple[int, ...], values: Array | None = None, steps: Steps | None = None
    ) -> int:
        """Add a tensor of float32, or in ``steps`` of int8; one with ``values`` is a constant."""
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape = f"t{len(self._graph.tensors)}", list(shape)
        image = np.dtype(np.float32 if steps is None else np.int8)
        kind = image if values is None else values.dtype
        tensor.type = getattr(self._schema.TensorType, _TYPES[kind])
        tensor.buffer = 0
        if values is not None:
            buffer = self._schema.BufferT()
            buffer.data = values.reshape(-1).view(np.uint8)
            tensor.buffer = len(self._model.buffers)
            self._model.buffers.append(buffer)
        if steps is not None:
            scales = np.atleast_1d(np.asarray(steps.scale, np.float32))
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.full(len(scales), steps.zero_point)
            tensor.quantization.quantizedDimension = 0
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def constant(self, values: Array) -> int:
        """Add a constant."""
        return self.tensor(values.shape, values)

    def convolution(
        self,
        x: int,
        weights: Array,
        bias: Array,
        stride: int = 1,
        *,
        relu: bool = False,
        valid: bool = False,
        steps: Steps | None = None,
    ) -> int:
        """Add a convolution with SAME padding, or with none; weights are OHWI.

        With ``steps`` of its output it is of int8, as ``x`` is: weights in steps of their own for
        each output channel.
        """
        options = self._schema.Conv2DOptionsT()
        options.dilationHFactor = options.dilationWFactor = 1
        constants = (
            [self.constant(weights), self.constant(bias)]
            if steps is None
            else self._quantized(x, weights, bias)
        )
        lost = weights.shape[1] - 1 if valid else 0
        return self._windows(
            "CONV_2D", [x, *constants], len(weights), options, stride, lost, relu=relu, steps=steps
        )

    def _quantized(self, x: int, weights: Array, bias: Array, *, each: bool = True) -> list[int]:
        """Add weights and biases in steps: of each output channel, or of all."""
        rows = weights.reshape(len(weights), -1) if each else weights.reshape(1, -1)
        largest = np.abs(rows).max(axis=1)
        scales = (np.maximum(largest, 1e-6) / 127.0).astype(np.float32)
        stored = np.rint(weights / scales.reshape(-1, *(1,) * (weights.ndim - 1))).astype(np.int8)
        sums = scales * self._graph.tensors[x].quantization.scale[0]
        biases = np.rint(bias / sums).astype(np.int32)
        return [
            self.tensor(stored.shape, stored, Steps(scales)),
            self.tensor(biases.shape, biases, Steps(sums)),
        ]

    def pad(self, x: int, pixels: int) -> int:
        """Add ``pixels`` zeros on every side of an image."""
        batch, height, width, channels = self.shape(x)
        sides = np.array([[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]], np.int32)
        shape = (batch, height + 2 * pixels, width + 2 * pixels, channels)
        stored = self._graph.tensors[x].quantization
        steps = None if stored is None else Steps(stored.scale[0], int(stored.zeroPoint[0]))
        return self._operator(
            "PAD", [x, self.constant(sides)], shape, self._schema.PadOptionsT(), steps
        )

    def max_pool(self, x: int, size: int, stride: int) -> int:
        """Add the maximum of ``size`` x ``size`` pixels with SAME padding."""
        options = self._schema.Pool2DOptionsT()
        options.filterHeight = options.filterWidth = size
        channels = self.shape(x)[3]
        return self._windows("MAX_POOL_2D", [x], channels, options, stride, 0, relu=False)

    def add(self, x: int, y: int, *, relu: bool) -> int:
        """Add a sum of two tensors of one shape."""
        options = self._schema.AddOptionsT()
        options.fusedActivationFunction = self._activation(relu=relu)
        return self._operator("ADD", [x, y], self.shape(x), options)

    def mean(self, x: int) -> int:
        """Add the mean over the pixels of an image."""
        axes = self.constant(np.array([1, 2], np.int32))
        batch, _, _, channels = self.shape(x)
        return self._operator("MEAN", [x, axes], (batch, channels), self._schema.ReducerOptionsT())

    def fully_connected(
        self, x: int, weights: Array, bias: Array, steps: Steps | None = None
    ) -> int:
        """Add a fully connected layer; weights are OI, ``x`` is of any rank.

        With ``steps`` of its output it is of int8, as ``x`` is: weights in steps for all of them.
        """
        constants = (
            [self.constant(weights), self.constant(bias)]
            if steps is None
            else self._quantized(x, weights, bias, each=False)
        )
        options = self._schema.FullyConnectedOptionsT()
        options.keepNumDims = len(self.shape(x)) > 2
        shape = (*self.shape(x)[:-1], len(weights))
        return self._operator("FULLY_CONNECTED", [x, *constants], shape, options, steps)

    def finish(self, x: int, y: int) -> bytes:
        """Return the file of a network from ``x`` to ``y``."""
        self._graph.inputs, self._graph.outputs = [x], [y]
        self._model.subgraphs = [self._graph]
        return packed(self._model)

    def _windows(
        self, name: str, operands: list[int], channels: int, options: Any, stride: int,
        lost: int, *, relu: bool, steps: Steps | None = None,
    ) -> int:  # fmt: skip
        batch, height, width, _ = self.shape(operands[0])
        options.padding = self._schema.Padding.VALID if lost else self._schema.Padding.SAME
        options.strideH = options.strideW = stride
        options.fusedActivationFunction = self._activation(relu=relu)
        height, width = height - lost, width - lost
        shape = (batch, -(-height // stride), -(-width // stride), channels)
        return self._operator(name, operands, shape, options, steps)

    def _operator(
        self, name: str, operands: list[int], shape: tuple[int, ...], options: Any,
        steps: Steps | None = None,
    ) -> int:  # fmt: skip
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._code(name)
        operator.inputs, operator.outputs = operands, [self.tensor(shape, steps=steps)]
        kind = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, kind)
        operator.builtinOptions = options
        self._graph.operators.append(operator)
        return int(operator.outputs[0])

    def _code(self, name: str) -> int:
        if name not in self._codes:
            code = self._schema.OperatorCodeT()
            code.builtinCode = getattr(self._schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
            self._codes[name] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(code)
        return self._codes[name]

    def _activation(self, *, relu: bool) -> Any:
        kinds = self._schema.ActivationFunctionType
        return kinds.RELU if relu else kinds.NONE
