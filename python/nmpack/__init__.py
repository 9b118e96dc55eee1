# SPDX-License-Identifier: BSD-3-Clause
"""nmpack: prune convolutional networks column-wise and run them faster on CPUs.

The parts, each importable by itself and none importing a framework before it is used:

* :class:`NMPattern`: what to keep.
* :mod:`nmpack.torch`, :mod:`nmpack.keras`: ``prune_`` and ``finalize_`` for each framework.
* :mod:`nmpack.models`: networks with torchvision's parameter names.
* :mod:`nmpack.convert`: to ``.tflite``.
* :func:`load_delegate`, :func:`run`, :func:`inspect`, :func:`bench`: execute, explain, measure.
"""

from __future__ import annotations

from nmpack.benchmark import bench
from nmpack.detection import detect_pattern
from nmpack.errors import NmpackError
from nmpack.inspection import inspect
from nmpack.interpreter import Engine, load_delegate, nmpack_engine
from nmpack.mask import compute_mask
from nmpack.pattern import NMPattern, Unstructured
from nmpack.runner import run

__version__ = "0.1.0"

__all__ = [
    "Engine",
    "NMPattern",
    "NmpackError",
    "Unstructured",
    "bench",
    "compute_mask",
    "detect_pattern",
    "inspect",
    "load_delegate",
    "nmpack_engine",
    "run",
]
