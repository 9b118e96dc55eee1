# SPDX-License-Identifier: BSD-3-Clause
"""What one layer will cost on a microcontroller, before the network is quantized and compiled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmpack.mcu.filters_conv2d import Geometry, Requantization, lower_conv2d
from nmpack.mcu.filters_depthwise import lower_depthwise
from nmpack.mcu.step import Int8

#: Targets that cycles are predicted for.
PREDICTED = ("xcv", "xcv-nm", "rv32imc")
# A multiplier and a shift that every kernel takes; costs do not depend on their values.
_MULTIPLIER, _SHIFT = 1 << 30, 8


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What a layer costs.

    Attributes:
        cycles: predicted, of one image.
        flash: bytes of weights, index, biases, multipliers and shifts.
    """

    cycles: int
    flash: int


def layer_cost(weights: Int8, geometry: Geometry, target: str) -> LayerCost:
    """Predict what ``nmpack mcu`` would make of a convolution or a fully connected layer.

    The kernel is chosen as it will be for the quantized network, from where the zeros are.

    Args:
        weights: (N, K); only whether they are zero counts.
        geometry: sizes of the layer.
        target: one of :data:`PREDICTED`.

    Raises:
        FilterError: a size is beyond 16 bits, or does not fit the others.
    """
    lowered = lower_conv2d(weights, geometry, _requantization(len(weights)), target=target)
    return LayerCost(lowered.cycles, sum(one.values.nbytes for one in lowered.constants))


def depthwise_cost(channels: int, geometry: Geometry, target: str) -> LayerCost:
    """Predict the same of a depthwise convolution of ``channels`` outputs, which is dense.

    Args:
        channels: a multiple of the input's.
        geometry: sizes of the layer.
        target: one of :data:`PREDICTED`.

    Raises:
        FilterError: a size is beyond 16 bits, or does not fit the others.
    """
    weights = np.ones((geometry.kernel_height, geometry.kernel_width, channels), np.int8)
    lowered = lower_depthwise(
        weights, channels // geometry.input_channels, geometry, _requantization(channels),
        target=target,
    )  # fmt: skip
    return LayerCost(lowered.cycles, sum(one.values.nbytes for one in lowered.constants))


def _requantization(channels: int) -> Requantization:
    return Requantization(
        bias=np.zeros(channels, np.int32),
        multiplier=np.full(channels, _MULTIPLIER, np.int64),
        shift=np.full(channels, _SHIFT, np.int64),
        input_zero_point=0,
        output_zero_point=0,
    )
