# SPDX-License-Identifier: BSD-3-Clause
"""Biases that fit in 32 bits: a channel of tiny weights gets a larger scale.

A bias is stored in units of input scale times filter scale. Where the weights of a channel are all
tiny or zero, as those of a channel that died in training, that unit is so small that the bias would
saturate and the channel compute something else.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError
from nmpack.quantize.weights import FILTERED
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import Operator, Subgraph

# Half of what int32 holds: the products are added to it.
_MOST = 1 << 30
_Pairs = list[tuple[Operator, Any]]


def fit_biases(before: TFLiteFile, schema: Any, model: Any) -> int:
    """Enlarge scales of ``model``, which is ``before`` quantized, in place.

    Returns:
        How many channels have another scale now.
    """
    changed = 0
    for graph, made in zip(before.subgraphs, model.subgraphs, strict=True):
        for place, pairs in _users(graph, schema, model, made).items():
            changed += _fit(before, graph, schema, model, made.tensors[place], pairs, made.tensors)
    return changed


def _users(graph: Subgraph, schema: Any, model: Any, made: Any) -> dict[int, _Pairs]:
    """Return the operators with an int32 bias, before and after, by their int8 filter."""
    old = [item for item in graph.operators if item.code in FILTERED]
    new = [item for item in made.operators if _code(model, item) in FILTERED]
    if len(old) != len(new):
        raise ModelError(
            f"expected {len(old)} operators with filters after quantization, got {len(new)}"
        )
    users: dict[int, _Pairs] = defaultdict(list)
    for pair in zip(old, new, strict=True):
        inputs = list(pair[1].inputs)
        if len(inputs) < 3 or inputs[2] < 0:
            continue
        kinds = [made.tensors[place].type for place in inputs[:3]]
        types = schema.TensorType
        if kinds == [types.INT8, types.INT8, types.INT32]:
            users[inputs[1]].append(pair)
    return users


def _fit(
    before: TFLiteFile, graph: Subgraph, schema: Any, model: Any, filters: Any, pairs: _Pairs,
    tensors: list[Any],
) -> int:  # fmt: skip
    scale = np.asarray(filters.quantization.scale, np.float64)
    needed = np.zeros_like(scale)
    biases: list[tuple[Any, float, npt.NDArray[np.float64]]] = []
    for old, new in pairs:
        step = float(tensors[new.inputs[0]].quantization.scale[0])
        real = before.array(graph.tensors[old.inputs[2]]).astype(np.float64)
        biases.append((tensors[new.inputs[2]], step, real))
        least = np.abs(real) / (step * _MOST)
        needed = np.maximum(needed, least if len(scale) > 1 else least.max())
    short = scale < needed
    if not short.any():
        return 0
    scale = np.where(short, needed, scale).astype(np.float32).astype(np.float64)
    weights = before.array(graph.tensors[pairs[0][0].inputs[1]])
    axes = [1] * weights.ndim
    axes[filters.quantization.quantizedDimension] = -1
    rounded = np.clip(np.rint(weights / scale.reshape(axes)), -127, 127).astype(np.int8)
    _store(schema, model, filters, scale, rounded)
    for tensor, step, real in biases:
        _store(schema, model, tensor, step * scale, np.rint(real / (step * scale)).astype(np.int32))
    return int(short.sum())


def _store(
    schema: Any, model: Any, tensor: Any, scale: npt.NDArray[np.float64], values: npt.NDArray[Any]
) -> None:
    """Give a tensor values of its own: others may share its buffer."""
    buffer = schema.BufferT()
    buffer.data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    tensor.quantization.scale = scale.astype(np.float32)
    tensor.buffer = len(model.buffers)
    model.buffers.append(buffer)


def _code(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))
