# SPDX-License-Identifier: BSD-3-Clause
"""What a program is made of: numbers for programs, for each layer and in all."""

from __future__ import annotations

from typing import Any

from nmpack.mcu.compiler import Program

#: In each directory that this package writes; its presence says so.
MADE_BY = "nmpack mcu"


def report(program: Program) -> dict[str, Any]:
    """Return layers and totals as plain values, bytes and cycles as whole numbers.

    ``cycles`` is None where nothing is predicted for the target; in the total it sums those of
    which there is a prediction.
    """
    plan, target = program.plan, program.target
    layers = [
        {
            "index": index,
            "operator": step.operator,
            "kind": step.kind,
            "layer": step.layer,
            "kernel": step.kernel,
            "pattern": step.pattern,
            "weight_bytes": step.weight_bytes,
            "macs": step.macs,
            "dense_macs": step.dense_macs,
            "scratch_bytes": step.scratch_bytes,
            "cycles": step.cycles.get(target),
        }
        for index, step in enumerate(program.steps)
    ]
    cycles = [step.cycles[target] for step in program.steps if target in step.cycles]
    return {
        "made_by": MADE_BY,
        "name": program.name,
        "model": program.model.name,
        "target": target,
        "layers": layers,
        "weight_bytes": program.weight_bytes,
        "arena_bytes": plan.arena_bytes,
        "arena_lower_bound": plan.lower_bound,
        "arena_alignment": plan.alignment,
        "arena_peak_layer": plan.peak,
        "input_bytes": plan.input_bytes,
        "output_bytes": plan.output_bytes,
        "macs": sum(step.macs for step in program.steps),
        "dense_macs": sum(step.dense_macs for step in program.steps),
        "cycles": sum(cycles) if cycles else None,
        "layers_with_cycles": len(cycles),
    }
