// SPDX-License-Identifier: BSD-3-Clause
//
// Answers the system call riscv_hwprobe, in a program that it is preloaded into: vectors, and half precision in them.
//
//   qemu-riscv64 -cpu rv64,v=true,vext_spec=v1.0,vlen=256,elen=64,Zfh=true -E LD_PRELOAD=./libhwprobe.so ...
//
// So Debian 12's QEMU 7.2 counts what such a core would run: with Zfh it executes Zvfh's instructions, and takes plugins,
// but has no such call to say so. Debian 13's has, and takes no plugins.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

// Copied from the kernel's headers, which are older than these on many systems.
enum { kHwprobe = 258, kKeyExtensions = 4, kUnknownKey = -1, kArguments = 6 };
static const uint64_t kExtensions = UINT64_C(1) << 2 | UINT64_C(1) << 30;  // V, Zvfh

struct pair {
  int64_t key;
  uint64_t value;
};

// Of the C library, for all that is in this program.
__attribute__((visibility("default"))) long syscall(long number, ...) {
  long arguments[kArguments];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < kArguments; i++) arguments[i] = va_arg(list, long);
  va_end(list);
  if (number != kHwprobe) {
    long (*next)(long, ...) = (long (*)(long, ...)) dlsym(RTLD_NEXT, "syscall");
    return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
  }
  struct pair* pairs = (struct pair*) arguments[0];
  for (long i = 0; i < arguments[1]; i++) {
    const int known = pairs[i].key == kKeyExtensions;
    pairs[i] = (struct pair) {known ? kKeyExtensions : kUnknownKey, known ? kExtensions : 0};
  }
  return 0;
}
