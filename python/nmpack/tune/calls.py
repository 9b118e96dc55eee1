# SPDX-License-Identifier: BSD-3-Clause
"""Where a PyTorch or Keras model computes its layers: the sizes of their images in one run.

A convolution becomes the :class:`~nmpack.tune.shapes.Layer` that XNNPACK gets after conversion, and
so does a linear layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from nmpack.errors import ModelError, NmpackError
from nmpack.modes import evaluating
from nmpack.quiet import import_keras, import_module, silenced
from nmpack.sources import Source
from nmpack.sparsity.pruning import Adaptor
from nmpack.sparsity.selection import LINEAR
from nmpack.sparsity.selection import Layer as Weights
from nmpack.tune.layers import same_padding
from nmpack.tune.shapes import Layer, linear_layer

_NONE = (0, 0, 0, 0)
Sides = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Calls:
    """What a model computes with one layer's weights.

    Attributes:
        weights: the layer, as pruning knows it.
        layers: unpruned, one for each time that it runs; none where ``note`` says why.
        note: why it cannot be measured, empty where it can.
    """

    weights: Weights
    layers: tuple[Layer, ...]
    note: str = ""


def adaptor_of(source: Source) -> Adaptor:
    """Return what prunes a model's framework."""
    if source.framework == "torch":
        from nmpack.torch.pruning import TORCH

        return TORCH
    from nmpack.keras.pruning import KERAS

    return KERAS


def calls_of(source: Source) -> list[Calls]:
    """Run a model once on an image of zeros, and list every convolution and linear layer.

    Raises:
        ModelError: the model's input is not one image of a fixed size, or it does not run on one.
    """
    if len(source.input_shape) != 3 or min(source.input_shape) < 1:
        raise ModelError(
            f"expected a model whose input is one image of a fixed size, got {source.input_shape}"
        )
    layers = adaptor_of(source).layers(source.model)
    seen: dict[str, list[tuple[int, ...]]] = {layer.name: [] for layer in layers}
    run = _run_torch if source.framework == "torch" else _run_keras
    try:
        run(source, layers, seen)
    except NmpackError:
        raise
    except Exception as error:
        raise ModelError(f"the model does not run on an image of zeros: {error}") from error
    describe = _torch_layer if source.framework == "torch" else _keras_layer
    found = []
    for layer in layers:
        try:
            made = [_linear(layer, shape) if layer.kind == LINEAR else describe(layer, shape)
                    for shape in seen[layer.name]]  # fmt: skip
            found.append(Calls(layer, tuple(made), "" if made else "it does not run"))
        except NmpackError as error:
            found.append(Calls(layer, (), str(error)))
    return found


def _run_torch(
    source: Source, layers: list[Weights], seen: Mapping[str, list[tuple[int, ...]]]
) -> None:
    torch = import_module("torch", "torch")

    def listen(name: str) -> Any:
        return lambda _module, inputs: seen[name].append(tuple(inputs[0].shape))

    hooks = [layer.module.register_forward_pre_hook(listen(layer.name)) for layer in layers]
    height, width, channels = source.input_shape
    try:
        with evaluating(source.model), torch.no_grad():
            source.model(torch.zeros(1, channels, height, width))
    finally:
        for hook in hooks:
            hook.remove()


def _run_keras(
    source: Source, layers: list[Weights], seen: Mapping[str, list[tuple[int, ...]]]
) -> None:
    image = np.zeros((1, *source.input_shape), np.float32)
    with silenced(), _listening(layers, seen):
        source.model(import_keras().ops.convert_to_tensor(image), training=False)


@contextmanager
def _listening(layers: list[Weights], seen: Mapping[str, list[tuple[int, ...]]]) -> Iterator[None]:
    def listen(layer: Weights) -> None:
        inner = layer.module.call

        def call(x: Any, *arguments: Any, **options: Any) -> Any:
            seen[layer.name].append(tuple(map(int, x.shape)))
            return inner(x, *arguments, **options)

        vars(layer.module)["call"] = call

    try:
        for layer in layers:
            listen(layer)
        yield
    finally:
        for layer in layers:
            vars(layer.module).pop("call", None)


def _linear(weights: Weights, shape: tuple[int, ...]) -> Layer:
    outputs, inputs = weights.shape[0], weights.shape[3]
    rows = int(np.prod(shape, dtype=np.int64)) // inputs
    return linear_layer(rows, inputs, outputs)


def _torch_layer(weights: Weights, shape: tuple[int, ...]) -> Layer:
    module = weights.module
    if module.padding_mode != "zeros":
        raise ModelError(f"its padding is {module.padding_mode}, not zeros")
    batch, _, height, width = shape
    kernel, stride, dilation = module.kernel_size, module.stride, module.dilation
    if module.padding == "same":
        padding = same_padding((height, width), kernel, stride, dilation)
    elif module.padding == "valid":
        padding = _NONE
    else:
        down, across = map(int, module.padding)
        padding = (down, across, down, across)
    return _layer(weights, (batch, height, width), stride, dilation, padding)


def _keras_layer(weights: Weights, shape: tuple[int, ...]) -> Layer:
    module = weights.module
    first = module.data_format == "channels_first"
    batch, height, width = (shape[0], *(shape[2:] if first else shape[1:3]))
    stride, dilation = module.strides, module.dilation_rate
    padding = _NONE
    if module.padding == "same":
        padding = same_padding((height, width), module.kernel_size, stride, dilation)
    return _layer(weights, (batch, height, width), stride, dilation, padding)


def _layer(
    weights: Weights,
    image: tuple[int, int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: Sides,
) -> Layer:
    outputs, kernel_height, kernel_width, inputs = weights.shape
    if inputs == 1:
        # Converters make one of these of a stem on gray images, too.
        raise ModelError("depthwise: each output channel reads one input channel")
    sizes = (
        *image, weights.groups, inputs, outputs // weights.groups, kernel_height, kernel_width,
        *stride, *dilation, *padding,
    )  # fmt: skip
    return Layer(*map(int, sizes))  # type: ignore[arg-type]
