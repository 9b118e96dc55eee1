# SPDX-License-Identifier: BSD-3-Clause
"""Padding in int8: PADV2 with the value that stands for 0 is PAD.

Converters pad in front of a maximum pool with minus infinity, which in int8 is -128. Behind a ReLU
-128 is the zero point, and PAD pads with that, which more delegates take.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nmpack.tflite.operator_codes import PAD, PADV2

# The first version of PAD that takes int8.
_INT8_VERSION = 2


def simplify_padding(schema: Any, model: Any) -> int:
    """Make PAD of what is the same in ``model``, in place; returns how many there were."""
    changed = 0
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            if max(code.builtinCode, code.deprecatedBuiltinCode) != PADV2:
                continue
            if _pads_with_zero(schema, model, graph, operator):
                operator.inputs = list(operator.inputs)[:2]
                operator.opcodeIndex = _place_of(schema, model)
                operator.builtinOptionsType = schema.BuiltinOptions.PadOptions
                operator.builtinOptions = schema.PadOptionsT()
                changed += 1
    return changed


def _pads_with_zero(schema: Any, model: Any, graph: Any, operator: Any) -> bool:
    source, value, target = (
        graph.tensors[place]
        for place in (operator.inputs[0], operator.inputs[2], operator.outputs[0])
    )
    if any(tensor.type != schema.TensorType.INT8 for tensor in (source, value, target)):
        return False
    data = model.buffers[value.buffer].data
    scales = [_scale_of(tensor) for tensor in (source, value, target)]
    if data is None or len(data) != 1 or scales[0] is None or scales.count(scales[0]) != 3:
        return False
    return int(np.asarray(data, np.uint8).view(np.int8)[0]) == scales[0][1]


def _scale_of(tensor: Any) -> tuple[float, int] | None:
    """Return the scale and the zero point of a tensor that has one of each."""
    found = tensor.quantization
    if found is None or found.scale is None or found.zeroPoint is None or len(found.scale) != 1:
        return None
    return float(found.scale[0]), int(found.zeroPoint[0])


def _place_of(schema: Any, model: Any) -> int:
    for place, code in enumerate(model.operatorCodes):
        known = max(code.builtinCode, code.deprecatedBuiltinCode)
        if known == PAD and code.version >= _INT8_VERSION:
            return place
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = PAD
    code.version = _INT8_VERSION
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
