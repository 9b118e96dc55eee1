# SPDX-License-Identifier: BSD-3-Clause
"""Graphs that no converter writes, but interpreters run: orders, states, constants in two steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from signatures import Subgraph
from tflite_graph import options

CASES: list[Callable[[], Subgraph]] = []
SHAPE = (1, 8)


def case(function: Callable[[], Subgraph]) -> Callable[[], Subgraph]:
    CASES.append(function)
    return function


def add(graph: Subgraph, a: int, b: int, output: int | None = None) -> int:
    """Append an addition, which the delegate takes."""
    output = graph.tensor(SHAPE) if output is None else output
    return graph.add("ADD", [a, b], output, options("AddOptions", fusedActivationFunction=0))


def left(graph: Subgraph, a: int, output: int | None = None) -> int:
    """Append a division, which the delegate leaves."""
    output = graph.tensor(graph.tensors[a].shape) if output is None else output
    divisor = graph.constant(np.full(graph.tensors[a].shape[-1], 0.3, np.float32))
    return graph.add("FLOOR_DIV", [a, divisor], output, options("FloorDivOptions"))


def state(graph: Subgraph) -> int:
    """Append a tensor that keeps its value from one run to the next."""
    index = graph.tensor(SHAPE)
    graph.tensors[index].isVariable = True
    return index


@case
def a_cycle_through_a_state() -> Subgraph:
    graph = Subgraph()
    x, v = graph.tensor(SHAPE), state(graph)
    y = add(graph, x, v)
    add(graph, y, graph.constant(np.ones(8, np.float32)), v)
    graph.inputs, graph.outputs = [x], [y]
    return graph


@case
def a_state_that_is_written_after_it_was_read() -> Subgraph:
    graph = Subgraph()
    x, v = graph.tensor(SHAPE), state(graph)
    y = add(graph, x, v)
    add(graph, x, x, v)
    graph.inputs, graph.outputs = [x], [y]
    return graph


@case
def a_state_that_a_left_node_writes() -> Subgraph:
    graph = Subgraph()
    x, v = graph.tensor(SHAPE), state(graph)
    y = add(graph, x, v)
    left(graph, x, v)
    graph.inputs, graph.outputs = [x], [y]
    return graph


@case
def a_state_that_a_left_node_reads() -> Subgraph:
    graph = Subgraph()
    x, v = graph.tensor(SHAPE), state(graph)
    y = left(graph, v)
    add(graph, x, x, v)
    graph.inputs, graph.outputs = [x], [y]
    return graph


@case
def left_nodes_that_write_one_tensor() -> Subgraph:
    graph = Subgraph()
    x, shared = graph.tensor(SHAPE), graph.tensor(SHAPE)
    left(graph, x, shared)
    y = add(graph, x, x)
    first = left(graph, shared)
    left(graph, y, shared)
    graph.inputs, graph.outputs = [x], [y, first, left(graph, shared)]
    return graph


@case
def a_constant_in_two_steps_that_a_left_node_reads() -> Subgraph:
    """Sparse half precision: DENSIFY makes it dense, DEQUANTIZE single."""
    graph = Subgraph()
    x = graph.tensor(SHAPE)
    packed = graph.constant(np.array([1, 2, 3], np.float16))
    tensor = graph.tensors[packed]
    tensor.shape = [4, 4]
    tensor.sparsity = _rows([0, 1, 2, 3, 3], [0, 1, 2])
    dense = graph.add("DENSIFY", [packed], graph.tensor((4, 4), np.float16))
    single = graph.add("DEQUANTIZE", [dense], graph.tensor((4, 4)))
    graph.inputs, graph.outputs = [x], [add(graph, x, x), left(graph, single)]
    return graph


def _rows(segments: list[int], indices: list[int]) -> schema.SparsityParametersT:
    """Return the encoding of a square matrix in compressed rows."""
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder, sparsity.blockMap = [0, 1], []
    rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    rows.format, rows.denseSize = schema.DimensionType.DENSE, len(segments) - 1
    columns.format = schema.DimensionType.SPARSE_CSR
    columns.arraySegmentsType = columns.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    columns.arraySegments, columns.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
    columns.arraySegments.values, columns.arrayIndices.values = segments, indices
    sparsity.dimMetadata = [rows, columns]
    return sparsity
