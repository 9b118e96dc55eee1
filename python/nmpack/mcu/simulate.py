# SPDX-License-Identifier: BSD-3-Clause
"""Running a whole compiled network on a simulated core: its answers checked, its layers counted."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nmpack.errors import NmpackError
from nmpack.mcu import rtl, spike
from nmpack.mcu.compiler import Program
from nmpack.mcu.emit import emit, golden_of
from nmpack.mcu.golden import Golden
from nmpack.mcu.toolchain import clang, platform_folder

#: The core itself, or Spike with a model of its pipeline.
SIMULATORS = ("rtl", "spike")

# A region borders a layer: the hook ends one and begins the next. The region of the whole network
# holds them all, and the few instructions of the hook itself.
_MAIN = """\
#include "{name}.h"
#include "golden.h"
#include "nm_platform.h"

static int8_t input[{upper}_INPUT_BYTES] __attribute__((aligned(8)));
static int8_t output[{upper}_OUTPUT_BYTES] __attribute__((aligned(8)));
static int8_t arena[{upper}_ARENA_BYTES + 1] __attribute__((aligned({upper}_ARENA_ALIGNMENT)));

static void border(void *context, int layer, const void *written, size_t bytes) {{
  (void) context;
  (void) written;
  (void) bytes;
  nm_region_end((uint32_t) layer + 2);
  nm_region_begin();
}}

int main(void) {{
  for (size_t i = 0; i < sizeof input; i++) {{
    input[i] = {name}_golden_inputs[i];
  }}
  for (size_t i = 0; i < sizeof output; i++) {{
    output[i] = (int8_t) ~{name}_golden_outputs[i];
  }}
  nm_region_begin();
  int refused = {name}_run(input, output, arena);
  nm_region_end(1);
  for (size_t i = 0; i < sizeof output; i++) {{
    refused |= output[i] != {name}_golden_outputs[i];
  }}
  if (refused) {{
    return 1;
  }}
  nm_region_begin();
  (void) {name}_run_with_hook(input, output, arena, border, 0);
  nm_region_end(INT32_MAX);
  return 0;
}}
"""


@dataclass(frozen=True, slots=True)
class Simulation:
    """How a network ran.

    Attributes:
        simulator: one of :data:`SIMULATORS`. Cycles of ``spike`` are a model's.
        target: what it was built for.
        cycles: clock cycles of the network, without a hook.
        instructions: that it took.
        layers: cycles of each step of the program, with its call.
    """

    simulator: str
    target: str
    cycles: int
    instructions: int
    layers: tuple[int, ...]


def simulate(
    program: Program,
    *,
    simulator: str = "spike",
    golden: Golden | None = None,
    timeout: float = 1800.0,
) -> Simulation:
    """Build a program for its target and run it on one input, whose answer must be right.

    Args:
        program: its target is one of ``rv32imc``, ``xcv`` and ``xcv-nm``.
        simulator: ``rtl``, CV32E40P itself, 0.7 million cycles a second; or ``spike``.
        golden: an input and what TFLite's reference kernels answer; drawn and computed unless
            given. For large networks the computing takes longer than the run.
        timeout: seconds of the simulator.

    Raises:
        NmpackError: no such simulator or target, it does not build, or an answer is wrong.
        MissingError: a simulator or compiler is missing; says how to get it.
    """
    if simulator not in SIMULATORS:
        raise NmpackError(f"expected a simulator out of {', '.join(SIMULATORS)}, got {simulator!r}")
    if program.target not in ("rv32imc", "xcv", "xcv-nm"):
        raise NmpackError(
            f"expected a program for rv32imc, xcv or xcv-nm to simulate, got {program.target}"
        )
    golden = golden_of(program, 1) if golden is None else golden
    with tempfile.TemporaryDirectory(prefix="nmpack-mcu-") as temporary:
        elf = _built(program, Path(temporary), golden)
        if simulator == "rtl":
            report = rtl.run(elf, extended=program.target == "xcv-nm", timeout=timeout)
        else:
            report = spike.run(elf, target=program.target, timeout=timeout)
    if report.exit_code != 0:
        what = "its answer is not that of TFLite's reference kernels"
        if report.exit_code > 1:
            what = f"it ended with status {report.exit_code}"
        raise NmpackError(f"{program.model} on {simulator} for {program.target}: {what}")
    by_id: Mapping[int, rtl.Region] = {region.id: region for region in report.regions}
    whole = by_id[1]
    layers = tuple(by_id[number + 2].cycles for number in range(len(program.steps)))
    return Simulation(simulator, program.target, whole.cycles, whole.instructions, layers)


def _built(program: Program, temporary: Path, golden: Golden) -> Path:
    folder = emit(program, temporary / "network", golden)
    main = folder / "measured.c"
    main.write_text(_MAIN.format(name=program.name, upper=program.name.upper()))
    words = [
        *("make", "-s", "-C", str(folder), f"-j{os.cpu_count() or 1}"),
        *(f"TARGET={program.target}", f"PLATFORM={platform_folder()}", f"MAIN={main.name}"),
        f"CC={clang()} --target=riscv32-unknown-elf",
    ]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = "\n".join(done.stderr.splitlines()[:20])
        raise NmpackError(f"{program.model} does not build for {program.target}:\n{said}")
    return folder / "build" / program.target / f"{program.name}.elf"
