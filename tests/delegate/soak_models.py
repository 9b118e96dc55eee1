# SPDX-License-Identifier: BSD-3-Clause
"""Draws the models of a soak: several subgraphs, dynamic shapes, packed constants, 8-bit integers.

Values are small integers in every layer, as in drawn_networks, so that nothing may differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drawn_networks
import numpy as np
from conv_models import numbers
from signatures import Subgraph, join
from tflite_graph import Quantization, activation, options

Shape = tuple[int, ...]
#: Layers that the delegate leaves to the interpreter split a graph into several partitions.
LAYERS = drawn_networks.LAYERS | {"left": 0.15}
#: Stored integers are the real ones.
PLAIN = Quantization((1.0,))
STORED = ("float32", "float16", "int8")
TAILS = ("none", "computed reshape", "int8")


@dataclass(frozen=True)
class Part:
    """A subgraph with one input; ``shapes`` are those it may have, the stored one first.

    An empty ``key`` says that the subgraph has no signature.
    """

    key: str
    text: str
    shapes: tuple[Shape, ...]
    dtype: str


@dataclass(frozen=True)
class Model:
    content: bytes
    parts: tuple[Part, ...]


@dataclass
class Packed(Subgraph):
    """A subgraph that stores filters, and in half precision also biases, behind DEQUANTIZE."""

    stored: str = "float32"

    def constant(self, data: np.ndarray, quantization: Quantization | None = None) -> int:
        """Add a constant, perhaps with a node that makes it float32."""
        if data.dtype != np.float32 or self.stored == "float32" or data.ndim == 0:
            return super().constant(data, quantization)
        if self.stored == "float16":
            packed = super().constant(data.astype(np.float16))
        elif data.ndim < 2:
            return super().constant(data)
        else:
            packed = super().constant(data.astype(np.int8), PLAIN)
        return self.add("DEQUANTIZE", [packed], self.tensor(data.shape))


def _convolution(act: int = 0) -> Any:
    return options("Conv2DOptions", padding=0, strideH=1, strideW=1, dilationHFactor=1,
                   dilationWFactor=1, fusedActivationFunction=act)  # fmt: skip


class _Drawing(drawn_networks._Drawing):
    """A network with more kinds of nodes."""

    def __init__(self, rng: np.random.Generator, shapes: tuple[Shape, ...], stored: str) -> None:
        super().__init__(rng, shapes)
        self.graph = Packed(stored=stored)
        self.tensors = {self.graph.tensor(shapes[0]): shapes}

    def left(self) -> None:
        """Add a node that XNNPACK's delegate does not take."""
        x = self.pick()
        axis = self.graph.constant(np.array(int(self.rng.integers(1, 3)), np.int32))
        sums = self.graph.tensor(self.tensors[x][0])
        self.graph.add("CUMSUM", [x, axis], sums, options("CumsumOptions"))
        self.graph.add("RELU6", [sums], self.output(self.tensors[x]))

    def computed_reshape(self, x: int) -> int:
        """Flatten the pixels to a shape that nodes compute, and multiply by a matrix."""
        graph, channels = self.graph, self.channels(x)
        whole = options("ShapeOptions", outType=2)
        shape = graph.add("SHAPE", [x], graph.tensor((4,), np.int32), whole)
        ends = [graph.constant(np.array([value], np.int32)) for value in (0, 1, 1)]
        scalar = options("StridedSliceOptions", shrinkAxisMask=1)
        batch = graph.add("STRIDED_SLICE", [shape, *ends], graph.tensor((), np.int32), scalar)
        rest = [graph.constant(np.array(value, np.int32)) for value in (-1, channels)]
        sizes = graph.add("PACK", [batch, *rest], graph.tensor((3,), np.int32),
                          options("PackOptions", valuesCount=3))  # fmt: skip
        flat = tuple((n, h * w, channels) for n, h, w, _ in self.tensors[x])
        y = graph.add("RESHAPE", [x, sizes], self.output(flat), options("ReshapeOptions"))
        weights = graph.constant(numbers(self.rng, (5, channels), integers=True))
        out = self.output(tuple((n * pixels, 5) for n, pixels, _ in flat))
        table = options("FullyConnectedOptions", fusedActivationFunction=activation("RELU6"))
        return graph.add("FULLY_CONNECTED", [y, weights, -1], out, table)

    def int8(self, x: int) -> int:
        """Go through 8 bits and a convolution there."""
        graph, channels = self.graph, self.channels(x)
        small = graph.tensor(self.tensors[x][0], np.int8, PLAIN)
        graph.add("QUANTIZE", [x], small, options("QuantizeOptions"))
        y = _int8_convolution(graph, self.rng, small, self.tensors[x][0][:3], (channels, 9))
        shapes = tuple((*shape[:3], 9) for shape in self.tensors[x])
        return graph.add("DEQUANTIZE", [y], self.output(shapes), options("DequantizeOptions"))

    def finish(self, tail: str) -> Subgraph:
        """Name inputs and outputs: every tensor that nobody reads, and some others."""
        source, *_, y = self.tensors
        last = y
        if tail != "none":
            last = self.computed_reshape(y) if tail == "computed reshape" else self.int8(y)
        read = {number for operator in self.graph.operators for number in operator.inputs}
        others = [number for number in self.tensors if number not in (source, last)]
        given = [n for n in others if n not in read or self.rng.random() < 0.15]
        self.graph.inputs, self.graph.outputs = [source], [last, *given]
        return self.graph


def _int8_convolution(
    graph: Subgraph,
    rng: np.random.Generator,
    x: int,
    size: tuple[int, ...],
    channels: tuple[int, int],
) -> int:
    """Add a 3x3 convolution whose scales are all 1: it rounds nothing and only saturates."""
    weights = numbers(rng, (channels[1], 3, 3, channels[0]), integers=True).astype(np.int8)
    weights[rng.random(weights.shape) < 0.5] = 0
    bias = numbers(rng, (channels[1],), integers=True).astype(np.int32)
    scales = Quantization((1.0,) * channels[1])
    constants = [graph.constant(weights, scales), graph.constant(bias, scales)]
    out = graph.tensor((*size, channels[1]), np.int8, PLAIN)
    return graph.add("CONV_2D", [x, *constants], out, _convolution())


def _int8_network(rng: np.random.Generator, shapes: tuple[Shape, ...]) -> Subgraph:
    """Draw a network of 8-bit integers, with a node that the delegate does not take."""
    graph = Subgraph()
    *size, channels = shapes[0]
    x = y = graph.tensor(shapes[0], np.int8, PLAIN)
    for _ in range(int(rng.integers(1, 4))):
        y = _int8_convolution(graph, rng, y, tuple(size), (channels, channels))
        if rng.random() < 0.5:
            limit = rng.integers(-8, 64, size=channels).astype(np.int8)
            operands = [y, graph.constant(limit, PLAIN)]
            out = graph.tensor(shapes[0], np.int8, PLAIN)
            table = options("MaximumMinimumOptions")
            y = graph.add("MINIMUM", operands, out, table)
    if rng.random() < 0.5:
        out = graph.tensor(shapes[0], np.int8, PLAIN)
        y = graph.add("ADD", [x, y], out, options("AddOptions", fusedActivationFunction=0))
    graph.inputs, graph.outputs = [x], [y]
    return graph


def _shapes(rng: np.random.Generator, *, dynamic: bool, empty: bool) -> tuple[Shape, ...]:
    channels = int(rng.integers(1, 24))
    sizes = [tuple(int(n) for n in rng.integers((1, 3, 3), (3, 13, 13)))]
    if dynamic:
        # What converters store where they do not know.
        sizes = [(1, 1, 1), *sizes]
    for _ in range(2):
        sizes.append(tuple(int(n) for n in rng.integers((1, 1, 1), (4, 15, 15))))
    if empty:
        sizes.append((0, 5, 4))
    return tuple((*size, channels) for size in sizes)


def _forget_shapes(graph: Subgraph, tensors: dict[int, tuple[Shape, ...]]) -> None:
    """Store dimensions that differ between the shapes of an input as a converter does."""
    for number, shapes in tensors.items():
        tensor = graph.tensors[number]
        varies = [len(set(extents)) > 1 for extents in zip(*shapes, strict=True)]
        tensor.shapeSignature = [
            -1 if free else extent for free, extent in zip(varies, shapes[0], strict=True)
        ]
        tensor.shape = [
            1 if free else extent for free, extent in zip(varies, shapes[0], strict=True)
        ]


def _part(rng: np.random.Generator, key: str) -> tuple[Part, Subgraph]:
    dynamic = rng.random() < 0.5
    tail = str(rng.choice(TAILS, p=(0.5, 0.3, 0.2)))
    # Nobody can divide the pixels of no image.
    empty = tail != "computed reshape" and rng.random() < 0.3
    shapes = _shapes(rng, dynamic=dynamic, empty=empty)
    if rng.random() < 0.15:
        part = Part(key, "int8 network", shapes, "int8")
        return part, _int8_network(rng, shapes)
    stored = str(rng.choice(STORED, p=(0.4, 0.35, 0.25)))
    drawing = _Drawing(rng, shapes, stored)
    chances = np.array(list(LAYERS.values()))
    for _ in range(int(rng.integers(2, 8))):
        getattr(drawing, str(rng.choice(list(LAYERS), p=chances / chances.sum())))()
    graph = drawing.finish(tail)
    if dynamic:
        _forget_shapes(graph, drawing.tensors)
    words = [f"{len(graph.operators)} nodes", f"{stored} constants", "dynamic" * dynamic]
    words += [tail] * (tail != "none")
    return Part(key, ", ".join(filter(None, words)), shapes, "float32"), graph


def draw_model(rng: np.random.Generator) -> Model:
    """Draw a model of one subgraph without a signature, or of one to three with."""
    keys = [""] if rng.random() < 0.3 else [f"s{n}" for n in range(int(rng.integers(1, 4)))]
    drawn = [_part(rng, key) for key in keys]
    content = join({part.key: graph for part, graph in drawn})
    return Model(content, tuple(part for part, _ in drawn))


def image(part: Part, shape: Shape, number: int) -> np.ndarray:
    """Return an input by its number."""
    return numbers(np.random.default_rng([4, number]), shape, integers=True).astype(part.dtype)
