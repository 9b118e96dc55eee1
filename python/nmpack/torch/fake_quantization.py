# SPDX-License-Identifier: BSD-3-Clause
"""Training with the rounding of int8 in sight, masks held: fake quantization by torch.ao.

Every convolution and linear layer computes with weights rounded as :func:`nmpack.quantize.to_int8`
rounds them: symmetric in -127 … 127, a scale for each output channel of a convolution. Batch norm
is folded into a convolution by a factor for each output channel, which such rounding does not see,
so it stays a layer of its own while training. What goes into each layer is rounded to int8 within a
moving average of its range. Gradients go straight through, and a pruned weight stays 0.

Sums of a residual network and the outputs of the last layer are not rounded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from nmpack.errors import ModelError, SelectionError
from nmpack.quiet import import_module
from nmpack.torch.layers import layers_of

_INPUT = "nmpack_input"
_HOOK = "_nmpack_input_hook"


def fake_quantize_(model: nn.Module) -> int:
    """Let the convolutions and linear layers of ``model`` compute as in int8, in place.

    Masks come first: a schedule may move them meanwhile. Ranges are learned in training mode alone.

    Returns:
        How many layers do.

    Raises:
        SelectionError: there is none, or one does already.
    """
    layers = [layer.module for layer in layers_of(model)]
    if not layers:
        raise SelectionError("expected a convolution or a linear layer to quantize, got none")
    if any(hasattr(layer, _INPUT) for layer in layers):
        raise SelectionError("expected a model that is not fake-quantized yet, got one that is")
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", _weights_of(layer))
        layer.add_module(_INPUT, _inputs())
        layer.__dict__[_HOOK] = layer.register_forward_pre_hook(_round_input, with_kwargs=True)
    return len(layers)


def remove_fake_quantization_(model: nn.Module) -> int:
    """Undo :func:`fake_quantize_`, in place: masks stay held, weights are not rounded.

    Returns:
        How many layers were fake-quantized.
    """
    found = 0
    for layer in (item.module for item in layers_of(model)):
        if not hasattr(layer, _INPUT):
            continue
        layer.__dict__.pop(_HOOK).remove()
        delattr(layer, _INPUT)
        chains: Any = layer.parametrizations
        chain = chains["weight"]
        if len(chain) == 1:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            if "bias" in layer._parameters:  # the weight comes back behind it
                layer._parameters["bias"] = layer._parameters.pop("bias")
        else:
            del chain[len(chain) - 1]
        found += 1
    return found


def require_plain(model: nn.Module) -> None:
    """Check that no layer of ``model`` is fake-quantized.

    Raises:
        ModelError: one is.
    """
    if any(hasattr(layer, _INPUT) for layer in model.modules()):
        raise ModelError(
            "expected a model that is not fake-quantized any more: call "
            "nmpack.torch.remove_fake_quantization_ on it first"
        )


def _weights_of(layer: nn.Module) -> nn.Module:
    """Return what rounds a weight, its scales always those of the weight at hand."""
    quantization = import_module("torch.ao.quantization", "torch")
    options: dict[str, Any] = {
        "quant_min": -127, "quant_max": 127, "dtype": torch.qint8, "averaging_constant": 1.0,
    }  # fmt: skip
    if isinstance(layer, nn.Linear):
        observer = quantization.MovingAverageMinMaxObserver
        options["qscheme"] = torch.per_tensor_symmetric
    else:
        observer = quantization.MovingAveragePerChannelMinMaxObserver
        options |= {"qscheme": torch.per_channel_symmetric, "ch_axis": 0}
    rounding: nn.Module = quantization.FakeQuantize(observer, **options)
    return rounding


def _inputs() -> nn.Module:
    quantization = import_module("torch.ao.quantization", "torch")
    rounding: nn.Module = quantization.FakeQuantize(
        quantization.MovingAverageMinMaxObserver,
        quant_min=-128, quant_max=127, dtype=torch.qint8, qscheme=torch.per_tensor_affine,
    )  # fmt: skip
    return rounding


def _round_input(
    layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    rounding: Any = getattr(layer, _INPUT)
    rounding.enable_observer(layer.training)
    if arguments:
        return (rounding(arguments[0]), *arguments[1:]), named
    return arguments, {**named, "input": rounding(named["input"])}
