#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Cycles of every kernel for filters on CV32E40P's RTL, im2col and requantization included.

One convolution (3 x 3, 128 to 128 channels, 8 x 8 pixels) and one fully connected layer (1152 to
128) in every pattern. Writes a table in Markdown and its numbers as JSON; each output is compared
with its definition.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mcu_kernel_programs import Case, build, conv2d_case, convolved

from nmpack.errors import MismatchError, NmpackError
from nmpack.mcu import rtl
from nmpack.mcu.filters import KERNELS
from nmpack.mcu.filters_conv2d import Conv2d, Geometry, Requantization, lower_conv2d
from nmpack.mcu.step import Int8

CONVOLUTION = Geometry(1, 8, 8, 128, 8, 8, 3, 3, pad_top=1, pad_left=1)
FULLY_CONNECTED = Geometry(1, 1, 1, 1152, 1, 1)
CHANNELS = 128
_SHARES = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel on one layer.

    Attributes:
        layer: ``convolution`` or ``fully connected``.
        target: ``xcv``, or ``xcv-nm`` where the gather instruction is used.
        kernel: its name.
        pattern: that of the weights.
        cycles: of the layer.
        over_dense: cycles of the best dense kernel divided by them.
        over_dense1x2: those of dense1x2.
        instructions_per_mac: of multiply-adds with kept weights.
        weight_bytes: of weights and index.
        scratch_bytes: of a call.
        predicted: cycles by the model.
    """

    layer: str
    target: str
    kernel: str
    pattern: str
    cycles: int
    over_dense: float
    over_dense1x2: float
    instructions_per_mac: float
    weight_bytes: int
    scratch_bytes: int
    predicted: int


def pruned(rng: np.random.Generator, columns: int, tile: int, m: int, block: int) -> Int8:
    """Return weights of tiles of channels that keep one of ``m`` blocks of columns; none is 0."""
    weights = rng.integers(1, 128, (CHANNELS, columns)) * rng.choice([-1, 1], (CHANNELS, columns))
    units = columns // block
    kept = np.zeros((CHANNELS // tile, units // m, m), np.bool_)
    offsets = rng.integers(0, m, kept.shape[:2])
    np.put_along_axis(kept, offsets[..., None], True, axis=2)
    mask = np.repeat(kept.reshape(len(kept), units), block, axis=1)
    kept_weights: Int8 = (weights * np.repeat(mask, tile, axis=0)).astype(np.int8)
    return kept_weights


def patterns(kernel: str) -> list[tuple[int, int, int]]:
    """Return (tile, M, block) that a kernel is measured with."""
    if kernel.startswith(("dense", "portable")):
        return [(1, 1, 1)]
    tile, block = KERNELS[kernel].tile, KERNELS[kernel].block
    fixed = kernel.partition("nm")[2]
    if fixed:
        return [(tile, int(fixed), 1)]
    return [(tile, m, block) for m in _SHARES if m > 2 or tile > 1]


def requantization(rng: np.random.Generator) -> Requantization:
    """Return one of usual sizes."""
    return Requantization(
        bias=rng.integers(-2000, 2000, CHANNELS).astype(np.int32),
        multiplier=rng.integers(1 << 30, 1 << 31, CHANNELS),
        shift=rng.integers(6, 11, CHANNELS),
        input_zero_point=3,
        output_zero_point=-5,
    )


def measure(layer: str, geometry: Geometry, target: str, kernels: Sequence[str]) -> list[Row]:
    """Run kernels on one layer.

    Raises:
        MismatchError: an output is not what it is by definition.
    """
    rng = np.random.default_rng(1)
    cases: list[Case] = []
    lowered: list[Conv2d] = []
    size = (1, geometry.input_height, geometry.input_width, geometry.input_channels)
    inputs = rng.integers(-128, 128, size).astype(np.int8)
    for kernel in kernels:
        for tile, m, block in patterns(kernel):
            weights = pruned(rng, geometry.columns, tile, m, block)
            r = requantization(rng)
            one = lower_conv2d(weights, geometry, r, target=target, kernel=kernel)
            assert one.filter.kernel == kernel
            lowered.append(one)
            cases.append(conv2d_case(kernel, one, inputs, convolved(weights, geometry, r, inputs)))
    with tempfile.TemporaryDirectory() as folder:
        program = build(cases, Path(folder), target=target)
        report = rtl.run(program, extended=target == "xcv-nm")
    if report.exit_code != 0:
        raise MismatchError(f"{layer}: {report.output.splitlines()[0]}")
    dense = min(
        region.cycles
        for case, region in zip(cases, report.regions, strict=True)
        if case.name.startswith("dense")
    )
    baseline = report.regions[[case.name for case in cases].index("dense1x2")].cycles
    return [
        Row(
            layer,
            target,
            one.filter.kernel,
            one.filter.pattern,
            region.cycles,
            dense / region.cycles,
            baseline / region.cycles,
            region.instructions / one.macs,
            one.filter.weight_bytes,
            one.scratch_bytes,
            one.cycles,
        )
        for one, region in zip(lowered, report.regions, strict=True)
    ]


def outside(rounding: str) -> float:
    """Return the cycles an output of a dense layer takes outside of its inner loop."""
    rng = np.random.default_rng(2)
    geometry = Geometry(1, 1, 64, 4, 1, 64)
    weights = rng.integers(-128, 128, (CHANNELS, 4)).astype(np.int8)
    plain = requantization(rng)
    r = Requantization(
        plain.bias,
        plain.multiplier,
        plain.shift,
        plain.input_zero_point,
        plain.output_zero_point,
        rounding="ONCE" if rounding == "ONCE" else "TWICE",
    )
    inputs = rng.integers(-128, 128, (1, 1, 64, 4)).astype(np.int8)
    one = lower_conv2d(weights, geometry, r, target="xcv", kernel="dense4x4")
    case = conv2d_case("dense4x4", one, inputs, convolved(weights, geometry, r, inputs))
    with tempfile.TemporaryDirectory() as folder:
        report = rtl.run(build([case], Path(folder), target="xcv"), extended=False)
    if report.exit_code != 0:
        raise MismatchError(report.output.splitlines()[0])
    outputs = CHANNELS * 64
    return (report.cycles(1) - 24 * outputs / 16) / outputs


def table(rows: Sequence[Row]) -> str:
    """Return rows as a table in Markdown."""
    lines = [
        "| kernel | pattern | cycles | over best dense | over dense1x2 | instr. / MAC | bytes |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.kernel}{' + nm.gather' if row.target == 'xcv-nm' else ''} | {row.pattern} "
        f"| {row.cycles:,} | {row.over_dense:.2f} | {row.over_dense1x2:.2f} "
        f"| {row.instructions_per_mac:.2f} | {row.weight_bytes:,} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file that the numbers are written to")
    args = parser.parse_args()
    dense = ["dense4x4", "dense4x2", "dense1x2"]
    gathered = [name for name in KERNELS if "nm" in name]
    rows_of = [name for name in gathered if name.startswith("row")]
    jobs = [
        ("convolution", CONVOLUTION, ["row1x4", "col4x4", "col8x4", "block4x4"]),
        ("fully connected", FULLY_CONNECTED, ["row1x1", "col4x1", "col8x1", "block4x4"]),
    ]
    everything: list[Row] = []
    try:
        for layer, geometry, kernels in jobs:
            rows = measure(layer, geometry, "xcv", [*dense, *rows_of, *kernels])
            extended = measure(layer, geometry, "xcv-nm", [*dense, *gathered])
            rows += [row for row in extended if row.kernel in gathered]
            everything += rows
            print(f"\n{layer}\n\n{table(rows)}")
        costs = {rounding: outside(rounding) for rounding in ("TWICE", "ONCE")}
    except NmpackError as error:
        print(error, file=sys.stderr)
        return 1
    for rounding, cost in costs.items():
        print(
            f"\noutside of the inner loop, rounded {rounding.lower()}: {cost:.1f} cycles an output"
        )
    worst = max(everything, key=lambda row: abs(row.predicted / row.cycles - 1))
    off = worst.predicted / worst.cycles - 1
    print(f"\nfarthest prediction: {worst.kernel} ({worst.target}) by {100 * off:+.1f} %")
    if args.json is not None:
        rows_json = [asdict(row) for row in everything]
        args.json.write_text(json.dumps({"rows": rows_json, "outside": costs}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
