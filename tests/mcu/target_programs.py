# SPDX-License-Identifier: BSD-3-Clause
"""Many generated networks in one program of a simulated core, with their inputs and answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nmpack.mcu import emit_c, spike, toolchain
from nmpack.mcu.compiler import Program
from nmpack.mcu.emit import find_kernels

GUARD = 16
_FORMS = {
    "rv32imc": (), "xcv": ("xcv",), "xcv-nm": ("xcv-nm", "xcv"), "zve32x": ("zve32x",),
}  # fmt: skip
_MAIN = """
#include <string.h>
#include "nm_platform.h"

static int8_t input[%(most)d] __attribute__((aligned(16)));
static int8_t output[%(most)d] __attribute__((aligned(16)));
static int8_t arena[%(most)d] __attribute__((aligned(16)));

// Input and output begin `odd` bytes behind a word; every byte around them keeps its value.
static void run(int number, int odd, int (*network)(const int8_t *, int8_t *, void *),
                const int8_t *fed, size_t bytes, const int8_t *wanted, size_t size, size_t memory) {
  int8_t *const from = input + odd;
  int8_t *const to = output + %(guard)d + odd;
  memset(output, 0x55, size + 2 * %(guard)d + 4);
  memset(arena, 0x55, memory + %(guard)d);
  memmove(from, fed, bytes);
  int wrong = network(from, to, arena) != 0 || memcmp(to, wanted, size) != 0;
  for (size_t i = 0; i < %(guard)d; i++) {
    wrong |= to[size + i] != 0x55 || to[-1 - (int) i] != 0x55 || arena[memory + i] != 0x55;
  }
  if (wrong) {
    nm_put_int(number);
    nm_puts("\\n");
  }
}

int main(void) {
%(calls)s  return 0;
}
"""


def wrong_on_spike(
    folder: Path,
    programs: Sequence[Program],
    vectors: Sequence[tuple[int, bytes, bytes]],
    target: str,
) -> list[int]:
    """Return which vectors a target's kernels get wrong, or around which they write.

    Args:
        folder: to work in.
        programs: networks, whose names differ.
        vectors: index of a network, its input, and what it has to answer.
        target: of a generated Makefile, but for the host.
    """
    kernels = find_kernels()
    text, lines = ["#include <stdint.h>\n"], []
    for program in programs:
        name = program.name
        (folder / f"{name}.h").write_text(emit_c.header(program))
        (folder / f"{name}.c").write_text(emit_c.calls(program))
        (folder / f"{name}_weights.h").write_text(emit_c.weights_header(program))
        (folder / f"{name}_weights.c").write_text("".join(emit_c.weights(program)))
        text.append(f'#include "{name}.c"\n#include "{name}_weights.c"\n')
    most = 0
    for number, (index, fed, wanted) in enumerate(vectors):
        program = programs[index]
        for what, data in (("fed", fed), ("wanted", wanted)):
            pieces = emit_c.array(f"{what}_{number}", np.frombuffer(data, np.int8))
            text.append("static " + "".join(pieces))
        memory = program.plan.arena_bytes
        lines.append(
            f"  run({number}, {number % 4}, {program.name}_run, fed_{number}, {len(fed)}, "
            f"wanted_{number}, {len(wanted)}, {memory});\n"
        )
        most = max(most, len(fed), len(wanted), memory)
    fields = {"most": most + 4 * GUARD, "guard": GUARD, "calls": "".join(lines)}
    (folder / "networks.c").write_text("".join(text) + _MAIN % fields)
    sources = {source for item in programs for step in item.steps for source in step.sources}
    files = [_form(kernels, source, target) for source in sorted(sources)]
    built = toolchain.build(
        [folder / "networks.c", *files], folder / "networks.elf", target=target,
        include=[folder, kernels],
    )  # fmt: skip
    report = spike.run(built, target=target)
    assert report.exit_code == 0, report.output
    return [int(line) for line in report.output.split()]


def _form(kernels: Path, source: str, target: str) -> Path:
    """Return the file that a target has in place of a portable one."""
    for form in _FORMS[target]:
        for ending in (".S", ".c"):
            path = kernels / form / Path(source).with_suffix(ending)
            if path.is_file():
                return path
    return kernels / source
