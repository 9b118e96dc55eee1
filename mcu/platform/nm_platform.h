// SPDX-License-Identifier: BSD-3-Clause
//
// What programs of the simulators see of their machine: RV32 cores, 64 MiB of memory at 0x80000000, and a few words of
// memory-mapped registers, the same on RTL and on Spike.

#ifndef NM_PLATFORM_H_
#define NM_PLATFORM_H_

#include <stdint.h>

// Registers, to be written as words: a character of the console, the end of the program with its status (0 is
// success), and the borders of a measured region. Storing 0 to the last begins a region; storing its number, 1 to
// 2^31 - 1, ends the one begun last, so that regions nest.
#define NM_CONSOLE ((volatile uint32_t *) 0x10000000)
#define NM_EXIT ((volatile uint32_t *) 0x10000004)
#define NM_REGION ((volatile uint32_t *) 0x10000008)

// Status of a program that met an exception which it does not handle: this plus mcause.
#define NM_EXIT_TRAP 0x40

static inline void nm_region_begin(void) {
  __asm__ volatile("" ::: "memory");
  *NM_REGION = 0;
}

static inline void nm_region_end(uint32_t number) {
  *NM_REGION = number;
  __asm__ volatile("" ::: "memory");
}

static inline uint32_t nm_hart(void) {
  uint32_t hart;
  __asm__ volatile("csrr %0, mhartid" : "=r"(hart));
  return hart;
}

void nm_putc(int character);
void nm_puts(const char *text);  // without a line feed
void nm_put_int(int32_t value);
void nm_put_hex(uint32_t value);  // eight digits
_Noreturn void nm_exit(int status);

// Returns on each of `harts` harts, numbered from 0, once all have called it.
void nm_barrier(uint32_t harts);

// Every hart runs it on a stack of its own; what the first returns is the program's status. The others wait.
int main(void);

#endif  // NM_PLATFORM_H_
