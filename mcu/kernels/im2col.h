// SPDX-License-Identifier: BSD-3-Clause

#ifndef NM_IM2COL_H_
#define NM_IM2COL_H_

#include <stddef.h>
#include <stdint.h>

// `to` may overlap `from` where it is before it
void nm_copy_s8(int8_t *to, const int8_t *from, size_t count);
void nm_fill_s8(int8_t *to, int8_t value, size_t count);
// to[4 * i + p] = from[p][i]; `to` is aligned to 4
void nm_interleave_s8(int8_t *to, const int8_t *const from[4], size_t count);
// to[c * pitch + i] = from[i * channels + c]
void nm_planar_s8(int8_t *to, size_t pitch, const int8_t *from, size_t channels, size_t count);

#endif  // NM_IM2COL_H_
