# SPDX-License-Identifier: BSD-3-Clause
"""Whole networks on the core's RTL and on Spike: right answers, and cycles that agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_networks import residual

from nmpack.errors import NmpackError
from nmpack.mcu.compiler import Program, compile_model
from nmpack.mcu.emit import golden_of
from nmpack.mcu.golden import Golden
from nmpack.mcu.simulate import SIMULATORS, simulate


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.tflite"
    path.write_bytes(residual())
    return path


def wrong(program: Program) -> Golden:
    """Return golden vectors of a program with one answer changed."""
    golden = golden_of(program, 1)
    outputs = golden.outputs.copy()
    outputs.flat[0] ^= 1
    return replace(golden, outputs=outputs)


@pytest.mark.parametrize("target", ["rv32imc", "xcv", "xcv-nm"])
def test_the_model_of_a_network_is_the_rtl(model: Path, target: str) -> None:
    program = compile_model(model, target=target)
    golden = golden_of(program, 1)
    found = {name: simulate(program, simulator=name, golden=golden) for name in SIMULATORS}
    rtl, spike = found["rtl"], found["spike"]
    assert spike.cycles == pytest.approx(rtl.cycles, rel=0.02)
    assert spike.instructions == rtl.instructions
    assert len(rtl.layers) == len(program.steps)
    # A layer's region has the call and a hook's few instructions.
    assert rtl.cycles <= sum(rtl.layers) <= rtl.cycles + 100 * len(rtl.layers)
    assert spike.layers == pytest.approx(rtl.layers, rel=0.02, abs=4)
    predicted = sum(step.cycles[target] for step in program.steps)
    assert predicted == pytest.approx(rtl.cycles, rel=0.15)


def test_pruned_filters_are_faster_on_the_rtl(model: Path, tmp_path: Path) -> None:
    dense = tmp_path / "dense.tflite"
    dense.write_bytes(residual(pruned=False))
    cycles = [
        simulate(compile_model(path, target="xcv"), simulator="rtl").layers[0]
        for path in (dense, model)
    ]
    assert cycles[1] < cycles[0] / 1.5


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_wrong_answer_is_an_error(model: Path, simulator: str) -> None:
    program = compile_model(model, target="xcv")
    with pytest.raises(NmpackError, match="its answer is not that of TFLite's reference kernels"):
        simulate(program, simulator=simulator, golden=wrong(program))


def test_what_cannot_be_simulated_is_named(model: Path) -> None:
    with pytest.raises(NmpackError, match="a simulator out of rtl, spike, got 'qemu'"):
        simulate(compile_model(model, target="xcv"), simulator="qemu")
    with pytest.raises(NmpackError, match="for rv32imc, xcv or xcv-nm to simulate, got host"):
        simulate(compile_model(model, target="host"))
