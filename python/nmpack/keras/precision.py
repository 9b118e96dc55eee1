# SPDX-License-Identifier: BSD-3-Clause
"""A Keras model in float32, whatever precision it computes in."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from nmpack.errors import ModelError
from nmpack.quiet import import_keras
from nmpack.refusals import said

_OTHERS = ("float16", "bfloat16", "float64")
_POLICIES = (*_OTHERS, "mixed_float16", "mixed_bfloat16")


def in_float32(model: Any) -> Any:
    """Return ``model`` if it computes in float32, or a copy that does, with the same weights.

    Neither ``model`` nor the global policy changes.

    Raises:
        ModelError: the model cannot be copied; the message says what to do.
    """
    found = precision_of(model)
    if found is None:
        return model
    try:
        twin = _cloned(model)
    except Exception:
        # A subclassed model, or a layer that its configuration does not describe.
        known = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
        try:
            with import_keras().saving.custom_object_scope(known):
                twin = copy.deepcopy(model)
        except Exception as error:
            raise _refusal(model, found, said(error)) from error
    for layer in twin._flatten_layers():
        if layer.dtype_policy.name in _POLICIES:
            layer.dtype_policy = "float32"
    if precision_of(twin) is not None:
        raise _refusal(model, found, "it chooses its precision by itself")
    return twin


def precision_of(model: Any) -> str | None:
    """Return the precision in which a layer of ``model`` computes, or None when all is float32."""
    for layer in model._flatten_layers():
        policy = layer.dtype_policy
        if policy.compute_dtype in _OTHERS or policy.variable_dtype in _OTHERS:
            return str(policy.name)
    return next((str(x.dtype) for x in inputs_of(model) if str(x.dtype) in _OTHERS), None)


def inputs_of(model: Any) -> list[Any]:
    """Return the symbolic inputs of a functional or built sequential model; of others none."""
    graph = getattr(model, "_functional", model)
    return list(graph.inputs) if hasattr(graph, "_nodes_by_depth") else []


def _cloned(model: Any) -> Any:
    keras = import_keras()

    def wide(tensor: Any) -> Any:
        kind = "float32" if tensor.dtype in _OTHERS else tensor.dtype
        return keras.Input(batch_shape=tensor.shape, dtype=kind, name=tensor.name)

    graph = getattr(model, "_functional", model)
    inputs = keras.tree.map_structure(wide, graph._inputs_struct)
    twin = keras.models.clone_model(
        model, input_tensors=inputs, clone_function=_clone, recursive=True
    )
    old, new = list(model.weights), list(twin.weights)
    if [(w.name, w.shape) for w in old] != [(w.name, w.shape) for w in new]:
        raise ValueError("the copy has other weights")
    for source, target in zip(old, new, strict=True):
        value = keras.ops.convert_to_numpy(source)
        target.assign(np.asarray(value).astype(target.dtype))
    return twin


def _clone(layer: Any) -> Any:
    keras = import_keras()
    if isinstance(layer, keras.layers.Lambda):
        # Its configuration is code, which Keras refuses to read; here the function is at hand.
        return keras.layers.Lambda(
            layer.function, layer._output_shape, layer.mask, layer.arguments,
            name=layer.name, dtype="float32",
        )  # fmt: skip
    return type(layer).from_config(_widened(layer.get_config()))


def _widened(config: Any) -> Any:
    """Return a configuration with float32 wherever it names another precision."""
    if isinstance(config, dict):
        policy = config.get("class_name") == "DTypePolicy"
        if policy and config.get("config", {}).get("name") in _POLICIES:
            return "float32"
        return {
            key: "float32"
            if key == "dtype" and isinstance(value, str) and value in _POLICIES
            else _widened(value)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_widened(item) for item in config)
    return config


def _refusal(model: Any, found: str, why: str) -> ModelError:
    return ModelError(
        f"{model.name} computes in {found} and cannot be rebuilt in float32, which TFLite needs "
        f"({why}): build it under keras.config.set_dtype_policy('float32') and load its weights"
    )
