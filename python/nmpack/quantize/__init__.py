# SPDX-License-Identifier: BSD-3-Clause
"""Int8 ``.tflite`` files from float32 ones, whatever framework those came from.

Weights are symmetric with a scale for each output channel, so that a pruned weight is exactly 0;
activations have one scale and one zero point each, from the ranges that calibration data gives.
"""

from nmpack.quantize.conversion import IO, SAMPLES, Int8, Int8Report, to_int8

__all__ = ["IO", "SAMPLES", "Int8", "Int8Report", "to_int8"]
