// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// The tasks of the N:M convolution operator.

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "xnnpack/common.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-operator.h"

#include <fxdiv.h>

static void fill(const struct nmconv_pad_context* context, void* output, size_t num_pixels)
{
  const size_t size = num_pixels * context->pixel_channels;
  if (context->log2_input_size == context->log2_output_size || context->padding == 0) {
    memset(output, context->padding, size << context->log2_output_size);
    return;
  }
  for (size_t i = 0; i < size; i++) {
    ((int16_t*) output)[i] = (int16_t) context->padding;
  }
}

static void copy(
    const struct nmconv_pad_context* context,
    const void* restrict input,
    void* restrict output,
    size_t num_pixels)
{
  const size_t size = num_pixels * context->pixel_channels;
  if (context->log2_input_size == context->log2_output_size) {
    memcpy(output, input, size << context->log2_output_size);
    return;
  }
  if (context->convert != NULL) {
    if (size != 0) {
      context->convert(size << context->log2_input_size, input, output, /*params=*/NULL);
    }
    return;
  }
  for (size_t i = 0; i < size; i++) {
    ((int16_t*) output)[i] = (int16_t) ((const int8_t*) input)[i];
  }
}

void xnn_compute_nmconv_pad(
    const struct nmconv_pad_context* context,
    size_t batch_index,
    size_t row)
{
  uint8_t* output = (uint8_t*) context->output +
    batch_index * context->output_batch_stride + row * context->output_row_stride;
  // Unsigned: rows above the image wrap around and are below it, too.
  const size_t input_row = row - context->padding_top;
  if (input_row >= context->input_height) {
    fill(context, output, context->left_pixels + context->input_pixels + context->right_pixels);
    return;
  }
  const uint8_t* input = (const uint8_t*) context->input +
    batch_index * context->input_batch_stride + input_row * context->input_row_stride;
  const size_t pixel_size = context->pixel_channels << context->log2_output_size;
  fill(context, output, context->left_pixels);
  output += context->left_pixels * pixel_size;
  if (context->input_pixel_stride == context->pixel_channels << context->log2_input_size) {
    copy(context, input, output, context->input_pixels);
    output += context->input_pixels * pixel_size;
  } else {
    for (size_t pixel = 0; pixel < context->input_pixels; pixel++) {
      copy(context, input, output, 1);
      output += pixel_size;
      input += context->input_pixel_stride;
    }
  }
  fill(context, output, context->right_pixels);
}

void xnn_compute_nmconv(
    const struct nmconv_context* context,
    size_t batch_group_index,
    size_t pixel_start,
    size_t channel_start,
    size_t pixel_count,
    size_t channel_count)
{
  const struct fxdiv_result_size_t batch_group = fxdiv_divide_size_t(batch_group_index, context->groups);
  const size_t batch_index = batch_group.quotient;
  const size_t group_index = batch_group.remainder;

  const size_t nr = context->nr;
  assert(channel_start % nr == 0);
  const size_t tile = group_index * context->group_tiles + channel_start / nr;
  const uint32_t* column_starts = context->column_starts + tile;
  const size_t first_column = (size_t) *column_starts;
  const int32_t* offsets = context->offsets + first_column;
  const void* w = (const void*) ((uintptr_t) context->packed_w +
    nr * ((tile << context->log2_row_size) + first_column * context->run_size));

  const uint8_t* input = (const uint8_t*) context->input +
    batch_index * context->input_batch_stride + group_index * context->input_group_stride;
  uint8_t* output = (uint8_t*) context->output +
    batch_index * context->output_batch_stride + group_index * context->output_group_stride +
    pixel_start * context->output_pixel_stride + (channel_start << context->log2_element_size);

  const size_t output_width = context->output_width.value;
  const struct fxdiv_result_size_t position = fxdiv_divide_size_t(pixel_start, context->output_width);
  const uint8_t* row = input + position.quotient * context->input_row_stride;
  size_t x = position.remainder;
  do {
    const size_t mr = min(pixel_count, context->mr);
    const void* a[XNN_MAX_NMCONV_MR];
    for (size_t m = 0; m < mr; m++) {
      a[m] = row + x * context->input_pixel_stride;
      if (++x == output_width) {
        x = 0;
        row += context->input_row_stride;
      }
    }
    context->ukernel(
      mr, channel_count, a, offsets, column_starts, w,
      output, context->output_pixel_stride, context->residual_distance, &context->params);
    output += mr * context->output_pixel_stride;
    pixel_count -= mr;
  } while (pixel_count != 0);
}
