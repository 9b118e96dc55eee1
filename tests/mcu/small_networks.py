# SPDX-License-Identifier: BSD-3-Clause
"""Small whole networks of int8, written operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_graph import Graph, Quantization, activation, options

SAME = schema.Padding.SAME


def keep(weights: np.ndarray, n: int, m: int, tile: int, seed: int = 0) -> np.ndarray:
    """Return weights ``[O, ...]`` of which tiles of rows keep ``n`` of every ``m`` columns."""
    flat = weights.reshape(len(weights), -1)
    blocks = -(-flat.shape[1] // m)
    ranks = np.random.default_rng(seed).random((-(-len(flat) // tile), blocks, m)).argsort(axis=-1)
    kept = (ranks < n).reshape(len(ranks), -1)[:, : flat.shape[1]].repeat(tile, axis=0)
    return np.where(kept[: len(flat)], flat, np.int8(0)).reshape(weights.shape)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)
    values[values == 0] = 1
    return values


def window(kind: str, act: str = "RELU", stride: int = 1, **more: Any) -> Any:
    return options(
        kind, padding=SAME, strideH=stride, strideW=stride, dilationHFactor=1, dilationWFactor=1,
        fusedActivationFunction=activation(act), **more,
    )  # fmt: skip


def residual(*, pruned: bool = True) -> bytes:
    """Return convolution, depthwise, sum, mean, reshape, fully connected, softmax: 12x12x8 to 5."""
    graph = Graph()
    x = graph.tensor((1, 12, 12, 8), np.int8, Quantization([0.02], -5))
    first = draw(16, 3, 3, 8)
    if pruned:
        first = keep(first, 1, 8, 4)
    y = _convolution(graph, x, first, (1, 12, 12, 16), 0.05, -128)
    z = graph.tensor((1, 12, 12, 16), np.int8, Quantization([0.06], 3))
    scales = Quantization(np.full(16, 0.01, np.float32), axis=3)
    w = graph.constant(draw(1, 3, 3, 16, seed=1), scales)
    bias = graph.constant(np.arange(16, dtype=np.int32), Quantization(np.full(16, 0.0005)))
    fields = window("DepthwiseConv2DOptions", "NONE", depthMultiplier=1)
    graph.add("DEPTHWISE_CONV_2D", [y, w, bias], z, fields)
    total = graph.tensor((1, 12, 12, 16), np.int8, Quantization([0.08], 1))
    fields = options("AddOptions", fusedActivationFunction=activation("NONE"))
    graph.add("ADD", [y, z], total, fields)
    mean = graph.tensor((1, 1, 1, 16), np.int8, Quantization([0.08], 1))
    axes = graph.constant(np.array([1, 2], np.int32))
    graph.add("MEAN", [total, axes], mean, options("ReducerOptions", keepDims=True))
    flat = graph.tensor((1, 16), np.int8, Quantization([0.08], 1))
    shape = graph.constant(np.array([1, 16], np.int32))
    graph.add("RESHAPE", [mean, shape], flat, options("ReshapeOptions", newShape=[1, 16]))
    logits = graph.tensor((1, 5), np.int8, Quantization([0.1], 0))
    w = graph.constant(draw(5, 16, seed=2), Quantization([0.01]))
    bias = graph.constant(np.arange(5, dtype=np.int32), Quantization([0.0008]))
    fields = options("FullyConnectedOptions", fusedActivationFunction=activation("NONE"))
    graph.add("FULLY_CONNECTED", [flat, w, bias], logits, fields)
    result = graph.tensor((1, 5), np.int8, Quantization([1 / 256], -128))
    graph.add("SOFTMAX", [logits], result, options("SoftmaxOptions", beta=1.0))
    return graph.model([x], [result])


def _convolution(
    graph: Graph, x: int, weights: np.ndarray, shape: Sequence[int], scale: float, zero: int
) -> int:
    y = graph.tensor(shape, np.int8, Quantization([scale], zero))
    scales = np.linspace(0.005, 0.01, len(weights)).astype(np.float32)
    w = graph.constant(weights, Quantization(scales))
    bias = graph.constant(np.arange(len(weights), dtype=np.int32), Quantization(scales * 0.02))
    graph.add("CONV_2D", [x, w, bias], y, window("Conv2DOptions"))
    return y


def one_convolution(
    weights: np.ndarray | None = None, size: int = 6, **tensor: Any
) -> tuple[Graph, int, int]:
    """Return a graph of one convolution with its input and output."""
    graph = Graph()
    weights = draw(8, 3, 3, 4) if weights is None else weights
    x = graph.tensor((1, size, size, weights.shape[3]), np.int8, Quantization([0.02], -5))
    y = _convolution(graph, x, weights, (1, size, size, len(weights)), 0.05, -128)
    for name, value in tensor.items():
        setattr(graph.tensors[y], name, value)
    return graph, x, y


def two_ends() -> bytes:
    """Return a network of two inputs and three outputs: a sum, one of them reshaped, and twice."""
    graph = Graph()
    steps = Quantization([0.05], 2)
    a, b = (graph.tensor((1, 3, 5), np.int8, steps) for _ in range(2))
    total = graph.tensor((1, 3, 5), np.int8, Quantization([0.08], -3))
    fields = options("AddOptions", fusedActivationFunction=activation("NONE"))
    graph.add("ADD", [a, b], total, fields)
    flat = graph.tensor((15,), np.int8, steps)
    shape = graph.constant(np.array([15], np.int32))
    graph.add("RESHAPE", [b, shape], flat, options("ReshapeOptions", newShape=[15]))
    return graph.model([a, b], [total, flat, total])
