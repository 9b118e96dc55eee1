// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Where the strips of a convolution or a pooling operator read the image.

#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack/allocator.h"
#include "xnnpack/common.h"
#include "xnnpack/log.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-operator.h"
#include "xnnpack/operator-type.h"
#include "xnnpack/operator.h"

// Narrower bands waste what of a vector is beyond their end.
#define MIN_BAND_PIXELS 96
// Pixels of a cache line, of f32. Bands of bytes share the lines at their ends.
#define BAND_ALIGNMENT 16

// Whether all distances in the padded input and the size of the output fit what holds them.
static bool sizes_fit(const struct xnn_operator* op, size_t pixel_stride, size_t channel_stride)
{
  const size_t padded_height =
    (op->output_height - 1) * op->stride_height + (size_t) (op->kernel_height - 1) * op->dilation_height + 1;
  const size_t padded_width =
    (op->output_width - 1) * op->stride_width + (size_t) (op->kernel_width - 1) * op->dilation_width + 1;
  size_t input_size, padded_size, pixels;
  return xnn_multiply_sizes(op->input_height, op->input_width, &input_size) &&
    xnn_multiply_sizes(input_size, op->batch_size, &input_size) &&
    xnn_multiply_sizes(input_size, pixel_stride, &input_size) && input_size <= INT32_MAX / 4 &&
    xnn_multiply_sizes(channel_stride, op->group_input_channels, &input_size) && input_size <= INT32_MAX &&
    padded_height <= INT32_MAX / 4 && padded_width <= INT32_MAX / 4 &&
    xnn_multiply_sizes(padded_height, op->input_width, &padded_size) &&
    padded_size + padded_width <= INT32_MAX / 4 / pixel_stride &&
    xnn_multiply_sizes(op->output_height, op->output_width, &pixels) &&
    xnn_multiply_sizes(pixels, op->batch_size, &pixels) && pixels <= INT32_MAX / 4;
}

size_t xnn_get_cnhw_channel_size(const struct xnn_operator* op, size_t element_size)
{
  size_t size = element_size;
  return xnn_multiply_sizes(size, op->batch_size, &size) && xnn_multiply_sizes(size, op->input_height, &size) &&
    xnn_multiply_sizes(size, op->input_width, &size) ? size : SIZE_MAX;
}

size_t xnn_get_nmspmm_band_pixels(size_t num_pixels, size_t num_threads)
{
  if (num_threads == 1 || num_pixels / num_threads < MIN_BAND_PIXELS) {
    return num_pixels;
  }
  const size_t band_pixels = round_up_po2(divide_round_up(num_pixels, num_threads), BAND_ALIGNMENT);
  const size_t first_bands = (num_threads - 1) * band_pixels;
  return num_pixels >= first_bands + band_pixels / 2 ? band_pixels : num_pixels;
}

enum xnn_status xnn_reshape_im2col_strips(
    xnn_operator_t op,
    size_t element_size,
    size_t pixel_stride,
    size_t channel_stride,
    size_t nr,
    size_t input_band_pixels,
    size_t band_pixels,
    struct xnn_im2col_strips* strips)
{
  if (!sizes_fit(op, pixel_stride, channel_stride)) {
    xnn_log_error(
      "failed to reshape %s operator with %zux%zux%zu input: distances in the padded image must fit 32 bits",
      xnn_operator_type_to_string(op->type), op->batch_size, op->input_height, op->input_width);
    return xnn_status_unsupported_parameter;
  }
  const size_t num_pixels = op->batch_size * op->output_height * op->output_width;
  if (band_pixels == 0) {
    band_pixels = num_pixels;
  }
  const size_t band_strips = divide_round_up(band_pixels, nr);
  const size_t num_strips = divide_round_up(num_pixels, band_pixels) * band_strips;
  const size_t input_band_size = op->group_input_channels * input_band_pixels * pixel_stride;
  const size_t size = (3 * num_pixels + num_strips) * sizeof(int32_t);
  int32_t* memory = xnn_reallocate_memory(op->pixelwise_buffer, size);
  if (memory == NULL) {
    xnn_log_error("failed to allocate %zu bytes for the strips of %s operator",
      size, xnn_operator_type_to_string(op->type));
    return xnn_status_out_of_memory;
  }
  op->pixelwise_buffer = memory;
  int32_t* y = memory;
  int32_t* x = y + num_pixels;
  int32_t* base = x + num_pixels;
  uint32_t* strides = (uint32_t*) (base + num_pixels);
  size_t pixel = 0;
  for (size_t n = 0; n < op->batch_size; n++) {
    for (size_t oy = 0; oy < op->output_height; oy++) {
      const int32_t iy = (int32_t) (oy * op->stride_height) - (int32_t) op->padding_top;
      for (size_t ox = 0; ox < op->output_width; ox++) {
        const int32_t ix = (int32_t) (ox * op->stride_width) - (int32_t) op->padding_left;
        y[pixel] = iy;
        x[pixel] = ix;
        base[pixel] =
          (((int32_t) (n * op->input_height) + iy) * (int32_t) op->input_width + ix) * (int32_t) pixel_stride;
        if (input_band_pixels != 0) {
          const size_t input_pixel = (size_t) base[pixel] / pixel_stride;
          base[pixel] = (int32_t) (input_pixel / input_band_pixels * input_band_size +
            input_pixel % input_band_pixels * pixel_stride);
        }
        pixel += 1;
      }
    }
  }
  for (size_t strip = 0; strip < num_strips; strip++) {
    const size_t band = strip / band_strips;
    const size_t start = band * band_pixels + strip % band_strips * nr;
    const size_t end = min(min(start + nr, (band + 1) * band_pixels), num_pixels);
    pixel = start + 1;
    const int32_t stride = pixel < end ? base[pixel] - base[pixel - 1] : (int32_t) element_size;
    while (pixel < end && base[pixel] - base[pixel - 1] == stride) {
      pixel += 1;
    }
    strides[strip] = pixel < end || stride < 0 ? 0 : (uint32_t) stride;
  }
  *strips = (struct xnn_im2col_strips) {
    .pixels = {.y = y, .x = x, .base = base},
    .strides = strides,
    .num_pixels = num_pixels,
    .num_strips = num_strips,
  };
  return xnn_status_success;
}

struct xnn_im2col_tap xnn_get_im2col_tap(const struct xnn_operator* op, size_t pixel_stride, size_t tap)
{
  const int32_t dy = (int32_t) (tap / op->kernel_width * op->dilation_height);
  const int32_t dx = (int32_t) (tap % op->kernel_width * op->dilation_width);
  return (struct xnn_im2col_tap) {
    .dy = dy,
    .dx = dx,
    .distance = (dy * (int32_t) op->input_width + dx) * (int32_t) pixel_stride,
  };
}
