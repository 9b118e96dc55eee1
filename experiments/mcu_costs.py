#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measures kernels for filters on CV32E40P and fits mcu/kernels/costs.toml.

Each kernel runs alone on drawn filters of several sizes, a region each. Its costs are those of the
least squares of relative errors, none below 0; of the ways to divide pixels into passes the one
that leaves the smallest largest error is kept.

    experiments/mcu_costs.py [--kernel NAME …] [--target NAME …] [--simulator spike]

Rows of other kernels and targets stay as they are.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mcu_cost_file import nonnegative, write

from nmpack import locations
from nmpack.errors import NmpackError
from nmpack.mcu import cycles, filters, rtl, spike, toolchain
from nmpack.mcu.cycles import Cost, Pass
from nmpack.mcu.filters import PackedFilter
from nmpack.mcu.step import Int8

KERNELS = locations.ROOT / "mcu/kernels"
#: How kernels may divide pixels; the first is tried first, and kept unless another is better.
PASSES = ((4, 2, 1), (4, 1), (4,), (2, 1), (2,), (1,), (4, 3, 2, 1))
#: Largest error that needs no more passes, and how much smaller they have to make it.
GOOD, WORTH = 0.01, 0.7
C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "uint16": "uint16_t", "uint32": "uint32_t"}


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A call of a kernel: its filter, the pixels, the cycles that it took."""

    packed: PackedFilter
    pixels: int
    cycles: int


def main() -> int:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernel", action="append", choices=sorted(filters.KERNELS))
    parser.add_argument("--target", action="append", choices=cycles.MEASURED)
    parser.add_argument("--simulator", choices=("rtl", "spike"), default="rtl")
    parser.add_argument("--output", type=Path, default=KERNELS / cycles.FILE)
    arguments = parser.parse_args()
    costs = cycles.load_costs(arguments.output)
    for kernel in arguments.kernel or filters.KERNELS:
        for target, once in itertools.product(arguments.target or cycles.MEASURED, (False, True)):
            if target == "xcv-nm" and "nm" not in kernel:
                continue  # as on xcv
            samples = measure(kernel, target, arguments.simulator, once=once)
            cost = fit(kernel, samples)
            costs.kernels[kernel, target, once] = cost
            divided = "+".join(str(one.pixels) for one in cost.passes)
            print(
                f"{kernel:10} {target:8} rounded {'once' if once else 'twice':5} "
                f"{len(samples)} calls, passes of {divided} pixels, errors up to {cost.error:.1%}",
                flush=True,
            )
    write(arguments.output, costs)
    return 0


def sizes(kernel: str) -> Iterator[tuple[int, int, int]]:
    """Yield channels, columns and pixels of the calls that are measured."""
    m = _block(kernel)
    unit = 8 * m if "nm" in kernel else 8 * 4 if filters.KERNELS[kernel].tile else 16
    if kernel == "block4x4":
        unit = 4 * 8
    for channels, steps in itertools.product((5, 8, 11, 16), (1, 3, 6, 14)):
        for pixels in (1, 2, 3, 4, 7, 8):
            if (channels + steps + pixels) % 2 == 0 or pixels in (4, 8):
                yield channels, unit * steps, pixels


def _block(kernel: str) -> int:
    """Return how many columns one is kept of, in the filters that are measured."""
    digits = kernel.removeprefix("rownm").removeprefix("colnm")
    return int(digits) if digits != kernel else 8


def _weights(generator: np.random.Generator, kernel: str, channels: int, columns: int) -> Int8:
    values = generator.integers(1, 128, (channels, columns)).astype(np.int8)
    known = filters.KERNELS[kernel]
    if known.tile == 0:
        return values
    m = _block(kernel)
    tiles, blocks = -(-channels // known.tile), columns // known.block
    kept = np.zeros((tiles, blocks // m, m), bool)
    np.put_along_axis(kept, generator.integers(0, m, (tiles, blocks // m, 1)), True, axis=2)
    wide = kept.reshape(tiles, blocks).repeat(known.tile, axis=0)[:channels]
    return np.where(wide.repeat(known.block, axis=1), values, 0).astype(np.int8)


def measure(
    kernel: str,
    target: str,
    simulator: str,
    chosen: Iterable[tuple[int, int, int]] | None = None,
    *,
    once: bool = False,
) -> list[Sample]:
    """Run a kernel on drawn filters.

    Args:
        kernel: its name.
        target: one of ``cycles.MEASURED``.
        simulator: ``rtl`` or ``spike``.
        chosen: channels, columns and pixels of each call; None for those of :func:`sizes`.
        once: whether sums are rounded once.
    """
    generator = np.random.default_rng(7)
    packed: list[tuple[PackedFilter, int]] = []
    for channels, columns, pixels in sizes(kernel) if chosen is None else chosen:
        weights = _weights(generator, kernel, channels, columns)
        found = filters.candidates(weights, target=target, names=[kernel])
        if len(found) != 1:
            raise NmpackError(f"expected weights that {kernel} takes, drew others")
        packed.append((found[0], pixels))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "main.c").write_text(_program(packed, once))
        program = toolchain.build(
            [folder / "main.c", *_sources(packed[0][0], target)],
            folder / "program",
            target=target,
            include=[KERNELS],
            warnings=(),
        )
        if simulator == "rtl":
            report = rtl.run(program, extended=target == "xcv-nm")
        else:
            report = spike.run(program, target=target)
    if report.exit_code != 0:
        raise NmpackError(f"{kernel} on {target} ended with {report.exit_code}")
    return [
        Sample(one, pixels, report.cycles(number + 1))
        for number, (one, pixels) in enumerate(packed)
    ]


def _sources(packed: PackedFilter, target: str) -> list[Path]:
    folders = {"xcv": ("xcv",), "xcv-nm": ("xcv-nm", "xcv")}.get(target, ())
    found = []
    for source in packed.sources:
        stem = source.removesuffix(".c")
        own = [KERNELS / folder / f"{stem}.S" for folder in folders]
        found.append(next((path for path in own if path.is_file()), KERNELS / source))
    return found


def _array(ctype: str, name: str, values: npt.NDArray[np.generic]) -> str:
    words = ",".join(str(value) for value in values.tolist())
    return f"static const {ctype} {name}[] __attribute__((aligned(4))) = {{{words}}};\n"


def _program(packed: Sequence[tuple[PackedFilter, int]], once: bool) -> str:
    """Return C that calls each filter, a region each, on whatever lies in memory."""
    lines = ['#include "nm_mcu.h"\n#include "nm_platform.h"\n']
    most = max(one.channels for one, _ in packed) + 8
    lines.append(_array("int32_t", "bias", np.arange(most) * 37 - 300))
    lines.append(_array("uint32_t", "multiplier", np.full(most, 3 << 30)))
    lines.append(_array("int8_t", "shift", np.full(most, 8)))
    calls = []
    for number, (one, pixels) in enumerate(packed):
        for constant in one.constants:
            kind = C_TYPES[str(constant.values.dtype)]
            lines.append(_array(kind, f"{constant.name}{number}", constant.values))
        index = f"index{number}" if len(one.constants) > 1 else "0"
        stride = -(-one.columns * (4 if one.layout == "interleaved" else 1) // 4) * 4
        lines.append(
            f"static const struct nm_filter_s8 filter{number} = {{weights{number}, {index}, bias, "
            f"multiplier, shift, {one.channels}, {one.columns}, {one.kept}, 3, -128, 127, "
            f"NM_ROUND_{'ONCE' if once else 'TWICE'}}};\n"
        )
        calls.append(
            f"  nm_region_begin();\n  {one.function}(&filter{number}, pixels, {stride}, {pixels}, "
            f"output, {one.channels}, scratch);\n  nm_region_end({number + 1});\n"
        )
    lines.append("static int8_t pixels[65536] __attribute__((aligned(4)));\n")
    lines.append("static int8_t output[65536] __attribute__((aligned(4)));\n")
    lines.append("static uint32_t scratch[16384];\n")
    lines.append("int main(void) {\n  for (int i = 0; i < 65536; i++) {\n")
    lines.append("    pixels[i] = (int8_t) (i * i * 5 >> 3);\n  }\n")
    lines += [*calls, "  return 0;\n}\n"]
    return "".join(lines)


def fit(kernel: str, samples: Sequence[Sample]) -> Cost:
    """Return the costs that fit best."""
    best: Cost | None = None
    halves = np.arange(0.5, 1.01, 0.02) if filters.KERNELS[kernel].tile == 8 else (1.0,)
    for divided in sorted(PASSES, key=len):
        tried = [_fit(kernel, samples, divided, round(float(half), 2)) for half in halves]
        cost = min(tried, key=lambda one: one.error)
        if best is None or (best.error > GOOD and cost.error < WORTH * best.error):
            best = cost
    assert best is not None
    return best


def _fit(kernel: str, samples: Sequence[Sample], divided: Sequence[int], half: float) -> Cost:
    known = filters.KERNELS[kernel]
    first = samples[0].packed
    tile = known.tile or (4 if len(first.steps) < first.channels else 1)
    empty = Cost(0.0, 0.0, (), tile, 8 if "nm" in kernel else 4, half, 0.0)
    rows = []
    for sample in samples:
        packed = sample.packed
        tiles, whole = empty.effective(packed.steps, packed.channels)
        row = [1.0, float(packed.channels * sample.pixels)]
        for groups in cycles.groups_of(divided, sample.pixels):
            each = [1, tiles, whole, packed.channels % tile != 0]
            row += [groups * one for one in each]
        rows.append(row)
    matrix = np.array(rows)
    taken = np.array([sample.cycles for sample in samples], float)
    found = nonnegative(matrix / taken[:, None], np.ones(len(samples)))
    found = np.round(found, 2)
    error = float(np.abs(matrix @ found / taken - 1).max())
    passes = tuple(
        Pass(size, *(float(value) for value in found[2 + 4 * i : 6 + 4 * i]))
        for i, size in enumerate(divided)
    )
    return replace(
        empty,
        call=float(found[0]),
        output=float(found[1]),
        passes=passes,
        error=round(error, 4),
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NmpackError as error:
        sys.exit(str(error))
