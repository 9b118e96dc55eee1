// SPDX-License-Identifier: BSD-3-Clause
//
// The part of <string.h> that platform.c has, for compilers that come without a C library.

#ifndef NM_STRING_H_
#define NM_STRING_H_

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *left, const void *right, size_t bytes);

#endif  // NM_STRING_H_
