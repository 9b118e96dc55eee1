# SPDX-License-Identifier: BSD-3-Clause
"""What a layer of a ``.tflite`` file computes, and where its filter is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nmpack.errors import ModelError
from nmpack.tflite.model import LayerInfo, Operator, TensorInfo
from nmpack.tflite.operator_codes import (
    CONV_2D,
    DENSIFY,
    DEPTHWISE_CONV_2D,
    DEQUANTIZE,
    FULLY_CONNECTED,
)


def layer_of(
    place: tuple[int, int],
    operator: Operator,
    tensors: Sequence[TensorInfo],
    producers: Mapping[int, Operator],
    stored: Callable[[int], bool],
) -> LayerInfo | None:
    """Return what a convolution or a fully connected operator is; None of any other.

    Args:
        place: indices of the subgraph and of the operator in it.
        operator: the operator.
        tensors: of the subgraph.
        producers: the operators that wrote tensors so far.
        stored: whether the buffer of an index holds anything.

    Raises:
        ModelError: a convolution contradicts itself.
    """
    if operator.code == FULLY_CONNECTED:
        return _linear(place, operator, tensors, producers, stored)
    if operator.code not in (CONV_2D, DEPTHWISE_CONV_2D):
        return None
    inputs, outputs = operator.inputs, operator.outputs
    if len(inputs) < 2 or len(outputs) != 1 or -1 in inputs[:2]:
        raise ModelError("a convolution needs an input, weights and one output")
    shape = tensors[inputs[1]].shape
    if len(shape) != 4 or any(size < 1 for size in shape):
        raise ModelError(f"convolution weights must have four positive axes, got {shape}")
    weights = _weights(tensors[inputs[1]], tensors, producers.get(inputs[1]), stored)
    depthwise = operator.code == DEPTHWISE_CONV_2D
    stride, dilation = _steps(operator, depthwise=depthwise)
    source = tensors[inputs[0]].shape
    channels = source[3] if len(source) == 4 and source[3] > 0 else shape[3]
    groups = shape[3] if depthwise else max(channels // shape[3], 1)
    if not depthwise and shape[0] % groups != 0:
        raise ModelError(f"{shape[0]} output channels do not divide into {groups} groups")
    output = tensors[outputs[0]]
    return LayerInfo(*place, output, depthwise, weights, shape, stride, dilation, groups)


def _linear(
    place: tuple[int, int],
    operator: Operator,
    tensors: Sequence[TensorInfo],
    producers: Mapping[int, Operator],
    stored: Callable[[int], bool],
) -> LayerInfo | None:
    """Return what a FULLY_CONNECTED operator is; None of one whose weights are no plain matrix."""
    inputs, outputs = operator.inputs, operator.outputs
    if len(inputs) < 2 or len(outputs) < 1 or -1 in inputs[:2]:
        return None
    shape = tensors[inputs[1]].shape
    options = operator.options_of("FullyConnectedOptions")
    plain = options is None or options.weights_format == "DEFAULT"
    if len(shape) != 2 or min(shape) < 1 or not plain:
        return None
    weights = _weights(tensors[inputs[1]], tensors, producers.get(inputs[1]), stored)
    ohwi = (shape[0], 1, 1, shape[1])
    once = (1, 1)
    output = tensors[outputs[0]]
    return LayerInfo(*place, output, False, weights, ohwi, once, once, 1, linear=True)


def _weights(
    tensor: TensorInfo,
    tensors: Sequence[TensorInfo],
    producer: Operator | None,
    stored: Callable[[int], bool],
) -> TensorInfo | None:
    """Return the tensor that the file stores a filter in, which an operator may unpack first."""
    found = tensor
    if producer is not None:
        sources = [i for i in producer.inputs if i != -1]
        if producer.code not in (DEQUANTIZE, DENSIFY) or len(sources) != 1:
            return None
        found = tensors[sources[0]]
    if not stored(found.buffer):
        return None
    if found.shape != tensor.shape:
        raise ModelError(f"weights of shape {tensor.shape} come from {found.shape}")
    return found


def _steps(operator: Operator, *, depthwise: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return stride and dilation, each (height, width)."""
    options = operator.options_of("DepthwiseConv2DOptions" if depthwise else "Conv2DOptions")
    if options is None:
        return (1, 1), (1, 1)
    stride = (options.stride_h, options.stride_w)
    dilation = (options.dilation_h_factor, options.dilation_w_factor)
    if min(stride + dilation) < 1:
        raise ModelError(f"strides and dilations start at 1, got {stride} and {dilation}")
    return stride, dilation
