# SPDX-License-Identifier: BSD-3-Clause
"""Spike with mcu/spike does what the RTL does, instruction by instruction."""

from __future__ import annotations

import os
from pathlib import Path

import decode_programs
import pytest
import random_programs

from nmpack.mcu import rtl, spike, toolchain

SEED = int(os.environ["NMPACK_TEST_SEED"])
#: Random programs for each of the two cores, and the least that each holds.
PROGRAMS = int(os.environ.get("NMPACK_MCU_PROGRAMS", "30"))
INSTRUCTIONS = 200
BATCH = 10


def _build(
    folder: Path, text: str, assembly: str = "", target: str = "xcv-nm", **defines: int
) -> Path:
    """A program of C and, if there is any, assembly."""
    sources = [folder / "main.c"]
    sources[0].write_text(text + "\n")
    if assembly:
        sources.append(folder / "more.S")
        sources[1].write_text(assembly)
    return toolchain.build(sources, folder / "program", target=target, defines=defines)


def _on_both(program: Path, *, gather: bool) -> tuple[rtl.Report, spike.ModelledReport]:
    target = "xcv-nm" if gather else "xcv"
    return rtl.run(program, extended=gather), spike.run(program, target=target)


def _counts(region: rtl.Region) -> tuple[int, int, int]:
    return region.instructions, region.loads, region.stores


@pytest.mark.parametrize("gather", [False, True])
@pytest.mark.parametrize("batch", range(-(-PROGRAMS // BATCH)))
def test_random_programs(tmp_path: Path, batch: int, gather: bool) -> None:
    """Registers, memory, counts and cycles of random programs."""
    seed = SEED + batch
    print("seed", seed)
    text = random_programs.programs(seed, BATCH, INSTRUCTIONS, gather=gather)
    program = _build(tmp_path, random_programs.HARNESS, text)
    expected, got = _on_both(program, gather=gather)
    assert expected.exit_code == got.exit_code == 0
    assert got.output.splitlines() == expected.output.splitlines()
    assert len(expected.regions) == len(got.regions) == BATCH
    for one, other in zip(expected.regions, got.regions, strict=True):
        assert one.id == other.id
        assert _counts(one) == _counts(other), f"program {one.id - 1} of seed {seed}"
        assert other.cycles == pytest.approx(one.cycles, rel=0.01), (
            f"program {one.id - 1} of seed {seed}"
        )
    total = sum(region.cycles for region in got.regions)
    assert total == pytest.approx(sum(region.cycles for region in expected.regions), rel=0.001)


@pytest.mark.parametrize("gather", [False, True])
def test_every_encoding(tmp_path: Path, gather: bool) -> None:
    """What is legal, what is not, and what each computes, over all function codes."""
    words = list(decode_programs.words())
    text = decode_programs.assembly(words)
    program = _build(tmp_path, decode_programs.HARNESS, text, DECODE_WORDS=len(words))
    expected, got = _on_both(program, gather=gather)
    assert expected.exit_code == got.exit_code == 0
    lines = zip(words, expected.output.splitlines(), got.output.splitlines(), strict=True)
    assert [(f"{word:#010x}", x, y) for word, x, y in lines if x != y] == []
    trapped = expected.output.count("trap 2\n")
    assert len(words) // 2 < trapped < len(words), "hardly all words are legal, or illegal"
    assert expected.total.instructions == got.total.instructions
    assert got.total.cycles == pytest.approx(expected.total.cycles, rel=0.001)


def test_each_target_has_its_instructions(tmp_path: Path) -> None:
    """An instruction that a target lacks is illegal, mcause 2."""
    texts = {"xcv": "cv.max a0, a0, a0", "xcv-nm": ".insn r 0x2b, 6, 1, a0, gp, a0"}
    order = ("rv32imc", "xcv", "xcv-nm")
    for needed, text in texts.items():
        program = _build(
            tmp_path, f'int main(void) {{ __asm__ volatile("{text}" ::: "a0"); return 0; }}'
        )
        for target in order:
            code = 0 if order.index(target) >= order.index(needed) else 0x42
            assert spike.run(program, target=target).exit_code == code, (target, text)


def test_vector_instructions_are_counted(tmp_path: Path) -> None:
    """On zve32x vector instructions run, and count as one cycle each."""
    program = _build(
        tmp_path,
        """
        #include "nm_platform.h"
        static int8_t x[64], y[64];
        int main(void) {
          for (int i = 0; i < 64; i++) {
            x[i] = (int8_t) (3 * i);
          }
          nm_region_begin();
          __asm__ volatile(
              "vsetvli t0, %0, e8, m4, ta, ma\\n"
              "vle8.v v8, (%1)\\n"
              "vadd.vi v8, v8, 5\\n"
              "vse8.v v8, (%2)\\n" ::"r"(64), "r"(x), "r"(y)
              : "t0", "v8", "v9", "v10", "v11", "memory");
          nm_region_end(1);
          for (int i = 0; i < 64; i++) {
            if (y[i] != (int8_t) (3 * i + 5)) {
              return 1;
            }
          }
          return 0;
        }
        """,
        target="zve32x",
    )
    report = spike.run(program, target="zve32x")
    assert report.exit_code == 0
    assert report.counts[0]["vector"] == 4
    assert report.regions[0].instructions >= 6


LOOP = """
int main(void) {{
  __asm__ volatile(
      ".option push\\n.option norvc\\n.option norelax\\n.balign 4\\n"
      "li t0, {times}\\n"
      "1: .4byte 0x402b + (7 << 8) + (5 << 15) + (((2f - 1b) / 4) << 20)\\n"
      "{body}\\n"
      "2: nop\\n.option pop\\n" ::: "t0", "t1", "memory");
  return 0;
}}
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("nop\\nnop", "at least 3 instructions"),
        (
            "nop\\n.option rvc\\nc.nop\\nc.nop\\n.option norvc\\nnop\\nnop",
            "a compressed instruction",
        ),
        ("nop\\n.4byte 0x00000463\\nnop\\nnop", "a branch"),
        ("nop\\n.4byte 0x0080006f\\nnop\\nnop", "a jump"),
        ("nop\\nfence\\nnop\\nnop", "fences"),
        ("nop\\nli t1, 1\\n.4byte 0x402b + (5 << 8) + (6 << 15)\\nnop", "its own body"),
    ],
)
def test_rules_of_hardware_loops(tmp_path: Path, body: str, said: str) -> None:
    """A loop that the core does not define ends the simulation, and says where."""
    program = _build(tmp_path, LOOP.format(times=3, body=body))
    with pytest.raises(rtl.SimulationError, match=said):
        spike.run(program)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("(void) *(volatile int *) 0x20000000;", "load from 0x20000000"),
        ("*(volatile int *) 0x84000000 = 1;", "store to 0x84000000"),
        ("*(volatile int *) 0x1000000c = 1;", "store to 0x1000000c"),
        ("for (;;) { __asm__ volatile(\"\"); }", "did not end within 100000 cycles"),
        ("nm_region_end(3);", "region 3 to be begun"),
    ],
)  # fmt: skip
def test_what_programs_must_not_do(tmp_path: Path, statement: str, said: str) -> None:
    """One sentence says what was wrong."""
    text = f'#include "nm_platform.h"\nint main(void) {{ {statement} return 0; }}\n'
    program = _build(tmp_path, text)
    with pytest.raises(rtl.SimulationError, match=said):
        spike.run(program, cycles=100_000, timeout=20)


def test_what_is_no_program(tmp_path: Path) -> None:
    """Files that are not ELF, and targets that are not, are refused."""
    file = tmp_path / "text"
    file.write_text("not a program")
    with pytest.raises(rtl.SimulationError):
        spike.run(file)
    with pytest.raises(rtl.SimulationError, match="expected a target of rv32imc"):
        spike.run(file, target="arm")
