# SPDX-License-Identifier: BSD-3-Clause
"""Masks on PyTorch layers: held by a parametrization, taken over from torch's tools, baked in."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils import prune as torch_prune

from nmpack.errors import SelectionError
from nmpack.sparsity.mask import require_mask
from nmpack.sparsity.pattern import Pattern
from nmpack.torch.fake_quantization import require_plain
from nmpack.torch.layers import layers_of, require_real


class HoldMask(nn.Module):
    """Parametrization that multiplies a weight by a mask.

    The mask is a buffer, so ``state_dict``, ``deepcopy``, ``to(device)`` and DDP carry it. Without
    ``feedback`` the gradient of every pruned weight is zero; with it the gradient goes straight
    through, so that pruned weights go on learning and may come back when the mask is computed anew.
    """

    mask: torch.Tensor

    def __init__(
        self, mask: torch.Tensor, pattern: Pattern | None, *, feedback: bool = False
    ) -> None:
        """Hold ``mask`` (boolean, the shape of the weight), made for ``pattern`` where known."""
        super().__init__()
        self.register_buffer("mask", mask)
        self.pattern = pattern
        self.feedback = feedback

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight with its pruned entries at zero."""
        masked = torch.where(self.mask, weight, torch.zeros((), dtype=weight.dtype).to(weight))
        # The sum is the masked weight exactly: w + (w - w), or w + (0 - w).
        return weight + (masked - weight).detach() if self.feedback else masked

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Take an assigned weight as it is."""
        return weight


def held(layer: nn.Module) -> HoldMask | None:
    """Return the mask that ``layer`` holds."""
    holder: HoldMask | None = _parametrization(layer, HoldMask)
    return holder


def original(layer: nn.Module) -> nn.Parameter:
    """Return the trained parameter of ``layer``, pruned entries included."""
    if parametrize.is_parametrized(layer, "weight"):
        chain: Any = layer.parametrizations
        parameter: nn.Parameter = chain["weight"].original
        return parameter
    plain: Any = layer.weight
    assert isinstance(plain, nn.Parameter)
    return plain


def hold(
    layer: nn.Module, mask: torch.Tensor, pattern: Pattern | None, *, feedback: bool = False
) -> HoldMask:
    """Hold ``mask`` on ``layer``; a mask that it holds already is overwritten in place.

    The parameter stays the same object, so an optimizer made before goes on.
    """
    # Memory formats must agree: an element-wise product of two is slow and ends in neither.
    # Made in inference mode, a mask could take no part in training.
    with torch.inference_mode(False):
        mask = torch.empty_like(original(layer), dtype=torch.bool).copy_(mask)
    holder = held(layer)
    if holder is not None:
        holder.mask.copy_(mask)
        holder.pattern, holder.feedback = pattern, feedback
        return holder
    holder = HoldMask(mask, pattern, feedback=feedback)
    parametrize.register_parametrization(layer, "weight", holder)
    return holder


def foreign(layer: nn.Module) -> torch.Tensor | None:
    """Return the mask that torch.nn.utils.prune or torch.ao.pruning holds on ``layer``'s weight."""
    if _torch_pruned(layer):
        mask: Any = layer._buffers["weight_mask"]
        return torch.as_tensor(mask != 0)
    fake = _parametrization(layer, _fake_sparsity())
    return None if fake is None else fake.mask != 0


def adopt_(model: nn.Module, masks: Mapping[str, torch.Tensor] | None = None) -> tuple[str, ...]:
    """Take over masks made elsewhere, in place, and hold them from then on.

    Args:
        model: any module; masks on the weights of its convolutions and linear layers count.
        masks: by layer name, the shape of the layer's weight, zero or False where it is pruned;
            None takes those that ``torch.nn.utils.prune`` and ``torch.ao.pruning`` hold.

    Returns:
        The names of the layers that hold a mask now.

    Raises:
        PatternError: a mask has another shape than its weight, or keeps nothing.
        SelectionError: a name is no layer's, or there is no mask to take over.
        ModelError: a layer has no weights yet.
    """
    require_real(layers_of(model))
    layers = {layer.name: layer.module for layer in layers_of(model)}
    if masks is None:
        found = {name: foreign(layer) for name, layer in layers.items()}
        masks = {name: mask for name, mask in found.items() if mask is not None}
        if not masks:
            raise SelectionError(
                "no convolution or linear layer has a mask of torch.nn.utils.prune or "
                "torch.ao.pruning to take over"
            )
    for name, mask in masks.items():
        if name not in layers:
            raise SelectionError(f"a mask is given for {name!r}, which is no layer of the model")
        shape = tuple(original_shape(layers[name]))
        require_mask(np.asarray((mask != 0).cpu().numpy()), shape, name)
    for name, mask in masks.items():
        bake(layers[name])
        hold(layers[name], mask != 0, None)
        layers[name].nmpack_reason = "its mask was made elsewhere"
    return tuple(masks)


def require_free(name: str, layer: nn.Module) -> None:
    """Check that nobody else computes the weight of ``layer``.

    Raises:
        SelectionError: torch's pruning or another parametrization does.
    """
    if foreign(layer) is not None:
        raise SelectionError(
            f"{name}: already pruned by torch.nn.utils.prune or torch.ao.pruning; take its mask "
            "over with nmpack.torch.adopt_, or remove it first"
        )
    if how := taken(layer):
        raise SelectionError(f"{name}: {how}")


def taken(layer: nn.Module) -> str:
    """Say what computes the weight of ``layer`` from other parameters, masks aside, or nothing."""
    if held(layer) is not None or foreign(layer) is not None or "weight" in layer._parameters:
        return ""
    if parametrize.is_parametrized(layer, "weight"):
        chain: Any = layer.parametrizations
        makers: list[Any] = list(chain["weight"])
    else:  # as torch.nn.utils.weight_norm and spectral_norm do it
        makers = [hook for hook in layer._forward_pre_hooks.values() if hasattr(hook, "name")]
    kinds = ", ".join(type(maker).__name__.lstrip("_") for maker in makers) or "a hook"
    return f"its weight has another parametrization ({kinds}), which must be removed first"


def original_shape(layer: nn.Module) -> torch.Size:
    """Return the shape of ``layer``'s weight without computing it."""
    return _trained(layer).shape


def _trained(layer: nn.Module) -> nn.Parameter:
    """Return the parameter that ``layer`` is trained with, whoever holds its mask."""
    if "weight_orig" in layer._parameters:
        weight: Any = layer.weight_orig
        assert isinstance(weight, nn.Parameter)
        return weight
    return original(layer)


def finalize_(model: nn.Module) -> nn.Module:
    """Bake the zeros into the weights and remove the masks, in place; returns ``model``.

    The state dict then has the names it had before pruning. Masks of ``torch.nn.utils.prune`` and
    ``torch.ao.pruning`` are baked in as well.

    Raises:
        ModelError: a layer is fake-quantized; the model is then unchanged.
    """
    layers = layers_of(model)
    require_plain(model)
    _separate(model, [layer.module for layer in layers])
    for layer in layers:
        bake(layer.module)
    return model


def _separate(model: nn.Module, layers: list[nn.Module]) -> None:
    """Give a layer whose parameter others hold without its mask, or with another, one of its own.

    Zeros are baked into the parameter itself, and would be everybody's.
    """
    uses = Counter(id(p) for module in model.modules() for p in module._parameters.values())
    sharing: dict[int, list[tuple[nn.Module, torch.Tensor]]] = {}
    for layer in layers:
        holder = held(layer)
        mask = holder.mask if holder is not None else foreign(layer)
        if mask is not None and uses[id(_trained(layer))] > 1:
            sharing.setdefault(id(_trained(layer)), []).append((layer, mask))
    for parameter, group in sharing.items():
        same = all(torch.equal(mask, group[0][1]) for _, mask in group)
        if same and len(group) == uses[parameter]:
            continue
        for layer, _ in group:
            own = nn.Parameter(_trained(layer).detach().clone(), _trained(layer).requires_grad)
            if _torch_pruned(layer):
                layer._parameters["weight_orig"] = own
            else:
                chain: Any = layer.parametrizations
                chain["weight"].original = own


def fix_parametrizations_(model: nn.Module) -> nn.Module:
    """Make of what parametrizations compute parameters of their own, in place; returns ``model``.

    As ``remove_parametrizations`` does, but no parameter that another module shares changes.
    """
    for module in list(model.modules()):
        if not parametrize.is_parametrized(module):
            continue
        chains: Any = module.parametrizations
        values = {name: getattr(module, name).detach().clone() for name in chains}
        module.__class__ = type(module).__bases__[0]
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value, value.is_floating_point()))
    return model


def finalized_copy(model: nn.Module) -> nn.Module:
    """Return a finalized deep copy; ``model`` computes what it did."""
    layers_of(model)
    for module in model.modules():
        for name, value in tuple(vars(module).items()):
            sources = {f"{name}_orig", f"{name}_g"} & set(module._parameters)
            if sources and isinstance(value, torch.Tensor):
                # torch.nn.utils computes it anew in every forward, but a result of autograd that
                # stands there meanwhile cannot be copied.
                setattr(module, name, value.detach())
    return finalize_(copy.deepcopy(model))


def bake(layer: nn.Module) -> None:
    """Make the masked weight of ``layer`` its parameter; without a mask nothing changes."""
    if _torch_pruned(layer):
        torch_prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    elif held(layer) is not None or _parametrization(layer, _fake_sparsity()) is not None:
        # A deepcopy shares its class with the original, and removing deletes its property.
        shared = type(layer)
        members = {k: v for k, v in vars(shared).items() if k not in ("__dict__", "__weakref__")}
        layer.__class__ = type(shared.__name__, shared.__bases__, members)
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    else:
        return
    # The weight comes back behind the bias; put the parameters into their first order again.
    if "bias" in layer._parameters:
        layer._parameters["bias"] = layer._parameters.pop("bias")


def _torch_pruned(layer: nn.Module) -> bool:
    """Whether torch.nn.utils.prune holds a mask; spectral_norm has a ``weight_orig``, too."""
    return "weight_orig" in layer._parameters and layer._buffers.get("weight_mask") is not None


def _parametrization(layer: nn.Module, kind: type | None) -> Any:
    if kind is None or not parametrize.is_parametrized(layer, "weight"):
        return None
    chain: Any = layer.parametrizations
    return next((item for item in chain["weight"] if isinstance(item, kind)), None)


def _fake_sparsity() -> type | None:
    try:
        from torch.ao.pruning.sparsifier.utils import FakeSparsity
    except ImportError:  # a torch without torch.ao
        return None
    kind: type = FakeSparsity
    return kind
