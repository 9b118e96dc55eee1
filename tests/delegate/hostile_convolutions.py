# SPDX-License-Identifier: BSD-3-Clause
"""Models whose convolutions lie: each breaks one thing that a delegate could rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from sound_models import SAME, ramp
from tflite_graph import Graph, options

CASES: list[Callable[[], bytes]] = []


def case(function: Callable[[], bytes]) -> Callable[[], bytes]:
    """Add a model that is wrong."""
    CASES.append(function)
    return function


def convolution(
    *,
    image: tuple[int, ...] = (1, 8, 8, 8),
    kernel: tuple[int, ...] = (16, 3, 3, 8),
    bias: int | None = 16,
    output: tuple[int, ...] = (1, 8, 8, 16),
    change: Callable[[Graph, list[int]], None] | None = None,
    **fields: Any,
) -> bytes:
    """One CONV_2D; ``change`` sees the graph and the numbers of its tensors."""
    graph = Graph()
    tensors = [graph.tensor(image), graph.constant(ramp(*kernel))]
    tensors.append(-1 if bias is None else graph.constant(ramp(bias)))
    tensors.append(graph.tensor(output))
    settings = {"padding": SAME, "strideH": 1, "strideW": 1, "dilationHFactor": 1}
    settings |= {"dilationWFactor": 1, "fusedActivationFunction": 0} | fields
    graph.add("CONV_2D", tensors[:3], tensors[3], options("Conv2DOptions", **settings))
    if change is not None:
        change(graph, tensors)
    return graph.model([tensors[0]], [tensors[3]])


@case
def filter_with_less_data_than_its_shape() -> bytes:
    def change(graph: Graph, tensors: list[int]) -> None:
        graph.tensors[tensors[1]].shape = [1600, 3, 3, 8]

    return convolution(change=change)


@case
def sparse_filter_without_densify() -> bytes:
    def change(graph: Graph, tensors: list[int]) -> None:
        sparsity = schema.SparsityParametersT()
        sparsity.traversalOrder, sparsity.dimMetadata = [0, 1, 2, 3], []
        for size in (1024, 9, 9, 8):
            level = schema.DimensionMetadataT()
            level.format, level.denseSize = schema.DimensionType.DENSE, size
            sparsity.dimMetadata.append(level)
        graph.tensors[tensors[1]].sparsity = sparsity
        graph.tensors[tensors[1]].shape = [1024, 9, 9, 8]
        graph.tensors[tensors[2]].sparsity = sparsity
        graph.tensors[tensors[2]].shape = [1024]

    return convolution(change=change)


@case
def bias_shorter_than_the_channels() -> bytes:
    return convolution(bias=3)


@case
def bias_missing() -> bytes:
    return convolution(bias=None)


@case
def stride_zero() -> bytes:
    return convolution(strideH=0, strideW=0)


@case
def dilation_zero() -> bytes:
    return convolution(dilationHFactor=0)


@case
def stride_negative() -> bytes:
    return convolution(strideH=-1)


@case
def stride_huge() -> bytes:
    return convolution(strideH=2**31 - 1, strideW=2**31 - 1)


@case
def dilation_huge() -> bytes:
    return convolution(dilationHFactor=2**30, dilationWFactor=2**30)


@case
def dilation_large() -> bytes:
    """A padded image of a terabyte."""
    return convolution(dilationHFactor=2**17, dilationWFactor=2**17)


@case
def more_input_channels_than_the_filter() -> bytes:
    return convolution(image=(1, 8, 8, 4))


@case
def groups_that_do_not_divide_the_output() -> bytes:
    return convolution(image=(1, 8, 8, 24), kernel=(16, 3, 3, 8))


@case
def padding_of_no_kind() -> bytes:
    return convolution(padding=77)


@case
def activation_of_no_kind() -> bytes:
    return convolution(fusedActivationFunction=99)


@case
def output_is_a_constant() -> bytes:
    def change(graph: Graph, tensors: list[int]) -> None:
        constant = graph.constant(ramp(1, 8, 8, 16))
        graph.operators[0].outputs = [constant]
        tensors[3] = constant

    return convolution(change=change)


@case
def output_is_the_input() -> bytes:
    def change(graph: Graph, tensors: list[int]) -> None:
        graph.operators[0].outputs = [tensors[0]]
        tensors[3] = tensors[0]

    return convolution(kernel=(8, 3, 3, 8), bias=8, change=change)


@case
def two_nodes_write_one_tensor() -> bytes:
    def change(graph: Graph, _: list[int]) -> None:
        graph.operators.append(graph.operators[0])

    return convolution(change=change)


@case
def input_that_nobody_writes() -> bytes:
    def change(graph: Graph, tensors: list[int]) -> None:
        graph.operators[0].inputs = [graph.tensor((1, 8, 8, 8)), *tensors[1:3]]

    return convolution(change=change)


@case
def operator_without_inputs() -> bytes:
    def change(graph: Graph, _: list[int]) -> None:
        graph.operators[0].inputs = []

    return convolution(change=change)
