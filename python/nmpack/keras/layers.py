# SPDX-License-Identifier: BSD-3-Clause
"""The layers of a Keras 3 model that can be pruned, and their weights as numpy arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nmpack.errors import ModelError, NmpackError
from nmpack.quiet import import_keras
from nmpack.sparsity.mask import Array, BoolArray
from nmpack.sparsity.selection import CONVOLUTION, LINEAR, Layer, Other


def layers_of(model: Any) -> list[Layer]:
    """Return every Conv2D, Dense and EinsumDense that is a matrix, each once, in the model's order.

    Nested models and layers are included, as the EinsumDense of MultiHeadAttention.

    Raises:
        NmpackError: a layer has no weights yet.
        ModelError: ``model`` is no Keras model.
    """
    if not isinstance(model, import_keras().layers.Layer):
        raise ModelError(f"expected a Keras model or layer, got {type(model).__name__}")
    convolution = import_keras().layers.Conv2D
    found: list[Layer] = []
    seen: set[int] = set()
    for name, layer in _walk(model, ""):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if not layer.built:
            raise NmpackError(f"{name}: has no weights yet; call the model once before pruning it")
        if not isinstance(layer, convolution):
            inputs, outputs = matrix_of(layer)
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
    found: dict[int, Other] = {}
    for name, layer in _leaves(model, ""):
        if _is_prunable(layer):
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
    return to_array(import_keras().ops.convert_to_numpy(layer.kernel), layer)


def to_array(kernel: Array, layer: Any) -> Array:
    """Return what has the axes of ``layer``'s kernel (HWIO, or inputs and outputs) as OHWI."""
    if not isinstance(layer, import_keras().layers.Conv2D):
        kernel = kernel.reshape(1, 1, *matrix_of(layer))
    return np.ascontiguousarray(kernel.astype(np.float32).transpose(3, 0, 1, 2))


def to_kernel(mask: BoolArray, layer: Any) -> BoolArray:
    """Return an OHWI mask in the axes of ``layer``'s kernel."""
    return np.ascontiguousarray(mask.transpose(1, 2, 3, 0)).reshape(tuple(layer.kernel.shape))


def matrix_of(layer: Any) -> tuple[int, int]:
    """Return how many inputs and outputs a Dense or EinsumDense has, of all its axes."""
    sizes = tuple(map(int, layer.kernel.shape))
    split = 1 if isinstance(layer, import_keras().layers.Dense) else contracted_axes(layer.equation)
    assert split is not None
    return math.prod(sizes[:split]), math.prod(sizes[split:])


def contracted_axes(equation: str) -> int | None:
    """Return how many axes of the kernel an einsum sums over, None where it is no matrix.

    It is one where these axes come first in the kernel and last in the input, and the kernel's
    others are the last of the output, each in the same order: as ``abc,cde->abde``.
    """
    operands, _, output = equation.replace("...", "").replace(" ", "").partition("->")
    inputs, _, kernel = operands.partition(",")
    made = [letter for letter in kernel if letter in output]
    split = len(kernel) - len(made)
    summed = kernel[:split]
    lasting = inputs.removesuffix(summed)
    plain = 0 < split < len(kernel) and inputs != lasting and len(set(kernel)) == len(kernel)
    return split if plain and output == lasting + kernel[split:] else None


def _is_prunable(layer: Any) -> bool:
    layers = import_keras().layers
    if isinstance(layer, layers.EinsumDense):
        return contracted_axes(layer.equation) is not None
    return isinstance(layer, layers.Conv2D | layers.Dense)


def _walk(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if _is_prunable(model):
        yield model.name, model
        return
    for layer in model._flatten_layers(include_self=False, recursive=False):
        if _is_prunable(layer):
            yield prefix + layer.name, layer
        else:
            yield from _walk(layer, f"{prefix}{layer.name}/")
