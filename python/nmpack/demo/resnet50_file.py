# SPDX-License-Identifier: BSD-3-Clause
"""ResNet-50 as a ``.tflite`` file with drawn weights, written without any framework.

It is what a conversion of the v1.5 network gives, batch norm folded into the convolutions, with
SAME padding. Times do not depend on the values of weights, only on which of them are zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import Pattern
from nmpack.tflite.network import Network

_SIZE, _CLASSES = 224, 1000
#: Blocks of each stage and the width of their 3x3 convolution.
_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
_EXPANSION = 4
Array = npt.NDArray[np.float32]


def resnet50_file(pattern: Pattern | None, seed: int = 0) -> bytes:
    """Return the file, every convolution of its residual blocks pruned to ``pattern``.

    Raises:
        MissingError: ai-edge-litert, whose schema is used, is not installed.
    """
    network = _Pruned(pattern, seed)
    x = network.tensor((1, _SIZE, _SIZE, 3))
    y = network.max_pool(network.drawn(x, 64, 7, 2, prune=False), 3, 2)
    for number, (blocks, width) in enumerate(_STAGES):
        for block in range(blocks):
            y = _bottleneck(network, y, width, 2 if number and not block else 1)
    return network.finish(x, network.classify(y))


def _bottleneck(network: _Pruned, x: int, width: int, stride: int) -> int:
    outputs = width * _EXPANSION
    shortcut = x
    if network.shape(x)[3] != outputs:
        shortcut = network.drawn(x, outputs, 1, stride, relu=False)
    y = network.drawn(x, width, 1)
    y = network.drawn(y, width, 3, stride)
    # Each of 16 blocks adds a sixteenth of what comes in, so that the sum stays bounded.
    y = network.drawn(y, outputs, 1, relu=False, gain=1 / 16)
    return network.add(shortcut, y, relu=True)


class _Pruned(Network):
    """A network of drawn weights."""

    def __init__(self, pattern: Pattern | None, seed: int) -> None:
        super().__init__()
        self._pattern = pattern
        self._generator = np.random.default_rng(seed)

    def drawn(
        self,
        x: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        relu: bool = True,
        gain: float = 1.0,
        prune: bool = True,
    ) -> int:
        """Add a convolution."""
        weights = self._draw((outputs, kernel, kernel, self.shape(x)[3]), gain * (1 + relu))
        if prune and self._pattern is not None:
            weights[~compute_mask(weights, self._pattern)] = 0.0
        return self.convolution(x, weights, np.zeros(outputs, np.float32), stride, relu=relu)

    def classify(self, x: int) -> int:
        """Average over the pixels and return the logits."""
        weights = self._draw((_CLASSES, self.shape(x)[3]), 1.0)
        return self.fully_connected(self.mean(x), weights, np.zeros(_CLASSES, np.float32))

    def _draw(self, shape: tuple[int, ...], gain: float) -> Array:
        """Draw weights that multiply the variance of their input by ``gain``."""
        weights = self._generator.standard_normal(shape, dtype=np.float32)
        weights *= np.float32(np.sqrt(gain / np.prod(shape[1:])))
        return weights
