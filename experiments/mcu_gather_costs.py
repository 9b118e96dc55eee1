#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measures how convolutions gather pixels on CV32E40P and fits mcu/kernels/costs.toml.

Drawn convolutions run with a kernel that does nothing, a region each. Costs are those of the least
squares of relative errors, none below 0.

    experiments/mcu_gather_costs.py [--target NAME …] [--simulator spike]

The rows of kernels, which experiments/mcu_costs.py fits, stay as they are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from mcu_cost_file import nonnegative, write
from mcu_kernel_programs import source_files

from nmpack import locations
from nmpack.errors import NmpackError
from nmpack.mcu import cycles, rtl, spike, toolchain
from nmpack.mcu.cycles import GatherCost, Gathered
from nmpack.mcu.filters import Layout
from nmpack.mcu.filters_schedule import Geometry, gathered

KERNELS = locations.ROOT / "mcu/kernels"
LAYOUTS: tuple[Layout, ...] = ("rows", "interleaved")
#: What is fitted: all costs but the error.
PARTS = [one.name for one in fields(GatherCost) if one.name != "error"]


@dataclass(frozen=True, slots=True)
class Call:
    """A convolution: its sizes, pixels at a time, rows of its window, and where it is measured."""

    geometry: Geometry
    layout: Layout
    pixels: int
    rows: int
    cycles: int = 0

    @property
    def counted(self) -> Gathered:
        """What it gathers."""
        g = self.geometry
        if self.layout == "rows" and g.pointwise:
            return Gathered()
        return gathered(g, self.layout, self.pixels, self.rows)

    @property
    def parts(self) -> list[float]:
        """How much there is of each of :data:`PARTS`."""
        counted = self.counted
        aligned = self.geometry.input_channels % 4 == 0
        odd = 0 if aligned else counted.bytes
        return [
            1.0,
            *(counted.images, counted.groups, counted.rows, counted.runs, counted.bytes - odd, odd),
            *(counted.moves, counted.moved),
        ]


def main() -> int:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", action="append", choices=("rv32imc", "xcv"))
    parser.add_argument("--simulator", choices=("rtl", "spike"), default="rtl")
    parser.add_argument("--output", type=Path, default=KERNELS / cycles.FILE)
    arguments = parser.parse_args()
    costs = cycles.load_costs(arguments.output)
    for target in arguments.target or ("rv32imc", "xcv"):
        for layout in LAYOUTS:
            calls = measure(draw(layout, 100, seed=5), target, arguments.simulator)
            cost = fit(calls)
            costs.gathers[layout, target] = cost
            print(f"{layout:12} {target:8} {len(calls)} calls, errors up to {cost.error:.1%}")
    write(arguments.output, costs)
    return 0


def draw(layout: Layout, count: int, *, seed: int) -> list[Call]:
    """Draw convolutions of usual sizes, with windows and without."""
    rng = np.random.default_rng(seed)
    calls: list[Call] = []
    while len(calls) < count:
        kernel, stride = int(rng.choice([1, 3, 3, 3, 5])), int(rng.choice([1, 1, 2]))
        channels = int(rng.choice([1, 3, 4, 8, 16, 32, 64]))
        height, width = (int(size) for size in rng.integers(4, 13, 2))
        pad = kernel // 2
        g = Geometry(
            *(1, height, width, channels, -(-height // stride), -(-width // stride)),
            *(kernel, kernel, stride, stride),
            pad_top=pad,
            pad_left=pad,
        )
        pixels = 4 if layout == "interleaved" else int(rng.choice([1, 2, 4]))
        slides = kernel > stride and pixels > 1
        if layout == "rows" and kernel * channels * stride % 4:
            slides = False
        rows = kernel + stride if slides and rng.random() < 0.5 else 0
        calls.append(Call(g, layout, pixels, rows))
    return calls


def measure(calls: Sequence[Call], target: str, simulator: str) -> list[Call]:
    """Run convolutions with a kernel that does nothing, and return them with their cycles.

    Args:
        calls: at least one.
        target: ``rv32imc`` or ``xcv``.
        simulator: ``rtl`` or ``spike``.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "main.c").write_text(_program(calls))
        program = toolchain.build(
            [folder / "main.c", *source_files(["conv2d_s8.c", "im2col_s8.c"], target)],
            folder / "program",
            target=target,
            include=[KERNELS],
            warnings=(),
        )
        if simulator == "rtl":
            report = rtl.run(program, extended=False)
        else:
            report = spike.run(program, target=target)
    if report.exit_code != 0:
        raise NmpackError(f"gathering on {target} ended with {report.exit_code}")
    return [replace(call, cycles=report.cycles(number + 1)) for number, call in enumerate(calls)]


def _program(calls: Sequence[Call]) -> str:
    lines = [
        '#include "nm_mcu.h"\n#include "nm_platform.h"\n',
        "static void nothing(const struct nm_filter_s8 *filter, const int8_t *pixels,\n",
        "    size_t stride, size_t count, int8_t *output, size_t pitch, void *scratch) {\n",
        "  (void) filter, (void) pixels, (void) stride, (void) count;\n",
        "  (void) output, (void) pitch, (void) scratch;\n}\n",
        "static int8_t image[65536] __attribute__((aligned(4)));\n",
        "static int8_t output[4] __attribute__((aligned(4)));\n",
        "static uint32_t scratch[32768];\n",
    ]
    body = []
    for number, call in enumerate(calls):
        sizes = ", ".join(
            f".{name} = {getattr(call.geometry, name)}" for name in Geometry.__dataclass_fields__
        )
        lines.append(
            f"static const struct nm_conv2d_s8 p{number} = {{.filter = {{.columns = "
            f"{call.geometry.columns}}}, .matmul = nothing, {sizes}, .window_rows = {call.rows}, "
            f".pixels = {call.pixels}, .interleaved = {int(call.layout == 'interleaved')}}};\n"
        )
        body.append(
            f"  nm_region_begin();\n  nm_conv2d_s8(&p{number}, image, output, scratch);\n"
            f"  nm_region_end({number + 1});\n"
        )
    return "".join([*lines, "int main(void) {\n", *body, "  return 0;\n}\n"])


def fit(calls: Sequence[Call]) -> GatherCost:
    """Return the costs that fit best."""
    matrix = np.array([call.parts for call in calls])
    taken = np.array([call.cycles for call in calls], float)
    found = np.round(nonnegative(matrix / taken[:, None], np.ones(len(calls))), 3)
    error = float(np.abs(matrix @ found / taken - 1).max())
    costs = {name: float(value) for name, value in zip(PARTS, found, strict=True)}
    return GatherCost(**costs, error=round(error, 4))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NmpackError as error:
        sys.exit(str(error))
