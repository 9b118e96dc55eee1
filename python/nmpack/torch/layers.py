# SPDX-License-Identifier: BSD-3-Clause
"""The layers of a PyTorch model that can be pruned, and their weights as numpy arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nmpack.mask import Array
from nmpack.selection import CONVOLUTION, LINEAR, Layer

#: torchvision's classes whose published lists are known; its ResNets need none.
_PUBLISHED = {
    "torchvision.models.densenet": ("densenet", "DenseNet"),
    "torchvision.models.mobilenetv2": ("mobilenet", "MobileNetV2"),
    "torchvision.models.vgg": ("vgg", "VGG"),
}


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside of DDP and ``torch.compile``; names are those of that one."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def layers_of(model: nn.Module) -> list[Layer]:
    """Return every ``nn.Conv2d`` and ``nn.Linear``, each once, in the model's order."""
    found = []
    for name, module in unwrap(model).named_modules():
        if isinstance(module, nn.Conv2d):
            found.append(Layer(name or "model", module, ohwi(module), module.groups, CONVOLUTION))
        elif isinstance(module, nn.Linear):
            found.append(Layer(name or "model", module, ohwi(module), 1, LINEAR))
    return found


def keep_dense_of(model: nn.Module) -> tuple[str, ...]:
    """Return the globs of the layers that the model's published list keeps dense."""
    inner = unwrap(model)
    own = getattr(inner, "keep_dense", None)
    if own is not None:
        return tuple(own)
    if known := _PUBLISHED.get(type(inner).__module__):
        import importlib

        zoo = getattr(importlib.import_module(f"nmpack.models.{known[0]}"), known[1])
        return tuple(zoo.keep_dense)
    return ()


def ohwi(layer: nn.Module) -> tuple[int, int, int, int]:
    """Return the shape of a layer's weights ``[Cout, kh, kw, Cin / groups]``."""
    if isinstance(layer, nn.Linear):
        return (layer.out_features, 1, 1, layer.in_features)
    assert isinstance(layer, nn.Conv2d)
    height, width = layer.kernel_size
    return (layer.out_channels, height, width, layer.in_channels // layer.groups)


def to_array(value: torch.Tensor) -> Array:
    """Return a weight-shaped tensor (OIHW or ``[out, in]``) as float32 OHWI, a copy."""
    value = value.detach().to(device="cpu", dtype=torch.float32)
    if value.ndim == 2:
        value = value[:, :, None, None]
    # A copy: the permuted view of a one-channel filter is the parameter's own memory.
    return value.permute(0, 2, 3, 1).contiguous().clone().numpy()


def to_tensor(mask: Any, layer: nn.Module) -> torch.Tensor:
    """Return an OHWI mask as a boolean tensor of the shape of ``layer``'s weight."""
    value = torch.from_numpy(mask).permute(0, 3, 1, 2)
    if isinstance(layer, nn.Linear):
        value = value[:, :, 0, 0]
    return value.contiguous()


def weights(layer: nn.Module) -> Array:
    """Return a layer's effective weights as float32 OHWI ``[Cout, kh, kw, Cin / groups]``."""
    weight: Any = layer.weight
    return to_array(weight)
