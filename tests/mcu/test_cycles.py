# SPDX-License-Identifier: BSD-3-Clause
"""Cycles that Spike models are those of the RTL: compiled C, and every kernel for filters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mcu_costs
import mcu_gather_costs
import mcu_kernel_programs as kernel_programs
import numpy as np
import pytest

from nmpack.mcu import cycles, filters, rtl, spike, toolchain
from nmpack.mcu.filters_conv2d import Geometry, Requantization, lower_conv2d

HERE = Path(__file__).parent
#: How far a region may be from the RTL.
TOLERANCE = 0.02
TARGETS = ("rv32imc", "xcv", "xcv-nm")


def _compare(program: Path, target: str) -> tuple[rtl.Report, spike.ModelledReport]:
    """Run on both, and hold every region of the model against the RTL's."""
    expected = rtl.run(program, extended=target == "xcv-nm")
    got = spike.run(program, target=target)
    assert expected.output == got.output
    assert expected.exit_code == got.exit_code == 0, expected.output
    assert [one.id for one in expected.regions] == [one.id for one in got.regions]
    for one, other in zip(expected.regions, got.regions, strict=True):
        assert one.instructions == other.instructions
        assert (one.loads, one.stores) == (other.loads, other.stores)
        print(f"region {one.id}: {one.cycles} on RTL, {other.cycles} modelled")
        assert other.cycles == pytest.approx(one.cycles, rel=TOLERANCE)
    return expected, got


@pytest.mark.parametrize("optimization", ["-O2", "-O3", "-Os"])
@pytest.mark.parametrize("target", TARGETS[:2])
def test_compiled(tmp_path: Path, target: str, optimization: str) -> None:
    """Ordinary C, and what it is counted as."""
    program = toolchain.build(
        [HERE / "cycle_programs.c"],
        tmp_path / "program",
        target=target,
        flags=(optimization,),
        warnings=(),
    )
    _, got = _compare(program, target)
    counts = dict(zip((region.id for region in got.regions), got.counts, strict=True))
    assert counts[1]["multiply_high"] >= 144
    assert counts[2]["branches_taken"] > 1000
    assert counts[3]["divide"] > 300
    assert counts[3]["division_cycles"] > 3 * counts[3]["divide"]
    assert counts[4]["jump"] > 300
    assert counts[5]["misaligned_accesses"] > 300


def _weights(
    generator: np.random.Generator, kernel: str, channels: int, columns: int
) -> np.ndarray:
    """Weights that a kernel takes: dense, or one of 8 columns or blocks of 4 kept by its tiles."""
    values = generator.integers(1, 128, (channels, columns)).astype(np.int8)
    known = filters.KERNELS[kernel]
    if known.tile == 0:
        return values
    digits = kernel.lstrip("abcdefghijklmnopqrstuvwxyz") if "nm" in kernel else "8"
    m = int(digits)
    tiles, blocks = -(-channels // known.tile), columns // known.block
    kept = np.zeros((tiles, blocks), bool)
    for tile in range(tiles):
        for begin in range(0, blocks, m):
            kept[tile, begin + int(generator.integers(0, min(m, blocks - begin)))] = True
    kept = kept.repeat(known.tile, axis=0)[:channels].repeat(known.block, axis=1)
    return np.where(kept, values, 0).astype(np.int8)


def _geometries() -> Iterator[tuple[str, Geometry, int]]:
    yield "3x3", Geometry(1, 4, 5, 32, 4, 5, 3, 3, pad_top=1, pad_left=1), 12
    yield "1x1", Geometry(1, 3, 3, 64, 3, 3), 9
    yield "vector", Geometry(1, 1, 1, 192, 1, 1), 16


@pytest.mark.parametrize("kernel", filters.KERNELS)
@pytest.mark.parametrize("target", TARGETS)
def test_kernels(tmp_path: Path, target: str, kernel: str) -> None:
    """Each kernel in a convolution, a pointwise one and a fully connected layer."""
    generator = np.random.default_rng(17)
    cases = []
    for name, geometry, channels in _geometries():
        weights = _weights(generator, kernel, channels, geometry.columns)
        requantization = Requantization(
            generator.integers(-2000, 2000, channels).astype(np.int32),
            generator.integers(1 << 30, 1 << 31, channels),
            generator.integers(6, 11, channels),
            3,
            -5,
        )
        lowered = lower_conv2d(weights, geometry, requantization, target=target, kernel=kernel)
        assert lowered.filter.kernel == kernel
        shape = (1, geometry.input_height, geometry.input_width, geometry.input_channels)
        inputs = generator.integers(-128, 128, shape).astype(np.int8)
        expected = kernel_programs.convolved(weights, geometry, requantization, inputs)
        cases.append(kernel_programs.conv2d_case(name, lowered, inputs, expected))
    program = kernel_programs.build(cases, tmp_path / "program", target=target)
    expected, _ = _compare(program, target)
    assert len(expected.regions) == len(cases)


#: How far a prediction from a few numbers may be from the model.
PREDICTED = 0.05


@pytest.mark.parametrize("kernel", filters.KERNELS)
@pytest.mark.parametrize("target", cycles.MEASURED)
@pytest.mark.parametrize("once", [False, True])
def test_predictions(once: bool, target: str, kernel: str) -> None:
    """Costs of mcu/kernels/costs.toml predict calls that they were not fitted to."""
    m = 8 if "nm" not in kernel else int(kernel[5:])
    columns = 16 * m * filters.KERNELS[kernel].block
    chosen = [(24, columns, 5), (20, 2 * columns, 6), (10, columns, 9)]
    for sample in mcu_costs.measure(kernel, target, "spike", chosen, once=once):
        packed = sample.packed
        cost = cycles.cost_of(kernel, target, once=once)
        got = cost.cycles(packed.steps, packed.channels, sample.pixels)
        assert got == pytest.approx(sample.cycles, rel=PREDICTED), (
            f"run experiments/mcu_costs.py --kernel {kernel}"
        )


#: How far a prediction of gathering may be.
GATHERED = 0.15


@pytest.mark.parametrize("layout", mcu_gather_costs.LAYOUTS)
@pytest.mark.parametrize("target", cycles.MEASURED)
def test_predictions_of_gathering(target: str, layout: filters.Layout) -> None:
    """Convolutions of other sizes than those that were fitted gather as fast as predicted."""
    calls = mcu_gather_costs.draw(layout, 40, seed=11)
    for call in mcu_gather_costs.measure(calls, target, "spike"):
        aligned = call.geometry.input_channels % 4 == 0
        got = cycles.gather_cost_of(layout, target).cycles(call.counted, aligned=aligned)
        assert got == pytest.approx(call.cycles, rel=GATHERED), call


def test_costs_of_other_targets() -> None:
    """Targets without timing take those of others; unknown kernels have none."""
    portable = cycles.cost_of("dense4x4", "rv32imc")
    assert cycles.cost_of("dense4x4", "zve32x") == portable
    fast = cycles.cost_of("dense4x4", "xcv")
    assert cycles.cost_of("dense4x4", "xcv-nm") == fast
    assert fast.cycles([16, 16], 8, 4) < portable.cycles([16, 16], 8, 4) / 2
    assert cycles.cost_of("rownm8", "xcv-nm") != cycles.cost_of("rownm8", "xcv")
    with pytest.raises(cycles.CostError, match="no costs of nothing on xcv"):
        cycles.cost_of("nothing", "xcv")
    with pytest.raises(cycles.CostError, match="no costs of gathering planes on xcv"):
        cycles.gather_cost_of("planes", "xcv")


@pytest.mark.parametrize(
    "text",
    ["", "kernel = 3", "[[kernel]]", "not toml", '[[kernel]]\nname = "x"\ntarget = "xcv"\n'],
)
def test_damaged_costs(tmp_path: Path, text: str) -> None:
    """A file of costs that is none is refused in one sentence."""
    path = tmp_path / "costs.toml"
    path.write_text(text)
    with pytest.raises(cycles.CostError, match=r"expected a .*kernel"):
        cycles.load_costs(path)
