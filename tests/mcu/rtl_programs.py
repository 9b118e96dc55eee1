# SPDX-License-Identifier: BSD-3-Clause
"""Programs for the RTL that say themselves whether the core did right, as C with assembly.

A program is a table of short pieces of assembly, each with the value that it has to leave in
``a0``; the values come from :func:`gathered`, the instruction's definition.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

MASK32 = 0xFFFFFFFF
#: Bytes that pieces read, and their address, which no program's own data reaches.
BYTES = 4096
ADDRESS = 0x8100_0000
#: funct3 of each M.
FUNCT3 = {4: 5, 8: 6, 16: 7}


def data(seed: int) -> bytes:
    """Return the bytes at :data:`ADDRESS`."""
    return random.Random(seed).randbytes(BYTES)


def word(pos: int, rs2: int, rs1: int, funct3: int, rd: int) -> int:
    """Return the encoding, with seven bits of ``pos``."""
    return pos << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x2B


def gather(m: int, pos: int, rd: str, rs1: str, rs2: str) -> str:
    """Return the instruction as a line of assembly."""
    return f".insn r 0x2b, {FUNCT3[m]}, {pos}, {rd}, {rs1}, {rs2}"


def gathered(memory: bytes, m: int, pos: int, rd: int, rs1: int, rs2: int) -> int:
    """Return what ``rd`` becomes: the definition of docs/nm-instruction.md."""
    offset = pos * m + ((rs2 >> (4 * pos)) & 15)
    byte = memory[(rs1 + offset - ADDRESS) & MASK32]
    lane = pos % 4
    return (rd & ~(0xFF << (8 * lane)) & MASK32) | byte << (8 * lane)


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that may change temporary registers and must leave ``expected`` in ``a0``."""

    name: str
    lines: tuple[str, ...]
    expected: int


def forms(seed: int, times: int) -> list[Piece]:
    """Every form with drawn operands, registers distinct and equal in each way that they can be."""
    chance = random.Random(seed)
    memory = data(seed)
    pieces = []
    for _ in range(times):
        for m in FUNCT3:
            for pos in range(8):
                for same in ("none", "rd=rs1", "rd=rs2", "rs1=rs2", "all", "rd=x0"):
                    pieces.append(_form(chance, memory, m, pos, same))
    return pieces


def _form(chance: random.Random, memory: bytes, m: int, pos: int, same: str) -> Piece:
    base = ADDRESS + chance.randrange(BYTES - 256)
    index, old = chance.getrandbits(32), chance.getrandbits(32)
    rd, rs1, rs2 = "t0", "t1", "t2"
    if same == "rd=rs1":
        rd, old = rs1, base
    elif same == "rd=rs2":
        rd, old = rs2, index
    elif same == "rs1=rs2":
        rs2, index = rs1, base
    elif same == "all":
        rd = rs2 = rs1
        index = old = base
    expected = gathered(memory, m, pos, old, base, index)
    if same == "rd=x0":
        rd, expected = "zero", 0
    # The last li of a register holds: that of rd comes first where they share it.
    lines = (f"li {rd}, {old}", f"li {rs2}, {index}", f"li {rs1}, {base}")
    name = f"nm.gather.{m} {pos} {same}"
    return Piece(name, (*lines, gather(m, pos, rd, rs1, rs2), f"mv a0, {rd}"), expected)


#: What may produce an operand right before a gather takes it: lines that put ``{value}`` into
#: ``{register}``, the last of them the producer. ``t5`` and ``t6`` are free; ``a7`` is where to
#: store.
PRODUCERS = {
    "add": ("li t5, {value}", "add {register}, t5, zero"),
    "load": ("li t5, {value}", "mv t6, a7", "sw t5, 0(t6)", "lw {register}, 0(t6)"),
    "misaligned load": ("li t5, {value}", "mv t6, a7", "sw t5, 3(t6)", "lw {register}, 3(t6)"),
    "load and increment": (
        *("li t5, {value}", "mv t6, a7", "sw t5, 0(t6)"),
        "cv.lw {register}, (t6), 4",
    ),
    "increment": ("li {register}, {value} - 4", "cv.lw t6, ({register}), 4"),
    "mul": ("li t5, {value}", "li t6, 1", "mul {register}, t5, t6"),
    "mulhu": ("li t5, {value} + 1", "li t6, -1", "mulhu {register}, t5, t6"),
    "divu": ("li t5, {value}", "li t6, 1", "divu {register}, t5, t6"),
    "sdotsp": ("li {register}, {value}", "cv.sdotsp.b {register}, zero, zero"),
    "csr": ("li t5, {value}", "csrw mscratch, t5", "csrr {register}, mscratch"),
}
#: What may take the result right after: lines that leave it in ``a0``.
CONSUMERS = {
    "add": ("add a0, t0, zero",),
    "store": ("mv t6, a7", "sw t0, 0(t6)", "lw a0, 0(t6)"),
    "sdotsp": ("mv a0, zero", "cv.sdotsp.b a0, zero, t0", "mv a0, t0"),
    "insert": ("mv a0, t0", "cv.insert t0, zero, 31, 0", "add a0, a0, t0"),
    "branch": ("bne t0, t4, 1f", "mv a0, t0", "1:"),
    "mul": ("mul a0, t0, t3",),
}


def hazards(seed: int) -> list[Piece]:
    """Every producer of each operand, 0 to 2 instructions before, and every consumer after."""
    chance = random.Random(seed)
    memory = data(seed)
    pieces = []
    for role in ("rd", "rs1", "rs2"):
        for name, producer in PRODUCERS.items():
            if name == "increment" and role != "rs1":
                continue  # the register has to hold an address
            for distance in range(3):
                for after, consumer in CONSUMERS.items():
                    m, pos = chance.choice(list(FUNCT3)), chance.randrange(8)
                    values = {
                        "rd": chance.getrandbits(31),
                        "rs1": ADDRESS + 4 * chance.randrange(1, BYTES // 4 - 64),
                        "rs2": chance.getrandbits(31),
                    }
                    expected = gathered(memory, m, pos, *values.values())
                    lines = ["li t3, 1", f"li t4, {expected}", "mv a0, zero"]
                    registers = {"rd": "t0", "rs1": "t1", "rs2": "t2"}
                    lines += [f"li {registers[r]}, {v}" for r, v in values.items() if r != role]
                    words = {"register": registers[role], "value": values[role]}
                    lines += [line.format(**words) for line in producer]
                    lines += ["nop"] * distance
                    lines += [gather(m, pos, "t0", "t1", "t2"), *consumer]
                    label = f"{name} of {role}, {distance} between, {after} after"
                    pieces.append(Piece(label, tuple(lines), expected))
    return pieces


def chains(seed: int, times: int) -> list[Piece]:
    """Words gathered byte by byte, with stores, loads and branches among them."""
    chance = random.Random(seed)
    memory = data(seed)
    among = (
        *("", "", "nop", "lw t5, 0(t1)", "lw t5, 1(t1)", "sw t0, 0(t6)", "mul t5, t0, t2"),
        *("sb t0, 5(t6)", "mulh t5, t0, t2", "beq t0, zero, 1f\n1:", "j 1f\n1:", "sh t2, 3(t6)"),
    )
    pieces = []
    for number in range(times):
        m = chance.choice(list(FUNCT3))
        base = ADDRESS + chance.randrange(BYTES - 256)
        index = chance.getrandbits(32)
        first, second = chance.getrandbits(32), chance.getrandbits(32)
        lines = [f"li t0, {first}", f"li t1, {base}", f"li t2, {index}", f"li t3, {second}"]
        lines.append("mv t6, a7")
        for _ in range(chance.randrange(4, 24)):
            pos = chance.randrange(8)
            if chance.random() < 0.5:
                lines.append(gather(m, pos, "t0", "t1", "t2"))
                first = gathered(memory, m, pos, first, base, index)
            else:
                lines.append(gather(m, pos, "t3", "t1", "t2"))
                second = gathered(memory, m, pos, second, base, index)
            lines.append(chance.choice(among))
        lines.append("xor a0, t0, t3")
        pieces.append(
            Piece(f"chain {number}", tuple(line for line in lines if line), first ^ second)
        )
    return pieces


MAIN = r"""
#include "nm_platform.h"
#include "string.h"
uint32_t slots[8][4];
volatile uint32_t taken;
struct piece { uint32_t (*run)(void); uint32_t expected; };
// Runs a piece; it may store to `slot`.
static uint32_t run(const struct piece *piece, uint32_t *slot) {
  register uint32_t *a7 __asm__("a7") = slot;
  register uint32_t a0 __asm__("a0");
  register uint32_t (*t1)(void) __asm__("t1") = piece->run;
  __asm__ volatile("jalr ra, t1"
                   : "=r"(a0), "+r"(t1)
                   : "r"(a7)
                   : "ra", "t0", "t2", "t3", "t4", "t5", "t6", "memory");
  return a0;
}
extern const struct piece pieces[];
extern const uint8_t data[DATA_BYTES];
void handler(void);
int main(void) {
  memcpy((void *) DATA_ADDRESS, data, DATA_BYTES);
  __asm__ volatile("csrw mtvec, %0" ::"r"(handler));
  __asm__ volatile("csrw mie, %0" ::"r"(1 << 16));
  __asm__ volatile("csrsi mstatus, 8");
  int failed = 0;
  for (int i = 0; pieces[i].run != 0; i++) {
    const uint32_t got = run(&pieces[i], slots[0]);
    if (got != pieces[i].expected) {
      failed = 1;
      nm_put_int(i);
      nm_puts(" got ");
      nm_put_hex(got);
      nm_puts(" expected ");
      nm_put_hex(pieces[i].expected);
      nm_putc('\n');
    }
  }
  __asm__ volatile("csrci mstatus, 8");
  nm_puts("interrupts ");
  nm_put_int((int32_t) taken);
  nm_putc('\n');
  return failed;
}
"""
HANDLER = """
  .text
  .balign 256
  .globl handler
handler:
  addi sp, sp, -16
  sw t0, 0(sp)
  sw t1, 4(sp)
  csrr t0, mcause
  bgez t0, nm_trap
  la t0, taken
  lw t1, 0(t0)
  addi t1, t1, 1
  sw t1, 0(t0)
  lw t0, 0(sp)
  lw t1, 4(sp)
  addi sp, sp, 16
  mret
"""


CLUSTER = r"""
int main(void) {
  const uint32_t hart = nm_hart();
  if (hart == 0) {
    memcpy((void *) DATA_ADDRESS, data, DATA_BYTES);
  }
  nm_barrier(8);
  int failed = 0;
  for (int i = 0; pieces[i].run != 0; i++) {
    failed |= run(&pieces[i], slots[hart]) != pieces[i].expected;
  }
  taken |= failed ? 1u << hart : 0;
  nm_barrier(8);
  return taken != 0;
}
"""


def c_text(*, cluster: bool = False) -> str:
    """Return the C part of a program; ``cluster``: each of 8 cores runs all pieces."""
    text = MAIN[: MAIN.index("int main")] + CLUSTER if cluster else MAIN
    return text.replace("DATA_BYTES", str(BYTES)).replace("DATA_ADDRESS", f"{ADDRESS:#x}")


def assembly(pieces: list[Piece], seed: int) -> str:
    """Return the assembly part: the pieces, their table, the data and a handler of interrupts."""
    text = [HANDLER]
    for i, piece in enumerate(pieces):
        text.append(f"piece_{i}:")
        text += [f"  {line}" for line in piece.lines]
        text.append("  ret")
    text.append("  .section .rodata\n  .balign 4\n  .globl pieces\npieces:")
    text += [f"  .4byte piece_{i}, {piece.expected:#x}" for i, piece in enumerate(pieces)]
    text += ["  .4byte 0, 0", "  .globl data", "data:"]
    text.append("  .byte " + ", ".join(map(str, data(seed))))
    return "\n".join(text) + "\n"
