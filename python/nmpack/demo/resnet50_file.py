# SPDX-License-Identifier: BSD-3-Clause
"""ResNet-50 as a ``.tflite`` file with drawn weights, written without any framework.

It is what a conversion of the v1.5 network gives, batch norm folded into the convolutions, with
SAME padding. Times do not depend on the values of weights, only on which of them are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.quiet import import_module, silenced
from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import Pattern
from nmpack.tflite.builder import aligned_builder

_SIZE, _CLASSES = 224, 1000
#: Blocks of each stage and the width of their 3x3 convolution.
_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
_EXPANSION = 4
Array = npt.NDArray[np.float32]


def resnet50_file(pattern: Pattern | None, seed: int = 0) -> bytes:
    """Return the file, every convolution of its residual blocks pruned to ``pattern``.

    Raises:
        MissingError: ai-edge-litert, whose schema is used, is not installed.
    """
    network = _Network(pattern, seed)
    x = network.tensor((1, _SIZE, _SIZE, 3))
    y = network.pool(network.convolution(x, 64, 7, 2, prune=False))
    for number, (blocks, width) in enumerate(_STAGES):
        for block in range(blocks):
            y = _bottleneck(network, y, width, 2 if number and not block else 1)
    return network.finish(x, network.classify(y))


def _bottleneck(network: _Network, x: int, width: int, stride: int) -> int:
    outputs = width * _EXPANSION
    shortcut = x
    if network.shape(x)[3] != outputs:
        shortcut = network.convolution(x, outputs, 1, stride, relu=False)
    y = network.convolution(x, width, 1)
    y = network.convolution(y, width, 3, stride)
    # Each of 16 blocks adds a sixteenth of what comes in, so that the sum stays bounded.
    y = network.convolution(y, outputs, 1, relu=False, gain=1 / 16)
    return network.add(shortcut, y)


class _Network:
    """A graph in the making; tensors are numbers."""

    def __init__(self, pattern: Pattern | None, seed: int) -> None:
        with silenced():
            self._schema = import_module("ai_edge_litert.schema_py_generated", "interpreter")
        self._pattern = pattern
        self._generator = np.random.default_rng(seed)
        self._model = self._schema.ModelT()
        self._model.version, self._model.operatorCodes = 3, []
        self._model.buffers = [self._schema.BufferT()]
        self._graph = self._schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._codes: dict[str, int] = {}

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self._graph.tensors[tensor].shape)

    def tensor(self, shape: tuple[int, ...], values: npt.NDArray[Any] | None = None) -> int:
        """Add a tensor; one with ``values`` is a constant."""
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape = f"t{len(self._graph.tensors)}", list(shape)
        kind = np.float32 if values is None else values.dtype
        names = {np.dtype(np.float32): "FLOAT32", np.dtype(np.int32): "INT32"}
        tensor.type = getattr(self._schema.TensorType, names[np.dtype(kind)])
        tensor.buffer = 0
        if values is not None:
            buffer = self._schema.BufferT()
            buffer.data = values.reshape(-1).view(np.uint8)
            tensor.buffer = len(self._model.buffers)
            self._model.buffers.append(buffer)
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def convolution(
        self,
        x: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        relu: bool = True,
        gain: float = 1.0,
        prune: bool = True,
    ) -> int:
        _, height, width, inputs = self.shape(x)
        weights = self._draw((outputs, kernel, kernel, inputs), gain * (1 + relu))
        if prune and self._pattern is not None:
            weights[~compute_mask(weights, self._pattern)] = 0.0
        options = self._schema.Conv2DOptionsT()
        options.dilationHFactor = options.dilationWFactor = 1
        operands = [x, self.tensor(weights.shape, weights), self._bias(outputs)]
        shape = (1, -(-height // stride), -(-width // stride), outputs)
        return self._strided("CONV_2D", operands, shape, options, stride, relu=relu)

    def pool(self, x: int) -> int:
        """Take the maximum of 3x3 pixels at stride 2."""
        _, height, width, channels = self.shape(x)
        options = self._schema.Pool2DOptionsT()
        options.filterHeight = options.filterWidth = 3
        shape = (1, -(-height // 2), -(-width // 2), channels)
        return self._strided("MAX_POOL_2D", [x], shape, options, 2, relu=False)

    def add(self, x: int, y: int) -> int:
        options = self._schema.AddOptionsT()
        options.fusedActivationFunction = self._activation(relu=True)
        return self._operator("ADD", [x, y], self.shape(x), options)

    def classify(self, x: int) -> int:
        """Average over the pixels and return the logits."""
        channels = self.shape(x)[3]
        axes = self.tensor((2,), np.array([1, 2], np.int32))
        mean = self._operator("MEAN", [x, axes], (1, channels), self._schema.ReducerOptionsT())
        weights = self._draw((_CLASSES, channels), 1.0)
        operands = [mean, self.tensor(weights.shape, weights), self._bias(_CLASSES)]
        options = self._schema.FullyConnectedOptionsT()
        return self._operator("FULLY_CONNECTED", operands, (1, _CLASSES), options)

    def finish(self, x: int, y: int) -> bytes:
        """Return the file of a network from ``x`` to ``y``."""
        self._graph.inputs, self._graph.outputs = [x], [y]
        self._model.subgraphs = [self._graph]
        builder = aligned_builder(import_module("flatbuffers", "interpreter"))
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _strided(
        self, name: str, operands: list[int], shape: tuple[int, ...], options: Any, stride: int,
        *, relu: bool,
    ) -> int:  # fmt: skip
        options.padding = self._schema.Padding.SAME
        options.strideH = options.strideW = stride
        options.fusedActivationFunction = self._activation(relu=relu)
        return self._operator(name, operands, shape, options)

    def _operator(
        self, name: str, operands: list[int], shape: tuple[int, ...], options: Any
    ) -> int:
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._code(name)
        operator.inputs, operator.outputs = operands, [self.tensor(shape)]
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

    def _draw(self, shape: tuple[int, ...], gain: float) -> Array:
        """Draw weights that multiply the variance of their input by ``gain``."""
        weights = self._generator.standard_normal(shape, dtype=np.float32)
        weights *= np.float32(np.sqrt(gain / np.prod(shape[1:])))
        return weights

    def _bias(self, outputs: int) -> int:
        return self.tensor((outputs,), np.zeros(outputs, np.float32))
