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
    lower_conv2d,
)
from nmpack.mcu.filters_depthwise import lower_depthwise
from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import (
    Context,
    constant_of,
    input_of,
    output_of,
    refuse,
)
from nmpack.mcu.operators.requantization import requantization_of
from nmpack.mcu.step import Int8, Step

_WORD = (1 << 16) - 1
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
    requantization = requantization_of(node, rows, activation, axis=0)
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
    requantization = requantization_of(node, weights, activation, axis=0, single=True)
    window = Geometry(1, 1, count, columns, 1, count)
    return [_matrix_step(node, context, weights, requantization, window, source, output)]


def depthwise(node: Node, context: Context) -> list[Step]:
    """Return the step of a DEPTHWISE_CONV_2D; many outputs of one channel are a CONV_2D's."""
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
    requantization = requantization_of(node, rows, activation, axis=3)
    if source.shape[3] == 1 and multiplier > 1:
        rows = np.ascontiguousarray(rows)
        return [_matrix_step(node, context, rows, requantization, window, source, output)]
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
