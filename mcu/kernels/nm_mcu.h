// SPDX-License-Identifier: BSD-3-Clause
//
// What generated networks call: one function and one struct of constants for each kind of layer.
// Every function reads its struct and inputs, writes its outputs and its scratch, and keeps nothing.

#ifndef NM_MCU_H_
#define NM_MCU_H_

#include <stddef.h>
#include <stdint.h>

#include "nm_operators.h"

// A filter of `channels` rows and `columns` columns, packed for one kernel.
struct nm_filter_s8 {
  const void *weights;
  const void *index;            // which columns are kept, in the kernel's own form; NULL in dense filters
  const int32_t *bias;          // [channels rounded up to 8], - input_zero_point * sum(weights) folded in
  const uint32_t *multiplier;   // [likewise], twice TFLite's
  const int8_t *shift;          // [likewise], to the right; negative is to the left, before the product
  uint16_t channels;
  uint16_t columns;             // bytes of a pixel that the kernel may read: K, in some kernels rounded up
  uint16_t kept;                // columns kept of each tile of channels, in the kernel's own unit
  int8_t output_zero_point;
  int8_t output_min;
  int8_t output_max;
  uint8_t rounding;             // NM_ROUND_TWICE in CONV_2D, one of the others in FULLY_CONNECTED
};

// How a sum is rescaled; docs/design/mcu.md has the numbers.
#define NM_ROUND_TWICE 0    // as TFLite's multipliers do
#define NM_ROUND_ONCE 1     // (sum * multiplier + 2^(31 + shift)) >> (32 + shift); where shift is 1 and more, as in
                            // all kernels but the portable one, (mulhsu(sum, multiplier) + 2^(shift - 1)) >> shift
#define NM_ROUND_ONCE_64 2  // likewise by multipliers of two words, the high one first: the portable kernel only

// The products of `count` pixels with all channels of a filter, requantized; the channels of a pixel are
// written together, `output_stride` bytes after those of the pixel before. Scratch is aligned to 4.
//
// Kernels of rows read a pixel as a row of `columns` bytes, `pixel_stride` bytes after the one before.
// Interleaved kernels read four pixels at a time: 4-byte words, one a column with a byte of each of the four,
// aligned to 4, and the next four `pixel_stride` bytes later. Where fewer are left, the bytes of the others are
// not looked at.
typedef void nm_matmul_s8(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                          size_t count, int8_t *output, size_t output_stride, void *scratch);

// Rows. The sparse ones of one pixel are for fully connected layers.
nm_matmul_s8 nm_matmul_portable_s8;   // weights [channels][columns]; multipliers of 1 and more too
nm_matmul_s8 nm_matmul_dense1x2_s8;   // the published baseline
nm_matmul_s8 nm_matmul_dense4x2_s8;
nm_matmul_s8 nm_matmul_dense4x4_s8;
nm_matmul_s8 nm_matmul_block4x4_s8;   // tiles of 4 channels, blocks of 4 columns
nm_matmul_s8 nm_matmul_row1x1_s8;     // any columns
nm_matmul_s8 nm_matmul_col4x1_s8;     // tiles of 4 channels, any columns
nm_matmul_s8 nm_matmul_col8x1_s8;     // tiles of 8 channels, any columns
nm_matmul_s8 nm_matmul_rownm4_s8;     // one of every 4 columns; the format of the gather instruction
nm_matmul_s8 nm_matmul_rownm8_s8;
nm_matmul_s8 nm_matmul_rownm16_s8;
nm_matmul_s8 nm_matmul_colnm4_s8;     // the same with tiles of 4 channels
nm_matmul_s8 nm_matmul_colnm8_s8;
nm_matmul_s8 nm_matmul_colnm16_s8;

// Interleaved.
nm_matmul_s8 nm_matmul_row1x4_s8;     // any columns
nm_matmul_s8 nm_matmul_col4x4_s8;     // tiles of 4 channels, any columns
nm_matmul_s8 nm_matmul_col8x4_s8;     // tiles of 8 channels, any columns; scratch: 16 bytes for 4 kept columns

// CONV_2D, and FULLY_CONNECTED as one of 1 x 1 on an image of one row. Scratch, aligned to 4:
// `kernel_scratch` bytes for the kernel, then the gathered pixels. These take `pixels * columns` bytes, and in
// interleaved layers `kernel_width * input_channels` more; with a window, `window_rows * kernel_width *
// input_channels` in place of `columns`. Nothing is gathered, and nothing is needed for it, where a pixel is a row
// of the input as it is: kernel and strides are 1, nothing is padded, `columns` is `input_channels`, and the layer
// is not interleaved.
struct nm_conv2d_s8 {
  struct nm_filter_s8 filter;
  nm_matmul_s8 *matmul;
  uint32_t kernel_scratch;
  uint16_t batches;
  uint16_t input_height;
  uint16_t input_width;
  uint16_t input_channels;
  uint16_t output_height;
  uint16_t output_width;
  uint16_t kernel_height;
  uint16_t kernel_width;
  uint16_t stride_height;
  uint16_t stride_width;
  uint16_t dilation_height;
  uint16_t dilation_width;
  uint16_t pad_top;
  uint16_t pad_left;
  uint16_t window_rows;         // 0, or how many rows of kernels lie in scratch while one slides down the image
  uint8_t pixels;               // gathered at a time; 4 where interleaved
  uint8_t interleaved;
  int8_t input_zero_point;
};
void nm_conv2d_s8(const struct nm_conv2d_s8 *p, const int8_t *input, int8_t *output, void *scratch);

// DEPTHWISE_CONV_2D: output channel `c * depth_multiplier + m` is of input channel `c`. Scratch, aligned to 4: a
// uint32_t for each row of the kernel, then the rows of the input under it, `row_pitch` bytes for each channel of each.
struct nm_depthwise_s8 {
  const int8_t *weights;        // [output channels][kernel_height][kernel_width rounded up to 4]
  const int32_t *bias;          // [output channels], - input_zero_point * sum(weights) folded in
  const uint32_t *multiplier;   // [output channels], twice TFLite's
  const int8_t *shift;          // [output channels], to the right; negative is to the left, before the product
  uint16_t batches;
  uint16_t input_height;
  uint16_t input_width;
  uint16_t input_channels;
  uint16_t depth_multiplier;
  uint16_t output_height;
  uint16_t output_width;
  uint16_t kernel_height;
  uint16_t kernel_width;
  uint16_t stride_height;
  uint16_t stride_width;
  uint16_t dilation_height;
  uint16_t dilation_width;
  uint16_t pad_top;
  uint16_t pad_left;
  int8_t input_zero_point;
  int8_t output_zero_point;
  int8_t output_min;
  int8_t output_max;
  uint8_t small;                // no shift is negative, no sum is beyond 30 bits
  uint32_t row_pitch;           // of a padded row, more than kernels read
};
void nm_depthwise_s8(const struct nm_depthwise_s8 *p, const int8_t *input, int8_t *output, void *scratch);

// One row of outputs. Row `k` of the kernel lies `offsets[k]` bytes from `rows` on.
typedef void nm_depthwise_row_form_s8(const struct nm_depthwise_s8 *p, const int8_t *rows, const uint32_t *offsets,
                                      int8_t *output);
nm_depthwise_row_form_s8 nm_depthwise_row_s8;      // the target's best
nm_depthwise_row_form_s8 nm_depthwise_any_row_s8;  // of every size

#endif  // NM_MCU_H_
