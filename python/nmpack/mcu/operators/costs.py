# SPDX-License-Identifier: BSD-3-Clause
"""Predicted cycles of what is neither a convolution nor fully connected.

Measured on CV32E40P's RTL with memory that answers at once, in C (rv32imc) and in the form that a
target with XCV has.
"""

from __future__ import annotations

#: For each kernel, cycles of its units: in C, and with XCV.
COSTS: dict[str, dict[str, tuple[float, float]]] = {
    "lookup": {"output": (5.6, 3.0)},
    "weighted_sum": {"output": (18.5, 7.25), "row": (40, 60)},
    "weighted_sum by one": {"output": (18.5, 5.25), "row": (40, 65)},
    "table_sum": {"output": (22, 10.25), "row": (40, 55)},
    "distance": {"output": (29, 19), "row": (50, 70)},
    "add": {"output": (75, 66), "row": (60, 60)},
    "mul": {"output": (27, 16.25), "row": (20, 80)},
    "mul by one": {"output": (27, 13.25), "row": (20, 80)},
    "squared_difference": {"output": (69, 63), "row": (60, 60)},
    "prelu": {"output": (47, 40.5), "row": (60, 60)},
    "extreme": {"output": (12, 8.5), "row": (30, 30)},
    "max": {"input": (11.4, 0.82), "pixel": (39, 27), "window": (30, 70)},
    "average": {"input": (3.0, 1.12), "output": (37, 36), "line": (1.6, 1.6), "window": (280, 280)},
    "mean": {"input": (3.3, 1.25), "output": (61, 59)},
    "mean of rows": {"input": (3.5, 0.51), "output": (131, 131)},
    "reduce": {"input": (11, 9), "output": (50, 45)},
    "arg": {"input": (12, 10), "output": (30, 30)},
    "softmax": {"output": (47.8, 20.1), "row": (330, 352)},
    "copy": {"byte": (3.0, 0.5), "run": (24, 34)},
    "copy bytes": {"byte": (15.5, 15.5)},
    "turned bytes": {"byte": (7.8, 1.5)},
    "fill": {"byte": (1.0, 0.25)},
    "remap": {"byte": (3.0, 0.5), "run": (68, 69)},
    "bilinear": {"output": (31, 25)},
    "quantize_f32": {"output": (64, 54)},
    "dequantize_f32": {"output": (12.5, 10)},
    "product": {"byte": (3.9, 0.38), "tile": (560, 242)},
    "product of a row": {"byte": (6, 0.56), "tile": (240, 100)},
    "turned words": {"byte": (3, 1.2)},
    "words": {"byte": (7, 6)},
    "sum columns": {"byte": (3.3, 0.5), "column": (20, 12)},
    "sum rows": {"byte": (3.3, 0.6), "row": (25, 25)},
}
_CALL = 60


def cycles(spent: dict[tuple[str, str], float]) -> dict[str, int]:
    """Return predicted cycles by target.

    Args:
        spent: how many of each unit of each kernel.
    """
    plain, fast = (
        _CALL + sum(COSTS[kernel][unit][form] * count for (kernel, unit), count in spent.items())
        for form in range(2)
    )
    return {"rv32imc": round(plain), "xcv": round(fast), "xcv-nm": round(fast)}


def units(kernel: str, **counts: float) -> dict[tuple[str, str], float]:
    """Return units of one kernel."""
    return {(kernel, unit): count for unit, count in counts.items()}


def copied(run: int, runs: int) -> dict[tuple[str, str], float]:
    """Return units of ``runs`` runs of ``run`` bytes."""
    return units("copy bytes", byte=runs) if run == 1 else units("copy", byte=run * runs, run=runs)
