# SPDX-License-Identifier: BSD-3-Clause
"""Turns drawn convolutions into models of one or two operators, images, and tolerances."""

from __future__ import annotations

from typing import Any

import numpy as np
from drawn_convolutions import Convolution
from tflite_graph import Graph, Quantization, activation, options


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


def input_image(
    c: Convolution, number: int = 0, shape: tuple[int, ...] | None = None
) -> np.ndarray:
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


def _packed_weights(c: Convolution, graph: Graph, weights: np.ndarray) -> int:
    """Store weights as 8 or 16 bits, with a node that makes them 32 again."""
    quantization = None
    if c.stored == "float16":
        stored = weights.astype(np.float16)
    else:
        axes = (1, 2, 3) if c.stored == "int8-by-channel" else None
        peak = np.abs(weights).max(axis=axes, keepdims=True)
        scale = np.where(peak == 0, 1, peak / 127).astype(np.float32)
        if c.integers:
            scale = np.ones_like(scale)
        quantization = Quantization(tuple(scale.reshape(-1)))
        stored = np.rint(weights / scale).astype(np.int8)
    packed = graph.constant(stored, quantization)
    return graph.add("DEQUANTIZE", [packed], graph.tensor(weights.shape))


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
    w = _packed_weights(c, graph, weights) if c.kind == "packed" else graph.constant(weights)
    result = graph.tensor([max(size, 0) for size in c.output_shape])
    name = "DEPTHWISE_CONV_2D" if c.depthwise else "CONV_2D"
    graph.add(name, [x, w, graph.constant(bias)], result, _options(c))
    return graph.model([source], [result])
