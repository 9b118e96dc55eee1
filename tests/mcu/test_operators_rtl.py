# SPDX-License-Identifier: BSD-3-Clause
"""Drawn operators on the RTL of CV32E40P, in C and in assembly, are those of the reference kernels.

``NMPACK_DRAWN_SEED`` repeats what failed.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from drawn_integers import FAMILIES
from drawn_moves import MOVES
from host_programs import reference

from nmpack.mcu import emit_c, rtl, toolchain
from nmpack.mcu.compiler import Program, compile_model
from nmpack.mcu.emit import find_kernels

SEED = int(os.environ.get("NMPACK_DRAWN_SEED", "0"))
EACH = 12
GUARD = 16
# Every byte past an output or the arena keeps its value.
_MAIN = """
static int8_t output[%(most)d], arena[%(most)d];

static void run(int number, int (*network)(const int8_t *, int8_t *, void *), const int8_t *input,
                const int8_t *wanted, size_t size, size_t memory, int *failed) {
  memset(output, 0x55, size + %(guard)d);
  memset(arena, 0x55, memory + %(guard)d);
  int wrong = network(input, output, arena) != 0;
  for (size_t i = 0; i < size; i++) {
    wrong |= output[i] != wanted[i];
  }
  for (size_t i = 0; i < %(guard)d; i++) {
    wrong |= output[size + i] != 0x55 || arena[memory + i] != 0x55;
  }
  if (wrong) {
    nm_puts("case ");
    nm_put_int(number);
    nm_puts("\\n");
    *failed = 1;
  }
}

int main(void) {
  int failed = 0;
%(calls)s  return failed;
}
"""


@pytest.mark.parametrize("target", ["rv32imc", "xcv"])
def test_drawn_operators_are_those_of_the_reference_on_rtl(tmp_path: Path, target: str) -> None:
    generator = np.random.default_rng(SEED)
    programs: list[Program] = []
    about: list[str] = []
    for family, draw in (FAMILIES | MOVES).items():
        for index in range(EACH):
            text, content = draw(generator)
            path = tmp_path / f"{family}_{index}.tflite"
            path.write_bytes(content)
            about.append(f"seed {SEED}, case {len(about)}, {family}: {text}")
            programs.append(compile_model(path, target=target))
    vectors = [
        reference(program, generator, extreme=i % 3 == 0) for i, program in enumerate(programs)
    ]
    program = _build(tmp_path, programs, vectors, target)
    report = rtl.run(program, extended=False)
    failed = [int(line.split()[1]) for line in report.output.splitlines()]
    assert not failed, "\n".join(about[number] for number in failed[:20])
    assert report.exit_code == 0, report.output


def _build(
    folder: Path, programs: list[Program], vectors: list[tuple[bytes, bytes]], target: str
) -> Path:
    kernels = find_kernels()
    text = ['#include <stdint.h>\n#include <string.h>\n#include "nm_platform.h"\n']
    calls = []
    for number, (program, (fed, wanted)) in enumerate(zip(programs, vectors, strict=True)):
        name, upper = program.name, program.name.upper()
        (folder / f"{name}.h").write_text(emit_c.header(program))
        (folder / f"{name}.c").write_text(emit_c.calls(program))
        (folder / f"{name}_weights.h").write_text(emit_c.weights_header(program))
        (folder / f"{name}_weights.c").write_text("".join(emit_c.weights(program)))
        text.append(f'#include "{name}.c"\n#include "{name}_weights.c"\n')
        for what, content in (("fed", fed), ("wanted", wanted)):
            text.append("NM_ALIGNED(8) static ")
            text += emit_c.array(f"{what}_{number}", np.frombuffer(content, np.int8))
        sizes = f"{upper}_OUTPUT_BYTES, {upper}_ARENA_BYTES"
        calls.append(
            f"  run({number}, {name}_run, fed_{number}, wanted_{number}, {sizes}, &failed);\n"
        )
    most = max(max(p.plan.output_bytes, p.plan.arena_bytes) for p in programs) + GUARD
    main = _MAIN % {"most": most, "guard": GUARD, "calls": "".join(calls)}
    main = main.replace("static int8_t output", "NM_ALIGNED(8) static int8_t output").replace(
        f", arena[{most}]", f";\nNM_ALIGNED(8) static int8_t arena[{most}]"
    )
    (folder / "main.c").write_text("".join(text) + main)
    files = []
    for source in sorted({s for item in programs for step in item.steps for s in step.sources}):
        form = (kernels / target / source).with_suffix(".S")
        files.append(form if form.is_file() else kernels / source)
    return toolchain.build(
        [folder / "main.c", *files], folder / "program", target=target, include=[folder, kernels]
    )  # fmt: skip
