# SPDX-License-Identifier: BSD-3-Clause
"""nmpack: prune convolutional networks column-wise and run them faster on CPUs.

The parts, none importing a framework before it is used; ``import nmpack`` is enough to reach the
modules, which are imported when they are asked for:

* :class:`NMPattern`: what to keep; :mod:`nmpack.schedule`: when.
* :mod:`nmpack.torch`, :mod:`nmpack.keras`: ``prune_`` and ``finalize_`` for each framework.
* :mod:`nmpack.models`: networks with torchvision's parameter names.
* :mod:`nmpack.budget`, :mod:`nmpack.training`, :mod:`nmpack.checkpointing`: how much to prune
  where, training, and training in less memory; :mod:`nmpack.plans`: files of patterns by layer.
* :mod:`nmpack.convert`: to ``.tflite``; :mod:`nmpack.storage`: smaller files;
  :mod:`nmpack.quantize`: in int8.
* :func:`load_delegate`, :func:`run`, :func:`inspect`, :func:`bench`, :func:`profile`: execute,
  explain, measure; :mod:`nmpack.peers`: other runtimes beside ours; :mod:`nmpack.report`: all
  that on one page.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nmpack.errors import NmpackError
from nmpack.measure.benchmark import bench
from nmpack.measure.inspection import inspect
from nmpack.measure.profile import profile
from nmpack.quiet import import_module
from nmpack.runtime.interpreter import Engine, load_delegate, nmpack_engine
from nmpack.runtime.runner import run
from nmpack.sparsity.detection import detect_pattern
from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import NMPattern, Unstructured

if TYPE_CHECKING:
    from nmpack import budget as budget
    from nmpack import checkpointing as checkpointing
    from nmpack import convert as convert
    from nmpack import demo as demo
    from nmpack import keras as keras
    from nmpack import mcu as mcu
    from nmpack import models as models
    from nmpack import peers as peers
    from nmpack import plans as plans
    from nmpack import quantize as quantize
    from nmpack import report as report
    from nmpack import rvv as rvv
    from nmpack import torch as torch
    from nmpack import training as training
    from nmpack import tune as tune
    from nmpack.sparsity import schedule as schedule
    from nmpack.tflite import storage as storage

#: Said once, in ``version.txt``, which the build reads too.
__version__ = (Path(__file__).parent / "version.txt").read_text(encoding="ascii").strip()

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
    "profile",
    "run",
]

#: Modules that are imported when they are asked for: where each lies, and the extra with what it
#: needs.
_MODULES = {
    "budget": ("budget", "torch"),
    "checkpointing": ("checkpointing", "torch"),
    "convert": ("convert", "torch"),
    "datasets": ("datasets", "torch"),
    "demo": ("demo", "torch"),
    "keras": ("keras", "keras"),
    "mcu": ("mcu", "interpreter"),
    "models": ("models", "torch"),
    "peers": ("peers", "interpreter"),
    "plans": ("plans", "torch"),
    "quantize": ("quantize", "quantize"),
    "report": ("report", "interpreter"),
    "rvv": ("rvv", "torch"),
    "schedule": ("sparsity.schedule", "torch"),
    "storage": ("tflite.storage", "interpreter"),
    "torch": ("torch", "torch"),
    "training": ("training", "torch"),
    "tune": ("tune", "interpreter"),
}

if not TYPE_CHECKING:  # a checker would take every name for one that exists

    def __getattr__(name: str) -> object:
        """Import a module of the package when it is asked for.

        Raises:
            AttributeError: there is no such name.
            MissingError: what the module needs is not installed.
        """
        if name in _MODULES:
            where, extra = _MODULES[name]
            return import_module(f"{__name__}.{where}", extra)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """List the modules too."""
        return sorted({*globals(), *_MODULES})
