# SPDX-License-Identifier: BSD-3-Clause
"""Models of other operators that lie: each breaks one thing that a delegate could rely on."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from hostile_convolutions import case
from sound_models import SAME, VALID, ramp, sparse
from tflite_graph import Graph, Quantization, options


@case
def optional_input_of_an_operator_that_has_none() -> bytes:
    graph = Graph()
    x, y = graph.tensor((1, 4)), graph.tensor((1, 4))
    graph.add("ABS", [-1], y, options("AbsOptions"))
    return graph.model([x], [y])


@case
def seven_dimensions() -> bytes:
    graph = Graph()
    x, y = graph.tensor((2,) * 7), graph.tensor((2,) * 7)
    graph.add("ABS", [x], y, options("AbsOptions"))
    return graph.model([x], [y])


@case
def softmax_of_a_scalar() -> bytes:
    graph = Graph()
    x, y = graph.tensor(()), graph.tensor(())
    graph.add("SOFTMAX", [x], y, options("SoftmaxOptions", beta=1.0))
    return graph.model([x], [y])


@case
def depth_multiplier_that_lies() -> bytes:
    graph = Graph()
    x, y = graph.tensor((1, 4, 4, 4)), graph.tensor((1, 4, 4, 4096))
    filters = [graph.constant(ramp(1, 1, 1, 4096)), graph.constant(ramp(4096))]
    fields = options("DepthwiseConv2DOptions", padding=SAME, strideH=1, strideW=1,
                     depthMultiplier=1, dilationHFactor=1, dilationWFactor=1)  # fmt: skip
    graph.add("DEPTHWISE_CONV_2D", [x, *filters], y, fields)
    return graph.model([x], [y])


@case
def filter_that_two_nodes_unpack() -> bytes:
    """One of them unpacks less than the tensor's shape says."""
    graph = Graph()
    x, y = graph.tensor((1, 8, 8, 8)), graph.tensor((1, 8, 8, 64))
    filters = graph.tensor((64, 3, 3, 8))
    for rows in (1, 64):
        packed = graph.constant(ramp(rows, 3, 3, 8).astype(np.float16))
        graph.add("DEQUANTIZE", [packed], filters)
    bias = graph.constant(ramp(64))
    fields = options("Conv2DOptions", padding=SAME, strideH=1, strideW=1, dilationHFactor=1,
                     dilationWFactor=1, fusedActivationFunction=0)  # fmt: skip
    graph.add("CONV_2D", [x, filters, bias], y, fields)
    return graph.model([x], [y])


@case
def transposed_convolution_of_stride_zero() -> bytes:
    graph = Graph()
    x, y = graph.tensor((1, 4, 4, 2)), graph.tensor((1, 8, 8, 2))
    shape = graph.constant(np.array([1, 8, 8, 2], np.int32))
    fields = options("TransposeConvOptions", padding=VALID, strideH=0, strideW=0)
    graph.add("TRANSPOSE_CONV", [shape, graph.constant(ramp(2, 3, 3, 2)), x], y, fields)
    return graph.model([x], [y])


def pooled(height: int, width: int, stride: int = 1) -> bytes:
    """One MAX_POOL_2D over a 10x10 image."""
    graph = Graph()
    x, y = graph.tensor((1, 10, 10, 4)), graph.tensor((1, 10, 10, 4))
    fields = options("Pool2DOptions", padding=SAME, strideH=stride, strideW=stride,
                     filterHeight=height, filterWidth=width, fusedActivationFunction=0)  # fmt: skip
    graph.add("MAX_POOL_2D", [x], y, fields)
    return graph.model([x], [y])


@case
def pool_whose_size_overflows() -> bytes:
    return pooled(2**16, 2**16)


@case
def pool_of_gigabytes() -> bytes:
    return pooled(2**12, 2**12)


@case
def pool_of_stride_zero() -> bytes:
    return pooled(2, 2, 0)


def pad(rows: list[list[int]], value: Any = None, output: tuple[int, ...] = (1, 6, 6, 2)) -> bytes:
    """A PAD, or a PADV2 with ``value``."""
    graph = Graph()
    x, y = graph.tensor((1, 4, 4, 2)), graph.tensor(output)
    inputs = [x, graph.constant(np.array(rows, np.int32))]
    if value is not None:
        inputs.append(graph.constant(np.asarray(value)))
    name = "PAD" if value is None else "PADV2"
    graph.add(name, inputs, y, options("PadOptions" if value is None else "PadV2Options"))
    return graph.model([x], [y])


@case
def pad_negative_in_the_last_rows() -> bytes:
    return pad([[0, 0], [0, 0], [-1, 0], [0, -1]])


@case
def pad_huge() -> bytes:
    return pad([[0, 0], [2**31 - 1, 2**31 - 1], [2**31 - 1, 2**31 - 1], [0, 0]])


@case
def padv2_with_several_values() -> bytes:
    return pad([[0, 0], [1, 1], [1, 1], [0, 0]], np.ones(3, np.float32))


@case
def padv2_with_an_integer() -> bytes:
    return pad([[0, 0], [1, 1], [1, 1], [0, 0]], np.ones(1, np.int32))


def sliced(begin: list[int], size: list[int]) -> bytes:
    """A SLICE of a 4x4 matrix."""
    graph = Graph()
    x, y = graph.tensor((4, 4)), graph.tensor((1, 2))
    inputs = [
        x,
        graph.constant(np.array(begin, np.int32)),
        graph.constant(np.array(size, np.int32)),
    ]
    graph.add("SLICE", inputs, y, options("SliceOptions"))
    return graph.model([x], [y])


@case
def slice_beyond_the_end() -> bytes:
    return sliced([0, 3], [1, 2])


@case
def slice_without_its_size() -> bytes:
    graph = Graph()
    x, y = graph.tensor((4, 4)), graph.tensor((4, 4))
    graph.add("SLICE", [x, graph.constant(np.zeros(2, np.int32))], y, options("SliceOptions"))
    return graph.model([x], [y])


@case
def transpose_with_a_repeated_axis() -> bytes:
    graph = Graph()
    x, y = graph.tensor((2, 3, 4)), graph.tensor((2, 3, 4))
    order = graph.constant(np.array([0, 0, 7], np.int32))
    graph.add("TRANSPOSE", [x, order], y, options("TransposeOptions"))
    return graph.model([x], [y])


@case
def transpose_of_integers() -> bytes:
    """Sound, but nothing for XNNPACK: the rest of the model must still run."""
    graph = Graph()
    x, y = graph.tensor((2, 3), np.int32), graph.tensor((3, 2), np.int32)
    order = graph.constant(np.array([1, 0], np.int32))
    graph.add("TRANSPOSE", [x, order], y, options("TransposeOptions"))
    return graph.model([x], [y])


@case
def resize_to_one_number() -> bytes:
    graph = Graph()
    x, y = graph.tensor((1, 4, 4, 2)), graph.tensor((1, 8, 8, 2))
    graph.add("RESIZE_BILINEAR", [x, graph.constant(np.array([8], np.int32))], y,
              options("ResizeBilinearOptions"))  # fmt: skip
    return graph.model([x], [y])


@case
def concatenation_along_no_axis() -> bytes:
    graph = Graph()
    x, y = graph.tensor((2, 3)), graph.tensor((4, 3))
    graph.add("CONCATENATION", [x, x], y, options("ConcatenationOptions", axis=-9))
    return graph.model([x], [y])


@case
def fewer_scales_than_channels() -> bytes:
    graph = Graph()
    packed = graph.constant(np.ones((8, 4), np.int8), Quantization([0.5, 0.25, 0.125]))
    x = graph.tensor((1, 4))
    weights = graph.add("DEQUANTIZE", [packed], graph.tensor((8, 4)), options("DequantizeOptions"))
    out = graph.add("FULLY_CONNECTED", [x, weights, -1], graph.tensor((1, 8)),
                    options("FullyConnectedOptions"))  # fmt: skip
    return graph.model([x], [out])


@case
def sparse_index_out_of_range() -> bytes:
    def change(sparsity: Any) -> None:
        sparsity.dimMetadata[1].arrayIndices.values = [0, 2**24, 2, 1, 3]

    return sparse(change)


@case
def sparse_segments_out_of_range() -> bytes:
    def change(sparsity: Any) -> None:
        sparsity.dimMetadata[1].arraySegments.values = [0, 2, 2, 3, 2**30]

    return sparse(change)


@case
def sparse_traversal_out_of_range() -> bytes:
    def change(sparsity: Any) -> None:
        # So far out that the interpreter, which looks there, always dies.
        sparsity.traversalOrder = [0, 500_000_000]

    return sparse(change)


@case
def sparse_level_larger_than_its_dimension() -> bytes:
    def change(sparsity: Any) -> None:
        sparsity.dimMetadata[0].denseSize = 2**20
        sparsity.dimMetadata[1].arraySegments.values = list(range(2**10))

    return sparse(change)


@case
def sparse_with_a_block_of_no_size() -> bytes:
    def change(sparsity: Any) -> None:
        level = schema.DimensionMetadataT()
        level.format, level.denseSize = schema.DimensionType.DENSE, 0
        sparsity.blockMap, sparsity.traversalOrder = [1], [0, 1, 2]
        sparsity.dimMetadata.append(level)

    return sparse(change)
