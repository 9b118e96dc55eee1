# SPDX-License-Identifier: BSD-3-Clause
"""Draws the other operators of a residual network, as models of one or two operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from conv_models import numbers
from tflite_graph import Graph, Quantization, activation, options

#: A unit in the last place of a float32 near 1.
EPSILON = 2.0**-23


@dataclass(frozen=True)
class Drawn:
    """A model, its inputs, and how far results may differ; ``nodes`` are the delegate's."""

    model: bytes
    inputs: tuple[np.ndarray, ...]
    tolerance: float
    nodes: int
    what: str


def _sizes(rng: np.random.Generator) -> tuple[int, int, int, int]:
    batch, height, width, channels = rng.integers(1, (4, 25, 25, 41))
    return int(batch), int(height), int(width), int(channels)


def _activation(rng: np.random.Generator) -> str:
    return str(rng.choice(("NONE", "RELU", "RELU6", "RELU_N1_TO_1")))


def _finish(
    graph: Graph,
    sources: Sequence[int],
    inputs: Sequence[np.ndarray],
    result: int,
    tolerance: float,
    what: str,
    left: int = 0,
) -> Drawn:
    """Return a model; the delegate is known to leave ``left`` of its nodes to the interpreter."""
    model = graph.model(sources, [result])
    return Drawn(model, tuple(inputs), tolerance, len(graph.operators) - left, what)


def pooling(rng: np.random.Generator) -> Drawn:
    """MAX_POOL_2D or AVERAGE_POOL_2D; a maximum also after the -inf padding of litert-torch."""
    batch, height, width, channels = _sizes(rng)
    largest = bool(rng.random() < 0.5)
    padded = largest and bool(rng.random() < 0.4)
    # Padded twice, a window might hold nothing but -inf, of which TFLite makes the lowest float.
    same = not padded and bool(rng.random() < 0.6)
    pool = tuple(int(size) for size in rng.integers(1, 8, size=2))
    stride = tuple(int(size) for size in rng.integers(1, 5, size=2))
    if padded:
        height, width = max(height, pool[0]), max(width, pool[1])
    graph = Graph()
    source = x = graph.tensor((batch, height, width, channels))
    shape = [height, width]
    pads = [(0, 0), (0, 0)]
    if padded:
        pads = [tuple(int(pad) for pad in rng.integers(0, size, size=2)) for size in pool]
        shape = [size + sum(pad) for size, pad in zip(shape, pads, strict=True)]
        table = graph.constant(np.array([(0, 0), *pads, (0, 0)], np.int32))
        value = graph.constant(np.array(-np.inf, np.float32))
        output = graph.tensor((batch, *shape, channels))
        x = graph.add("PADV2", [x, table, value], output, options("PadV2Options"))
    if not same:
        pool = tuple(min(size, extent) for size, extent in zip(pool, shape, strict=True))
    sizes = [
        (extent - (0 if same else size - 1) + step - 1) // step
        for extent, size, step in zip(shape, pool, stride, strict=True)
    ]
    fields = {
        "padding": 0 if same else 1,
        "filterHeight": pool[0],
        "filterWidth": pool[1],
        "strideH": stride[0],
        "strideW": stride[1],
        "fusedActivationFunction": activation(kind := _activation(rng)),
    }
    name = "MAX_POOL_2D" if largest else "AVERAGE_POOL_2D"
    result = graph.tensor((batch, *sizes, channels))
    graph.add(name, [x], result, options("Pool2DOptions", **fields))
    image = numbers(rng, (batch, height, width, channels), integers=False)
    what = f"{name} {image.shape} pads {pads} {pool} stride {stride} same={same} {kind}"
    # TFLite's delegate leaves pools of one pixel and those that skip pixels.
    left = stride[0] > pool[0] or stride[1] > pool[1] or (pool == (1, 1) and stride != (1, 1))
    tolerance = 0 if largest else 8 * EPSILON
    return _finish(graph, [source], [image], result, tolerance, what, int(left))


def arithmetic(rng: np.random.Generator) -> Drawn:
    """ADD, SUB or MUL, of two images or of an image and a constant that may be broadcast."""
    shape = _sizes(rng)
    other = shape
    if rng.random() < 0.6:
        other = tuple(1 if rng.random() < 0.5 else size for size in shape)[int(rng.integers(4)) :]
    name = str(rng.choice(("ADD", "SUB", "MUL")))
    constant = bool(rng.random() < 0.4)
    graph = Graph()
    first = numbers(rng, shape, integers=False)
    second = numbers(rng, other, integers=False)
    a = graph.tensor(shape)
    b = graph.constant(second) if constant else graph.tensor(other)
    kind = _activation(rng)
    fields = {"fusedActivationFunction": activation(kind)}
    operands = [a, b] if rng.random() < 0.5 else [b, a]
    table = options(name.title() + "Options", **fields)
    result = graph.add(name, operands, graph.tensor(shape), table)
    sources, inputs = ([a], [first]) if constant else ([a, b], [first, second])
    what = f"{name} {shape} {other} constant={constant} {kind}"
    return _finish(graph, sources, inputs, result, EPSILON, what)


def fully_connected(rng: np.random.Generator) -> Drawn:
    """FULLY_CONNECTED on [batch, inputs], as at the end of a classifier."""
    batch, inputs, outputs = (int(size) for size in rng.integers(1, (5, 300, 120)))
    integers = bool(rng.random() < 0.5)
    graph = Graph()
    x = graph.tensor((batch, inputs))
    w = graph.constant(numbers(rng, (outputs, inputs), integers))
    b = graph.constant(numbers(rng, (outputs,), integers))
    kind = _activation(rng)
    table = options("FullyConnectedOptions", fusedActivationFunction=activation(kind))
    result = graph.add("FULLY_CONNECTED", [x, w, b], graph.tensor((batch, outputs)), table)
    image = numbers(rng, (batch, inputs), integers)
    tolerance = 0.0 if integers else 8 * EPSILON * inputs**0.5 * inputs / 2
    return _finish(
        graph, [x], [image], result, tolerance, f"{batch} x {inputs} -> {outputs} {kind}"
    )


def mean(rng: np.random.Generator) -> Drawn:
    """MEAN over the image: global average pooling."""
    shape = _sizes(rng)
    keep = bool(rng.random() < 0.5)
    order = [1, 2] if rng.random() < 0.7 else [2, 1]
    graph = Graph()
    x = graph.tensor(shape)
    axes = graph.constant(np.array(order, np.int32))
    sizes = (shape[0], 1, 1, shape[3]) if keep else (shape[0], shape[3])
    table = options("ReducerOptions", keepDims=keep)
    result = graph.add("MEAN", [x, axes], graph.tensor(sizes), table)
    image = numbers(rng, shape, integers=False)
    return _finish(graph, [x], [image], result, 32 * EPSILON, f"{shape} over {order} keep={keep}")


def resize(rng: np.random.Generator) -> Drawn:
    """RESIZE_BILINEAR, up or down."""
    shape = _sizes(rng)
    size = tuple(int(extent) for extent in rng.integers(1, 40, size=2))
    align, half = ((False, False), (True, False), (False, True))[int(rng.integers(3))]
    graph = Graph()
    x = graph.tensor(shape)
    table = options("ResizeBilinearOptions", alignCorners=align, halfPixelCenters=half)
    operands = [x, graph.constant(np.array(size, np.int32))]
    result = graph.tensor((shape[0], *size, shape[3]))
    graph.add("RESIZE_BILINEAR", operands, result, table)
    image = numbers(rng, shape, integers=False)
    # Positions are products of a rounded scale: they err by some units of the image's size.
    tolerance = 64 * EPSILON * max(shape[1:3])
    return _finish(graph, [x], [image], result, tolerance, f"{shape} to {size} {align=} {half=}")


def transpose_convolution(rng: np.random.Generator) -> Drawn:
    """TRANSPOSE_CONV of small integers: exact."""
    batch, height, width, _ = _sizes(rng)
    height, width = min(height, 8), min(width, 8)
    inputs, outputs = (int(size) for size in rng.integers(1, 20, size=2))
    kernel = tuple(int(size) for size in rng.integers(1, 5, size=2))
    stride = tuple(int(size) for size in rng.integers(1, 4, size=2))
    same = bool(rng.random() < 0.5)
    sizes = [
        extent * step if same else extent * step + max(size - step, 0)
        for extent, size, step in zip((height, width), kernel, stride, strict=True)
    ]
    shape = (batch, *sizes, outputs)
    graph = Graph()
    x = graph.tensor((batch, height, width, inputs))
    operands = [
        graph.constant(np.array(shape, np.int32)),
        graph.constant(numbers(rng, (outputs, *kernel, inputs), integers=True)),
        x,
        graph.constant(numbers(rng, (outputs,), integers=True)),
    ]
    fields = {"padding": 0 if same else 1, "strideH": stride[0], "strideW": stride[1]}
    result = graph.tensor(shape)
    graph.add("TRANSPOSE_CONV", operands, result, options("TransposeConvOptions", **fields))
    image = numbers(rng, (batch, height, width, inputs), integers=True)
    what = f"{image.shape} {kernel} stride {stride} {same=} to {shape}"
    # TFLite's delegate leaves those whose padding would be negative.
    left = same and (stride[0] > kernel[0] or stride[1] > kernel[1])
    return _finish(graph, [x], [image], result, 0.0, what, int(left))


def softmax(rng: np.random.Generator) -> Drawn:
    """SOFTMAX over the last axis, of float32 or int8."""
    shape = tuple(int(size) for size in rng.integers(1, 6, size=int(rng.integers(0, 4))))
    # The reference kernel ends the process where the exponentials of a row add up to over 512.
    shape = (*shape, int(rng.choice((1, 2, 10, 257, 500))))
    integers = bool(rng.random() < 0.7)
    steps = Quantization([float(2 ** rng.uniform(-10, 1))], int(rng.integers(-128, 128)))
    graph = Graph()
    if integers:
        x = graph.tensor(shape, np.int8, steps)
        y = graph.tensor(shape, np.int8, Quantization([1 / 256], -128))
        values = rng.integers(-128, 128, shape).astype(np.int8)
    else:
        x, y = graph.tensor(shape), graph.tensor(shape)
        values = numbers(rng, shape, integers=False)
    graph.add("SOFTMAX", [x], y, options("SoftmaxOptions", beta=1.0))
    what = f"SOFTMAX {shape} int8={integers} {steps}"
    return _finish(graph, [x], [values], y, 1.0 if integers else 16 * EPSILON, what)


OPERATORS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "arithmetic": arithmetic,
    "fully-connected": fully_connected,
    "mean": mean,
    "pooling": pooling,
    "resize": resize,
    "softmax": softmax,
    "transpose-convolution": transpose_convolution,
}
