# SPDX-License-Identifier: BSD-3-Clause
"""TFLite's built-in operators: their numbers in version 3 of the schema, and their names."""

from __future__ import annotations

from nmpack.tflite.schema import names_of

_NAMES = names_of("BuiltinOperator")


def operator_code(name: str) -> int:
    """Return the number of a built-in operator; the name is one of the schema's."""
    return _NAMES.index(name)


CONV_2D = operator_code("CONV_2D")
DEPTHWISE_CONV_2D = operator_code("DEPTHWISE_CONV_2D")
DEQUANTIZE = operator_code("DEQUANTIZE")
FULLY_CONNECTED = operator_code("FULLY_CONNECTED")
TRANSPOSE_CONV = operator_code("TRANSPOSE_CONV")
DENSIFY = operator_code("DENSIFY")
BATCH_MATMUL = operator_code("BATCH_MATMUL")
PAD = operator_code("PAD")
PADV2 = operator_code("PADV2")
#: Operators that run other subgraphs of the file.
CALLING = tuple(map(operator_code, ("CALL", "IF", "WHILE", "CALL_ONCE")))


def operator_name(code: int) -> str:
    """Return the schema's name of a built-in operator, or its number where there is none."""
    return _NAMES[code] if 0 <= code < len(_NAMES) else f"operator {code}"
