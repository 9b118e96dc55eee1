# SPDX-License-Identifier: BSD-3-Clause
"""Random programs leave the same on the RTL as on Spike, however memory stalls.

test_spike.py compares cycles and results where memory answers at once.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import random_programs

from nmpack.mcu import rtl, spike, toolchain

SEED = int(os.environ["NMPACK_TEST_SEED"])
PROGRAMS = int(os.environ.get("NMPACK_MCU_PROGRAMS", "10"))
INSTRUCTIONS = 300


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random programs of RV32IMC, XCV and gathers, which print registers and a sum of memory."""
    print("seed", SEED)
    folder = tmp_path_factory.mktemp("random")
    sources = [folder / "main.c", folder / "random.S"]
    sources[0].write_text(random_programs.HARNESS)
    sources[1].write_text(
        random_programs.programs(SEED, PROGRAMS, INSTRUCTIONS, gather=True), encoding="utf-8"
    )
    return toolchain.build(sources, folder / "program", target="xcv-nm")


@pytest.mark.parametrize("ports", ["both", "instruction", "data"])
def test_stalls_change_nothing(program: Path, ports: str) -> None:
    """Registers, memory and counts of each program, with random stalls."""
    expected = spike.run(program)
    got = rtl.run(program, extended=True, stalls=SEED % 1000 + 1, ports=ports)  # type: ignore[arg-type]
    assert expected.exit_code == got.exit_code == 0
    assert got.output.splitlines() == expected.output.splitlines()
    counts = [(region.loads, region.stores) for region in got.regions]
    assert counts == [(region.loads, region.stores) for region in expected.regions]
    assert got.total.cycles > expected.total.cycles
