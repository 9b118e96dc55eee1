# SPDX-License-Identifier: BSD-3-Clause
"""Models of a transformer's operators that lie: each breaks one thing a delegate could rely on."""

from __future__ import annotations

import numpy as np
from hostile_convolutions import case
from sound_models import ramp
from tflite_graph import Graph, Quantization, options


def product(a: tuple[int, ...], b: tuple[int, ...], y: tuple[int, ...], **fields: bool) -> bytes:
    """One BATCH_MATMUL of tensors that say they have these shapes."""
    graph = Graph()
    first, second, output = (graph.tensor(shape) for shape in (a, b, y))
    graph.add("BATCH_MATMUL", [first, second], output, options("BatchMatMulOptions", **fields))
    return graph.model([first, second], [output])


@case
def product_of_rows_that_do_not_fit() -> bytes:
    return product((2, 3, 4), (2, 5, 6), (2, 3, 6))


@case
def product_whose_output_is_larger_than_it_says() -> bytes:
    return product((2, 3, 4), (2, 4, 6), (2, 3, 2))


@case
def product_of_batches_that_do_not_fit() -> bytes:
    return product((2, 3, 4), (3, 4, 6), (3, 3, 6))


@case
def product_of_vectors() -> bytes:
    return product((4,), (4,), (1,))


@case
def product_of_seven_dimensions() -> bytes:
    return product((1,) * 7, (1,) * 7, (1,) * 7)


@case
def product_adjoint_that_does_not_fit() -> bytes:
    return product((2, 3, 4), (2, 4, 6), (2, 4, 6), adjX=True)


@case
def product_with_a_narrow_operand() -> bytes:
    """Packed in tiles, it would take gigabytes."""
    return product((1, 2**25), (2**25, 1), (1, 1))


@case
def product_of_one_operand() -> bytes:
    graph = Graph()
    x, y = graph.tensor((4, 4)), graph.tensor((4, 4))
    graph.add("BATCH_MATMUL", [x], y, options("BatchMatMulOptions"))
    return graph.model([x], [y])


@case
def product_without_options() -> bytes:
    graph = Graph()
    a, b, y = (graph.tensor((4, 4)) for _ in range(3))
    graph.add("BATCH_MATMUL", [a, b], y)
    return graph.model([a, b], [y])


@case
def product_of_floats_and_bytes() -> bytes:
    graph = Graph()
    a, y = graph.tensor((4, 4)), graph.tensor((4, 4))
    b = graph.constant(np.ones((4, 4), np.int8), Quantization([0.5]))
    graph.add("BATCH_MATMUL", [a, b], y, options("BatchMatMulOptions"))
    return graph.model([a], [y])


def reduced(name: str, axes: list[int], output: tuple[int, ...], keep: bool = False) -> bytes:
    """One MEAN or SUM of a tensor of [2, 3, 4]."""
    graph = Graph()
    x, y = graph.tensor((2, 3, 4)), graph.tensor(output)
    table = graph.constant(np.array(axes, np.int32))
    graph.add(name, [x, table], y, options("ReducerOptions", keepDims=keep))
    return graph.model([x], [y])


@case
def mean_over_an_axis_that_is_not_there() -> bytes:
    return reduced("MEAN", [3], (2, 3))


@case
def mean_over_an_axis_far_below() -> bytes:
    return reduced("MEAN", [-(2**31)], (2, 3))


@case
def sum_over_many_axes() -> bytes:
    """More than XNNPACK has room for, though all the same."""
    return reduced("SUM", [1] * 100, (2, 4))


@case
def sum_over_no_axes() -> bytes:
    return reduced("SUM", [], (2, 3, 4))


@case
def mean_whose_output_is_larger_than_it_says() -> bytes:
    return reduced("MEAN", [2], (1, 2))


@case
def mean_without_options() -> bytes:
    graph = Graph()
    x, y = graph.tensor((2, 3, 4)), graph.tensor((2, 3))
    graph.add("MEAN", [x, graph.constant(np.array([2], np.int32))], y)
    return graph.model([x], [y])


@case
def gelu_without_options() -> bytes:
    graph = Graph()
    x, y = graph.tensor((2, 3)), graph.tensor((2, 3))
    graph.add("GELU", [x], y)
    return graph.model([x], [y])


@case
def gelu_of_bytes_without_quantization() -> bytes:
    graph = Graph()
    x, y = graph.tensor((2, 3), np.int8), graph.tensor((2, 3), np.int8)
    graph.add("GELU", [x], y, options("GeluOptions"))
    return graph.model([x], [y])


@case
def gelu_whose_output_is_larger_than_it_says() -> bytes:
    graph = Graph()
    x, y = graph.tensor((2, 300)), graph.tensor((1, 1))
    graph.add("GELU", [x], y, options("GeluOptions"))
    return graph.model([x], [y])


def token(begin: list[int], dropped: int, output: tuple[int, ...]) -> bytes:
    """One STRIDED_SLICE of a 4x4 matrix that drops axes."""
    graph = Graph()
    x, y = graph.tensor((4, 4)), graph.tensor(output)
    tables = [graph.constant(np.array(v, np.int32)) for v in (begin, [4, 4], [1, 1])]
    graph.add("STRIDED_SLICE", [x, *tables], y,
              options("StridedSliceOptions", shrinkAxisMask=dropped))  # fmt: skip
    return graph.model([x], [y])


@case
def token_beyond_the_end() -> bytes:
    return token([7, 0], 1, (4,))


@case
def token_far_before_the_begin() -> bytes:
    return token([-(2**31), 0], 1, (4,))


@case
def token_that_drops_other_axes_than_its_output() -> bytes:
    return token([1, 0], 1, (4, 4))


@case
def token_that_drops_more_axes_than_there_are() -> bytes:
    return token([1, 0], 2**30, (4, 4))


@case
def variance_of_bytes_with_scales_for_each_channel() -> bytes:
    graph = Graph()
    x = graph.tensor((4, 4), np.int8, Quantization([0.5, 0.25, 0.5, 1.0]))
    y = graph.tensor((4, 4), np.int8, Quantization([0.5]))
    other = graph.constant(ramp(4).astype(np.int8), Quantization([0.5]))
    graph.add("SQUARED_DIFFERENCE", [x, other], y, options("SquaredDifferenceOptions"))
    return graph.model([x], [y])


def masked(condition: tuple[int, ...], x: tuple[int, ...], number: object) -> bytes:
    """One SELECT_V2 whose output says that it is of 2 x 3."""
    graph = Graph()
    first, second, y = graph.tensor(condition, np.bool_), graph.tensor(x), graph.tensor((2, 3))
    other = graph.constant(np.array(number, np.float32))
    graph.add("SELECT_V2", [first, second, other], y, options("SelectV2Options"))
    return graph.model([first, second], [y])


@case
def mask_that_does_not_fit() -> bytes:
    return masked((2, 5), (2, 3), 0.0)


@case
def mask_larger_than_its_output() -> bytes:
    return masked((7, 2, 3), (2, 3), 0.0)


@case
def mask_without_a_number() -> bytes:
    return masked((2, 3), (2, 3), [])


@case
def mask_with_minus_infinity() -> bytes:
    return masked((2, 3), (2, 3), -np.inf)


def sliced(begin: list[int], size: list[int], order: list[int]) -> bytes:
    """A TRANSPOSE of 2 x 3 x 4, of which two SLICEs are read."""
    graph = Graph()
    x, y = graph.tensor((2, 3, 4)), graph.tensor((3, 2, 4))
    graph.add("TRANSPOSE", [x, graph.constant(np.array(order, np.int32))], y,
              options("TransposeOptions"))  # fmt: skip
    tables = [graph.constant(np.array(v, np.int32)) for v in (begin, size)]
    outputs = [graph.tensor([abs(extent) for extent in size]) for _ in range(2)]
    for output in outputs:
        graph.add("SLICE", [y, *tables], output, options("SliceOptions"))
    return graph.model([x], outputs)


@case
def slice_of_a_transposed_tensor_beyond_its_end() -> bytes:
    return sliced([2, 0, 0], [2, 2, 4], [1, 0, 2])


@case
def slice_of_a_transposed_tensor_before_its_begin() -> bytes:
    return sliced([-1, 0, 0], [1, 2, 4], [1, 0, 2])


@case
def slice_of_a_tensor_transposed_by_no_permutation() -> bytes:
    return sliced([0, 0, 0], [1, 2, 4], [1, 1, 9])


@case
def slice_of_fewer_axes_than_are_transposed() -> bytes:
    return sliced([0, 0], [1, 2], [1, 0, 2])
