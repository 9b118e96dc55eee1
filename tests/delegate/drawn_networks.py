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
LAYERS = {"convolution": 0.5, "addition": 0.2, "depthwise": 0.1, "pooling": 0.1, "padding": 0.1}


@dataclass(frozen=True)
class Network:
    """A model of one input; ``shapes`` are what its input may be resized to, its own first."""

    model: bytes
    shapes: tuple[tuple[int, int, int, int], ...]
    nodes: int
    dense_convolutions: int
    convolutions: int


class _Drawing:
    """A network in the making: tensors by number, with their shape."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int, int]) -> None:
        self.rng = rng
        self.graph = Graph()
        self.tensors = {self.graph.tensor(shape): shape}
        self.depthwise_count = 0
        self.convolution_count = 0

    def pick(self) -> int:
        """Return an earlier tensor, mostly the last one."""
        known = list(self.tensors)
        return known[-1] if self.rng.random() < 0.75 else int(self.rng.choice(known))

    def output(self, shape: tuple[int, ...]) -> int:
        number = self.graph.tensor(shape)
        self.tensors[number] = tuple(shape)  # type: ignore[assignment]
        return number

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
        self, shape: tuple[int, ...], kernel: tuple[int, int], high: int
    ) -> tuple[dict[str, int], list[int]]:
        """Return the fields of a window that moves over an image, and the image it makes."""
        stride = tuple(
            min(step, size) for step, size in zip(self.pair(1, high), kernel, strict=True)
        )
        sizes = [(size + step - 1) // step for size, step in zip(shape[1:3], stride, strict=True)]
        return {"padding": 0, "strideH": stride[0], "strideW": stride[1]}, sizes

    def convolution(self) -> None:
        x = self.pick()
        shape = self.tensors[x]
        channels = int(self.rng.integers(1, 41))
        groups = 1
        if self.rng.random() < 0.15:
            groups = next(g for g in (4, 3, 2, 1) if shape[3] % g == 0)
            channels *= groups
        kernel = self.pair(1, 5)
        dilation = (1, 1) if self.rng.random() < 0.7 else self.pair(1, 2)
        fields, sizes = self.window(shape, kernel, 2)
        w = self.graph.constant(self.weights((channels, *kernel, shape[3] // groups)))
        b = self.graph.constant(numbers(self.rng, (channels,), integers=True))
        fields |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}
        table = options("Conv2DOptions", fusedActivationFunction=self.clamp(), **fields)
        self.graph.add("CONV_2D", [x, w, b], self.output((shape[0], *sizes, channels)), table)
        self.convolution_count += 1

    def depthwise(self) -> None:
        x = self.pick()
        shape = self.tensors[x]
        kernel = self.pair(1, 5)
        fields, sizes = self.window(shape, kernel, 2)
        w = self.graph.constant(numbers(self.rng, (1, *kernel, shape[3]), integers=True))
        b = self.graph.constant(numbers(self.rng, shape[3:], integers=True))
        fields |= {"depthMultiplier": 1, "fusedActivationFunction": self.clamp()}
        table = options("DepthwiseConv2DOptions", **fields)
        output = self.output((shape[0], *sizes, shape[3]))
        self.graph.add("DEPTHWISE_CONV_2D", [x, w, b], output, table)
        self.depthwise_count += 1

    def pooling(self) -> None:
        x = self.pick()
        shape = self.tensors[x]
        pool = self.pair(2, 4)
        fields, sizes = self.window(shape, pool, 3)
        table = options("Pool2DOptions", filterHeight=pool[0], filterWidth=pool[1], **fields)
        self.graph.add("MAX_POOL_2D", [x], self.output((shape[0], *sizes, shape[3])), table)

    def padding(self) -> None:
        x = self.pick()
        shape = self.tensors[x]
        pads = np.zeros((4, 2), np.int32)
        pads[1:3] = self.rng.integers(0, 3, size=(2, 2))
        output = self.output(tuple(int(size) for size in np.array(shape) + pads.sum(axis=1)))
        self.graph.add("PAD", [x, self.graph.constant(pads)], output, options("PadOptions"))

    def addition(self) -> None:
        x = self.pick()
        same = [number for number, shape in self.tensors.items() if shape == self.tensors[x]]
        operands = [x, int(self.rng.choice(same))]
        table = options("AddOptions", fusedActivationFunction=self.clamp())
        self.graph.add("ADD", operands, self.output(self.tensors[x]), table)


def network(rng: np.random.Generator) -> Network:
    """Draw a network of 3 to 9 nodes; every tensor that no node reads is an output."""
    shape = tuple(int(size) for size in rng.integers((1, 3, 3, 1), (3, 13, 13, 24)))
    drawing = _Drawing(rng, shape)  # type: ignore[arg-type]
    graph = drawing.graph
    for _ in range(int(rng.integers(3, 10))):
        getattr(drawing, str(rng.choice(list(LAYERS), p=list(LAYERS.values()))))()
    read = {number for operator in graph.operators for number in operator.inputs}
    source, *others = drawing.tensors
    unread = [number for number in others if number not in read]
    others = [int(number) for number in rng.permutation(others)]
    # Some tensors in the middle are outputs, too.
    outputs = unread + [n for n in others if n in read and rng.random() < 0.15]
    sizes = [tuple(int(s) for s in rng.integers((1, 1, 1), (4, 15, 15))) for _ in range(2)]
    shapes = (shape, *((*size, shape[3]) for size in sizes))
    return Network(
        model=graph.model([source], outputs),
        shapes=shapes,  # type: ignore[arg-type]
        nodes=len(graph.operators),
        dense_convolutions=drawing.depthwise_count,
        convolutions=drawing.convolution_count,
    )
