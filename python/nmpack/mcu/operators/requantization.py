# SPDX-License-Identifier: BSD-3-Clause
"""From sums of convolutions and fully connected layers to outputs, as TFLite rounds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.mcu.filters_conv2d import Requantization, Rounding
from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import (
    activation_range,
    constant_of,
    input_of,
    output_of,
    per_tensor,
    quantize_multiplier,
    refuse,
)
from nmpack.mcu.operators.rounding import find_multipliers
from nmpack.mcu.step import Int8

_LARGEST_SUM = (1 << 31) - 1


def requantization_of(
    node: Node, rows: Int8, activation: str, axis: int, *, single: bool = False
) -> Requantization:
    """Return what becomes of sums.

    Args:
        node: the operator.
        rows: weights ``[channels, columns]``.
        activation: the schema's name.
        axis: of the weights, that scales are along.
        single: whether the ratio of scales is multiplied in double and rounded once, as the
            reference kernels' FULLY_CONNECTED does; their convolutions round integers twice.
    """
    source, output = input_of(node, 0), output_of(node)
    filters = input_of(node, 1, "weights")
    x_scale, x_zero = per_tensor(node, source, "input")
    y_scale, y_zero = per_tensor(node, output, "output")
    low, high = activation_range(node, activation, output)
    channels = len(rows)
    scales = _filter_scales(node, filters, channels, axis)
    reals = [x_scale * float(scale) / y_scale for scale in np.broadcast_to(scales, channels)]
    bias = _bias(node, channels)
    rounding: Rounding = "TWICE"
    if single:
        limits = [min(limit, _LARGEST_SUM) for limit in _largest_sums(rows, bias).tolist()]
        for real in reals:
            _require_ratio(node, real)
        found = find_multipliers(reals, low - y_zero, high - y_zero, limits)
        rounding = "ONCE" if found.bits == 32 else "ONCE_64"
        multiplier = np.array(found.values, np.uint64)
        shift = np.array(found.shifts, np.int64)
    else:
        pairs = [_multiplier(node, real) for real in reals]
        multiplier = np.array([q for q, _ in pairs], np.uint64)
        shift = np.array([-left for _, left in pairs], np.int64)
    return Requantization(
        bias=bias,
        multiplier=multiplier,
        shift=shift,
        input_zero_point=x_zero,
        output_zero_point=y_zero,
        output_min=low,
        output_max=high,
        rounding=rounding,
    )


def _largest_sums(rows: Int8, bias: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return what the magnitude of each channel's sum is at most."""
    most = 255 * np.abs(rows.astype(np.int64)).sum(axis=1) + np.abs(bias.astype(np.int64))
    return np.asarray(most, np.int64)


def _require_ratio(node: Node, real: float) -> None:
    if not real < 2.0**30:
        refuse(node, f"expected scales whose ratio is below 2^30, got {real:g}")


def _multiplier(node: Node, real: float) -> tuple[int, int]:
    _require_ratio(node, real)
    return quantize_multiplier(real)


def _filter_scales(
    node: Node, filters: Tensor, channels: int, axis: int
) -> npt.NDArray[np.float32]:
    """Return one scale, or one for each channel; zero points of weights are 0."""
    if filters.scale is None or filters.zero_point is None:
        refuse(node, "expected scales of its weights, got none")
    if filters.zero_point.any():
        refuse(node, "expected zero points of 0 of its weights, got others")
    count = len(filters.scale)
    if count > 1 and (filters.dimension != axis or count != channels):
        refuse(
            node,
            f"expected {channels} scales of its weights along axis {axis}, got {count} along axis "
            f"{filters.dimension}",
        )
    return filters.scale


def _bias(node: Node, channels: int) -> npt.NDArray[Any]:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(channels, np.int32)
    values = constant_of(node, 2, "bias", "int32")
    if values.shape != (channels,):
        refuse(node, f"expected a bias of {channels} values, got shape {values.shape}")
    return values
