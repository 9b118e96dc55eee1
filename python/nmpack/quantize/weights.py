# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of filters: pruned weights have to stay exactly zero."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nmpack.errors import ModelError
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import TensorInfo
from nmpack.tflite.operator_codes import (
    CONV_2D,
    DEPTHWISE_CONV_2D,
    FULLY_CONNECTED,
    TRANSPOSE_CONV,
    operator_name,
)
from nmpack.tflite.weights import nonzero

#: Operators whose second input is the filter, and whose third the bias.
FILTERED = (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV)


def require_finite(file: TFLiteFile) -> None:
    """Check that every stored filter of float32 is made of numbers.

    Raises:
        ModelError: one holds a NaN or an infinity, for which there is no scale.
    """
    for _, tensor in _filters(file):
        if tensor.dtype == "float32" and file.span(tensor)[1]:
            if tensor.sparse:
                raise ModelError(
                    f"{tensor.name}: expected dense storage to quantize, got sparse: store the "
                    "int8 file sparsely instead"
                )
            if not np.isfinite(file.array(tensor)).all():
                raise ModelError(
                    f"{tensor.name}: expected finite weights to quantize, got NaN or infinity"
                )


def require_zeros(before: TFLiteFile, after: TFLiteFile) -> int:
    """Check that every zero weight of ``before`` is a zero of the quantized ``after``.

    Returns:
        How many filters are int8.

    Raises:
        ModelError: a zero was lost, or the files do not hold the same filters.
    """
    old, new = list(_filters(before)), list(_filters(after))
    if [(code, tensor.shape) for code, tensor in old] != [(c, t.shape) for c, t in new]:
        raise ModelError(
            f"expected the {len(old)} filters of the model in int8, got {len(new)} or others"
        )
    quantized = 0
    for (code, plain), (_, tensor) in zip(old, new, strict=True):
        if tensor.dtype != "int8" or not before.span(plain)[1]:
            continue
        quantized += 1
        lost = int(np.count_nonzero(nonzero(after, tensor) & (before.array(plain) == 0)))
        if lost:
            raise ModelError(
                f"{tensor.name}: expected pruned weights of this {operator_name(code)} to stay 0 "
                f"in int8, got {lost} others"
            )
    return quantized


def _filters(file: TFLiteFile) -> Iterator[tuple[int, TensorInfo]]:
    for graph in file.subgraphs:
        for operator in graph.operators:
            if operator.code in FILTERED and len(operator.inputs) > 1:
                yield operator.code, graph.tensors[operator.inputs[1]]
