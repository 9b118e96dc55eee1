# SPDX-License-Identifier: BSD-3-Clause
"""Masks on Keras kernels: a constraint that the optimizer applies after each step."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmpack.errors import NmpackError
from nmpack.keras.fake_quantization import require_plain
from nmpack.keras.layers import layers_of, to_array
from nmpack.quiet import import_keras
from nmpack.sparsity.mask import Array, BoolArray
from nmpack.sparsity.pattern import Pattern


class HoldMask:
    """Keras constraint that multiplies a kernel by a mask (0 or 1, in the kernel's axes).

    With feedback the values of pruned weights live on beside the kernel: the optimizer moves the
    zeros of the kernel by what their gradient says, straight through the mask, and the constraint
    puts the moves there. That is the same as training all weights with masked ones in the forward
    pass, for every optimizer whose update is a function of the gradients (weight decay by the
    optimizer does not see pruned weights; ``shrink`` is theirs).
    """

    def __init__(self, mask: BoolArray, pattern: Pattern | None, *, feedback: bool = False) -> None:
        """Hold ``mask``, made for ``pattern`` where known."""
        keras = import_keras()
        self.pattern = pattern
        self.feedback = feedback
        # Variables, so that a compiled training step sees a new mask.
        self.mask = _variable(keras, mask, "bool")
        self.beside = _variable(keras, np.zeros(mask.shape), "float32") if feedback else None
        self.shrink = _variable(keras, np.zeros(()), "float32") if feedback else None
        self.learning = _variable(keras, np.ones(()), "float32") if feedback else None

    def __call__(self, kernel: Any) -> Any:
        """Return the kernel with its pruned entries at zero."""
        ops = import_keras().ops
        zeros = ops.zeros_like(kernel)
        kept = ops.where(self.mask, kernel, zeros)
        if self.beside is None or self.shrink is None or self.learning is None:
            return kept
        moved = ops.where(self.mask, zeros, kernel * ops.cast(self.learning, kernel.dtype))
        beside = self.beside * (1.0 - self.shrink) + ops.cast(moved, "float32")
        self.beside.assign(beside)
        return kept

    def dense(self, kernel: Array) -> Array:
        """Return all weights, those of pruned entries included, in the kernel's axes."""
        if self.beside is None:
            return kernel
        return np.asarray(kernel + import_keras().ops.convert_to_numpy(self.beside))

    def renew(self, kernel: Any, mask: BoolArray) -> None:
        """Replace the mask; values move between the variable ``kernel`` and beside it."""
        ops = import_keras().ops
        everything = self.dense(ops.convert_to_numpy(kernel))
        self.mask.assign(mask)
        if self.beside is not None:
            self.beside.assign(np.where(mask, 0.0, everything).astype(np.float32))
        kernel.assign(np.where(mask, everything, 0.0))


def held(layer: Any) -> HoldMask | None:
    """Return the mask that ``layer`` holds."""
    constraint = getattr(layer.kernel, "constraint", None)
    return constraint if isinstance(constraint, HoldMask) else None


def hold(layer: Any, mask: BoolArray, pattern: Pattern | None, *, feedback: bool = False) -> None:
    """Hold ``mask`` on the kernel of ``layer``."""
    holder = HoldMask(mask, pattern, feedback=feedback)
    holder.renew(layer.kernel, mask)
    layer.kernel.constraint = holder


def require_free(name: str, layer: Any) -> None:
    """Check that the kernel is a variable of floating point without a constraint of others.

    Raises:
        NmpackError: it is none, or has one.
    """
    if how := taken(layer):
        raise NmpackError(f"{name}: {how}")
    other = layer.kernel.constraint
    if other is not None and not isinstance(other, HoldMask):
        raise NmpackError(
            f"{name}: its kernel has the constraint {other!r}; "
            "exclude the layer or remove the constraint"
        )


def taken(layer: Any) -> str:
    """Say what computes the kernel of ``layer`` from other variables, or nothing."""
    if mode := getattr(layer, "quantization_mode", None):
        return f"Keras has quantized it ({mode}); prune the model before that"
    if getattr(layer, "lora_enabled", False):
        return "its kernel is computed with LoRA; prune the model before that, or merge it first"
    return ""


def finalize_(model: Any) -> Any:
    """Bake the zeros into the kernels and remove the masks, in place; returns ``model``.

    Raises:
        ModelError: a layer is fake-quantized; the model is then unchanged.
    """
    layers = layers_of(model)
    require_plain(model)
    for layer in layers:
        holder = held(layer.module)
        if holder is not None:
            kernel = layer.module.kernel
            ops = import_keras().ops
            kernel.assign(ops.where(holder.mask, kernel, ops.zeros_like(kernel)))
            kernel.constraint = None
    return model


def all_weights(layer: Any) -> Array:
    """Return a layer's weights as OHWI, the values of pruned entries included where they live."""
    holder = held(layer)
    kernel = import_keras().ops.convert_to_numpy(layer.kernel)
    return to_array(holder.dense(kernel) if holder is not None else kernel, layer)


def _variable(keras: Any, value: Any, dtype: str) -> Any:
    return keras.Variable(np.asarray(value).astype(dtype), trainable=False, dtype=dtype)
