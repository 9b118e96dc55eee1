# SPDX-License-Identifier: BSD-3-Clause
"""nmpack: prune convolutional networks column-wise and run them faster on CPUs.

The parts, which are imported when they are asked for, and numpy with them, the frameworks when they
are used; ``import nmpack`` is enough to reach them all:

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
* ``Interpreter``: the class of the TFLite interpreter that is installed, or of the system's library
  (:class:`nmpack.runtime.c_interpreter.Interpreter`).
"""

from __future__ import annotations

from importlib import import_module as import_own
from pathlib import Path
from typing import TYPE_CHECKING

from nmpack.errors import NmpackError
from nmpack.quiet import import_module

if TYPE_CHECKING:
    from nmpack import budget as budget
    from nmpack import checkpointing as checkpointing
    from nmpack import convert as convert
    from nmpack import demo as demo
    from nmpack import files as files
    from nmpack import keras as keras
    from nmpack import mcu as mcu
    from nmpack import measure as measure
    from nmpack import models as models
    from nmpack import peers as peers
    from nmpack import plans as plans
    from nmpack import quantize as quantize
    from nmpack import report as report
    from nmpack import runtime as runtime
    from nmpack import rvv as rvv
    from nmpack import sparsity as sparsity
    from nmpack import tflite as tflite
    from nmpack import torch as torch
    from nmpack import training as training
    from nmpack import tune as tune
    from nmpack.measure.benchmark import bench
    from nmpack.measure.inspection import inspect
    from nmpack.measure.profile import profile
    from nmpack.runtime.c_interpreter import Interpreter
    from nmpack.runtime.interpreter import Engine, load_delegate, nmpack_engine
    from nmpack.runtime.runner import run
    from nmpack.sparsity import schedule as schedule
    from nmpack.sparsity.detection import detect_pattern
    from nmpack.sparsity.mask import compute_mask
    from nmpack.sparsity.pattern import NMPattern, Unstructured
    from nmpack.tflite import storage as storage

#: Said once, in ``version.txt``, which the build reads too.
__version__ = (Path(__file__).parent / "version.txt").read_text(encoding="ascii").strip()

__all__ = [
    "Engine",
    "Interpreter",
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

#: Functions and classes, likewise: the module of each.
_NAMES = {
    "Engine": "runtime.interpreter",
    "NMPattern": "sparsity.pattern",
    "Unstructured": "sparsity.pattern",
    "bench": "measure.benchmark",
    "compute_mask": "sparsity.mask",
    "detect_pattern": "sparsity.detection",
    "inspect": "measure.inspection",
    "load_delegate": "runtime.interpreter",
    "nmpack_engine": "runtime.interpreter",
    "profile": "measure.profile",
    "run": "runtime.runner",
}

#: Modules that are imported when they are asked for: where each lies, and the extra with what it
#: needs.
_MODULES = {
    "budget": ("budget", "torch"),
    "checkpointing": ("checkpointing", "torch"),
    "convert": ("convert", "torch"),
    "datasets": ("datasets", "torch"),
    "demo": ("demo", "torch"),
    "files": ("files", "interpreter"),
    "keras": ("keras", "keras"),
    "mcu": ("mcu", "interpreter"),
    "measure": ("measure", "interpreter"),
    "models": ("models", "torch"),
    "peers": ("peers", "interpreter"),
    "plans": ("plans", "torch"),
    "quantize": ("quantize", "quantize"),
    "report": ("report", "interpreter"),
    "runtime": ("runtime", "interpreter"),
    "rvv": ("rvv", "torch"),
    "schedule": ("sparsity.schedule", "torch"),
    "sparsity": ("sparsity", "interpreter"),
    "storage": ("tflite.storage", "interpreter"),
    "tflite": ("tflite", "interpreter"),
    "torch": ("torch", "torch"),
    "training": ("training", "torch"),
    "tune": ("tune", "interpreter"),
}

if not TYPE_CHECKING:  # a checker would take every name for one that exists

    def __getattr__(name: str) -> object:
        """Import a part of the package when it is asked for.

        Raises:
            AttributeError: there is no such name.
            MissingError: what the module needs is not installed.
        """
        if name in _NAMES:
            value = getattr(import_own(f"{__name__}.{_NAMES[name]}"), name)
            globals()[name] = value
            return value
        if name == "Interpreter":
            interpreters = import_own(f"{__name__}.runtime.interpreter")
            return interpreters.interpreter_module(interpreters.DEFAULT_INTERPRETER).Interpreter
        if name in _MODULES:
            where, extra = _MODULES[name]
            return import_module(f"{__name__}.{where}", extra)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """List what is imported late too."""
        return sorted({*globals(), *_MODULES, *__all__})
