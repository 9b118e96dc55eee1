# SPDX-License-Identifier: BSD-3-Clause
"""Column-wise N:M pruning of PyTorch models, as ordinary parametrizations.

>>> import torch, nmpack.torch
>>> from nmpack import NMPattern
>>> from nmpack.models import resnet18
>>> model = resnet18()
>>> report = nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=32))
>>> # ... fine-tune as usual: the mask is held ...
>>> nmpack.torch.finalize_(model)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from nmpack.errors import SelectionError
from nmpack.mask import Array, compute_mask
from nmpack.pattern import NMPattern
from nmpack.selection import Layer, LayerReport, PruneReport, Select, choose


class HoldMask(nn.Module):
    """Parametrization that multiplies a weight by a fixed mask.

    The mask is a buffer, so ``state_dict``, ``deepcopy``, ``to(device)`` and DDP carry it, and the
    gradient of every pruned weight is zero.
    """

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor, pattern: NMPattern) -> None:
        """Hold ``mask`` (boolean, the shape of the weight), made for ``pattern``."""
        super().__init__()
        self.register_buffer("mask", mask)
        self.pattern = pattern

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight with its pruned entries at zero."""
        return torch.where(self.mask, weight, torch.zeros((), dtype=weight.dtype).to(weight))

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Take an assigned weight as it is."""
        return weight


def weights(layer: nn.Conv2d) -> Array:
    """Return a layer's effective weights as float32 OHWI ``[Cout, kh, kw, Cin / groups]``."""
    value = layer.weight.detach().to(device="cpu", dtype=torch.float32)
    # A copy: the permuted view of a one-channel filter is the parameter's own memory.
    return value.permute(0, 2, 3, 1).contiguous().clone().numpy()


def prune_(
    model: nn.Module,
    pattern: NMPattern,
    *,
    select: Select | None = None,
    exclude: str | Iterable[str] = (),
) -> PruneReport:
    """Prune the convolutions of ``model`` in place by magnitude and hold the masks from then on.

    Args:
        model: any module with ``nn.Conv2d`` layers.
        pattern: what to keep.
        select: a glob or globs over names (``"layer[234].*"``), a module type, or a predicate
            ``(name, module)``; None takes every convolution but the stem, those that the model's
            own ``keep_dense`` names, grouped ones and those narrower than a tile.
        exclude: globs over names that stay dense whatever ``select`` says.

    Returns:
        What was pruned, what was not, and why. Layers pruned before are pruned anew from their
        masked weights, so calling twice with one pattern changes nothing.

    Raises:
        PatternError: the pattern does not fit a layer; the model is then unchanged.
        SelectionError: nothing to prune, or a glob matches nothing.
    """
    layers = _layers(model)
    chosen = choose(layers, pattern, select, exclude, getattr(model, "keep_dense", ()))
    masks: list[torch.Tensor | None] = []
    for layer, reason in chosen:
        if reason:
            masks.append(None)
            continue
        if hasattr(layer.module, "weight_orig"):
            raise SelectionError(
                f"{layer.name}: already pruned by torch.nn.utils.prune; "
                "call torch.nn.utils.prune.remove on it first"
            )
        mask = compute_mask(weights(layer.module), pattern, groups=layer.groups, layer=layer.name)
        masks.append(torch.from_numpy(mask).permute(0, 3, 1, 2).contiguous())
    rows = []
    for (layer, reason), mask_ in zip(chosen, masks, strict=True):
        if mask_ is not None:
            _finalize_layer(layer.module)
            held = HoldMask(mask_.to(layer.module.weight.device), pattern)
            parametrize.register_parametrization(layer.module, "weight", held)
        rows.append(_row(layer, reason))
    return PruneReport(tuple(rows))


def finalize_(model: nn.Module) -> nn.Module:
    """Bake the zeros into the weights and remove the masks, in place; returns ``model``.

    The state dict then has the names it had before :func:`prune_`.
    """
    for layer in _layers(model):
        _finalize_layer(layer.module)
    return model


def report(model: nn.Module) -> PruneReport:
    """Say which convolutions of ``model`` hold a mask now."""
    return PruneReport(
        tuple(_row(layer, "" if _held(layer.module) else "not pruned") for layer in _layers(model))
    )


def _layers(model: nn.Module) -> list[Layer]:
    return [
        Layer(name or "model", module, _ohwi(module), module.groups)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]


def _ohwi(layer: nn.Conv2d) -> tuple[int, ...]:
    height, width = layer.kernel_size
    return (layer.out_channels, height, width, layer.in_channels // layer.groups)


def _held(layer: nn.Module) -> HoldMask | None:
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    chain: Any = layer.parametrizations
    return next((item for item in chain["weight"] if isinstance(item, HoldMask)), None)


def _finalize_layer(layer: nn.Module) -> None:
    if _held(layer) is None:
        return
    # A deepcopy shares its class with the original, and removing deletes a property of the class.
    shared = type(layer)
    members = {k: v for k, v in vars(shared).items() if k not in ("__dict__", "__weakref__")}
    layer.__class__ = type(shared.__name__, shared.__bases__, members)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    # The weight comes back behind the bias; put the parameters into their first order again.
    if "bias" in layer._parameters:
        layer._parameters["bias"] = layer._parameters.pop("bias")


def _row(layer: Layer, reason: str) -> LayerReport:
    held = _held(layer.module)
    value = weights(layer.module)
    density = float((value != 0).sum() / value.size)
    pattern = held.pattern if held else None
    return LayerReport(layer.name, layer.shape, layer.groups, pattern, density, reason)
