# SPDX-License-Identifier: BSD-3-Clause
"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED: what has a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.mcu.filters import FilterError
from nmpack.mcu.filters_conv2d import (
    Geometry,
    Requantization,
    Rounding,
    lower_conv2d,
)
from nmpack.mcu.filters_depthwise import lower_depthwise
from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import (
    Context,
    activation_range,
    constant_of,
    input_of,
    output_of,
    per_tensor,
    quantize_multiplier,
    refuse,
)
from nmpack.mcu.operators.rounding import find_multipliers
from nmpack.mcu.step import Int8, Step

_WORD = (1 << 16) - 1
_LARGEST_SUM = (1 << 31) - 1
# What a convolution in groups may grow to when it is written as one without groups.
_MOST_WEIGHTS = 1 << 25


def convolution(node: Node, context: Context) -> list[Step]:
    """Return the step of a CONV_2D; one in groups becomes one whose other weights are 0."""
    weights = constant_of(node, 1, "weights", "int8")
    source, output = input_of(node, 0), output_of(node)
    if weights.ndim != 4 or len(source.shape) != 4:
        refuse(
            node, f"expected an image and weights of 4 axes, got {source.shape}, {weights.shape}"
        )
    channels, height, width, inputs = weights.shape
    groups, rest = divmod(source.shape[3], inputs)
    if rest or channels % groups:
        refuse(
            node,
            f"expected weights that divide {source.shape[3]} input channels, got {weights.shape}",
        )
    window, activation = _window(node, "Conv2DOptions", source, (height, width))
    _require_shape(node, output, _image(window, channels))
    context.spend(node, channels, weights.size * groups)
    rows = _ungrouped(node, weights, groups).reshape(channels, -1)
    requantization = _requantization(node, rows, activation, axis=0)
    return [_matrix_step(node, context, rows, requantization, window, source, output)]


def fully_connected(node: Node, context: Context) -> list[Step]:
    """Return the step of a FULLY_CONNECTED: a convolution of 1 x 1 on an image of one row."""
    weights = constant_of(node, 1, "weights", "int8")
    source, output = input_of(node, 0), output_of(node)
    if weights.ndim != 2:
        refuse(node, f"expected weights of 2 axes, got {weights.shape}")
    channels, columns = weights.shape
    context.spend(node, channels, weights.size)
    if source.elements % columns:
        refuse(node, f"expected inputs of {columns} values, got {source.shape}")
    options = node.options_of("FullyConnectedOptions")
    if options is not None and options.weights_format != "DEFAULT":
        refuse(node, f"weights in the form {options.weights_format} are not supported")
    activation = "NONE" if options is None else options.fused_activation_function
    count = source.elements // columns
    if options is not None and options.keep_num_dims:
        _require_shape(node, output, (*source.shape[:-1], channels))
        if not source.shape or source.shape[-1] != columns:
            refuse(node, f"expected inputs of {columns} values, got {source.shape}")
    else:
        _require_shape(node, output, (count, channels))
    requantization = _requantization(node, weights, activation, axis=0, single=True)
    window = Geometry(1, 1, count, columns, 1, count)
    return [_matrix_step(node, context, weights, requantization, window, source, output)]


def depthwise(node: Node, context: Context) -> list[Step]:
    """Return the step of a DEPTHWISE_CONV_2D."""
    weights = constant_of(node, 1, "weights", "int8")
    source, output = input_of(node, 0), output_of(node)
    if weights.ndim != 4 or len(source.shape) != 4 or weights.shape[0] != 1:
        refuse(
            node,
            f"expected an image of 4 axes and weights of one filter, got {source.shape}, "
            f"{weights.shape}",
        )
    _, height, width, channels = weights.shape
    context.spend(node, channels, weights.size)
    multiplier, rest = divmod(channels, source.shape[3])
    if rest:
        refuse(node, f"expected a multiple of {source.shape[3]} channels, got {channels}")
    window, activation = _window(node, "DepthwiseConv2DOptions", source, (height, width))
    _require_shape(node, output, _image(window, channels))
    _require_words(node, window, channels)
    rows = weights.reshape(-1, channels).T
    requantization = _requantization(node, rows, activation, axis=3)
    try:
        found = lower_depthwise(
            weights[0], multiplier, window, requantization, target=context.target
        )
    except FilterError as error:
        refuse(node, str(error))
    return [
        Step(
            node.index,
            node.name,
            "nm_depthwise_s8",
            found.sources,
            "struct nm_depthwise_s8",
            found.parameters,
            found.constants,
            (source.index,),
            (output.index,),
            scratch_bytes=found.scratch_bytes,
            takes_scratch=True,
            layer=node.label,
            kernel="depthwise",
            pattern="dense",
            macs=found.macs,
            dense_macs=found.macs,
            cycles={context.target: found.cycles},
        )
    ]


def _matrix_step(
    node: Node,
    context: Context,
    rows: Int8,
    requantization: Requantization,
    geometry: Geometry,
    source: Tensor,
    output: Tensor,
) -> Step:
    """Return the step of a filter: the kernel that suits its zeros best."""
    try:
        found = lower_conv2d(
            rows, geometry, requantization, target=context.target, kernel=context.kernel
        )
    except FilterError as error:
        refuse(node, str(error))
    return Step(
        node.index,
        node.name,
        "nm_conv2d_s8",
        found.sources,
        "struct nm_conv2d_s8",
        found.parameters,
        found.constants,
        (source.index,),
        (output.index,),
        scratch_bytes=found.scratch_bytes,
        takes_scratch=True,
        layer=node.label,
        kernel=found.filter.kernel,
        pattern=found.filter.pattern,
        macs=found.macs,
        dense_macs=found.dense_macs,
        cycles={context.target: found.cycles},
    )


def _window(node: Node, kind: str, source: Tensor, kernel: tuple[int, int]) -> tuple[Geometry, str]:
    """Return how a kernel moves, as TFLite calculates it, and the activation behind it."""
    options = node.options_of(kind)
    if options is None:
        refuse(node, f"expected options of the kind {kind}, got none")
    stride = (int(options.stride_h), int(options.stride_w))
    dilation = (int(options.dilation_h_factor), int(options.dilation_w_factor))
    if options.padding not in ("SAME", "VALID"):
        refuse(node, f"expected SAME or VALID as padding, got {options.padding}")
    if not all(1 <= value <= _WORD for value in (*stride, *dilation)):
        refuse(node, f"expected strides and dilations from 1 to {_WORD}, got {stride}, {dilation}")
    same = options.padding == "SAME"
    sizes, pads = [], []
    for place in range(2):
        size = source.shape[1 + place]
        covered = (kernel[place] - 1) * dilation[place] + 1
        count = -(-size // stride[place]) if same else (size - covered) // stride[place] + 1
        if count < 1:
            refuse(node, f"expected an image of at least {covered} pixels, got {source.shape}")
        sizes.append(count)
        pads.append(max((count - 1) * stride[place] + covered - size, 0) // 2)
    window = Geometry(
        source.shape[0], source.shape[1], source.shape[2], source.shape[3], sizes[0], sizes[1],
        *kernel, *stride, *dilation, pads[0], pads[1],
    )  # fmt: skip
    return window, options.fused_activation_function


def _require_words(node: Node, window: Geometry, channels: int) -> None:
    """Check that what structs keep in 16 bits fits there."""
    most = max(channels, *(getattr(window, name) for name in Geometry.__dataclass_fields__))
    if most > _WORD:
        refuse(node, f"expected sizes of at most {_WORD}, got {most}")


def _image(window: Geometry, channels: int) -> tuple[int, int, int, int]:
    return window.batches, window.output_height, window.output_width, channels


def _require_shape(node: Node, output: Tensor, shape: Sequence[int]) -> None:
    if output.shape != tuple(shape):
        refuse(node, f"expected an output of shape {tuple(shape)}, got {output.shape}")


def _ungrouped(node: Node, weights: Int8, groups: int) -> Int8:
    """Return weights ``[O, H, W, I]`` of all input channels, 0 for those of other groups."""
    if groups == 1:
        return weights
    channels, height, width, inputs = weights.shape
    if weights.size * groups > _MOST_WEIGHTS:
        refuse(
            node,
            f"expected a convolution in groups that has at most {_MOST_WEIGHTS} weights without "
            f"them, got {weights.size * groups}",
        )
    whole = np.zeros((groups, channels // groups, height, width, groups, inputs), np.int8)
    parts = weights.reshape(groups, channels // groups, height, width, inputs)
    for group in range(groups):
        whole[group, :, :, :, group] = parts[group]
    return whole.reshape(channels, height, width, groups * inputs)


def _requantization(
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


def densify(node: Node, context: Context) -> list[npt.NDArray[Any]] | None:
    """Return the values of a DENSIFY, whose stored form was read with the file."""
    del context
    source = node.inputs[0] if node.inputs else None
    return None if source is None or source.data is None else [source.data]


LOWERINGS = {
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": fully_connected,
}
FOLDINGS = {"DENSIFY": densify}
