// SPDX-License-Identifier: BSD-3-Clause
//
// Keeps the rows of the input that lie under the kernel in scratch, padded, each channel by itself.

#include "im2col.h"
#include "nm_mcu.h"

// Input row `y` of an image as padded rows of each channel.
static void take_row(const struct nm_depthwise_s8 *p, int8_t *to, const int8_t *image, ptrdiff_t y) {
  const size_t channels = p->input_channels;
  const size_t pitch = p->row_pitch;
  nm_fill_s8(to, p->input_zero_point, channels * pitch);
  if (y >= 0 && y < (ptrdiff_t) p->input_height) {
    const size_t room = pitch - p->pad_left;
    const size_t width = p->input_width < room ? p->input_width : room;
    nm_planar_s8(to + p->pad_left, pitch, image + (size_t) y * p->input_width * channels, channels, width);
  }
}

void nm_depthwise_s8(const struct nm_depthwise_s8 *p, const int8_t *input, int8_t *output, void *scratch) {
  const size_t span = (size_t) (p->kernel_height - 1) * p->dilation_height + 1;
  const size_t row = p->input_channels * (size_t) p->row_pitch;
  uint32_t *const offsets = scratch;
  int8_t *const rows = (int8_t *) (offsets + p->kernel_height);
  for (size_t batch = 0; batch < p->batches; batch++) {
    size_t taken = 0;  // rows before it, counted from the first of the padding, are or were in scratch
    for (size_t oy = 0; oy < p->output_height; oy++) {
      const size_t top = oy * p->stride_height;
      for (taken = taken < top ? top : taken; taken < top + span; taken++) {
        take_row(p, rows + taken % span * row, input, (ptrdiff_t) taken - (ptrdiff_t) p->pad_top);
      }
      for (size_t k = 0; k < p->kernel_height; k++) {
        offsets[k] = (uint32_t) ((top + k * p->dilation_height) % span * row);
      }
      nm_depthwise_row_s8(p, rows, offsets, output);
      output += (size_t) p->output_width * p->input_channels * p->depth_multiplier;
    }
    input += (size_t) p->input_height * p->input_width * p->input_channels;
  }
}
