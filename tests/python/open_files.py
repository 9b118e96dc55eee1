# SPDX-License-Identifier: BSD-3-Clause
"""Files whose inputs have open sizes, as converters write them, made operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_graph import Graph, Quantization, activation, options

RANDOM = np.random.default_rng(7)


def opened(graph: Graph, tensor: int, sizes: Sequence[int]) -> int:
    """State the signature of a tensor's shape, -1 for what is open, and name the tensor."""
    graph.tensors[tensor].shapeSignature = list(sizes)
    return tensor


def named(graph: Graph, name: str, sizes: Sequence[int], dtype: Any = np.float32) -> int:
    """Add an input: open sizes have the placeholder 1."""
    tensor = graph.tensor([max(1, size) for size in sizes], dtype)
    graph.tensors[tensor].name = name
    return opened(graph, tensor, sizes)


def filters(*shape: int) -> np.ndarray:
    """Draw weights; three of four columns of each tile of eight outputs are zero."""
    values = RANDOM.normal(size=shape).astype(np.float32)
    values.reshape(shape[0], -1)[:, np.arange(values[0].size) % 4 != 0] = 0
    return values


def conv(graph: Graph, x: int, outputs: int, *, valid: bool = False) -> int:
    """Add a pruned convolution with a ReLU, of 3x3, all sizes but the channels open."""
    channels = graph.tensors[x].shape[3]
    padding = schema.Padding.VALID if valid else schema.Padding.SAME
    how = options(
        "Conv2DOptions", padding=padding, strideH=1, strideW=1, dilationHFactor=1,
        dilationWFactor=1, fusedActivationFunction=activation("RELU"),
    )  # fmt: skip
    weights = [graph.constant(filters(outputs, 3, 3, channels))]
    weights.append(graph.constant(RANDOM.normal(size=outputs).astype(np.float32)))
    y = opened(graph, graph.tensor((1, 1, 1, outputs)), (-1, -1, -1, outputs))
    return graph.add("CONV_2D", [x, *weights], y, how)


def mean(graph: Graph, x: int) -> int:
    """Add the mean over the pixels."""
    channels = graph.tensors[x].shape[3]
    axes = graph.constant(np.array([1, 2], np.int32))
    y = opened(graph, graph.tensor((1, channels)), (-1, channels))
    return graph.add("MEAN", [x, axes], y, options("ReducerOptions"))


def dense(graph: Graph, x: int, inputs: int, outputs: int) -> int:
    """Add a fully connected layer."""
    weights = [graph.constant(RANDOM.normal(size=(outputs, inputs)).astype(np.float32))]
    weights.append(graph.constant(RANDOM.normal(size=outputs).astype(np.float32)))
    y = opened(graph, graph.tensor((1, outputs)), (-1, outputs))
    return graph.add("FULLY_CONNECTED", [x, *weights], y, options("FullyConnectedOptions"))


def any_image(path: Path, *, valid: bool = False) -> Path:
    """Write a network for images of any number and size. If ``valid``, none of 1x1 fits."""
    graph = Graph()
    image = named(graph, "image", (-1, -1, -1, 3))
    x = conv(graph, conv(graph, image, 16, valid=valid), 16, valid=valid)
    path.write_bytes(graph.model([image], [dense(graph, mean(graph, x), 16, 5)]))
    return path


def two_inputs(path: Path) -> Path:
    """Write a network of an image and a vector, of as many samples, joined behind the image."""
    graph = Graph()
    image, side = named(graph, "image", (-1, -1, -1, 3)), named(graph, "side", (-1, 6))
    seen = mean(graph, conv(graph, image, 16))
    joined = opened(graph, graph.tensor((1, 22)), (-1, 22))
    how = options("ConcatenationOptions", axis=1, fusedActivationFunction=0)
    joined = graph.add("CONCATENATION", [seen, side], joined, how)
    path.write_bytes(graph.model([image, side], [dense(graph, joined, 22, 3)]))
    return path


def flattened(path: Path, *, fixed: bool = False) -> Path:
    """Write what Keras's Flatten becomes with an open batch: a RESHAPE to a computed shape.

    If ``fixed``, the shape is a constant, as converters wrote it that know a batch of 1.
    """
    graph = Graph()
    image = named(graph, "image", (-1, 4, 4, 3))
    x = conv(graph, image, 8)
    if fixed:
        shape = graph.constant(np.array([1, 128], np.int32))
    else:
        sizes = graph.add(
            "SHAPE", [image], graph.tensor((4,), np.int32), options("ShapeOptions", outType=2)
        )
        places = [graph.constant(np.array([at], np.int32)) for at in (0, 1, 1)]
        slicing = options("StridedSliceOptions", shrinkAxisMask=1)
        batch = graph.add("STRIDED_SLICE", [sizes, *places], graph.tensor((), np.int32), slicing)
        row = graph.constant(np.array(128, np.int32))
        packing = options("PackOptions", valuesCount=2, axis=0)
        shape = graph.add("PACK", [batch, row], graph.tensor((2,), np.int32), packing)
    flat = opened(graph, graph.tensor((1, 128)), (-1, 128))
    flat = graph.add("RESHAPE", [x, shape], flat, options("ReshapeOptions"))
    path.write_bytes(graph.model([image], [dense(graph, flat, 128, 4)]))
    return path


def int8_batch(path: Path) -> Path:
    """Write a convolution of int8 on images of 6x6, the batch open."""
    graph = Graph()
    steps = Quantization([0.05])
    image = named(graph, "image", (-1, 6, 6, 8), np.int8)
    quantized = schema.QuantizationParametersT()
    quantized.scale, quantized.zeroPoint = [0.05], [0]
    graph.tensors[image].quantization = quantized
    weights = RANDOM.integers(-127, 128, (8, 3, 3, 8)).astype(np.int8)
    weights[..., 1::2] = 0
    constants = [
        graph.constant(weights, Quantization([0.01] * 8)),
        graph.constant(np.arange(8, dtype=np.int32), Quantization([0.0005] * 8)),
    ]
    how = options("Conv2DOptions", padding=schema.Padding.SAME, strideH=1, strideW=1,
                  dilationHFactor=1, dilationWFactor=1, fusedActivationFunction=0)  # fmt: skip
    y = opened(graph, graph.tensor((1, 6, 6, 8), np.int8, steps), (-1, 6, 6, 8))
    path.write_bytes(graph.model([image], [graph.add("CONV_2D", [image, *constants], y, how)]))
    return path


def places(path: Path) -> Path:
    """Write what tells where numbers are above 50: how many these are follows from them."""
    graph = Graph()
    x = named(graph, "x", (-1, 4))
    limit = graph.constant(np.array(50, np.float32))
    above = opened(graph, graph.tensor((1, 4), np.bool_), (-1, 4))
    above = graph.add("GREATER", [x, limit], above, options("GreaterOptions"))
    found = opened(graph, graph.tensor((0, 2)), (-1, 2))
    graph.tensors[found].type = schema.TensorType.INT64
    found = graph.add("WHERE", [above], found, options("WhereOptions"))
    path.write_bytes(graph.model([x], [found]))
    return path
