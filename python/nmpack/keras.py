# SPDX-License-Identifier: BSD-3-Clause
"""Column-wise N:M pruning of Keras 3 models: a constraint on the kernel holds the mask.

>>> import keras, nmpack.keras
>>> from nmpack import NMPattern
>>> model = keras.applications.ResNet50(weights=None)
>>> report = nmpack.keras.prune_(model, NMPattern.from_sparsity(0.75, tile=32))
>>> # ... model.fit as usual: every optimizer step ends by applying the mask ...
>>> nmpack.keras.finalize_(model)

The constraint lives on the variable, not in the layer's config: a saved model stays an ordinary
one. To go on fine-tuning after loading it, call :func:`prune_` again with the same pattern, which
finds the same mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from nmpack.errors import NmpackError
from nmpack.mask import Array, BoolArray, compute_mask
from nmpack.pattern import NMPattern
from nmpack.quiet import import_keras
from nmpack.selection import Layer, LayerReport, PruneReport, Select, choose


class HoldMask:
    """Keras constraint that multiplies a kernel by a fixed mask (0 or 1, HWIO)."""

    def __init__(self, mask: BoolArray, pattern: NMPattern) -> None:
        """Hold ``mask`` (boolean, the shape of the kernel), made for ``pattern``."""
        self.mask = mask
        self.pattern = pattern

    def __call__(self, kernel: Any) -> Any:
        """Return the kernel with its pruned entries at zero."""
        ops = import_keras().ops
        return ops.where(self.mask, kernel, ops.zeros_like(kernel))


def weights(layer: Any) -> Array:
    """Return a layer's kernel as float32 OHWI ``[Cout, kh, kw, Cin / groups]``."""
    kernel = import_keras().ops.convert_to_numpy(layer.kernel)
    return np.ascontiguousarray(kernel.astype(np.float32).transpose(3, 0, 1, 2))


def prune_(
    model: Any,
    pattern: NMPattern,
    *,
    select: Select | None = None,
    exclude: str | Iterable[str] = (),
    score: str = "l1",
) -> PruneReport:
    """Prune the convolutions of a built Keras 3 ``model`` in place by magnitude; hold the masks.

    Arguments, result and errors are those of :func:`nmpack.torch.prune_`; a predicate gets
    ``(name, layer)``. The same weights give the same mask as there.

    Raises:
        PatternError: the pattern does not fit a layer; the model is then unchanged.
        SelectionError: nothing to prune, or a glob matches nothing.
        NmpackError: a layer has no weights yet, or a kernel has another constraint.
    """
    chosen = [(c.layer, c.reason) for c in choose(_layers(model), pattern, select, exclude)]
    masks: list[BoolArray | None] = []
    for layer, reason in chosen:
        if reason:
            masks.append(None)
            continue
        other = layer.module.kernel.constraint
        if other is not None and not isinstance(other, HoldMask):
            raise NmpackError(
                f"{layer.name}: its kernel has the constraint {other!r}; "
                "exclude the layer or remove the constraint"
            )
        mask = compute_mask(
            weights(layer.module), pattern, groups=layer.groups, layer=layer.name, score=score
        )
        masks.append(mask.transpose(1, 2, 3, 0))
    rows = []
    for (layer, reason), mask_ in zip(chosen, masks, strict=True):
        if mask_ is not None:
            held = HoldMask(np.ascontiguousarray(mask_), pattern)
            layer.module.kernel.constraint = held
            layer.module.kernel.assign(held(layer.module.kernel))
        rows.append(_row(layer, reason))
    return PruneReport(tuple(rows))


def finalize_(model: Any) -> Any:
    """Bake the zeros into the kernels and remove the masks, in place; returns ``model``."""
    for layer in _layers(model):
        kernel = layer.module.kernel
        if isinstance(kernel.constraint, HoldMask):
            kernel.assign(kernel.constraint(kernel))
            kernel.constraint = None
    return model


def report(model: Any) -> PruneReport:
    """Say which convolutions of ``model`` hold a mask now."""
    rows = []
    for layer in _layers(model):
        held = isinstance(layer.module.kernel.constraint, HoldMask)
        rows.append(_row(layer, "" if held else "not pruned"))
    return PruneReport(tuple(rows))


def _layers(model: Any) -> list[Layer]:
    found = []
    for name, layer in _walk(model, ""):
        if not layer.built:
            raise NmpackError(f"{name}: has no weights yet; call the model once before pruning it")
        height, width, channels, outputs = layer.kernel.shape
        shape = (int(outputs), int(height), int(width), int(channels))
        found.append(Layer(name, layer, shape, int(layer.groups)))
    return found


def _walk(model: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield every Conv2D once, in the order of the model, nested models included."""
    convolution = import_keras().layers.Conv2D
    nested = model._flatten_layers(include_self=False, recursive=False)
    for layer in nested:
        if isinstance(layer, convolution):
            yield prefix + layer.name, layer
        else:
            yield from _walk(layer, f"{prefix}{layer.name}/")


def _row(layer: Layer, reason: str) -> LayerReport:
    held = layer.module.kernel.constraint
    value = weights(layer.module)
    density = float((value != 0).sum() / value.size)
    pattern = held.pattern if isinstance(held, HoldMask) else None
    return LayerReport(layer.name, layer.shape, layer.groups, pattern, density, reason)
