// SPDX-License-Identifier: BSD-3-Clause
//
// What generated networks call: one function and one struct of constants for each kind of layer.
// Every function reads its struct and inputs, writes its outputs and its scratch, and keeps nothing.

#ifndef NM_MCU_H_
#define NM_MCU_H_

#include <stddef.h>
#include <stdint.h>

// A filter of `channels` rows and `columns` columns, packed for one kernel.
struct nm_filter_s8 {
  const void *weights;
  const void *index;            // which columns are kept, in the kernel's own form; NULL in dense filters
  const int32_t *bias;          // [channels], - input_zero_point * sum(weights) folded in
  const uint32_t *multiplier;   // [channels], twice TFLite's
  const int8_t *shift;          // [channels], to the right; negative is to the left, before the product
  uint16_t channels;
  uint16_t columns;             // K = kernel_height * kernel_width * input_channels
  uint16_t kept;                // columns kept of each tile of channels, in the kernel's own unit
  int8_t output_zero_point;
  int8_t output_min;
  int8_t output_max;
};

// The products of `count` pixels with all channels of a filter, requantized. A pixel is a row of
// `columns` bytes, `pixel_stride` bytes after the one before; its channels are written together,
// `output_stride` bytes after those of the pixel before.
typedef void nm_matmul_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                          size_t count, int8_t *output, size_t output_stride);

#endif  // NM_MCU_H_
