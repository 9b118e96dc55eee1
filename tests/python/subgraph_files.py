# SPDX-License-Identifier: BSD-3-Clause
"""Small models of several subgraphs, honest ones and one that shares all it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_graph import Graph, activation, options

SAME = schema.Padding.SAME


@dataclass
class Part:
    """One subgraph: its graph, inputs, outputs and name."""

    graph: Graph
    inputs: Sequence[int]
    outputs: Sequence[int]
    name: str = ""


@dataclass
class Model:
    """Subgraphs that share buffers and operator codes, and keys of signatures by subgraph."""

    parts: list[Part] = field(default_factory=list)
    signatures: list[tuple[str, int]] = field(default_factory=list)
    metadata: list[tuple[str, int]] = field(default_factory=list)
    first: Graph = field(default_factory=Graph)

    def graph(self) -> Graph:
        """Start another subgraph."""
        return Graph(buffers=self.first.buffers, codes=self.first.codes)

    def packed(self) -> bytes:
        """Return the file."""
        model = schema.ModelT()
        model.version = 3
        model.buffers = self.first.buffers
        model.operatorCodes, model.subgraphs, model.signatureDefs = [], [], []
        for code in self.first.codes:
            item = schema.OperatorCodeT()
            item.deprecatedBuiltinCode, item.builtinCode = min(code, 127), code
            item.version = 1
            model.operatorCodes.append(item)
        for part in self.parts:
            graph = schema.SubGraphT()
            graph.tensors, graph.operators = part.graph.tensors, part.graph.operators
            graph.inputs, graph.outputs = list(part.inputs), list(part.outputs)
            graph.name = part.name
            model.subgraphs.append(graph)
        for key, index in self.signatures:
            model.signatureDefs.append(self._signature(key, index))
        model.metadata = [_metadata(name, buffer) for name, buffer in self.metadata] or None
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _signature(self, key: str, index: int) -> Any:
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key, index
        part = self.parts[index] if index < len(self.parts) else self.parts[0]
        signature.inputs = [_named(f"in{i}", tensor) for i, tensor in enumerate(part.inputs)]
        signature.outputs = [_named(f"out{i}", tensor) for i, tensor in enumerate(part.outputs)]
        return signature


def _named(name: str, tensor: int) -> Any:
    item = schema.TensorMapT()
    item.name, item.tensorIndex = name, tensor
    return item


def _metadata(name: str, buffer: int) -> Any:
    item = schema.MetadataT()
    item.name, item.buffer = name, buffer
    return item


def filters(seed: int, outputs: int = 32, inputs: int = 32, *, pruned: bool = True) -> np.ndarray:
    """Draw 3x3 filters [O, 3, 3, I]; pruned ones keep every fourth input channel."""
    weights = np.random.default_rng(seed).normal(size=(outputs, 3, 3, inputs)).astype(np.float32)
    if pruned:
        weights[..., np.arange(inputs) % 4 != 0] = 0
    return weights


def convolve(graph: Graph, image: int, weights: int, size: int, outputs: int = 32) -> int:
    """Add a 3x3 convolution without bias that keeps the image's ``size``."""
    setting = options(
        "Conv2DOptions", padding=SAME, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1,
        fusedActivationFunction=activation("NONE"),
    )  # fmt: skip
    bias = graph.constant(np.zeros(outputs, np.float32))
    shape = (1, size, size, outputs)
    return graph.add("CONV_2D", [image, weights, bias], graph.tensor(shape), setting)


def shared(graph: Graph, other: Graph, tensor: int) -> int:
    """Add a tensor with the shape and buffer of another subgraph's."""
    source = other.tensors[tensor]
    return graph.tensor(source.shape, buffer=source.buffer)


def two_signatures() -> Model:
    """Return ``encode`` (8x8) and ``decode`` (6x6), whose tensors all have one name.

    Both start with one shared pruned filter; then encode has ABS and a pruned filter of its own,
    decode an unpruned one: operators CONV_2D, ABS, CONV_2D and CONV_2D, CONV_2D.
    """
    model = Model()
    encode, decode = model.graph(), model.graph()
    image = encode.tensor((1, 8, 8, 32))
    common = encode.constant(filters(0))
    x = convolve(encode, image, common, 8)
    x = encode.add("ABS", [x], encode.tensor((1, 8, 8, 32)), options("AbsOptions"))
    x = convolve(encode, x, encode.constant(filters(1)), 8)
    model.parts.append(Part(encode, [image], [x], "main"))
    image = decode.tensor((1, 6, 6, 32))
    y = convolve(decode, image, shared(decode, encode, common), 6)
    y = convolve(decode, y, decode.constant(filters(2, pruned=False)), 6)
    model.parts.append(Part(decode, [image], [y], "other"))
    for tensor in encode.tensors + decode.tensors:
        tensor.name = "same"
    model.signatures = [("encode", 0), ("decode", 1)]
    return model


def branches() -> Model:
    """Return an IF of two branches that share a filter: a convolution of x, and one of x + x."""
    model = Model()
    main = model.graph()
    choice, image = main.tensor((1,), np.uint8), main.tensor((1, 8, 8, 32))
    main.tensors[choice].type = schema.TensorType.BOOL
    common = None
    for name in ("then", "else"):
        graph = model.graph()
        x = inner = graph.tensor((1, 8, 8, 32))
        if common is None:
            common = graph, graph.constant(filters(0))
            weights = common[1]
        else:
            weights = shared(graph, *common)
            x = graph.add("ADD", [inner, inner], graph.tensor((1, 8, 8, 32)), options("AddOptions"))
        model.parts.append(Part(graph, [inner], [convolve(graph, x, weights, 8)], name))
    setting = options("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2)
    out = main.add("IF", [choice, image], main.tensor((1, 8, 8, 32)), setting)
    model.parts.insert(0, Part(main, [choice, image], [out], "main"))
    model.signatures = [("serving_default", 0)]
    return model


def loop(times: int) -> Model:
    """Return a WHILE whose body, a convolution, runs so many times for a first input of 0."""
    model = Model()
    main, condition, body = model.graph(), model.graph(), model.graph()
    pairs = [(graph.tensor((1,), np.int32), graph.tensor((1, 8, 8, 32))) for graph in
             (main, condition, body)]  # fmt: skip
    again = condition.tensor((1,), np.uint8)
    condition.tensors[again].type = schema.TensorType.BOOL
    most = condition.constant(np.array([times], np.int32))
    condition.add("LESS", [pairs[1][0], most], again, options("LessOptions"))
    one = body.constant(np.array([1], np.int32))
    count = body.add("ADD", [pairs[2][0], one], body.tensor((1,), np.int32), options("AddOptions"))
    image = convolve(body, pairs[2][1], body.constant(filters(0)), 8)
    outputs = main.tensor((1,), np.int32), main.tensor((1, 8, 8, 32))
    setting = options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    main.add("WHILE", pairs[0], outputs[0], setting)
    main.operators[0].outputs = list(outputs)
    model.parts.append(Part(main, pairs[0], outputs, "main"))
    model.parts.append(Part(condition, pairs[1], [again], "condition"))
    model.parts.append(Part(body, pairs[2], [count, image], "body"))
    model.signatures = [("serving_default", 0)]
    return model


def sharing(subgraphs: int, tensors: int, operators: int, numbers: int, options: int = 0) -> bytes:
    """Return a file whose subgraphs are one table, whose tensors and operators are one each.

    The operators read one list of ``numbers`` numbers, and one of ``options`` numbers with their
    options. The file holds each list once; who follows every reference reads the product.
    """
    builder = flatbuffers.Builder(1024)

    def repeated(table: int, count: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(table)
        return builder.EndVector()

    def zeros(count: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependInt32(0)
        return builder.EndVector()

    name, listed, one = builder.CreateString("x" * 64), zeros(numbers), zeros(1)
    schema.TensorStart(builder)
    schema.TensorAddName(builder, name)
    schema.TensorAddShape(builder, one)
    tensor = schema.TensorEnd(builder)
    shape = zeros(options)
    schema.ReshapeOptionsStart(builder)
    schema.ReshapeOptionsAddNewShape(builder, shape)
    setting = schema.ReshapeOptionsEnd(builder)
    schema.OperatorStart(builder)
    if options:
        schema.OperatorAddBuiltinOptionsType(builder, schema.BuiltinOptions.ReshapeOptions)
        schema.OperatorAddBuiltinOptions(builder, setting)
    schema.OperatorAddInputs(builder, listed)
    schema.OperatorAddOutputs(builder, one)
    operator = schema.OperatorEnd(builder)
    vectors = repeated(tensor, tensors), repeated(operator, operators)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, vectors[0])
    schema.SubGraphAddOperators(builder, vectors[1])
    graphs = repeated(schema.SubGraphEnd(builder), subgraphs)
    schema.BufferStart(builder)
    buffers = repeated(schema.BufferEnd(builder), 1)
    schema.OperatorCodeStart(builder)
    codes = repeated(schema.OperatorCodeEnd(builder), 1)
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddOperatorCodes(builder, codes)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())
