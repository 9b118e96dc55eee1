// SPDX-License-Identifier: BSD-3-Clause

#include "requantize.h"

void nm_depthwise_any_row_s8(const struct nm_depthwise_s8 *p, const int8_t *rows, const uint32_t *offsets,
                             int8_t *output) {
  const size_t outputs = (size_t) p->input_channels * p->depth_multiplier;
  const size_t width = p->kernel_width;
  const size_t pitch = (width + 3) / 4 * 4;
  const int8_t *weights = p->weights;
  for (size_t o = 0; o < outputs; o++) {
    const int8_t *channel = rows + o / p->depth_multiplier * p->row_pitch;
    for (size_t i = 0; i < p->output_width; i++) {
      uint32_t sum = (uint32_t) p->bias[o];
      for (size_t ky = 0; ky < p->kernel_height; ky++) {
        const int8_t *x = channel + offsets[ky] + i * p->stride_width;
        for (size_t kx = 0; kx < width; kx++) {
          sum += nm_product(weights[ky * pitch + kx], x[kx * p->dilation_width]);
        }
      }
      const int32_t scaled = nm_rescale_twice((int32_t) sum, p->multiplier[o], p->shift[o]);
      const uint32_t value = (uint32_t) scaled + (uint32_t) p->output_zero_point;
      output[i * outputs + o] = nm_clamp_s8((int32_t) value, p->output_min, p->output_max);
    }
    weights += p->kernel_height * pitch;
  }
}
