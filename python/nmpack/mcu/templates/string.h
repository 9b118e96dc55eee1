// SPDX-License-Identifier: BSD-3-Clause
//
// What kernels use of <string.h>, for compilers that come without a C library; looked at after their own folders.

#ifndef NM_FREESTANDING_STRING_H_
#define NM_FREESTANDING_STRING_H_

#include <stddef.h>

void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

#endif  // NM_FREESTANDING_STRING_H_
