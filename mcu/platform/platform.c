// SPDX-License-Identifier: BSD-3-Clause
//
// Console, end, barrier, and what compilers call without being asked.

#include "nm_platform.h"

#include "string.h"

void nm_putc(int character) {
  *NM_CONSOLE = (uint32_t) character & 0xff;
}

void nm_puts(const char *text) {
  while (*text != '\0') {
    nm_putc(*text++);
  }
}

void nm_put_int(int32_t value) {
  char digits[10];
  int count = 0;
  uint32_t rest = (uint32_t) value;
  if (value < 0) {
    nm_putc('-');
    rest = 0u - rest;
  }
  do {
    digits[count++] = (char) ('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  while (count > 0) {
    nm_putc(digits[--count]);
  }
}

void nm_put_hex(uint32_t value) {
  for (int shift = 28; shift >= 0; shift -= 4) {
    nm_putc("0123456789abcdef"[value >> shift & 15]);
  }
}

_Noreturn void nm_exit(int status) {
  for (;;) {
    *NM_EXIT = (uint32_t) status;
  }
}

#define MAX_HARTS 8

// A word of its own for each hart, so that no atomic operation is needed; spread over the banks of memory.
static volatile uint32_t arrived[MAX_HARTS * 3];

void nm_barrier(uint32_t harts) {
  const uint32_t hart = nm_hart();
  __asm__ volatile("fence" ::: "memory");
  const uint32_t round = arrived[hart * 3] + 1;
  arrived[hart * 3] = round;
  for (uint32_t other = 0; other < harts; other++) {
    while ((int32_t) (arrived[other * 3] - round) < 0) {
    }
  }
  __asm__ volatile("fence" ::: "memory");
}

typedef uint32_t __attribute__((may_alias)) word_t;

// Words where both sides allow it; a loop of bytes must not be turned into a call of the function that it is in.
void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  return memmove(to, from, bytes);
}

__attribute__((no_builtin("memmove", "memcpy"))) void *memmove(void *to, const void *from, size_t bytes) {
  unsigned char *out = to;
  const unsigned char *in = from;
  if ((uintptr_t) out <= (uintptr_t) in || (uintptr_t) out >= (uintptr_t) in + bytes) {
    if ((((uintptr_t) out | (uintptr_t) in) & 3) == 0) {
      for (; bytes >= 4; bytes -= 4, out += 4, in += 4) {
        *(word_t *) (void *) out = *(const word_t *) (const void *) in;
      }
    }
    for (; bytes > 0; bytes--) {
      *out++ = *in++;
    }
  } else {
    while (bytes > 0) {
      bytes--;
      out[bytes] = in[bytes];
    }
  }
  return to;
}

__attribute__((no_builtin("memset"))) void *memset(void *to, int value, size_t bytes) {
  unsigned char *out = to;
  const uint32_t word = ((uint32_t) value & 0xff) * 0x01010101u;
  for (; bytes > 0 && ((uintptr_t) out & 3) != 0; bytes--) {
    *out++ = (unsigned char) value;
  }
  for (; bytes >= 4; bytes -= 4, out += 4) {
    *(word_t *) (void *) out = word;
  }
  for (; bytes > 0; bytes--) {
    *out++ = (unsigned char) value;
  }
  return to;
}

int memcmp(const void *left, const void *right, size_t bytes) {
  const unsigned char *a = left;
  const unsigned char *b = right;
  for (; bytes > 0; bytes--, a++, b++) {
    if (*a != *b) {
      return *a < *b ? -1 : 1;
    }
  }
  return 0;
}
