// SPDX-License-Identifier: BSD-3-Clause

#include "requantize.h"

static int8_t requantize(const struct nm_depthwise_s8 *p, size_t channel, uint32_t sum) {
  const int32_t scaled = nm_rescale_twice((int32_t) sum, p->multiplier[channel], p->shift[channel]);
  const uint32_t value = (uint32_t) scaled + (uint32_t) p->output_zero_point;
  return nm_clamp_s8((int32_t) value, p->output_min, p->output_max);
}

// Three taps that follow each other.
static inline uint32_t three(const int8_t *x, const int8_t *w) {
  return nm_product(x[0], w[0]) + nm_product(x[1], w[1]) + nm_product(x[2], w[2]);
}

void nm_depthwise_any_row_s8(const struct nm_depthwise_s8 *p, const int8_t *rows, const uint32_t *offsets,
                             int8_t *output) {
  const size_t outputs = (size_t) p->input_channels * p->depth_multiplier;
  const size_t width = p->kernel_width;
  const size_t pitch = (width + 3) / 4 * 4;
  const int threes = p->kernel_height == 3 && width == 3 && p->dilation_width == 1;
  const int8_t *weights = p->weights;
  for (size_t o = 0; o < outputs; o++) {
    const int8_t *channel = rows + o / p->depth_multiplier * p->row_pitch;
    for (size_t i = 0; i < p->output_width; i++) {
      const int8_t *x = channel + i * p->stride_width;
      uint32_t sum = (uint32_t) p->bias[o];
      if (threes) {
        sum += three(x + offsets[0], weights);
        sum += three(x + offsets[1], weights + 4);
        sum += three(x + offsets[2], weights + 8);
      } else {
        for (size_t ky = 0; ky < p->kernel_height; ky++) {
          for (size_t kx = 0; kx < width; kx++) {
            sum += nm_product(weights[ky * pitch + kx], x[offsets[ky] + kx * p->dilation_width]);
          }
        }
      }
      output[i * outputs + o] = requantize(p, o, sum);
    }
    weights += p->kernel_height * pitch;
  }
}
