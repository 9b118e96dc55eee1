# SPDX-License-Identifier: BSD-3-Clause
"""Which stored weights count, whatever type they are stored in."""

from __future__ import annotations

import numpy as np

from nmpack.sparsity.mask import BoolArray
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import TensorInfo


def nonzero(file: TFLiteFile, tensor: TensorInfo) -> BoolArray:
    """Return where a stored tensor differs from what stands for 0: its zero point, or 0.

    Raises:
        ModelError: it cannot be read.
    """
    values = file.array(tensor)
    quantization = tensor.quantization
    if quantization is None or not quantization.zero_point.any():
        return np.asarray(values != 0)
    axes = [1] * values.ndim
    if quantization.per_axis:
        axes[quantization.dimension] = -1
    return np.asarray(values != quantization.zero_point.reshape(axes))
