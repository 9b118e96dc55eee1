# SPDX-License-Identifier: BSD-3-Clause
"""The layers of a PyTorch model that can be pruned, and their weights as numpy arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

from nmpack.errors import ModelError
from nmpack.sparsity.mask import Array
from nmpack.sparsity.selection import CONVOLUTION, LINEAR, Layer, Other

#: torchvision's classes whose published lists are known; its ResNets need none.
_PUBLISHED = {
    "torchvision.models.densenet": ("densenet", "DenseNet"),
    "torchvision.models.mobilenetv2": ("mobilenet", "MobileNetV2"),
    "torchvision.models.vgg": ("vgg", "VGG"),
}


#: Modules that call the one that they hold.
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside of ``torch.compile``, DDP and the like; names are of that one."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, _WRAPPERS):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def layers_of(model: nn.Module) -> list[Layer]:
    """Return every ``nn.Conv2d`` and ``nn.Linear``, each once, in the model's order.

    Raises:
        ModelError: ``model`` is no PyTorch module.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"expected a torch.nn.Module, got {type(model).__name__}")
    found = []
    for name, module in unwrap(model).named_modules():
        if isinstance(module, nn.Conv2d):
            found.append(Layer(name or "model", module, ohwi(module), module.groups, CONVOLUTION))
        elif isinstance(module, nn.Linear):
            found.append(Layer(name or "model", module, ohwi(module), 1, LINEAR))
    return found


def others_of(model: nn.Module) -> list[Other]:
    """Return the modules that have weights, tensors of two axes or more, and cannot be pruned."""
    found = []
    for name, module in unwrap(model).named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) or "parametrizations" in name.split("."):
            continue
        own = list(module.parameters(recurse=False))
        if parametrize.is_parametrized(module):
            chains: Any = module.parametrizations
            own += chains.parameters()
        if any(is_lazy(parameter) or parameter.ndim > 1 for parameter in own):
            kind = type(module).__name__.removeprefix("Parametrized")
            found.append(Other(name or "model", kind))
    return found


def require_values(module: nn.Module, name: str = "") -> None:
    """Check that every parameter and buffer below ``module``, which is called ``name``, has values.

    Raises:
        ModelError: one has none yet (a lazy module, the meta device); the message says what to do.
    """
    for path, tensor in (*module.named_parameters(name), *module.named_buffers(name)):
        owner = path.rpartition(".")[0].partition(".parametrizations")[0] or "model"
        if is_lazy(tensor):
            raise ModelError(
                f"{owner}: this lazy layer has no weights yet: call the model once on a sample, "
                "such as model(torch.zeros(1, 3, 224, 224))"
            )
        if tensor.is_meta:
            raise ModelError(
                f"{owner}: its weights are on the meta device, without values: load them onto the "
                "CPU first, with model.to_empty(device='cpu') and load_state_dict"
            )


def require_real(layers: list[Layer]) -> None:
    """Check that the weights of ``layers`` have values, are real, and can be changed.

    Raises:
        ModelError: they have none yet, are complex, or were made in inference mode.
    """
    for layer in layers:
        require_values(layer.module, layer.name)
        for parameter in layer.module.parameters():
            if parameter.is_complex():
                kind = str(parameter.dtype).removeprefix("torch.")
                raise ModelError(f"{layer.name}: expected real weights to prune, got {kind}")
            if parameter.is_inference() and not torch.is_inference_mode_enabled():
                raise ModelError(
                    f"{layer.name}: its weights were made in inference mode, so nothing can change "
                    "them outside of it: prune what copy.deepcopy makes of the model"
                )


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
