# SPDX-License-Identifier: BSD-3-Clause
"""Draws convolutions, as models of one or two operators.

Half of them hold small integers as weights and images. Sums of their products are exact in float32
whatever the order, so there one lost or doubled tap shows, and the tolerance is zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tflite_graph import Graph, Quantization, activation, options

KINDS = ("convolution", "grouped", "depthwise", "padded", "half", "int8")
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")
WEIGHTS = ("dense", "pruned", "pruned", "pruned", "zero-tile", "dense-tile", "scattered", "zero")
#: Multiply-adds of one model: what the reference kernels do in some 10 ms.
MAX_WORK = 1_500_000

Pair = tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """A drawn convolution. Pairs are (height, width)."""

    kind: str
    seed: tuple[int, ...]
    batch: int
    image: Pair
    groups: int
    group_inputs: int
    group_outputs: int
    kernel: Pair
    stride: Pair
    dilation: Pair
    same: bool
    activation: str
    bias: bool  # TFLite wants one always; converters write zeros where there is none
    weights: str
    tile: int
    kept: float
    integers: bool
    padding: tuple[tuple[int, int], ...] = ((0, 0),) * 4
    padding_value: float = 0.0

    @property
    def depthwise(self) -> bool:
        return self.kind == "depthwise"

    @property
    def columns(self) -> int:
        """Products that are summed to one output."""
        return self.kernel[0] * self.kernel[1] * self.group_inputs

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.batch, *self.image, self.groups * self.group_inputs)

    @property
    def padded_shape(self) -> tuple[int, ...]:
        return tuple(
            size + sum(pads) for size, pads in zip(self.input_shape, self.padding, strict=True)
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """What TFLite computes; not positive where the image is smaller than the kernel."""
        batch, height, width, _ = self.padded_shape
        sizes = []
        for size, kernel, stride, dilation in zip(
            (height, width), self.kernel, self.stride, self.dilation, strict=True
        ):
            covered = 0 if self.same else (kernel - 1) * dilation
            sizes.append((size - covered + stride - 1) // stride)
        return (batch, *sizes, self.groups * self.group_outputs)

    @property
    def work(self) -> int:
        return int(np.prod(self.output_shape)) * self.columns

    @property
    def legal(self) -> bool:
        """Whether there is an output at all."""
        return min(self.output_shape) > 0

    @property
    def delegable(self) -> bool:
        """Whether the delegate has to take it; what it may leave is the interpreter's."""
        return self.legal and self.activation != "TANH"

    @property
    def sparse_when_forced(self) -> bool:
        """Whether nm=force has to choose the N:M operator."""
        return self.delegable and not self.depthwise and self.kind != "int8"


def draw(kind: str, seed: tuple[int, ...]) -> Convolution:
    """Draw a convolution; ``seed`` decides everything."""
    rng = np.random.default_rng([KINDS.index(kind), *seed])

    def pair(low: int, high: int) -> Pair:
        """Return a square one three times out of four."""
        first, second = (int(value) for value in rng.integers(low, high + 1, size=2))
        return (first, first) if rng.random() < 0.75 else (first, second)

    def either(often: Any, seldom: Any, share: float) -> Any:
        return often if rng.random() < share else seldom

    grouped = kind == "grouped" or (kind in ("padded", "half") and rng.random() < 0.2)
    groups = int(rng.integers(2, 7)) if grouped else 1
    inputs = int(rng.integers(1, 41 if groups == 1 else 13))
    outputs = int(rng.integers(1, 101 if groups == 1 else 41))
    if kind == "depthwise":
        groups, inputs, outputs = int(rng.integers(1, 41)), 1, int(either(1, rng.integers(2, 5), 0.6))
    dilation = either((1, 1), pair(1, 3), 0.6)
    result = Convolution(
        kind=kind,
        seed=seed,
        batch=int(rng.integers(1, 4)),
        image=(int(rng.integers(1, 25)), int(rng.integers(1, 25))),
        groups=groups,
        group_inputs=inputs,
        group_outputs=outputs,
        kernel=pair(1, 7),
        stride=either(pair(1, 2), pair(1, 4), 0.6),
        dilation=dilation,
        same=bool(rng.random() < (0.2 if kind == "padded" else 0.6)),
        activation=str(rng.choice(ACTIVATIONS, p=(0.35, 0.3, 0.15, 0.15, 0.05))),
        bias=bool(rng.random() < 0.75),
        weights=str(rng.choice(WEIGHTS)),
        tile=int(rng.choice((8, 16, 32))),
        kept=float(rng.choice((0.25, 0.5))),
        integers=bool(rng.random() < 0.5),
    )
    if kind == "padded":
        batches, height, width = (
            (int(before), int(after)) for before, after in rng.integers(0, 4, size=(3, 2))
        )
        result = replace(
            result,
            padding=(either((0, 0), batches, 0.9), height, width, (0, 0)),
            padding_value=float(either(0.0, 2.0, 0.8)),
        )
    # Three draws out of four have an output; the others find out what happens without one.
    if not result.legal and rng.random() < 0.75:
        result = replace(result, same=True)
    while result.legal and result.work > MAX_WORK:
        if result.batch > 1:
            result = replace(result, batch=1)
        elif max(result.image) > 6:
            result = replace(result, image=(min(result.image[0], 6), min(result.image[1], 6)))
            if not result.legal:
                result = replace(result, same=True)
        else:
            result = replace(result, group_outputs=(result.group_outputs + 1) // 2)
    return result


def numbers(rng: np.random.Generator, shape: tuple[int, ...], integers: bool) -> np.ndarray:
    """Draw values of magnitude 8 or less, or of magnitude 1 or less, without zeros."""
    if integers:
        values = rng.integers(1, 9, size=shape) * rng.choice((-1, 1), size=shape)
        return values.astype(np.float32)
    return rng.uniform(-1, 1, size=shape).astype(np.float32)


def _mask(c: Convolution, rng: np.random.Generator) -> np.ndarray:
    """Return which weights of [groups, group_outputs, columns] stay."""
    mask = np.ones((c.groups, c.group_outputs, c.columns), dtype=bool)
    if c.weights == "zero":
        return np.zeros_like(mask)
    if c.weights == "scattered":
        return rng.random(mask.shape) < c.kept
    if c.weights == "dense":
        return mask
    kept = max(1, round(c.columns * c.kept))
    starts = range(0, c.group_outputs, c.tile)
    special = int(rng.integers(len(starts)))
    for group in range(c.groups):
        for number, start in enumerate(starts):
            rows = mask[group, start : start + c.tile]
            if number == special and c.weights == "dense-tile":
                continue
            rows[:] = False
            if number == special and c.weights == "zero-tile":
                continue
            rows[:, rng.permutation(c.columns)[:kept]] = True
    return mask


def filter_and_bias(c: Convolution) -> tuple[np.ndarray, np.ndarray]:
    """Return a dense OHWI filter, or 1HWO if depthwise, and a bias, in real numbers."""
    rng = np.random.default_rng([1, *c.seed])
    shape = (c.groups * c.group_outputs, *c.kernel, c.group_inputs)
    weights = numbers(rng, shape, c.integers)
    if not c.integers:
        weights /= np.float32(np.sqrt(c.columns))
    weights *= _mask(c, rng).reshape(shape)
    bias = numbers(rng, shape[:1], c.integers) * np.float32(c.bias)
    if c.depthwise:
        weights = np.ascontiguousarray(weights.transpose(3, 1, 2, 0))
    return weights, bias


def image(c: Convolution, number: int = 0, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return an input of the model, of another shape if told."""
    rng = np.random.default_rng([2, number, *c.seed])
    values = numbers(rng, shape or c.input_shape, c.integers)
    if c.kind == "int8":
        return rng.integers(-128, 128, size=values.shape).astype(np.int8)
    return values


def tolerance(c: Convolution) -> np.ndarray | float:
    """Return the largest difference, for each output channel, that rounding explains.

    Each of n = columns + 2 roundings errs by half a unit of a partial sum, which is at most
    sum |w| * max |x| + |b|. Errors of either sign add up like a random walk: sqrt(n), with four
    standard deviations, for either of the two results. Quantized results may differ by one unit.
    """
    if c.kind == "int8":
        return 1.0
    # TANH is the interpreter's in both cases, yet of differently optimized kernels.
    curve = 1e-5 if c.activation == "TANH" else 0.0
    if c.integers:
        return curve
    weights, bias = filter_and_bias(c)
    axes = (0, 1, 2) if c.depthwise else (1, 2, 3)
    sums = np.abs(weights).sum(axis=axes) * max(1.0, c.padding_value) + np.abs(bias)
    return sums * float(2 * 4 * np.sqrt(c.columns + 2) * 2.0**-24) + curve


def _quantized_model(c: Convolution) -> bytes:
    """Per-channel int8: scales such that outputs use their range without leaving it too often."""
    rng = np.random.default_rng([3, *c.seed])
    real, _ = filter_and_bias(c)
    peak = np.maximum(np.abs(real).reshape(real.shape[0], -1).max(axis=1), 1e-3)
    scales = (peak / 127).astype(np.float32)
    weights = np.rint(real / scales[:, None, None, None]).astype(np.int8)
    x = Quantization((float(rng.uniform(0.005, 0.02)),), int(rng.integers(-20, 21)))
    y_scale = x.scale[0] * 127 * float(np.max(peak)) * np.sqrt(c.columns) / 100
    y = Quantization((max(y_scale, 1e-4),), int(rng.integers(-20, 21)))
    bias = rng.integers(-1000, 1001, size=len(scales)).astype(np.int32)
    bias_quantization = Quantization(tuple(scales * np.float32(x.scale[0])))
    graph = Graph()
    source = graph.tensor(c.input_shape, np.int8, x)
    operands = [
        source,
        graph.constant(weights, Quantization(tuple(scales))),
        graph.constant(bias * np.int32(c.bias), bias_quantization),
    ]
    result = graph.tensor([max(size, 0) for size in c.output_shape], np.int8, y)
    graph.add("CONV_2D", operands, result, _options(c))
    return graph.model([source], [result])


def _options(c: Convolution) -> Any:
    fields = {
        "padding": 0 if c.same else 1,
        "strideH": c.stride[0],
        "strideW": c.stride[1],
        "dilationHFactor": c.dilation[0],
        "dilationWFactor": c.dilation[1],
        "fusedActivationFunction": activation(c.activation),
    }
    if c.depthwise:
        return options("DepthwiseConv2DOptions", depthMultiplier=c.group_outputs, **fields)
    return options("Conv2DOptions", **fields)


def model(c: Convolution) -> bytes:
    """Return the convolution as a model."""
    if c.kind == "int8":
        return _quantized_model(c)
    weights, bias = filter_and_bias(c)
    graph = Graph()
    source = x = graph.tensor(c.input_shape)
    if c.kind == "padded":
        pads = [x, graph.constant(np.array(c.padding, np.int32))]
        if c.padding_value:
            pads.append(graph.constant(np.array([c.padding_value], np.float32).reshape(())))
        name = "PadV2" if c.padding_value else "Pad"
        x = graph.add(name.upper(), pads, graph.tensor(c.padded_shape), options(name + "Options"))
    if c.kind == "half":
        half = graph.constant(weights.astype(np.float16))
        w = graph.add("DEQUANTIZE", [half], graph.tensor(weights.shape))
    else:
        w = graph.constant(weights)
    result = graph.tensor([max(size, 0) for size in c.output_shape])
    name = "DEPTHWISE_CONV_2D" if c.depthwise else "CONV_2D"
    graph.add(name, [x, w, graph.constant(bias)], result, _options(c))
    return graph.model([source], [result])
