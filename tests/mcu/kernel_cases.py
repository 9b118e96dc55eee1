# SPDX-License-Identifier: BSD-3-Clause
"""Drawn convolutions for the kernels of filters: shapes, zeros, requantizations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from mcu_kernel_programs import (
    Case,
    conv2d_case,
    convolved,
    convolved_depthwise,
    depthwise_case,
)

from nmpack.mcu.filters import KERNELS
from nmpack.mcu.filters_conv2d import Geometry, Requantization, Rounding, lower_conv2d
from nmpack.mcu.filters_depthwise import lower_depthwise
from nmpack.mcu.step import Int8


def draw_geometry(rng: np.random.Generator) -> Geometry:
    """Draw a small convolution of any stride, dilation and padding, or rows."""
    if rng.random() < 0.2:
        rows = int(rng.integers(1, 10))
        columns = int(rng.choice([1, 3, 4, 20, 63, 64, 128, 300, 516]))
        return Geometry(1, 1, rows, columns, 1, rows)
    while True:
        kernel = rng.choice([1, 1, 2, 3, 3, 5], 2)
        size = (rng.integers(1, 8), rng.integers(1, 10))
        stride = rng.integers(1, 3, 2)
        dilation = rng.choice([1, 1, 1, 2], 2)
        pad = (rng.integers(0, kernel[0]), rng.integers(0, kernel[1]))
        out = [
            (size[i] + 2 * pad[i] - ((kernel[i] - 1) * dilation[i] + 1)) // stride[i] + 1
            for i in range(2)
        ]
        if min(out) < 1:
            continue
        channels = int(rng.choice([1, 2, 3, 4, 5, 8, 12, 16, 17, 32]))
        sizes = (*size, channels, *out, *kernel, *stride, *dilation, *pad)
        return Geometry(int(rng.integers(1, 3)), *(int(value) for value in sizes))


def draw_weights(
    rng: np.random.Generator,
    channels: int,
    columns: int,
    tile: int,
    m: int = 0,
    density: float = 1.0,
) -> Int8:
    """Draw weights of tiles that keep one of ``m`` columns, or a share of all if ``m`` is 0."""
    weights = rng.integers(-128, 128, (channels, columns)).astype(np.int8)
    tiles = -(-channels // tile)
    if m:
        blocks = -(-columns // m)
        kept = np.zeros((tiles, blocks * m), np.bool_)
        places = np.arange(blocks) * m + rng.integers(0, m, (tiles, blocks))
        np.put_along_axis(kept, places, True, axis=1)
        kept = kept[:, :columns]
    else:
        kept = rng.random((tiles, columns)) < density
    weights[~np.repeat(kept, tile, axis=0)[:channels]] = 0
    if rng.random() < 0.1:
        weights[rng.random(channels) < 0.5] = 0
    return weights


def draw_requantization(
    rng: np.random.Generator, channels: int, *, left: bool = False
) -> Requantization:
    """Draw biases, multipliers and shifts; ``left`` has multipliers of 1 and more among them."""
    rounding: Rounding = "TWICE"
    multiplier = rng.integers(1 << 30, 1 << 31, channels)
    if rng.random() < 0.3:
        rounding = "ONCE"
        multiplier = rng.integers(1 << 31, 1 << 32, channels)
    multiplier[rng.random(channels) < 0.03] = 0
    low, high = (-128, 127) if rng.random() < 0.5 else sorted(rng.integers(-128, 128, 2))
    return Requantization(
        bias=rng.integers(-20000, 20000, channels).astype(np.int32),
        multiplier=multiplier,
        shift=rng.integers(-4 if left else int(rounding == "ONCE"), 13, channels),
        input_zero_point=int(rng.integers(-128, 128)),
        output_zero_point=int(rng.integers(-128, 128)),
        output_min=int(low),
        output_max=int(high),
        rounding=rounding,
    )


def draw_case(rng: np.random.Generator, kernel: str, target: str) -> Case:
    """Draw a convolution that ``kernel`` takes, or one that goes to another kernel now and then."""
    geometry = draw_geometry(rng)
    channels = int(rng.choice([1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 20]))
    tile = max(KERNELS[kernel].tile, 1)
    m = int(kernel.partition("nm")[2] or rng.choice([0, 2, 4, 8, 16, 32, 64]))
    density = float(rng.choice([0.0, 0.01, 0.05, 0.2, 0.5, 1.0]))
    weights = draw_weights(rng, channels, geometry.columns, tile, m, density)
    requantization = draw_requantization(rng, channels, left=rng.random() < 0.05)
    shape = (
        geometry.batches,
        geometry.input_height,
        geometry.input_width,
        geometry.input_channels,
    )
    inputs = rng.integers(-128, 128, shape).astype(np.int8)
    lowered = lower_conv2d(weights, geometry, requantization, target=target, kernel=kernel)
    name = f"{kernel} as {lowered.filter.kernel}, {channels} channels, {geometry}"
    return conv2d_case(name, lowered, inputs, convolved(weights, geometry, requantization, inputs))


def draw_depthwise_case(rng: np.random.Generator, target: str) -> Case:
    """Draw a depthwise convolution; half of them are 3 x 3."""
    multiplier = int(rng.choice([1, 1, 1, 2, 3]))
    geometry = draw_geometry(rng)
    if rng.random() < 0.5:
        stride = int(rng.integers(1, 3))
        channels = int(rng.choice([1, 3, 4, 5, 8, 16]))
        height, width = (int(size) for size in rng.integers(3, 12, 2))
        pad = int(rng.integers(0, 2))
        out = [(size + 2 * pad - 3) // stride + 1 for size in (height, width)]
        sizes = (height, width, channels, *out, 3, 3, stride, stride, 1, 1, pad, pad)
        geometry = Geometry(1, *sizes)
    channels = geometry.input_channels * multiplier
    shape = (geometry.kernel_height, geometry.kernel_width, channels)
    weights = rng.integers(-128, 128, shape).astype(np.int8)
    drawn = draw_requantization(rng, channels, left=rng.random() < 0.1)
    bounded = np.maximum(drawn.multiplier >> 1, 1 << 30)
    requantization = replace(drawn, rounding="TWICE", multiplier=bounded)
    size = (
        geometry.batches,
        geometry.input_height,
        geometry.input_width,
        geometry.input_channels,
    )
    inputs = rng.integers(-128, 128, size).astype(np.int8)
    lowered = lower_depthwise(weights, multiplier, geometry, requantization, target=target)
    expected = convolved_depthwise(weights, multiplier, geometry, requantization, inputs)
    return depthwise_case(f"depthwise {multiplier} {geometry}", lowered, inputs, expected)
