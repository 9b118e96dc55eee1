# SPDX-License-Identifier: BSD-3-Clause
"""The gather instruction on the RTL of CV32E40P, and that the core is otherwise as it was."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import random_programs
import rtl_programs as programs

from nmpack.mcu import rtl, toolchain

SEED = int(os.environ["NMPACK_TEST_SEED"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[programs.Piece]]:
    """A program of every form, every hazard and some chains."""
    print("seed", SEED)
    pieces = [*programs.forms(SEED, 3), *programs.hazards(SEED), *programs.chains(SEED, 200)]
    folder = tmp_path_factory.mktemp("rtl")
    (folder / "pieces.S").write_text(programs.assembly(pieces, SEED))
    return _build(folder, "pieces", programs.c_text()), pieces


def _build(folder: Path, name: str, text: str, target: str = "xcv-nm") -> Path:
    """A program from C, and from the assembly ``NAME.S`` in the folder if there is such a file."""
    source = folder / f"{name}_main.c"
    source.write_text(text)
    sources = [source, *folder.glob(f"{name}.S")]
    return toolchain.build(sources, folder / f"{name}-{target}.elf", target=target)


def _failures(report: rtl.Report, pieces: list[programs.Piece]) -> list[str]:
    lines = report.output.splitlines()
    return [f"{pieces[int(line.split()[0])].name}: {line}" for line in lines[:-1]]


def _interrupts(report: rtl.Report) -> int:
    match = re.search(r"interrupts (\d+)\n$", report.output)
    assert match, report.output
    return int(match[1])


def test_every_form_and_hazard(built: tuple[Path, list[programs.Piece]]) -> None:
    """Each piece leaves what the definition says."""
    program, pieces = built
    report = rtl.run(program, extended=True)
    assert report.exit_code in (0, 1), report
    assert _failures(report, pieces) == []
    assert _interrupts(report) == 0


@pytest.mark.parametrize("ports", ["both", "instruction", "data"])
@pytest.mark.parametrize("interrupts", [False, True])
def test_stalls_and_interrupts(
    built: tuple[Path, list[programs.Piece]], ports: str, interrupts: bool
) -> None:
    """The same on memory that stalls, and with interrupts between instructions."""
    program, pieces = built
    seed = SEED % 1000 + 1
    report = rtl.run(
        program,
        extended=True,
        stalls=seed,
        ports=ports,  # type: ignore[arg-type]
        interrupts=seed if interrupts else None,
    )
    assert _failures(report, pieces) == []
    assert (_interrupts(report) > 1000) == interrupts


def test_interrupts_alone(built: tuple[Path, list[programs.Piece]]) -> None:
    """Interrupts while memory answers at once."""
    program, pieces = built
    report = rtl.run(program, extended=True, interrupts=SEED % 1000 + 1)
    assert _failures(report, pieces) == []
    assert _interrupts(report) > 1000


ILLEGAL = r"""
#include "nm_platform.h"
volatile uint32_t trapped, wrong;
uint32_t probe[64];
uint32_t words_run(const uint32_t *at);
void handler(void);
int main(void) {
  __asm__ volatile("csrw mtvec, %0" ::"r"(handler));
  nm_region_begin();
  const uint32_t left = words_run(probe);
  nm_region_end(1);
  nm_put_int((int32_t) trapped);
  nm_putc(' ');
  nm_put_int((int32_t) wrong);
  nm_putc(' ');
  nm_put_hex(left);
  return 0;
}
"""
ILLEGAL_HANDLER = """
  .text
  .balign 256
  .globl handler
handler:
  csrr t5, mcause
  addi t5, t5, -2
  snez t5, t5
  la t6, wrong
  lw t4, 0(t6)
  add t4, t4, t5
  sw t4, 0(t6)
  la t6, trapped
  lw t4, 0(t6)
  addi t4, t4, 1
  sw t4, 0(t6)
  csrr t5, mepc
  addi t5, t5, 4
  csrw mepc, t5
  mret
  .globl words_run
words_run:
  li t0, 0x12345678
  li t1, 0
"""


def _run_words(folder: Path, words: list[int], extended: bool, **options: int) -> rtl.Report:
    # rd is t0, rs1 a0, rs2 t1: one that is not illegal changes t0 or is counted as a load.
    text = ILLEGAL_HANDLER + "".join(f"  .4byte {word:#x}\n" for word in words)
    (folder / "words.S").write_text(text + "  mv a0, t0\n  ret\n")
    program = _build(folder, "words", ILLEGAL)
    return rtl.run(program, extended=extended, **options)


@pytest.mark.parametrize("stalled", [False, True])
def test_illegal_encodings(tmp_path: Path, stalled: bool) -> None:
    """Every funct7 above 7 traps as an illegal instruction, without access and without effect."""
    words = [programs.word(pos, 6, 10, f3, 5) for f3 in (5, 6, 7) for pos in range(8, 128)]
    stalls = {"stalls": SEED % 1000 + 1} if stalled else {}
    report = _run_words(tmp_path, words, extended=True, **stalls)
    assert report.output == f"{len(words)} 0 12345678"
    # The handler's own: two loads and two stores each time.
    assert report.regions[0].loads == 2 * len(words)
    assert report.regions[0].stores == 2 * len(words)


def test_only_the_patched_core_has_it(tmp_path: Path) -> None:
    """All its forms are illegal on the core as it was, and none on the other."""
    words = [programs.word(pos, 6, 10, f3, 5) for f3 in (5, 6, 7) for pos in range(8)]
    assert _run_words(tmp_path, words, extended=False).output == f"{len(words)} 0 12345678"
    assert _run_words(tmp_path, words, extended=True).output == "0 0 00000000"


#: What runs between two borders of a region, and the cycles that docs/nm-instruction.md says it
#: takes more than its instructions: of ``a0`` and ``a1`` come bytes, ``a2`` and ``a3`` are indices.
TIMED = {
    "one after another into two registers": (
        *(programs.gather(8, pos, rd, "a0", "a2") for pos in range(4) for rd in ("t0", "t1")),
        0,
    ),
    "into the same register": (
        *(programs.gather(8, pos, "t0", "a0", "a2") for pos in range(4)),
        3,
    ),
    "result taken at once": (programs.gather(4, 0, "t0", "a0", "a2"), "add t1, t0, t0", 1),
    "result taken later": (programs.gather(4, 0, "t0", "a0", "a2"), "nop", "add t1, t0, t0", 0),
    "rs1 computed before": ("addi a0, a0, 0", programs.gather(4, 0, "t0", "a0", "a2"), 0),
    "rd computed before": ("li t0, 1", programs.gather(4, 0, "t0", "a0", "a2"), 0),
    "rs1 loaded before": ("lw a0, 0(a4)", programs.gather(4, 0, "t0", "a0", "a2"), 1),
    "rd loaded before": ("lw t0, 0(a4)", programs.gather(4, 0, "t0", "a0", "a2"), 1),
    "rs2 computed before": ("addi a2, a2, 0", programs.gather(4, 0, "t0", "a0", "a2"), 1),
    "rs2 computed earlier": (
        *("addi a2, a2, 0", "nop", programs.gather(4, 0, "t0", "a0", "a2")),
        0,
    ),
    "rs2 loaded before": ("lw a2, 0(a0)", programs.gather(4, 0, "t0", "a0", "a2"), 2),
    "rs2 loaded one earlier": (
        *("lw a2, 0(a0)", "nop", programs.gather(4, 0, "t0", "a0", "a2")),
        1,
    ),
    "rs2 loaded two earlier": (
        *("lw a2, 0(a0)", "nop", "nop", programs.gather(4, 0, "t0", "a0", "a2")),
        0,
    ),
}
TIMED_MAIN = r"""
#include "nm_platform.h"
uint8_t bytes[256];
const uint8_t *pointer = bytes;
void timed(const uint8_t *a, const uint8_t *b, uint32_t c, uint32_t d, const uint8_t **e);
int main(void) {
  timed(bytes, bytes + 1, 0x76543210, 0x01234567, &pointer);
  return 0;
}
"""


def test_cycles_are_those_of_the_specification(tmp_path: Path) -> None:
    """Each hazard stalls for as long as the specification says."""
    text = ["  .option norvc", "  .text", "  .globl timed", "timed:", "  li t6, 0x10000000"]
    for number, (*lines, _) in enumerate(TIMED.values(), 1):
        text += ["  .balign 16", f"  li t5, {number}", "  nop", "  nop", "  sw zero, 8(t6)"]
        text += [f"  {line}" for line in lines] + ["  sw t5, 8(t6)", "  nop", "  nop"]
    (tmp_path / "timed.S").write_text("\n".join([*text, "  ret", ""]))
    report = rtl.run(_build(tmp_path, "timed", TIMED_MAIN), extended=True)
    stalls = {
        name: report.cycles(number) - 1 - (len(parts) - 1)
        for number, (name, parts) in enumerate(TIMED.items(), 1)
    }
    assert stalls == {name: parts[-1] for name, parts in TIMED.items()}


def test_other_programs_take_the_same_cycles(tmp_path: Path) -> None:
    """Random programs of all other instructions run alike on both cores, to the cycle."""
    print("seed", SEED)
    (tmp_path / "others.S").write_text(random_programs.programs(SEED, 8, 1500, gather=False))
    program = _build(tmp_path, "others", random_programs.HARNESS)
    plain, extended = (rtl.run(program, extended=which) for which in (False, True))
    assert plain.exit_code == 0
    assert len(plain.regions) == 8
    assert plain == extended


CLUSTER = r"""
#include "nm_platform.h"
#define HARTS 8
#define WORDS 4096
static volatile uint32_t memory[WORDS] __attribute__((aligned(64)));
static uint32_t sums[HARTS];
// Loads `count` words, `step` words apart, each core from a place of its own.
static uint32_t sum(uint32_t first, uint32_t step, uint32_t count) {
  uint32_t total = 0;
  for (uint32_t i = 0; i < count; i++) {
    total += memory[first + i * step];
  }
  return total;
}
int main(void) {
  const uint32_t hart = nm_hart();
  for (uint32_t i = hart; i < WORDS; i += HARTS) {
    memory[i] = i * 2654435761u;
  }
  for (uint32_t round = 1; round <= 3; round++) {
    nm_barrier(HARTS);
    if (hart == 0) nm_region_begin();
    // 1: a bank for each; 2: one bank for all; 3: one word for all.
    sums[hart] = round == 3 ? sum(5, 0, 64) : sum(round == 1 ? 2 * hart : 0, 16, 64);
    nm_barrier(HARTS);
    if (hart == 0) {
      nm_region_end(round);
      for (uint32_t other = 0; other < HARTS; other++) {
        uint32_t expected = 0;
        for (uint32_t i = 0; i < 64; i++) {
          expected += (round == 1 ? 2 * other + 16 * i : round == 2 ? 16 * i : 5) * 2654435761u;
        }
        if (sums[other] != expected) nm_exit((int) (10 + other));
      }
    }
    nm_barrier(HARTS);
  }
  return 0;
}
"""


def test_a_cluster_shares_banks(tmp_path: Path) -> None:
    """Eight cores compute the same; only those that want the same bank wait for each other."""
    program = _build(tmp_path, "cluster", CLUSTER)
    report = rtl.run(program, extended=True, cores=8, banks=16)
    assert report.exit_code == 0
    apart, same_bank, same_word = report.regions
    # Eight cores that load 64 words each from one bank: it gives one word a cycle.
    for region in (same_bank, same_word):
        assert region.cycles >= 8 * 64
        assert region.conflicts >= 64
    assert apart.cycles < same_bank.cycles
    # Not none: at the barriers all look at each other's words.
    assert apart.conflicts < same_bank.conflicts


def test_gathers_on_a_cluster(tmp_path: Path) -> None:
    """Each of eight cores gathers right while it waits for banks."""
    pieces = programs.chains(SEED, 40)
    (tmp_path / "shared.S").write_text(programs.assembly(pieces, SEED))
    program = _build(tmp_path, "shared", programs.c_text(cluster=True))
    report = rtl.run(program, extended=True, cores=8, banks=4)
    assert report.exit_code == 0, report.output
    assert report.total.conflicts > 1000
