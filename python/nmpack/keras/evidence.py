# SPDX-License-Identifier: BSD-3-Clause
"""What the Taylor and the activation score need, and batch norm, on either backend of Keras."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from nmpack.errors import NmpackError
from nmpack.keras.layers import layers_of, to_array
from nmpack.quiet import import_keras, import_module, import_tensorflow
from nmpack.sparsity.mask import Array, Evidence
from nmpack.sparsity.selection import LINEAR, Layer


def collect(
    model: Any, batches: Iterable[tuple[Any, Any]], *, loss: Callable[[Any, Any], Any] | None = None
) -> dict[str, Evidence]:
    """Run ``batches`` of ``(inputs, targets)`` through ``model`` and keep what the scores need.

    ``loss(targets, outputs)``, such as ``keras.losses.CategoricalCrossentropy()``, makes gradients;
    without it only input norms are collected. Result as :func:`nmpack.torch.collect`.

    Raises:
        NmpackError: there was no batch, or the backend is neither tensorflow nor torch.
    """
    layers = layers_of(model)
    before = [vars(layer.module).get("call") for layer in layers]  # of fake quantization
    sums: dict[str, Array] = {}
    counts: dict[str, int] = {}
    gradients: dict[str, Array] = {}
    steps = 0
    try:
        for layer in layers:
            _listen(layer, sums, counts)
        for inputs, targets in batches:
            steps += 1
            if loss is None:
                model(inputs, training=False)
                continue
            found = _gradients(model, layers, inputs, targets, loss)
            for layer, gradient in zip(layers, found, strict=True):
                if gradient is not None:
                    gradients[layer.name] = gradients.get(layer.name, 0) + to_array(
                        gradient, layer.module
                    )
    finally:
        for layer, call in zip(layers, before, strict=True):
            vars(layer.module).pop("call", None)
            if call is not None:
                vars(layer.module)["call"] = call
    if not steps:
        raise NmpackError("scores that look at data need at least one batch, got none")
    return {
        layer.name: Evidence(
            gradients[layer.name] / steps if layer.name in gradients else None,
            np.sqrt(sums[layer.name] / counts[layer.name]) if layer.name in sums else None,
        )
        for layer in layers
    }


def _listen(layer: Layer, sums: dict[str, Array], counts: dict[str, int]) -> None:
    inner = layer.module.call

    def call(x: Any, *arguments: Any, **options: Any) -> Any:
        total, seen = column_squares(layer, np.asarray(import_keras().ops.convert_to_numpy(x)))
        sums[layer.name] = sums.get(layer.name, 0) + total
        counts[layer.name] = counts.get(layer.name, 0) + seen
        return inner(x, *arguments, **options)

    vars(layer.module)["call"] = call


def _gradients(
    model: Any, layers: list[Layer], inputs: Any, targets: Any, loss: Callable[[Any, Any], Any]
) -> list[Array | None]:
    ops, backend = import_keras().ops, import_keras().config.backend()
    kernels = [layer.module.kernel for layer in layers]
    if backend == "tensorflow":
        with import_tensorflow().GradientTape() as tape:
            value = loss(targets, model(inputs, training=False))
        found = tape.gradient(value, [kernel.value for kernel in kernels])
    elif backend == "torch":
        torch = import_module("torch", "torch")
        value = loss(targets, model(inputs, training=False))
        values = [kernel.value for kernel in kernels]
        found = torch.autograd.grad(value, values, allow_unused=True)
    else:
        raise NmpackError(f"gradients need Keras on tensorflow or torch, got {backend}")
    return [None if item is None else ops.convert_to_numpy(item) for item in found]


def column_squares(layer: Layer, x: Array) -> tuple[Array, int]:
    """Sum the squares of what each column is multiplied with, as :mod:`nmpack.torch` does.

    Returns:
        ``[groups, K]`` (float64, OHWI order) and the number of products in each sum.
    """
    module = layer.module
    squares = np.square(x.astype(np.float64))
    if layer.kind == LINEAR:
        rows = squares.reshape(-1, layer.shape[3])
        return rows.sum(axis=0)[None], len(rows)
    if module.data_format == "channels_first":
        squares = squares.transpose(0, 2, 3, 1)
    spans = []
    for axis in (0, 1):
        size, stride, dilation = module.kernel_size[axis], module.strides[axis], 1
        dilation = module.dilation_rate[axis]
        reach, length = dilation * (size - 1) + 1, squares.shape[1 + axis]
        before = after = 0
        if module.padding == "same":
            total = max((-(-length // stride) - 1) * stride + reach - length, 0)
            before, after = total // 2, total - total // 2
        count = (length + before + after - reach) // stride + 1
        spans.append((size, stride, dilation, before, after, count))
    (kh, sy, dy, top, bottom, height), (kw, sx, dx, left, right, width) = spans
    squares = np.pad(squares, ((0, 0), (top, bottom), (left, right), (0, 0)))
    taps = [
        squares[:, y * dy : y * dy + sy * (height - 1) + 1 : sy,
                x_ * dx : x_ * dx + sx * (width - 1) + 1 : sx].sum(axis=(0, 1, 2))
        for y in range(kh) for x_ in range(kw)
    ]  # fmt: skip
    columns = np.stack([tap.reshape(layer.groups, -1) for tap in taps], axis=1)
    return columns.reshape(layer.groups, -1), len(squares) * height * width


def reestimate_batch_norm_(model: Any, batches: Iterable[Any]) -> int:
    """Replace every moving mean and variance by the mean over ``batches`` of inputs, in place.

    As :func:`nmpack.torch.reestimate_batch_norm_`, but with dropout as in training.

    Returns:
        The number of batches seen; a model without batch norm sees none.

    Raises:
        NmpackError: there was no batch.
    """
    kind = import_keras().layers.BatchNormalization
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, kind)]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    seen = 0
    try:
        for batch in batches:
            for norm in norms:
                norm.momentum = seen / (seen + 1)
            seen += 1
            model(batch[0] if isinstance(batch, tuple | list) else batch, training=True)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    if not seen:
        raise NmpackError("batch norm cannot be re-estimated without a batch: got none")
    return seen
