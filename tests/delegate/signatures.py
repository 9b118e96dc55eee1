# SPDX-License-Identifier: BSD-3-Clause
"""Joins graphs to one .tflite model, a subgraph and a signature each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from tflite_graph import Graph


@dataclass
class Subgraph(Graph):
    """A graph that knows what it takes and gives. Signatures call the first input ``x``."""

    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)


def join(graphs: Mapping[str, Subgraph]) -> bytes:
    """Return the file of the graphs by the keys of their signatures; an empty key has none."""
    model = schema.ModelT()
    model.version = 3
    model.subgraphs, model.signatureDefs = [], []
    model.buffers = [schema.BufferT()]
    codes = sorted({code for graph in graphs.values() for code in graph.codes})
    model.operatorCodes = [_operator_code(code) for code in codes]
    for index, (key, graph) in enumerate(graphs.items()):
        subgraph = schema.SubGraphT()
        subgraph.name = key or "main"
        subgraph.tensors, subgraph.operators = graph.tensors, graph.operators
        subgraph.inputs, subgraph.outputs = graph.inputs, graph.outputs
        for tensor in graph.tensors:
            tensor.buffer += len(model.buffers) - 1 if tensor.buffer else 0
        for operator in graph.operators:
            operator.opcodeIndex = codes.index(graph.codes[operator.opcodeIndex])
        model.buffers += graph.buffers[1:]
        model.subgraphs.append(subgraph)
        if key:
            model.signatureDefs.append(_signature(key, index, graph))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operator_code(code: int) -> schema.OperatorCodeT:
    result = schema.OperatorCodeT()
    result.deprecatedBuiltinCode = min(code, 127)
    result.builtinCode = code
    result.version = 1
    return result


def _signature(key: str, index: int, graph: Subgraph) -> schema.SignatureDefT:
    result = schema.SignatureDefT()
    result.signatureKey, result.subgraphIndex = key, index
    result.inputs = [_tensor("x", graph.inputs[0])]
    result.outputs = [_tensor("y", graph.outputs[0])]
    return result


def _tensor(name: str, index: int) -> schema.TensorMapT:
    result = schema.TensorMapT()
    result.name, result.tensorIndex = name, index
    return result
