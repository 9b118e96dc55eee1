# SPDX-License-Identifier: BSD-3-Clause
"""Drawn layers as one-operator models: odd shapes and numbers, and zeros of every kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_graph import Graph, Quantization, activation, options

KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


@dataclass(frozen=True)
class Layer:
    """A model of one operator.

    Attributes:
        kind: of the operator.
        about: what was drawn, for messages.
        content: the file.
    """

    kind: str
    about: str
    content: bytes


Zeros = Callable[[np.random.Generator, int, int], tuple[np.ndarray, str]]


def draw_layer(
    generator: np.random.Generator, kind: str | None = None, zeros: Zeros | None = None
) -> Layer:
    """Draw a layer.

    Args:
        generator: of everything.
        kind: of the operator; None for any, convolutions most.
        zeros: draws which weights are kept; None for :func:`any_zeros`.
    """
    if kind is None:
        kind = str(generator.choice(KINDS, p=[0.5, 0.25, 0.25]))
    draw = {
        "CONV_2D": _convolution,
        "DEPTHWISE_CONV_2D": _depthwise,
        "FULLY_CONNECTED": _fully_connected,
    }[kind]
    about, content = draw(generator, zeros or any_zeros)
    return Layer(kind, f"{kind} {about}", content)


def pattern_zeros(n: int, m: int, tile: int) -> Zeros:
    """Return what draws N:M patterns: ``n`` of every ``m`` columns are kept by tiles of rows."""

    def drawn(generator: np.random.Generator, rows: int, columns: int) -> tuple[np.ndarray, str]:
        blocks = -(-columns // m)
        ranks = generator.random((-(-rows // tile), blocks, m)).argsort(axis=-1)
        kept = (ranks < n).reshape(len(ranks), blocks * m)[:, :columns]
        return kept.repeat(tile, axis=0)[:rows], f"{n}:{m} in tiles of {tile}"

    return drawn


def any_zeros(generator: np.random.Generator, rows: int, columns: int) -> tuple[np.ndarray, str]:
    """Draw which weights ``[rows, columns]`` are kept, and how that is called."""
    sort = str(generator.choice(["dense", "row", "tile", "tile", "block", "random", "rows", "none"],
                                p=[0.2, 0.2, 0.15, 0.15, 0.1, 0.1, 0.07, 0.03]))  # fmt: skip
    if sort == "dense":
        return np.ones((rows, columns), bool), sort
    if sort == "none":
        return np.zeros((rows, columns), bool), sort
    if sort == "random":
        density = generator.uniform(0.02, 0.9)
        return generator.random((rows, columns)) < density, f"random {density:.2f}"
    if sort == "rows":
        return np.repeat(generator.random((rows, 1)) < 0.5, columns, axis=1), sort
    if sort == "block":
        tile, density = int(generator.choice([1, 4, 8])), generator.uniform(0.05, 0.7)
        kept = generator.random((-(-rows // tile), -(-columns // 4))) < density
        kept = kept.repeat(tile, axis=0).repeat(4, axis=1)[:rows, :columns]
        return kept, f"blocks of 4 in tiles of {tile}, {density:.2f}"
    tile = 1 if sort == "row" else int(generator.choice([2, 4, 4, 8, 8, 16]))
    m = int(generator.choice([2, 4, 8, 16, 32]))
    n = 1 if generator.random() < 0.7 else int(generator.integers(1, m))
    return pattern_zeros(n, m, tile)(generator, rows, columns)


def _steps(generator: np.random.Generator, channels: int, columns: int) -> dict[str, Any]:
    """Draw scales so that outputs spread over int8, saturate, or hardly move."""
    x_scale = float(np.float32(np.exp(generator.uniform(-6, 1))))
    spread = generator.choice([1.0, 0.02, 20.0], p=[0.8, 0.1, 0.1])
    per_channel = bool(generator.random() < 0.7)
    count = channels if per_channel else 1
    w_scale = np.exp(generator.uniform(-7, 0) + generator.uniform(-1.5, 1.5, count))
    w_scale = w_scale.astype(np.float32)
    typical = x_scale * float(np.median(w_scale)) * 74.0 * 64.0 * max(columns, 1) ** 0.5
    y_scale = float(np.float32(typical / (50.0 * spread)))
    if generator.random() < 0.1:
        # Powers of two: sums lie halfway between results.
        x_scale, y_scale = 2.0 ** np.round(np.log2([x_scale, y_scale]))
        w_scale = np.exp2(np.round(np.log2(w_scale))).astype(np.float32)
    zero = [int(v) for v in generator.integers(-128, 128, 2)]
    edge = generator.random(2)
    zero = [(-128 if e < 0.05 else 127 if e > 0.95 else v) for v, e in zip(zero, edge, strict=True)]
    return {"x": (x_scale, zero[0]), "w": w_scale, "y": (y_scale, zero[1])}


def _weights(generator: np.random.Generator, kept: np.ndarray) -> np.ndarray:
    values = generator.integers(-127, 128, kept.shape)
    values[values == 0] = 1
    if generator.random() < 0.05:
        values = np.where(values > 0, 127, -128)
    return np.where(kept, values, 0).astype(np.int8)


def _bias(
    generator: np.random.Generator, channels: int, *, always: bool = False
) -> np.ndarray | None:
    if not always and generator.random() < 0.2:
        return None
    size = int(generator.choice([0, 3000, 200_000]))
    return generator.integers(-size, size + 1, channels).astype(np.int32)


def _with_bias(graph: Graph, bias: np.ndarray | None, scale: Any) -> list[int]:
    return [] if bias is None else [graph.constant(bias, Quantization(np.atleast_1d(scale)))]


def _image(generator: np.random.Generator, effective: tuple[int, int], valid: bool) -> list[int]:
    """Draw height and width that a kernel fits into where nothing is padded."""
    low = [size if valid else 1 for size in effective]
    return [int(generator.integers(size, size + 10)) for size in low]


def _window(generator: np.random.Generator) -> dict[str, Any]:
    kernel = [int(v) for v in generator.choice([1, 1, 2, 3, 3, 5, 4], 2)]
    stride = [int(v) for v in generator.choice([1, 1, 2, 3], 2)]
    dilation = [1, 1]
    if generator.random() < 0.2:
        dilation = [int(v) for v in generator.choice([1, 2, 3], 2)]
    if generator.random() < 0.3:
        kernel, stride = [kernel[0]] * 2, [stride[0]] * 2
    effective = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    valid = bool(generator.random() < 0.4)
    image = _image(generator, effective, valid)
    out = [
        (size - e) // s + 1 if valid else -(-size // s)
        for size, e, s in zip(image, effective, stride, strict=True)
    ]
    return {
        "kernel": kernel, "stride": stride, "dilation": dilation, "valid": valid, "image": image,
        "out": out,
    }  # fmt: skip


def _window_options(kind: str, window: dict[str, Any], act: str, **more: Any) -> Any:
    return options(
        kind, padding=VALID if window["valid"] else SAME,
        strideH=window["stride"][0], strideW=window["stride"][1],
        dilationHFactor=window["dilation"][0], dilationWFactor=window["dilation"][1],
        fusedActivationFunction=activation(act), **more,
    )  # fmt: skip


def _describe(window: dict[str, Any], batch: int, act: str, found: str, channels: str) -> str:
    padding = "VALID" if window["valid"] else "SAME"
    return (
        f"{batch}x{window['image']} {channels} kernel {window['kernel']} stride {window['stride']} "
        f"dilation {window['dilation']} {padding} {act}, {found}"
    )


def _convolution(generator: np.random.Generator, zeros: Zeros) -> tuple[str, bytes]:
    window = _window(generator)
    inputs = int(generator.choice([1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 32, 33, 64]))
    outputs = int(generator.choice([1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 20, 24]))
    groups = 1
    if generator.random() < 0.05:
        groups = int(generator.choice([2, 3]))
        inputs, outputs = inputs * groups, outputs * groups
    batch = int(generator.choice([1, 1, 1, 2, 3]))
    shape = (outputs, *window["kernel"], inputs // groups)
    columns = int(np.prod(shape[1:]))
    kept, found = zeros(generator, outputs, columns)
    steps, act = _steps(generator, outputs, columns), str(generator.choice(ACTIVATIONS))
    graph = Graph()
    x = graph.tensor((batch, *window["image"], inputs), np.int8, _one(steps["x"]))
    y = graph.tensor((batch, *window["out"], outputs), np.int8, _one(steps["y"]))
    w = graph.constant(_weights(generator, kept).reshape(shape), Quantization(steps["w"]))
    # TFLite wants one.
    bias = _bias(generator, outputs, always=True)
    bias = _with_bias(graph, bias, steps["w"] * np.float32(steps["x"][0]))
    graph.add("CONV_2D", [x, w, *bias], y, _window_options("Conv2DOptions", window, act))
    channels = f"{inputs} to {outputs}" + (f" in {groups} groups" if groups > 1 else "")
    return _describe(window, batch, act, found, channels), graph.model([x], [y])


def _depthwise(generator: np.random.Generator, zeros: Zeros) -> tuple[str, bytes]:
    window = _window(generator)
    inputs = int(generator.choice([1, 1, 2, 3, 4, 5, 7, 8, 13, 16, 24]))
    multiplier = int(generator.choice([1, 1, 1, 2, 3] if inputs > 1 else [1, 2, 5, 8, 24]))
    outputs = inputs * multiplier
    batch = int(generator.choice([1, 1, 2]))
    shape = (1, *window["kernel"], outputs)
    taps = int(np.prod(window["kernel"]))
    kept, found = zeros(generator, taps, outputs)
    steps, act = _steps(generator, outputs, taps), str(generator.choice(ACTIVATIONS))
    graph = Graph()
    x = graph.tensor((batch, *window["image"], inputs), np.int8, _one(steps["x"]))
    y = graph.tensor((batch, *window["out"], outputs), np.int8, _one(steps["y"]))
    weights = _weights(generator, kept).reshape(shape)
    w = graph.constant(weights, Quantization(steps["w"], axis=3))
    bias = _with_bias(graph, _bias(generator, outputs), steps["w"] * np.float32(steps["x"][0]))
    fields = _window_options("DepthwiseConv2DOptions", window, act, depthMultiplier=multiplier)
    graph.add("DEPTHWISE_CONV_2D", [x, w, *bias], y, fields)
    channels = f"{inputs} times {multiplier}"
    return _describe(window, batch, act, found, channels), graph.model([x], [y])


def _fully_connected(generator: np.random.Generator, zeros: Zeros) -> tuple[str, bytes]:
    columns = int(generator.choice([1, 2, 3, 4, 7, 8, 15, 16, 32, 60, 64, 100, 128, 257]))
    outputs = int(generator.choice([1, 2, 3, 4, 5, 8, 10, 12, 16, 33]))
    rows = int(generator.choice([1, 1, 1, 2, 3, 5]))
    kept, found = zeros(generator, outputs, columns)
    steps, act = _steps(generator, outputs, columns), str(generator.choice(ACTIVATIONS))
    keep = bool(generator.random() < 0.3)
    graph = Graph()
    source = (1, rows, columns) if keep else (rows, columns)
    x = graph.tensor(source, np.int8, _one(steps["x"]))
    y = graph.tensor((*source[:-1], outputs), np.int8, _one(steps["y"]))
    w = graph.constant(_weights(generator, kept), Quantization(steps["w"]))
    bias = _with_bias(graph, _bias(generator, outputs), steps["w"] * np.float32(steps["x"][0]))
    fields = options(
        "FullyConnectedOptions", fusedActivationFunction=activation(act), keepNumDims=keep
    )
    graph.add("FULLY_CONNECTED", [x, w, *bias], y, fields)
    return f"{rows} x {columns} to {outputs} {act}, {found}", graph.model([x], [y])


def _one(step: tuple[float, int]) -> Quantization:
    return Quantization([step[0]], step[1])
