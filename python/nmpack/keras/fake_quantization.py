# SPDX-License-Identifier: BSD-3-Clause
"""Training with the rounding of int8 in sight, masks held, on either backend of Keras.

What is rounded, and how, is as in :mod:`nmpack.torch.fake_quantization`: the weights of every
Conv2D, Dense and EinsumDense, symmetric in -127 … 127 with a scale for each output channel of a
convolution, and what goes into these layers, within a moving average of its range. Depthwise
convolutions, sums and the outputs of the last layer are not rounded.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np

from nmpack.errors import ModelError, SelectionError
from nmpack.keras.layers import layers_of
from nmpack.quiet import import_keras

_SYMBOLIC = "keras.src.backend.common.symbolic_scope"
_LEAST_SCALE = 2.0**-23
_RATE = 0.01  # of the moving average


def fake_quantize_(model: Any) -> int:
    """Let the convolutions and dense layers of a built ``model`` compute as in int8, in place.

    Any loop that calls ``model`` trains so, ``fit`` also where it ran before; a ``tf.function`` of
    your own is to be traced afterwards.

    Ranges are learned with ``training=True`` alone, which Keras does not pass through a subclassed
    model whose ``call`` has no such argument. A layer without a learned range takes each batch's
    own; the first such call warns.

    Copies are plain models, by ``copy.deepcopy``, ``clone_model`` or a file: neither rounded, nor
    with the learned ranges. To quantize a copy, call this on it.

    Returns:
        How many layers do.

    Raises:
        SelectionError: there is none, or one does already.
        NmpackError: a layer has no weights yet.
    """
    layers = [layer.module for layer in layers_of(model)]
    if not layers:
        raise SelectionError("expected a convolution or a dense layer to quantize, got none")
    if any(_rounding(layer) for layer in layers):
        raise SelectionError("expected a model that is not fake-quantized yet, got one that is")
    warned: list[str] = []
    for layer in layers:
        vars(layer)["call"] = _Rounding(layer, warned)
    _forget_traces(model)
    return len(layers)


def remove_fake_quantization_(model: Any) -> int:
    """Undo :func:`fake_quantize_`, in place: masks stay held, weights are not rounded.

    Returns:
        How many layers were fake-quantized.
    """
    layers = [layer.module for layer in layers_of(model) if _rounding(layer.module)]
    for layer in layers:
        del vars(layer)["call"]
    _forget_traces(model)
    return len(layers)


def require_plain(model: Any) -> None:
    """Check that no layer of ``model`` is fake-quantized.

    Raises:
        ModelError: one is.
    """
    if any(_rounding(layer) for layer in model._flatten_layers()):
        raise ModelError(
            "expected a model that is not fake-quantized any more: call "
            "nmpack.keras.remove_fake_quantization_ on it first"
        )


def round_weights(layer: Any) -> Any:
    """Return the kernel of ``layer``, float32 in its own axes, as an int8 file would have it."""
    ops = import_keras().ops
    kernel = ops.cast(layer.kernel, "float32")
    axes = (0, 1, 2) if isinstance(layer, import_keras().layers.Conv2D) else None
    peak = ops.max(ops.abs(kernel), axis=axes, keepdims=True)
    return _rounded(kernel, ops.maximum(peak / 127.0, _LEAST_SCALE))


class _Rounding:
    """The ``call`` of a layer, on its rounded weights and input."""

    def __init__(self, layer: Any, warned: list[str]) -> None:
        """Round for ``layer``; ``warned`` is shared by all layers of a model, which warn once."""
        self.layer, self.inner = layer, layer.call
        self.learned, self.warned = False, warned
        nothing = np.array([np.inf, -np.inf], np.float32)
        self.range = import_keras().Variable(nothing, trainable=False, dtype="float32")

    def __call__(self, x: Any, *arguments: Any, **options: Any) -> Any:
        x = self._round_input(x)
        # Whoever reads the variable meanwhile gets the rounded weights.
        with import_keras().StatelessScope([(self.layer.kernel, round_weights(self.layer))]):
            return self.inner(x, *arguments, **options)

    def _round_input(self, x: Any) -> Any:
        ops = import_keras().ops
        training = bool(self.layer._get_call_context().training)
        self._warn_without_range(training)
        x = ops.cast(x, "float32")
        fixed = ops.stop_gradient(x)
        now = ops.stack([ops.min(fixed), ops.max(fixed)])
        moved = self.range + (_RATE if training else 0.0) * (now - self.range)
        bounds = ops.where(ops.isfinite(self.range), moved, now)
        if training:
            self.range.assign(bounds)
        low, high = ops.minimum(bounds[0], 0.0), ops.maximum(bounds[1], 0.0)
        scale = ops.maximum((high - low) / 255.0, _LEAST_SCALE)
        zero = ops.round(-128.0 - low / scale)
        inside = ops.clip(x, (-128.0 - zero) * scale, (127.0 - zero) * scale)
        return ops.cast(_rounded(inside, scale), self.layer.compute_dtype)

    def _warn_without_range(self, training: bool) -> None:
        # On the torch backend fit begins with a call for shapes alone, which is no evaluation.
        if importlib.import_module(_SYMBOLIC).in_symbolic_scope():
            return
        self.learned = self.learned or training
        if not self.learned and not self.warned:
            self.warned.append(self.layer.name)
            warnings.warn(
                f"{self.layer.name} is fake-quantized and has learned no range, so that each batch "
                "has its own: train it with training=True, an argument that the call of a "
                "subclassed model has to have",
                stacklevel=2,
            )


def _rounding(layer: Any) -> bool:
    return isinstance(vars(layer).get("call"), _Rounding)


def _rounded(x: Any, scale: Any) -> Any:
    """Round ``x`` to steps of ``scale``, gradients straight through."""
    ops = import_keras().ops
    return x + ops.stop_gradient(ops.round(x / scale) * scale - x)


def _forget_traces(model: Any) -> None:
    """Let ``fit``, ``evaluate`` and ``predict`` trace the model anew, as ``compile`` does."""
    for name in ("train_function", "test_function", "predict_function"):
        if hasattr(model, name):
            setattr(model, name, None)
