# SPDX-License-Identifier: BSD-3-Clause
"""Many generated networks in one program of the host, under sanitizers; and their reference."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from nmpack.mcu import emit_c
from nmpack.mcu.compiler import Program
from nmpack.mcu.emit import find_kernels
from nmpack.mcu.golden import draw, joined

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
_DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct network {
  int (*run)(const int8_t *, int8_t *, void *);
  size_t input, output, arena;
};
static const struct network networks[] = {
%s};

// Reads the number of a network and its input, runs it in memory of exactly its bytes, and writes
// its output.
int main(void) {
  unsigned index;
  while (fread(&index, sizeof(index), 1, stdin) == 1) {
    const struct network *n = &networks[index];
    int8_t *input = malloc(n->input), *output = malloc(n->output), *arena = malloc(n->arena);
    if (!input || !output || !arena || fread(input, 1, n->input, stdin) != n->input) {
      return 2;
    }
    memset(output, 0x55, n->output);
    memset(arena, 0xaa, n->arena);
    if (n->run(input, output, arena) != 0) {
      return 3;
    }
    fwrite(output, 1, n->output, stdout);
    free(input);
    free(output);
    free(arena);
  }
  return 0;
}
"""


class HostPrograms:
    """One program of many networks."""

    def __init__(self, folder: Path, programs: Sequence[Program], *, compiler: str = "gcc") -> None:
        """Write and build; the names of programs differ.

        Args:
            folder: an empty one to work in.
            programs: the networks.
            compiler: gcc or clang.
        """
        self.programs = tuple(programs)
        self._program = folder / "networks"
        kernels = find_kernels()
        text, table = ["#include <stdint.h>\n"], []
        for program in self.programs:
            name, upper = program.name, program.name.upper()
            (folder / f"{name}.h").write_text(emit_c.header(program))
            (folder / f"{name}.c").write_text(emit_c.calls(program))
            (folder / f"{name}_weights.h").write_text(emit_c.weights_header(program))
            (folder / f"{name}_weights.c").write_text("".join(emit_c.weights(program)))
            text += [f'#include "{name}.c"\n#include "{name}_weights.c"\n']
            sizes = ", ".join(f"{upper}_{what}_BYTES" for what in ("INPUT", "OUTPUT", "ARENA"))
            table.append(f"  {{{name}_run, {sizes}}},\n")
        (folder / "networks.c").write_text("".join(text) + _DRIVER % "".join(table))
        sources = {source for item in programs for step in item.steps for source in step.sources}
        command = [
            compiler, "-O1", "-g", *SANITIZERS, *WARNINGS, f"-I{folder}", f"-I{kernels}",
            str(folder / "networks.c"), *(str(kernels / source) for source in sorted(sources)),
            "-o", str(self._program),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, done.stderr[:4000]

    def run(self, inputs: Sequence[tuple[int, bytes]]) -> list[bytes]:
        """Return the output of each ``(network, input)``."""
        fed = b"".join(np.uint32(index).tobytes() + data for index, data in inputs)
        environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}
        done = subprocess.run(
            [str(self._program)], input=fed, capture_output=True, check=False, timeout=600,
            env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode(errors="replace")[:4000]
        outputs, at = [], 0
        for index, _ in inputs:
            size = self.programs[index].plan.output_bytes
            outputs.append(done.stdout[at : at + size])
            at += size
        assert at == len(done.stdout)
        return outputs


def require_reference(
    folder: Path,
    programs: Sequence[Program],
    about: Sequence[str] = (),
    generator: np.random.Generator | None = None,
    *,
    inputs: int = 4,
    compiler: str = "gcc",
) -> None:
    """Check that programs compute what the reference kernels do, on ``inputs`` drawn inputs each.

    Args:
        folder: an empty one to work in.
        programs: the networks.
        about: what each is, for messages; its name unless given.
        generator: of the inputs; the first of each network is extreme. None for a fixed seed.
        inputs: of each.
        compiler: gcc or clang.
    """
    about = about or [program.name for program in programs]
    generator = generator or np.random.default_rng(0)
    vectors = [
        (index, *reference(program, generator, extreme=turn == 0))
        for index, program in enumerate(programs)
        for turn in range(inputs)
    ]
    networks = HostPrograms(folder, programs, compiler=compiler)
    outputs = networks.run([(index, fed) for index, fed, _ in vectors])
    wrong = [
        f"{about[index]}, {programs[index].steps[-1].kernel}: "
        f"{np.count_nonzero(np.frombuffer(got, 'i1') != np.frombuffer(want, 'i1'))} "
        f"of {len(want)} bytes differ"
        for (index, _, want), got in zip(vectors, outputs, strict=True)
        if got != want
    ]
    assert not wrong, "\n".join(wrong[:20])


def reference(
    program: Program, generator: np.random.Generator, *, extreme: bool = False
) -> tuple[bytes, bytes]:
    """Return a drawn input of a program, and what the reference kernels answer.

    Args:
        program: of a file.
        generator: of the input.
        extreme: int8 inputs have the smallest and the largest values only.
    """
    interpreter = Interpreter(
        str(program.model), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    plan, graph = program.plan, program.graph
    values = [draw(tensor, generator) for tensor in graph.inputs]
    if extreme:
        values = [
            np.where(value < 0, np.int8(-128), np.int8(127)) if value.dtype == np.int8 else value
            for value in values
        ]
    for detail, value in zip(interpreter.get_input_details(), values, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    results = [interpreter.get_tensor(item["index"]) for item in interpreter.get_output_details()]
    return (
        joined(values, plan.input_offsets, plan.input_bytes).tobytes(),
        joined(results, plan.output_offsets, plan.output_bytes).tobytes(),
    )
