# SPDX-License-Identifier: BSD-3-Clause
"""What the Taylor and the activation score need: gradients and input norms on real data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.errors import NmpackError
from nmpack.modes import evaluating
from nmpack.sparsity.mask import Evidence
from nmpack.torch.holding import original
from nmpack.torch.layers import layers_of, require_real, to_array

#: ``(outputs, targets) -> loss``.
Loss = Callable[[Any, Any], torch.Tensor]


def collect(
    model: nn.Module, batches: Iterable[tuple[Any, Any]], *, loss: Loss | None = None
) -> dict[str, Evidence]:
    """Run ``batches`` through ``model`` and keep what the scores need of every layer.

    The model is in evaluation mode meanwhile, and as before afterwards: parameters, gradients,
    statistics and mode.

    Args:
        model: on the device where it shall run.
        batches: ``(inputs, targets)``, moved to that device; a few hundred images are enough.
        loss: makes gradients; None collects input norms alone, and the targets are not used.

    Returns:
        By layer name: the mean gradient over the batches and the root mean square of every column's
        input over batches and output pixels.

    Raises:
        NmpackError: there was no batch, or a layer has no weights yet.
    """
    layers = layers_of(model)
    require_real(layers)
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}
    hooks = [
        layer.module.register_forward_pre_hook(_counter(layer.name, sums, counts))
        for layer in layers
    ]
    parameters = list(model.parameters())
    gradients, wanted = [p.grad for p in parameters], [p.requires_grad for p in parameters]
    try:
        with evaluating(model):
            for parameter in parameters:
                parameter.grad = None
            for layer in layers:
                original(layer.module).requires_grad_(loss is not None)
            steps = _run(model, batches, loss)
        found = {}
        for layer in layers:
            gradient = original(layer.module).grad
            norms = None
            if layer.name in sums:
                norms = (sums[layer.name] / counts[layer.name]).sqrt().cpu().numpy()
            array = None if gradient is None else to_array(gradient) / steps
            found[layer.name] = Evidence(array, norms)
        return found
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, gradient, need in zip(parameters, gradients, wanted, strict=True):
            parameter.grad = gradient
            parameter.requires_grad_(need)


def _run(model: nn.Module, batches: Iterable[tuple[Any, Any]], loss: Loss | None) -> int:
    """Run ``batches`` forward, and backward where there is a loss; returns how many."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    steps = 0
    for inputs, targets in batches:
        steps += 1
        with torch.set_grad_enabled(loss is not None):
            outputs = model(inputs.to(device))
            if loss is not None:
                loss(outputs, targets.to(device)).backward()  # type: ignore[no-untyped-call]
    if not steps:
        raise NmpackError("scores that look at data need at least one batch, got none")
    return steps


def _counter(
    name: str, sums: dict[str, torch.Tensor], counts: dict[str, int]
) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        with torch.no_grad():
            total, seen = column_squares(module, inputs[0])
        sums[name] = sums.get(name, 0) + total
        counts[name] = counts.get(name, 0) + seen

    return count


def column_squares(layer: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Sum the squares of what each column of the weight matrix is multiplied with.

    Returns:
        ``[groups, K]`` (float64, OHWI order) and the number of products in each sum. For a
        convolution that is exact, padding included, without making the im2col matrix.
    """
    x = x.detach().double()
    if isinstance(layer, nn.Linear):
        rows = x.reshape(-1, x.shape[-1]).square()
        return rows.sum(0)[None], rows.shape[0]
    assert isinstance(layer, nn.Conv2d)
    x = F.pad(x, _padding(layer), mode="constant" if layer.padding_mode == "zeros" else
              layer.padding_mode)  # fmt: skip
    (kh, kw), (sy, sx), (dy, dx) = layer.kernel_size, layer.stride, layer.dilation
    height = (x.shape[2] - dy * (kh - 1) - 1) // sy + 1
    width = (x.shape[3] - dx * (kw - 1) - 1) // sx + 1
    taps = []
    for ky in range(kh):
        for kx in range(kw):
            top, left = ky * dy, kx * dx
            seen = x[:, :, top : top + sy * (height - 1) + 1 : sy,
                     left : left + sx * (width - 1) + 1 : sx]  # fmt: skip
            taps.append(seen.square().sum((0, 2, 3)).reshape(layer.groups, -1))
    return torch.stack(taps, 1).reshape(layer.groups, -1), x.shape[0] * height * width


def _padding(layer: nn.Conv2d) -> list[int]:
    # Last axis first, before and after; strings such as "same" are resolved there already.
    return list(layer._reversed_padding_repeated_twice)
