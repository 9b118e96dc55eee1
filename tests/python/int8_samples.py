# SPDX-License-Identifier: BSD-3-Clause
"""Small networks of int8, made without a quantizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tune_samples import filters

from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.network import Network, Steps


def int8_network(path: Path, *, pruned: bool = True, size: int = 28, layers: int = 3) -> Path:
    """Write convolutions of int8 in a row; pruned ones keep a quarter in tiles of 16."""
    network = Network()
    x = start = network.tensor((1, size, size, 32), steps=Steps(1 / 127))
    pattern = NMPattern.from_density(0.25, tile=16) if pruned else None
    for _ in range(layers):
        weights = 0.1 * filters(32, 3, 32, pattern)
        x = network.convolution(x, weights, np.zeros(32, np.float32), steps=Steps(4 / 127, -7))
    path.write_bytes(network.finish(start, x))
    return path
