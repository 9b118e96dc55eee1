// SPDX-License-Identifier: BSD-3-Clause
//
// Starts a program on every hart: hart 0 clears .bss, the others wait for it. Stacks of 64 KiB.

  .section .init, "ax"
  .globl _start
_start:
  .option push
  .option norelax
  la gp, __global_pointer$
  .option pop
  la t0, nm_trap
  csrw mtvec, t0
  li t0, 0x200          # mstatus.VS, where there are vectors
  csrs mstatus, t0
  la sp, nm_stack_top
  csrr t0, mhartid
  slli t1, t0, 16
  sub sp, sp, t1
  bnez t0, 3f
  la t1, nm_bss_start
  la t2, nm_bss_end
1:
  bgeu t1, t2, 2f
  sw zero, 0(t1)
  addi t1, t1, 4
  j 1b
2:
  la t1, nm_started
  li t2, 1
  sw t2, 0(t1)
  j 4f
3:
  la t1, nm_started
  lw t2, 0(t1)
  beqz t2, 3b
4:
  call main
  csrr t0, mhartid
5:
  bnez t0, 5b
  call nm_exit

  // An exception that the program does not handle ends it. A program that handles its own writes mtvec.
  .balign 256
  .weak nm_trap
nm_trap:
  csrr a0, mcause
  andi a0, a0, 0x1f
  addi a0, a0, 0x40
  li t0, 0x10000004
  sw a0, 0(t0)
6:
  j 6b

  // Outside .bss, which hart 0 clears while the others look at this word.
  .section .data.nm_started, "aw"
  .balign 4
nm_started:
  .word 0
