# SPDX-License-Identifier: BSD-3-Clause
"""DEPTHWISE_CONV_2D as one call of ``nm_depthwise_s8``: its struct, scratch and cycles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmpack.mcu.filters import FilterError
from nmpack.mcu.filters_conv2d import (
    Geometry,
    Requantization,
    check_sizes,
    fold_bias,
    is_small,
    requantization_constants,
)
from nmpack.mcu.step import Constant, Int8

_MOST_SCRATCH = (1 << 31) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Depthwise:
    """A call of ``nm_depthwise_s8``; its attributes are those of a step.

    Attributes:
        parameters: the struct's initializer, without its braces.
        constants: weights, bias, multiplier, shift.
        sources: files below ``mcu/kernels``.
        scratch_bytes: of a call.
        macs: multiply-adds of a call.
        cycles: predicted, of a call.
    """

    parameters: str
    constants: tuple[Constant, ...]
    sources: tuple[str, ...]
    scratch_bytes: int
    macs: int
    cycles: int


def lower_depthwise(
    weights: Int8,
    depth_multiplier: int,
    geometry: Geometry,
    requantization: Requantization,
    *,
    target: str,
) -> Depthwise:
    """Pack the weights of a depthwise convolution.

    Args:
        weights: (kernel_height, kernel_width, N), N = input_channels * depth_multiplier.
        depth_multiplier: outputs of each input channel, which lie together.
        geometry: its sizes.
        requantization: of its outputs; rounded twice.
        target: one of ``TARGETS``.

    Raises:
        FilterError: a size is beyond 16 bits, or the weights have another shape.
    """
    g, r = geometry, requantization
    channels = g.input_channels * depth_multiplier
    if weights.shape != (g.kernel_height, g.kernel_width, channels):
        raise FilterError(
            f"expected weights of {(g.kernel_height, g.kernel_width, channels)} of a depthwise "
            f"convolution, got {weights.shape}"
        )
    rows = weights.reshape(-1, channels).T
    check_sizes(rows, g, r)
    packed = np.pad(weights.transpose(2, 0, 1), ((0, 0), (0, 0), (0, -g.kernel_width % 4)))
    pitch = row_pitch(g)
    fields: dict[str, int] = {
        **{name: getattr(g, name) for name in Geometry.__dataclass_fields__},
        "depth_multiplier": depth_multiplier,
        "input_zero_point": r.input_zero_point,
        "output_zero_point": r.output_zero_point,
        "output_min": r.output_min,
        "output_max": r.output_max,
        "small": int(is_small(rows, r)),
        "row_pitch": pitch,
    }
    constants = (
        Constant("weights", packed.ravel()),
        *requantization_constants(fold_bias(rows, r), r),
    )
    texts = [f".{constant.name} = {{{constant.name}}}" for constant in constants]
    texts += [f".{name} = {value}" for name, value in fields.items()]
    span = (g.kernel_height - 1) * g.dilation_height + 1
    scratch = 4 * g.kernel_height + span * g.input_channels * pitch
    if scratch > _MOST_SCRATCH:
        raise FilterError(
            f"expected at most {_MOST_SCRATCH} bytes of scratch of a depthwise convolution, got "
            f"{scratch}"
        )
    return Depthwise(
        parameters=", ".join(texts),
        constants=constants,
        sources=(
            "depthwise_s8.c",
            "depthwise_row_s8.c",
            "depthwise_any_row_s8.c",
            "im2col_s8.c",
        ),
        scratch_bytes=scratch,
        macs=g.pixels * weights.size,
        cycles=round(_cycles(g, depth_multiplier, fields["small"] == 1, target)),
    )


def row_pitch(geometry: Geometry) -> int:
    """Return the bytes of a padded row: what is read, and what whole words of four outputs read."""
    g = geometry
    outputs = -(-g.output_width // 4) * 4
    reach = (g.output_width - 1) * g.stride_width + (g.kernel_width - 1) * g.dilation_width + 1
    words = outputs * g.stride_width + 4 if g.stride_width < 3 else 0
    return -(-max(reach, words, g.pad_left + 1) // 4) * 4


def _cycles(g: Geometry, depth_multiplier: int, small: bool, target: str) -> float:
    """Cycles of instructions counted in the kernels' loops.

    Against whole networks on Spike they were within 2.2 % for 3 x 3, in C and with XCV.
    """
    rows = g.batches * g.output_height
    outputs = rows * g.output_width * g.input_channels * depth_multiplier
    taps = g.kernel_height * g.kernel_width
    taken = min(g.stride_height, g.kernel_height) * rows * g.input_channels * row_pitch(g)
    shape = (g.kernel_height, g.kernel_width, g.dilation_width, depth_multiplier)
    if not target.startswith("xcv"):
        return outputs * (taps * 7 + 45) + taken * 7
    if not small or shape != (3, 3, 1, 1) or g.stride_width > 2:
        return outputs * (taps * 7 + 45) + taken * 1.7
    groups = -(-g.output_width // 4) * rows * g.input_channels
    sums = 25 if g.stride_width == 1 else 31
    return groups * sums + outputs * 14 + rows * g.input_channels * 48 + taken * 1.7 + rows * 250
