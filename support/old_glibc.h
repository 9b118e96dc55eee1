// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.
//
// Read before every source of a wheel: names the versions of functions that older C libraries have, too. Newer ones
// differ in how they tell of errors, which nothing here asks for.

#pragma once

#if defined(__x86_64__)
#define NMPACK_FIRST_GLIBC "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define NMPACK_FIRST_GLIBC "GLIBC_2.17"
#endif

#ifdef NMPACK_FIRST_GLIBC
__asm__(".symver exp, exp@" NMPACK_FIRST_GLIBC);
__asm__(".symver log, log@" NMPACK_FIRST_GLIBC);
__asm__(".symver pow, pow@" NMPACK_FIRST_GLIBC);
#endif
