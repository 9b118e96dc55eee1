# SPDX-License-Identifier: BSD-3-Clause
"""Layers drawn at random, and a file with one of them: what a layer benchmark runs on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from nmpack.element_types import F32, QS8, ElementType
from nmpack.errors import NmpackError
from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.network import Network, Steps

KERNELS = (1, 3, 5, 7)
STRIDES = (1, 2)
#: Shares of the columns that are kept; at 1 nothing is pruned.
DENSITIES = (0.125, 0.25, 0.5, 0.75, 1.0)
TILES = (1, 4, 8, 16, 32)
LARGEST_IMAGE = 112
LEAST_CHANNELS, MOST_CHANNELS = 8, 2048
#: Of fully connected layers.
MOST_ROWS, MOST_FEATURES = 512, 4096
# A layer of more takes seconds to measure; ResNet-50's largest have a quarter of the first, 2.4 M.
MOST_MULTIPLY_ADDS = 500_000_000
_MOST_WEIGHTS = 5_000_000
# A matrix of that many is bound by memory: that is what single rows are drawn for.
_MOST_OF_MATRIX = MOST_FEATURES**2
# Of images from -1 to 1, and of their sums.
_STEPS = {QS8.name: (Steps(1 / 127), Steps(4 / 127))}


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution of one image of ``size`` x ``size`` pixels, SAME padding.

    Attributes:
        size: also the rows of a fully connected layer.
        kernel: its height and width.
        density: share of the columns that a tile of ``tile`` output channels keeps.
        dtype: name of its element type, of :mod:`nmpack.element_types`.
        linear: whether it is a fully connected layer; kernel and stride are then 1.
    """

    size: int
    inputs: int
    outputs: int
    kernel: int
    stride: int
    density: float
    tile: int
    dtype: str = F32.name
    linear: bool = False

    @property
    def weights(self) -> int:
        """Weights of the filter, zeros included."""
        return self.outputs * self.kernel * self.kernel * self.inputs

    @property
    def output_size(self) -> int:
        """Height and width of the output."""
        return -(-self.size // self.stride)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the unpruned layer."""
        return self.weights * (self.size if self.linear else self.output_size**2)

    @property
    def shape(self) -> str:
        """What it computes, for tables."""
        if self.linear:
            rows = f"{self.size} row{'' if self.size == 1 else 's'}"
            return f"{rows}, {self.inputs} to {self.outputs}"
        strided = f" /{self.stride}" if self.stride > 1 else ""
        return (
            f"{self.kernel}x{self.kernel}{strided}, {self.inputs} to {self.outputs}, "
            f"{self.size}x{self.size}"
        )

    @property
    def pattern(self) -> str:
        """What is kept, for tables."""
        return "unpruned" if self.density == 1.0 else f"{self.density:.4g} in {self.tile}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def draw_layers(
    count: int,
    seed: int,
    most: int = MOST_MULTIPLY_ADDS,
    kind: ElementType = F32,
    *,
    linear: bool = False,
) -> list[Layer]:
    """Draw ``count`` layers; the first ones of a seed are the same for every count and type.

    Sizes and channels are even in their logarithm. What takes too long, more than ``most``
    multiply-adds unpruned, is drawn again. ``linear`` ones are fully connected, the others
    convolutions.

    Raises:
        NmpackError: ``count`` is below 1.
    """
    if count < 1:
        raise NmpackError(f"expected at least one layer, got {count}")
    generator = np.random.default_rng(seed)
    layers: list[Layer] = []
    heaviest = _MOST_OF_MATRIX if linear else _MOST_WEIGHTS
    while len(layers) < count:
        layer = replace(_draw(generator, linear), dtype=kind.name)
        if layer.multiply_adds <= most and layer.weights <= heaviest:
            layers.append(layer)
    return layers


def _draw(generator: np.random.Generator, linear: bool) -> Layer:
    def spread(least: int, most: int) -> int:
        return int(np.exp(generator.uniform(np.log(least), np.log(most + 1))))

    def channels(most: int) -> int:
        # Most networks' channels are multiples of 8; the others are the ends of vectors.
        number = spread(LEAST_CHANNELS, most)
        return number if generator.random() < 0.25 else number // 8 * 8

    if linear:
        return Layer(
            spread(1, MOST_ROWS),
            channels(MOST_FEATURES),
            channels(MOST_FEATURES),
            1,
            1,
            float(generator.choice(DENSITIES)),
            int(generator.choice(TILES)),
            linear=True,
        )
    return Layer(
        spread(1, LARGEST_IMAGE),
        channels(MOST_CHANNELS),
        channels(MOST_CHANNELS),
        int(generator.choice(KERNELS)),
        int(generator.choice(STRIDES)),
        float(generator.choice(DENSITIES)),
        int(generator.choice(TILES)),
    )


def layer_file(layer: Layer, seed: int) -> bytes:
    """Return a ``.tflite`` file with this layer alone, its weights random and pruned.

    Raises:
        MissingError: ai-edge-litert, whose schema is used, is not installed.
    """
    generator = np.random.default_rng(seed)
    shape = (layer.outputs, layer.kernel, layer.kernel, layer.inputs)
    filters = generator.standard_normal(shape, dtype=np.float32)
    filters *= np.float32((layer.weights / layer.outputs) ** -0.5)
    if layer.density < 1.0:
        pattern = NMPattern.from_density(layer.density, tile=layer.tile)
        filters[~compute_mask(filters, pattern)] = 0.0
    bias = generator.standard_normal(layer.outputs, dtype=np.float32)
    network = Network()
    source, target = _STEPS.get(layer.dtype, (None, None))
    if layer.linear:
        x = network.tensor((layer.size, layer.inputs), steps=source)
        matrix = filters.reshape(layer.outputs, layer.inputs)
        return network.finish(x, network.fully_connected(x, matrix, bias, steps=target))
    x = network.tensor((1, layer.size, layer.size, layer.inputs), steps=source)
    return network.finish(x, network.convolution(x, filters, bias, layer.stride, steps=target))
