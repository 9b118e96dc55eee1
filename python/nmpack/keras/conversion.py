# SPDX-License-Identifier: BSD-3-Clause
"""A Keras model as a flat, frozen TensorFlow function, converted, with names for its ends."""

from __future__ import annotations

import importlib
import re
from typing import Any

import numpy as np

from nmpack.errors import ModelError
from nmpack.keras.fake_quantization import require_plain
from nmpack.keras.precision import in_float32, inputs_of
from nmpack.quiet import import_keras, import_tensorflow
from nmpack.refusals import said
from nmpack.tflite.ends import distinct, name_ends, path_name

# Without it the converter leaves the kernels of a Keras 3 model as resource variables.
_FREEZE = "tensorflow.python.framework.convert_to_constants"
_SCHEMA = "tensorflow.lite.python.schema_py_generated"
#: What Keras calls an input without a name; the number counts all inputs of the process.
_UNNAMED = re.compile(r"keras_tensor(_\d+)?\Z")


def to_flatbuffer(model: Any, batch: int | None, samples: Any) -> bytes:
    """Convert ``model``; arguments and errors as :func:`nmpack.convert.keras_to_tflite`."""
    keras, tf = import_keras(), import_tensorflow()
    structure = _structure(model, samples)
    require_plain(model)
    _require_float(model)
    ready = in_float32(model)
    leaves = keras.tree.flatten(structure)
    names = _input_names(model, structure)
    specs = [
        tf.TensorSpec(_shape(name, leaf, batch, samples is not None), _dtype(name, leaf))
        for name, leaf in zip(names, leaves, strict=True)
    ]
    outputs: list[str] = []

    def flat(*tensors: Any) -> list[Any]:
        found = ready(keras.tree.pack_sequence_as(structure, list(tensors)), training=False)
        outputs[:], values = _outputs(model, found)
        return values

    try:
        # As Keras traces its own training steps: calls are not rewritten.
        function = tf.function(flat, input_signature=specs, autograph=False)
        traced = function.get_concrete_function()
    except ModelError:
        raise
    except Exception as error:
        shapes = ", ".join(f"{n} {list(s.shape)}" for n, s in zip(names, specs, strict=True))
        raise ModelError(f"the model itself fails on inputs of {shapes}: {said(error)}") from error
    try:
        frozen = importlib.import_module(_FREEZE).convert_variables_to_constants_v2(traced)
        content = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    except Exception as error:
        raise ModelError(
            f"TensorFlow's converter cannot convert this model: {said(error)}"
        ) from error
    schema, flatbuffers = importlib.import_module(_SCHEMA), importlib.import_module("flatbuffers")
    return name_ends(schema, flatbuffers, content, names, outputs)


def _require_float(model: Any) -> None:
    for layer in model._flatten_layers():
        if mode := getattr(layer, "quantization_mode", None):
            raise ModelError(
                f"{layer.name}: Keras has quantized it ({mode}): expected the model before that, "
                "which --int8, nmpack.quantize in a program, quantizes for TFLite"
            )


def _structure(model: Any, samples: Any) -> Any:
    """Return what ``model`` takes: arrays, or symbolic tensors, in the model's own nesting."""
    keras = import_keras()
    if not isinstance(model, keras.Model):
        raise ModelError(f"expected a Keras model, got {type(model).__name__}")
    symbols = inputs_of(model)
    unknown = not symbols and samples is None and _seen(model) is None
    if not model.built or unknown:
        raise ModelError(
            f"{model.name}: has no weights yet: call the model once on a sample, such as "
            "model(numpy.zeros((1, 224, 224, 3)))"
        )
    if samples is not None:
        return keras.tree.map_structure(np.asarray, samples)
    if symbols:
        return getattr(model, "_functional", model)._inputs_struct
    return _seen(model)


def _seen(model: Any) -> Any:
    """Return the inputs that a subclassed model was built with, without their batch, or None."""
    keras = import_keras()
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    if len(shapes) != 1:
        return None

    def tensors(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: tensors(item) for key, item in value.items()}
        if all(size is None or isinstance(size, int) for size in value):
            return keras.KerasTensor((None, *value[1:]), dtype="float32")
        return type(value)(tensors(item) for item in value)

    return tensors(next(iter(shapes.values())))


def _input_names(model: Any, structure: Any) -> list[str]:
    symbols = inputs_of(model)
    names = []
    for index, (path, _) in enumerate(import_keras().tree.flatten_with_path(structure)):
        given = symbols[index].name if index < len(symbols) else ""
        if any(isinstance(step, str) for step in path):
            names.append(path_name(path))
        elif given and not _UNNAMED.match(given):
            names.append(given)
        else:
            names.append(path_name(path or [0], "args"))
    return distinct(names)


def _outputs(model: Any, found: Any) -> tuple[list[str], list[Any]]:
    """Return the names and tensors of what a call returned."""
    keras = import_keras()
    paths = keras.tree.flatten_with_path(found)
    layers = getattr(getattr(model, "_functional", model), "output_names", ())
    names, values = [], []
    for index, (path, value) in enumerate(paths):
        if any(isinstance(step, str) for step in path):
            name = path_name(path)
        elif len(layers) == len(paths):
            name = layers[index]
        else:
            name = path_name(path or [0], "output")
        if value is None:
            continue
        if not keras.ops.is_tensor(value):
            raise ModelError(
                f"output {name}: expected tensors in tuples, lists and dictionaries, "
                f"got {type(value).__name__}"
            )
        names.append(name)
        values.append(value)
    if not names:
        raise ModelError("expected a model with an output, got none")
    return distinct(names), values


def _shape(name: str, leaf: Any, batch: int | None, sample: bool) -> tuple[int | None, ...]:
    if not leaf.shape:
        return ()
    if any(size is None for size in leaf.shape[1:]):
        raise ModelError(
            f"input {name} must have a fixed size, got {tuple(leaf.shape[1:])}: give samples of "
            "the size that the file shall take (--input-shape on the command line)"
        )
    first = batch if not sample or batch is None else leaf.shape[0]
    return (first, *leaf.shape[1:])


def _dtype(name: str, leaf: Any) -> str:
    kind = str(leaf.dtype)
    if kind in ("float16", "bfloat16", "float64"):
        return "float32"
    if kind == "string" or kind.startswith(("<U", "|S", "object")):
        raise ModelError(f"input {name}: expected numbers, got text")
    return kind
