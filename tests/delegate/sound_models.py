# SPDX-License-Identifier: BSD-3-Clause
"""Sound models of many operators, made operator by operator, to be damaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_graph import Graph, Quantization, options

SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
BASES: list[Callable[[], bytes]] = []


def base(function: Callable[[], bytes]) -> Callable[[], bytes]:
    """Add a model that is right, to be damaged."""
    BASES.append(function)
    return function


def ramp(*shape: int) -> np.ndarray:
    """Different small numbers; a quarter of the input channels of each filter is zero."""
    values = (np.arange(np.prod(shape)) % 13 - 6).reshape(shape).astype(np.float32) / 8
    values[..., ::4] = 0
    return values


@base
def small_network() -> bytes:
    """PADV2 of -inf, pooling, two convolutions, a sum, a mean and a matrix."""
    graph = Graph()
    image = graph.tensor((1, 9, 9, 8))
    pads = graph.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    padded = graph.add(
        "PADV2", [image, pads, graph.constant(np.array([-np.inf], np.float32))],
        graph.tensor((1, 11, 11, 8)), options("PadV2Options"),
    )  # fmt: skip
    pool = options("Pool2DOptions", padding=VALID, strideH=2, strideW=2, filterHeight=3,
                   filterWidth=3, fusedActivationFunction=0)  # fmt: skip
    x = graph.add("MAX_POOL_2D", [padded], graph.tensor((1, 5, 5, 8)), pool)
    setting = options("Conv2DOptions", padding=SAME, strideH=1, strideW=1, dilationHFactor=1,
                      dilationWFactor=1, fusedActivationFunction=1)  # fmt: skip
    weights = [graph.constant(ramp(8, 3, 3, 8)), graph.constant(ramp(8))]
    y = graph.add("CONV_2D", [x, *weights], graph.tensor((1, 5, 5, 8)), setting)
    y = graph.add("ADD", [x, y], graph.tensor((1, 5, 5, 8)), options("AddOptions"))
    axes = graph.constant(np.array([1, 2], np.int32))
    mean = graph.add("MEAN", [y, axes], graph.tensor((1, 8)), options("ReducerOptions"))
    matrix = [graph.constant(ramp(4, 8)), graph.constant(ramp(4))]
    scores = graph.add("FULLY_CONNECTED", [mean, *matrix], graph.tensor((1, 4)),
                       options("FullyConnectedOptions"))  # fmt: skip
    out = graph.add("SOFTMAX", [scores], graph.tensor((1, 4)), options("SoftmaxOptions", beta=1.0))
    return graph.model([image], [out])


@base
def depthwise_and_shapes() -> bytes:
    """Depthwise and transposed convolution, resize, transpose, slice, concatenation, reshape."""
    graph = Graph()
    image = graph.tensor((1, 6, 6, 4))
    filters = [graph.constant(ramp(1, 3, 3, 4)), graph.constant(ramp(4))]
    depthwise = options("DepthwiseConv2DOptions", padding=SAME, strideH=1, strideW=1,
                        depthMultiplier=1, dilationHFactor=1, dilationWFactor=1)  # fmt: skip
    x = graph.add("DEPTHWISE_CONV_2D", [image, *filters], graph.tensor((1, 6, 6, 4)), depthwise)
    shape = graph.constant(np.array([1, 12, 12, 3], np.int32))
    up = options("TransposeConvOptions", padding=SAME, strideH=2, strideW=2)
    x = graph.add(
        "TRANSPOSE_CONV", [shape, graph.constant(ramp(3, 3, 3, 4)), x],
        graph.tensor((1, 12, 12, 3)), up,
    )  # fmt: skip
    size = graph.constant(np.array([5, 7], np.int32))
    x = graph.add("RESIZE_BILINEAR", [x, size], graph.tensor((1, 5, 7, 3)),
                  options("ResizeBilinearOptions"))  # fmt: skip
    order = graph.constant(np.array([0, 2, 1, 3], np.int32))
    x = graph.add("TRANSPOSE", [x, order], graph.tensor((1, 7, 5, 3)), options("TransposeOptions"))
    begin = graph.constant(np.array([0, 1, 0, 0], np.int32))
    sizes = graph.constant(np.array([1, 4, 5, 3], np.int32))
    x = graph.add("SLICE", [x, begin, sizes], graph.tensor((1, 4, 5, 3)), options("SliceOptions"))
    x = graph.add("CONCATENATION", [x, x], graph.tensor((1, 4, 5, 6)),
                  options("ConcatenationOptions", axis=3, fusedActivationFunction=0))  # fmt: skip
    target = graph.constant(np.array([2, 60], np.int32))
    x = graph.add("RESHAPE", [x, target], graph.tensor((2, 60)), options("ReshapeOptions"))
    return graph.model([image], [x])


@base
def quantized_convolution() -> bytes:
    """An int8 CONV_2D with a scale for each channel, and its DEQUANTIZE."""
    graph = Graph()
    image = graph.tensor((1, 6, 6, 4), np.int8, Quantization([0.05], 3))
    scales = [0.01 + 0.001 * i for i in range(8)]
    weights = (ramp(8, 3, 3, 4) * 100).astype(np.int8)
    filters = graph.constant(weights, Quantization(scales))
    bias = graph.constant(np.arange(8, dtype=np.int32), Quantization([0.05 * s for s in scales]))
    setting = options("Conv2DOptions", padding=SAME, strideH=1, strideW=1, dilationHFactor=1,
                      dilationWFactor=1, fusedActivationFunction=0)  # fmt: skip
    x = graph.add("CONV_2D", [image, filters, bias],
                  graph.tensor((1, 6, 6, 8), np.int8, Quantization([0.1])), setting)  # fmt: skip
    out = graph.add("DEQUANTIZE", [x], graph.tensor((1, 6, 6, 8)), options("DequantizeOptions"))
    return graph.model([image], [out])


def indices(name: str, values: Any, level: Any) -> None:
    """Set ``arraySegments`` or ``arrayIndices`` of a sparse level."""
    vector = schema.Int32VectorT()
    vector.values = [int(value) for value in values]
    setattr(level, name, vector)
    setattr(level, name + "Type", schema.SparseIndexVector.Int32Vector)


def stored_filter(graph: Graph, filter_: np.ndarray, tile: int = 1) -> int:
    """Store an OHWI filter as blocks of ``tile`` rows in compressed rows, and unpack it."""
    outputs, height, width, inputs = filter_.shape
    blocks = filter_.reshape(outputs // tile, tile, height * width, inputs).transpose(0, 2, 3, 1)
    places = np.argwhere((blocks != 0).any(axis=-1))
    stored = graph.constant(blocks[tuple(places.T)].astype(np.float32))
    counts = np.bincount(
        places[:, 0] * height * width + places[:, 1], minlength=outputs // tile * height * width
    )
    levels = [schema.DimensionMetadataT() for _ in range(4 if tile == 1 else 5)]
    sizes = (outputs // tile, height, width, None, tile)
    for level, size in zip(levels, sizes, strict=False):
        if size is None:
            level.format = schema.DimensionType.SPARSE_CSR
            indices("arraySegments", [0, *np.cumsum(counts)], level)
            indices("arrayIndices", places[:, 2], level)
        else:
            level.format, level.denseSize = schema.DimensionType.DENSE, size
    tensor = graph.tensors[stored]
    tensor.shape = list(filter_.shape)
    tensor.sparsity = schema.SparsityParametersT()
    tensor.sparsity.traversalOrder = list(range(len(levels)))
    tensor.sparsity.blockMap = [] if tile == 1 else [0]
    tensor.sparsity.dimMetadata = levels
    return graph.add("DENSIFY", [stored], graph.tensor(filter_.shape), options("DensifyOptions"))


def sparse(change: Callable[[Any], None] | None = None) -> bytes:
    """A DENSIFY of a 4x6 matrix in CSR and a matrix product with it."""
    graph = Graph()
    x = graph.tensor((2, 6))
    compressed = graph.constant(np.array([1, 2, 3, 4, 5], np.float32))
    tensor = graph.tensors[compressed]
    tensor.shape = [4, 6]
    tensor.sparsity = schema.SparsityParametersT()
    tensor.sparsity.traversalOrder = [0, 1]
    dense, rows = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    dense.format, dense.denseSize = schema.DimensionType.DENSE, 4
    rows.format = schema.DimensionType.SPARSE_CSR
    indices("arraySegments", [0, 2, 2, 3, 5], rows)
    indices("arrayIndices", [0, 5, 2, 1, 3], rows)
    tensor.sparsity.dimMetadata = [dense, rows]
    if change is not None:
        change(tensor.sparsity)
    weights = graph.add("DENSIFY", [compressed], graph.tensor((4, 6)), options("DensifyOptions"))
    out = graph.add("FULLY_CONNECTED", [x, weights, graph.constant(ramp(4))], graph.tensor((2, 4)),
                    options("FullyConnectedOptions"))  # fmt: skip
    return graph.model([x], [out])


@base
def sparse_matrix() -> bytes:
    """The sparse matrix as it should be."""
    return sparse()


@base
def sparse_filter() -> bytes:
    """A convolution whose filter is stored as blocks of 8 rows."""
    graph = Graph()
    image = graph.tensor((1, 6, 6, 8))
    weights = stored_filter(graph, ramp(16, 3, 3, 8), tile=8)
    out = graph.add(
        "CONV_2D",
        [image, weights, graph.constant(ramp(16))],
        graph.tensor((1, 6, 6, 16)),
        options("Conv2DOptions", padding=SAME, strideH=1, strideW=1, dilationHFactor=1,
                dilationWFactor=1, fusedActivationFunction=0),
    )  # fmt: skip
    return graph.model([image], [out])
