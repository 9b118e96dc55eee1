# SPDX-License-Identifier: BSD-3-Clause
"""int8 networks as plain C for microcontrollers.

1. :func:`compile_model` chooses kernels and lays out memory: a :class:`Program`.
2. :func:`golden_of` asks TFLite's reference kernels for answers to drawn inputs.
3. :func:`emit` writes the directory of C.
4. :func:`simulate` runs it on the RTL of CV32E40P, or on a model of its pipeline.
"""

from __future__ import annotations

from nmpack.mcu.compiler import Program, compile_model
from nmpack.mcu.emit import emit, golden_of
from nmpack.mcu.layer_costs import LayerCost, layer_cost
from nmpack.mcu.simulate import Simulation, simulate

__all__ = [
    "LayerCost",
    "Program",
    "Simulation",
    "compile_model",
    "emit",
    "golden_of",
    "layer_cost",
    "simulate",
]
