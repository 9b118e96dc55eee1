# SPDX-License-Identifier: BSD-3-Clause
"""Running programs on the RTL of CV32E40P, as Verilator compiled it."""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nmpack import locations
from nmpack.errors import MissingError, NmpackError

_HOW = "run scripts/setup_mcu.py"


class SimulationError(NmpackError):
    """A program did something that its machine does not have, or did not end."""


@dataclass(frozen=True, slots=True)
class Region:
    """What was counted between the borders of a region of a program.

    Attributes:
        id: the number that the program ended it with.
        cycles: clock cycles.
        loads: words, halves or bytes read, of all cores together.
        stores: and written.
        instructions: how many were issued, of all cores together.
        conflicts: cycles in which a core of a cluster waited for a bank, of all cores together.
    """

    id: int
    cycles: int
    loads: int
    stores: int
    instructions: int
    conflicts: int


@dataclass(frozen=True, slots=True)
class Report:
    """How a program ran.

    Attributes:
        regions: in the order in which they ended.
        exit_code: the program's own; 64 and more is an exception that it did not handle.
        output: what it printed.
        total: from reset to the end.
    """

    regions: tuple[Region, ...]
    exit_code: int
    output: str
    total: Region

    def cycles(self, region: int) -> int:
        """Return the cycles of the only region of this number.

        Raises:
            SimulationError: there is none, or more than one.
        """
        found = [one.cycles for one in self.regions if one.id == region]
        if len(found) != 1:
            raise SimulationError(f"expected one region {region}, got {len(found)}")
        return found[0]


def folder(*, extended: bool) -> Path:
    """Return where the core's RTL and simulators are, with the gather instruction or without.

    Raises:
        MissingError: they have not been built from what the source tree holds now.
    """
    return _simulators() / ("extended" if extended else "plain")


@functools.cache
def _simulators() -> Path:
    pointer = locations.ROOT / "build/mcu.json"
    try:
        found: dict[str, Any] = json.loads(pointer.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"CV32E40P's simulators are not built: {_HOW}") from None
    for name, digest in found["inputs"].items():
        path = locations.ROOT / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise MissingError(f"CV32E40P's simulators are older than {name}: {_HOW}")
    simulators = Path(found["simulators"])
    if not simulators.is_dir():
        raise MissingError(f"CV32E40P's simulators are no longer in {simulators}: {_HOW}")
    return simulators


def run(
    program: Path,
    *,
    extended: bool,
    cores: int = 1,
    banks: int = 16,
    stalls: int | None = None,
    ports: Literal["both", "instruction", "data"] = "both",
    interrupts: int | None = None,
    cycles: int = 4_000_000_000,
    timeout: float = 600.0,
) -> Report:
    """Run an ELF program that :func:`nmpack.mcu.toolchain.build` linked.

    Args:
        program: the ELF file.
        extended: on the core that has the gather instruction.
        cores: 1, or up to 8 that share ``banks`` word-interleaved banks of memory.
        banks: of a cluster.
        stalls: seed of random stalls of memory, 1 or more; None is memory that answers at once.
            Of one core only.
        ports: which of its ports stall.
        interrupts: seed of random interrupts (fast interrupt 16), 1 or more. Of one core only.
        cycles: the most that it may take.
        timeout: seconds.

    Raises:
        SimulationError: it accessed memory that is not there, did not end, or is not a program.
        MissingError: the simulators are not built.
    """
    words: list[str] = []
    if cores > 1:
        words += ["--cores", str(cores), "--banks", str(banks)]
    if stalls is not None and ports != "data":
        words += ["--instruction-stalls", str(stalls)]
    if stalls is not None and ports != "instruction":
        words += ["--data-stalls", str(stalls)]
    if interrupts is not None:
        words += ["--interrupts", str(interrupts)]
    testbench = folder(extended=extended) / ("testbench_cluster" if cores > 1 else "testbench")
    output, rows = simulated([str(testbench), *words, "--cycles", str(cycles)], program, timeout)
    regions = tuple(region_of(row["region"], row) for row in rows[:-1])
    return Report(regions, rows[-1]["exit"], output, region_of(0, rows[-1]))


def simulated(
    words: Sequence[str],
    program: Path,
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> tuple[str, list[dict[str, Any]]]:
    """Run a simulator on a program; returns what the program printed, and the rows of its report.

    Args:
        words: the simulator and its options; the program comes behind them.
        program: the ELF file.
        timeout: seconds.
        environment: None for that of this process.

    Raises:
        SimulationError: it failed, did not end in time, or ended before the program did.
    """
    try:
        done = subprocess.run(
            [*words, str(program)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise SimulationError(f"{program.name} did not end within {timeout:.0f} s") from None
    lines = done.stderr.splitlines()
    if done.returncode != 0:
        said = (lines or [f"the simulator ended with {done.returncode}"])[-1]
        raise SimulationError(f"{program.name}: {said}")
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    if not rows or "exit" not in rows[-1]:
        raise SimulationError(f"{program.name}: the simulator ended before the program did")
    return done.stdout, rows


def region_of(number: int, row: Mapping[str, int]) -> Region:
    """Return the region of a row of a simulator's report."""
    return Region(
        id=number,
        cycles=row["cycles"],
        loads=row["loads"],
        stores=row["stores"],
        instructions=row["instructions"],
        conflicts=row["conflicts"],
    )
