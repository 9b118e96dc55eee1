# SPDX-License-Identifier: BSD-3-Clause
"""A program that executes one word after another, legal or not, and prints what each did."""

from __future__ import annotations

from collections.abc import Iterator

#: Registers: an address in memory, a small offset, zero, and the one to be written, which is small.
BASE, SMALL, ZERO, RD = 8, 20, 22, 21

HARNESS = r"""
#include "nm_platform.h"
uint32_t decode_memory[1024];
uint32_t decode_results[3 * DECODE_WORDS];
void decode_all(void);
int main(void) {
  for (uint32_t i = 0; i < 1024; i++) {
    decode_memory[i] = i * 0x01234567u + 0x89abcdefu;
  }
  decode_all();
  for (uint32_t i = 0; i < DECODE_WORDS; i++) {
    const uint32_t *result = &decode_results[3 * i];
    if (result[2] != 0) {
      nm_puts("trap ");
      nm_put_int((int32_t) result[2] & 31);
    } else {
      nm_put_hex(result[0] ^ (result[1] << 7 | result[1] >> 25));
    }
    nm_putc('\n');
  }
  return 0;
}
"""

_START = f"""
.option norelax
.option norvc
.balign 256
decode_trap:
  csrr x30, mcause
  ori x30, x30, 0x100
  csrr x29, mepc
  lbu x28, 0(x29)
  andi x28, x28, 3
  addi x28, x28, -3
  seqz x28, x28
  slli x28, x28, 1
  addi x28, x28, 2
  add x29, x29, x28
  csrw mepc, x29
  mret
decode_reset:
  lui x9, 0x89abc
  addi x10, x9, 0x321
  slli x11, x10, 3
  li x12, 37
  li x13, -1
  not x14, x9
  li x15, 0x7fff8001
  la x{BASE}, decode_memory + 2048
  li x{SMALL}, 13
  li x{RD}, 27
  li x{ZERO}, 0
  li x30, 0
  jr x1
decode_record:
  sw x{RD}, 0(x31)
  sw x{BASE}, 4(x31)
  sw x30, 8(x31)
  addi x31, x31, 12
  jr x1
.balign 4
.globl decode_all
decode_all:
  addi sp, sp, -64
  sw ra, 0(sp)
  sw s0, 4(sp)
  sw s1, 8(sp)
  sw s4, 12(sp)
  sw s5, 16(sp)
  sw s6, 20(sp)
  mv s3, sp
  csrr x5, mtvec
  sw x5, 24(sp)
  la x5, decode_trap
  csrw mtvec, x5
  la x31, decode_results
"""

_END = """
  mv sp, s3
  lw x5, 24(sp)
  csrw mtvec, x5
  lw ra, 0(sp)
  lw s0, 4(sp)
  lw s1, 8(sp)
  lw s4, 12(sp)
  lw s5, 16(sp)
  lw s6, 20(sp)
  addi sp, sp, 64
  ret
"""


def words() -> Iterator[int]:
    """Every combination of the bits that say which instruction it is, of XCV and around it."""
    memory = BASE << 15 | RD << 7
    compute = 15 << 15 | RD << 7
    for funct7 in range(128):
        # Loads, stores, and what computes from two registers; a second register of 0 or not.
        for rs2 in (0, SMALL):
            yield 0x302B | funct7 << 25 | memory | rs2 << 20
        for funct3 in (5, 6, 7):
            yield 0x2B | funct3 << 12 | funct7 << 25 | memory | SMALL << 20
        for funct3 in range(8):
            yield 0x5B | funct3 << 12 | funct7 << 25 | compute | 9 << 20
            for rs2 in (0, 1, 2, 4, 8, 16):
                yield 0x7B | funct3 << 12 | funct7 << 25 | compute | rs2 << 20
            yield 0x33 | funct3 << 12 | funct7 << 25 | compute | 12 << 20
        for funct3 in (1, 5):
            yield 0x13 | funct3 << 12 | funct7 << 25 | compute | 9 << 20
    for which in range(16):
        for rs1, immediate in ((0, 0), (ZERO, 0), (0, 1), (ZERO, 1)):
            # Counts stay 0, so that no loop begins.
            if immediate == 0 or (which == 4 and rs1) or which not in (4, 6):
                yield 0x402B | which << 8 | rs1 << 15 | immediate << 20
    yield 0x300B | memory
    for funct3 in (3, 6, 7):
        yield 0x03 | funct3 << 12 | memory
    for funct3 in range(3, 8):
        yield 0x23 | funct3 << 12 | memory
    for funct3 in (2, 3):
        yield 0x63 | funct3 << 12 | memory | 8 << 7
    for funct3 in range(1, 8):
        yield 0x67 | funct3 << 12 | memory
    for opcode in (0x07, 0x1B, 0x1F, 0x27, 0x2F, 0x3B, 0x3F, 0x43, 0x47, 0x4B, 0x4F, 0x53, 0x57):
        for funct3 in range(8):
            yield opcode | funct3 << 12 | memory
    for loop in (0xCC0, 0xCC1, 0xCC2, 0xCC3, 0xCC4, 0xCC5, 0xCC6):
        for funct3 in (1, 2):
            yield 0x73 | funct3 << 12 | loop << 20 | RD << 7


def assembly(listed: list[int]) -> str:
    """Return assembly of ``decode_all``, which executes these words."""
    lines = [_START]
    for word in listed:
        lines += ["  jal x1, decode_reset", f"  .4byte {word:#x}", "  jal x1, decode_record"]
    lines.append(_END)
    return "\n".join(lines)
