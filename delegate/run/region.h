// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_DELEGATE_RUN_REGION_H_
#define NMPACK_DELEGATE_RUN_REGION_H_

// Marks a region of a program for an instruction counter (tools/qemu/rvvprof.c). The markers are HINT
// instructions, slti x0, x0, imm: every RISC-V core ignores them. Bits 8 to 11 of imm are 4 at the
// beginning and 5 at the end, the lower ones the region's number.
#if defined(__riscv)
#define NMPACK_REGION_BEGIN(number) __asm__ volatile("slti x0, x0, %0" : : "i"(0x400 + (number)) : "memory")
#define NMPACK_REGION_END(number) __asm__ volatile("slti x0, x0, %0" : : "i"(0x500 + (number)) : "memory")
#else
#define NMPACK_REGION_BEGIN(number) __asm__ volatile("" : : : "memory")
#define NMPACK_REGION_END(number) __asm__ volatile("" : : : "memory")
#endif

#endif  // NMPACK_DELEGATE_RUN_REGION_H_
