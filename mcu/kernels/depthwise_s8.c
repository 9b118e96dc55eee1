// SPDX-License-Identifier: BSD-3-Clause

#include "nm_mcu.h"
#include "requantize.h"

// The rows or columns of a kernel that lie on the image, from `*first` to before the result.
static size_t covered(ptrdiff_t from, size_t kernel, size_t dilation, size_t size, size_t *first) {
  size_t k = 0;
  while (k < kernel && from + (ptrdiff_t) (k * dilation) < 0) {
    k++;
  }
  *first = k;
  while (k < kernel && from + (ptrdiff_t) (k * dilation) < (ptrdiff_t) size) {
    k++;
  }
  return k;
}

void nm_depthwise_s8(const struct nm_depthwise_s8 *p, const int8_t *input, int8_t *output) {
  const size_t channels = p->input_channels;
  const size_t outputs = channels * p->depth_multiplier;
  for (size_t pixel = 0; pixel < (size_t) p->batches * p->output_height * p->output_width; pixel++) {
    const size_t ox = pixel % p->output_width;
    const size_t oy = pixel / p->output_width % p->output_height;
    const size_t batch = pixel / p->output_width / p->output_height;
    const ptrdiff_t y = (ptrdiff_t) (oy * p->stride_height) - (ptrdiff_t) p->pad_top;
    const ptrdiff_t x = (ptrdiff_t) (ox * p->stride_width) - (ptrdiff_t) p->pad_left;
    size_t first_y;
    size_t first_x;
    const size_t end_y = covered(y, p->kernel_height, p->dilation_height, p->input_height, &first_y);
    const size_t end_x = covered(x, p->kernel_width, p->dilation_width, p->input_width, &first_x);
    for (size_t c = 0; c < channels; c++) {
      for (size_t m = 0; m < p->depth_multiplier; m++) {
        const size_t o = c * p->depth_multiplier + m;
        uint32_t sum = (uint32_t) p->bias[o];
        for (size_t ky = 0; ky < p->kernel_height; ky++) {
          const size_t iy = (size_t) (y + (ptrdiff_t) (ky * p->dilation_height));
          for (size_t kx = 0; kx < p->kernel_width; kx++) {
            const size_t ix = (size_t) (x + (ptrdiff_t) (kx * p->dilation_width));
            const int inside = ky >= first_y && ky < end_y && kx >= first_x && kx < end_x;
            const size_t at = ((batch * p->input_height + iy) * p->input_width + ix) * channels + c;
            const int8_t value = inside ? input[at] : p->input_zero_point;
            sum += nm_product(value, p->weights[(ky * p->kernel_width + kx) * outputs + o]);
          }
        }
        const int32_t scaled = nm_rescale_twice((int32_t) sum, p->multiplier[o], p->shift[o]);
        const uint32_t result = (uint32_t) scaled + (uint32_t) p->output_zero_point;
        *output++ = nm_clamp_s8((int32_t) result, p->output_min, p->output_max);
      }
    }
  }
}
