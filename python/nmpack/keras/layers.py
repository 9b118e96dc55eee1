# SPDX-License-Identifier: BSD-3-Clause
"""The layers of a Keras 3 model that can be pruned, and their weights as numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nmpack.errors import ModelError, NmpackError
from nmpack.quiet import import_keras
from nmpack.sparsity.mask import Array, BoolArray
from nmpack.sparsity.selection import CONVOLUTION, LINEAR, Layer, Other


def layers_of(model: Any) -> list[Layer]:
    """Return every Conv2D and Dense, each once, in the model's order, nested models included.

    Raises:
        NmpackError: a layer has no weights yet.
        ModelError: ``model`` is no Keras model.
    """
    if not isinstance(model, import_keras().layers.Layer):
        raise ModelError(f"expected a Keras model or layer, got {type(model).__name__}")
    dense = import_keras().layers.Dense
    found: list[Layer] = []
    seen: set[int] = set()
    for name, layer in _walk(model, ""):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if not layer.built:
            raise NmpackError(f"{name}: has no weights yet; call the model once before pruning it")
        if isinstance(layer, dense):
            inputs, outputs = map(int, layer.kernel.shape)
            found.append(Layer(name, layer, (outputs, 1, 1, inputs), 1, LINEAR))
            continue
        height, width, channels, outputs = map(int, layer.kernel.shape)
        shape = (outputs, height, width, channels)
        found.append(Layer(name, layer, shape, int(layer.groups), CONVOLUTION))
    if not found and not model.built:
        raise NmpackError(
            f"{model.name}: has no weights yet; call the model once before pruning it"
        )
    return found


def others_of(model: Any) -> list[Other]:
    """Return the layers that have weights of two axes or more and cannot be pruned."""
    kinds = (import_keras().layers.Conv2D, import_keras().layers.Dense)
    found: dict[int, Other] = {}
    for name, layer in _leaves(model, ""):
        if isinstance(layer, kinds):
            continue
        if any(len(weight.shape) > 1 for weight in layer.weights):
            found.setdefault(id(layer), Other(name, type(layer).__name__))
    return list(found.values())


def _leaves(layer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    inner = list(layer._flatten_layers(include_self=False, recursive=False))
    if not inner:
        yield prefix.removesuffix("/") or layer.name, layer
    for item in inner:
        yield from _leaves(item, f"{prefix}{item.name}/")


def weights(layer: Any) -> Array:
    """Return a layer's kernel as float32 OHWI ``[Cout, kh, kw, Cin / groups]``."""
    return to_array(import_keras().ops.convert_to_numpy(layer.kernel))


def to_array(kernel: Array) -> Array:
    """Return a kernel (HWIO or ``[in, out]``) as float32 OHWI."""
    if kernel.ndim == 2:
        kernel = kernel[None, None]
    return np.ascontiguousarray(kernel.astype(np.float32).transpose(3, 0, 1, 2))


def to_kernel(mask: BoolArray, layer: Any) -> BoolArray:
    """Return an OHWI mask in the axes of ``layer``'s kernel."""
    kernel = np.ascontiguousarray(mask.transpose(1, 2, 3, 0))
    return kernel if len(layer.kernel.shape) == 4 else kernel[0, 0]


def _walk(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    kinds = (import_keras().layers.Conv2D, import_keras().layers.Dense)
    if isinstance(model, kinds):
        yield model.name, model
        return
    for layer in model._flatten_layers(include_self=False, recursive=False):
        if isinstance(layer, kinds):
            yield prefix + layer.name, layer
        else:
            yield from _walk(layer, f"{prefix}{layer.name}/")
