# SPDX-License-Identifier: BSD-3-Clause
"""Draws residual networks of a handful of nodes, whose results are exact.

All weights and images are small integers. Every convolution and addition ends in a clamp, so values
stay small integers from layer to layer, every sum is exact in float32, and nothing may differ. What
a plan of memory gets wrong, a tensor overwritten too early, shows as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from conv_models import numbers
from tflite_graph import Graph, activation, options

CLAMPS = ("RELU6", "RELU_N1_TO_1")
#: How often each layer is drawn.
LAYERS = {
    "convolution": 0.45,
    "addition": 0.2,
    "depthwise": 0.1,
    "pooling": 0.1,
    "padding": 0.1,
    "concatenation": 0.05,
}


#: A tensor's shape for each shape of the network's input.
Shapes = tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Network:
    """A model of one input; ``shapes`` are what its input may be resized to, its own first."""

    model: bytes
    shapes: Shapes
    nodes: int
    dense_convolutions: int
    convolutions: int


class _Drawing:
    """A network in the making: tensors by number, with their shapes."""

    def __init__(self, rng: np.random.Generator, shapes: Shapes) -> None:
        self.rng = rng
        self.graph = Graph()
        self.tensors = {self.graph.tensor(shapes[0]): shapes}
        self.depthwise_count = 0
        self.convolution_count = 0

    def pick(self) -> int:
        """Return an earlier tensor, mostly the last one."""
        known = list(self.tensors)
        return known[-1] if self.rng.random() < 0.75 else int(self.rng.choice(known))

    def output(self, shapes: Shapes) -> int:
        number = self.graph.tensor(shapes[0])
        self.tensors[number] = shapes
        return number

    def channels(self, number: int) -> int:
        return self.tensors[number][0][3]

    def clamp(self) -> int:
        return activation(str(self.rng.choice(CLAMPS)))

    def pair(self, low: int, high: int) -> tuple[int, int]:
        first, second = (int(value) for value in self.rng.integers(low, high + 1, size=2))
        return (first, first) if self.rng.random() < 0.75 else (first, second)

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a filter, mostly pruned in tiles of its rows."""
        rng = self.rng
        weights = numbers(rng, shape, integers=True)
        if rng.random() < 0.2:
            return weights
        rows = weights.reshape(shape[0], -1)
        tile, kept = int(rng.choice((8, 16, 32))), float(rng.choice((0.25, 0.5)))
        for start in range(0, len(rows), tile):
            rows[start : start + tile, rng.random(rows.shape[1]) >= kept] = 0
        return weights

    def window(
        self, x: int, kernel: tuple[int, int], high: int, channels: int
    ) -> tuple[dict[str, int], int]:
        """Return the fields of a window that moves over a tensor, and the tensor it writes."""
        down, right = (
            min(step, size) for step, size in zip(self.pair(1, high), kernel, strict=True)
        )
        shapes = tuple(
            (batch, (height + down - 1) // down, (width + right - 1) // right, channels)
            for batch, height, width, _ in self.tensors[x]
        )
        return {"padding": 0, "strideH": down, "strideW": right}, self.output(shapes)

    def convolution(self) -> None:
        x = self.pick()
        inputs, channels = self.channels(x), int(self.rng.integers(1, 41))
        groups = 1
        if self.rng.random() < 0.15:
            groups = next(g for g in (4, 3, 2, 1) if inputs % g == 0)
            channels *= groups
        kernel = self.pair(1, 5)
        dilation = (1, 1) if self.rng.random() < 0.7 else self.pair(1, 2)
        w = self.graph.constant(self.weights((channels, *kernel, inputs // groups)))
        b = self.graph.constant(numbers(self.rng, (channels,), integers=True))
        fields, output = self.window(x, kernel, 2, channels)
        fields |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}
        table = options("Conv2DOptions", fusedActivationFunction=self.clamp(), **fields)
        self.graph.add("CONV_2D", [x, w, b], output, table)
        self.convolution_count += 1

    def depthwise(self) -> None:
        x = self.pick()
        channels, kernel = self.channels(x), self.pair(1, 5)
        w = self.graph.constant(numbers(self.rng, (1, *kernel, channels), integers=True))
        b = self.graph.constant(numbers(self.rng, (channels,), integers=True))
        fields, output = self.window(x, kernel, 2, channels)
        fields |= {"depthMultiplier": 1, "fusedActivationFunction": self.clamp()}
        table = options("DepthwiseConv2DOptions", **fields)
        self.graph.add("DEPTHWISE_CONV_2D", [x, w, b], output, table)
        self.depthwise_count += 1

    def pooling(self) -> None:
        x = self.pick()
        pool = self.pair(2, 4)
        fields, output = self.window(x, pool, 3, self.channels(x))
        table = options("Pool2DOptions", filterHeight=pool[0], filterWidth=pool[1], **fields)
        self.graph.add("MAX_POOL_2D", [x], output, table)

    def padding(self) -> None:
        x = self.pick()
        pads = np.zeros((4, 2), np.int32)
        pads[1:3] = self.rng.integers(0, 3, size=(2, 2))
        down, right = (int(pad) for pad in pads[1:3].sum(axis=1))
        table = self.graph.constant(pads)
        shapes = tuple((n, h + down, w + right, c) for n, h, w, c in self.tensors[x])
        self.graph.add("PAD", [x, table], self.output(shapes), options("PadOptions"))

    def addition(self) -> None:
        x = self.pick()
        same = [number for number, shapes in self.tensors.items() if shapes == self.tensors[x]]
        operands = [x, int(self.rng.choice(same))]
        table = options("AddOptions", fusedActivationFunction=self.clamp())
        self.graph.add("ADD", operands, self.output(self.tensors[x]), table)

    def concatenation(self) -> None:
        x = self.pick()
        sizes = [shape[:3] for shape in self.tensors[x]]
        alike = [
            number
            for number, shapes in self.tensors.items()
            if [shape[:3] for shape in shapes] == sizes
        ]
        count = int(self.rng.integers(1, 4))
        operands = [x, *(int(number) for number in self.rng.choice(alike, count))]
        channels = sum(self.channels(number) for number in operands)
        shapes = tuple((*shape[:3], channels) for shape in self.tensors[x])
        table = options("ConcatenationOptions", axis=3, fusedActivationFunction=0)
        self.graph.add("CONCATENATION", operands, self.output(shapes), table)


def network(rng: np.random.Generator) -> Network:
    """Draw a network of 3 to 9 nodes; every tensor that no node reads is an output."""
    sizes = rng.integers((1, 3, 3), (3, 13, 13)), *rng.integers(1, (4, 15, 15), size=(2, 3))
    channels = int(rng.integers(1, 24))
    shapes = tuple((*(int(extent) for extent in size), channels) for size in sizes)
    drawing = _Drawing(rng, shapes)
    graph = drawing.graph
    for _ in range(int(rng.integers(3, 10))):
        getattr(drawing, str(rng.choice(list(LAYERS), p=list(LAYERS.values()))))()
    read = {number for operator in graph.operators for number in operator.inputs}
    source, *others = drawing.tensors
    unread = [number for number in others if number not in read]
    others = [int(number) for number in rng.permutation(others)]
    # Some tensors in the middle are outputs, too.
    outputs = unread + [n for n in others if n in read and rng.random() < 0.15]
    return Network(
        model=graph.model([source], outputs),
        shapes=shapes,
        nodes=len(graph.operators),
        dense_convolutions=drawing.depthwise_count,
        convolutions=drawing.convolution_count,
    )
