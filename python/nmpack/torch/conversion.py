# SPDX-License-Identifier: BSD-3-Clause
"""A PyTorch module as the flat function that litert-torch converts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import nn

from nmpack.errors import ModelError
from nmpack.refusals import said
from nmpack.tflite.ends import distinct, path_name
from nmpack.torch.fake_quantization import require_plain
from nmpack.torch.holding import finalized_copy, fix_parametrizations_
from nmpack.torch.layers import layers_of, require_values, unwrap


class FlatModel(nn.Module):
    """A model that takes tensors by name, images channels last, and returns tensors by name.

    An image is an input of four axes and floating point.
    """

    def __init__(self, wrapped: nn.Module, samples: Any) -> None:
        """Wrap ``wrapped``, which takes what ``samples`` is an example of.

        Args:
            wrapped: in evaluation mode, in float32.
            samples: a tensor, a tuple or list of arguments, or a mapping of keyword arguments;
                each may be nested. What is no tensor in it is a constant.

        Raises:
            ModelError: a sample is complex, or there is no tensor.
        """
        super().__init__()
        self.wrapped = wrapped
        paths, self._structure = pytree.tree_flatten_with_path(_arguments(samples))
        self._leaves = [leaf for _, leaf in paths]
        places = [i for i, leaf in enumerate(self._leaves) if isinstance(leaf, torch.Tensor)]
        self._places = dict(zip(distinct([_input_name(paths[i][0]) for i in places]), places,
                                strict=True))  # fmt: skip
        if not places:
            raise ModelError("expected at least one tensor among the samples, got none")
        for name, place in self._places.items():
            self._leaves[place] = _plain(name, self._leaves[place])
        self._images = {n for n, place in self._places.items() if _is_image(self._leaves[place])}

    def samples(self) -> dict[str, torch.Tensor]:
        """Return the samples by name, images channels last."""
        return {
            name: self._leaves[place].permute(0, 2, 3, 1).contiguous()
            if name in self._images
            else self._leaves[place]
            for name, place in self._places.items()
        }

    def forward(self, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute the outputs by name."""
        leaves = list(self._leaves)
        for name, tensor in tensors.items():
            image = tensor.permute(0, 3, 1, 2) if name in self._images else tensor
            leaves[self._places[name]] = image
        arguments, options = pytree.tree_unflatten(leaves, self._structure)
        return _named(self.wrapped(*arguments, **options))


def flat_model(model: nn.Module, samples: Any) -> FlatModel:
    """Return a flat copy of ``model``: finalized, in evaluation mode, in float32, on the CPU.

    Raises:
        ModelError: a weight has no value yet, a layer is fake-quantized, the model cannot be
            copied, or it fails on the samples; the message says which.
    """
    layers_of(model)
    inner = unwrap(model)
    for name, module in inner.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(
                f"{name or 'model'}: expected an ordinary module, got TorchScript: convert what it "
                "was made of"
            )
    require_values(inner)
    require_plain(inner)
    try:
        ready = fix_parametrizations_(finalized_copy(inner).cpu().float().eval())
        ready = _in_own_order(ready)
    except Exception as error:
        raise ModelError(f"this model cannot be copied: {said(error)}") from error
    flat = FlatModel(ready, samples).eval()
    given = flat.samples()
    try:
        with torch.no_grad():
            outputs = flat(**given)
    except ModelError:
        raise
    except Exception as error:
        shapes = ", ".join(
            f"{name} {_first_channels(list(tensor.shape), name in flat._images)}"
            for name, tensor in given.items()
        )
        raise ModelError(f"the model itself fails on inputs of {shapes}: {said(error)}") from error
    for name, tensor in outputs.items():
        if tensor.is_complex():
            raise ModelError(f"output {name}: expected real numbers, got {_kind(tensor)}")
    return flat


def _in_own_order(module: nn.Module) -> nn.Module:
    """Lay out every filter as its shape says, in place.

    litert-torch goes by strides: a filter of one input channel in channels-last memory counts as
    contiguous, and would be written in another order.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim > 2:
            tensor.data = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.data)
    return module


def _arguments(samples: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(samples, Mapping):
        return (), dict(samples)
    return (tuple(samples) if isinstance(samples, tuple | list) else (samples,)), {}


def _input_name(path: tuple[Any, ...]) -> str:
    """Name an input as litert-torch does: keyword arguments by their own names."""
    steps = [_step(key) for key in path[1:]]
    return path_name(steps, "" if isinstance(path[1], pytree.MappingKey) else "args")


def _named(outputs: Any) -> dict[str, torch.Tensor]:
    paths, _ = pytree.tree_flatten_with_path(outputs)
    names, tensors = [], []
    for path, leaf in paths:
        steps = [_step(key) for key in path]
        by_name = bool(path) and not isinstance(path[0], pytree.SequenceKey)
        name = path_name(steps or [0], "" if by_name else "output")
        if leaf is None:
            continue
        if not isinstance(leaf, torch.Tensor):
            raise ModelError(
                f"output {name}: expected tensors in tuples, lists and dictionaries, "
                f"got {type(leaf).__name__}"
            )
        names.append(name)
        tensors.append(leaf)
    if not names:
        raise ModelError("expected a model with an output, got none")
    return dict(zip(distinct(names), tensors, strict=True))


def _step(key: Any) -> object:
    """Return an index, a dictionary's key or an attribute's name."""
    for attribute in ("idx", "key", "name"):
        if hasattr(key, attribute):
            return getattr(key, attribute)
    return key


def _plain(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a sample on the CPU, in float32 where it is floating point."""
    if tensor.is_complex():
        raise ModelError(f"input {name}: expected real numbers, got {_kind(tensor)}")
    if tensor.is_meta:
        return torch.zeros_like(tensor, device="cpu")
    plain = tensor.detach().cpu()
    return plain.float() if plain.is_floating_point() else plain


def _is_image(tensor: torch.Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_floating_point()


def _first_channels(shape: list[int], image: bool) -> list[int]:
    return [shape[0], shape[3], shape[1], shape[2]] if image else shape


def _kind(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
