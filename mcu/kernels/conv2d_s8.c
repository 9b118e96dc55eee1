// SPDX-License-Identifier: BSD-3-Clause
//
// Gathers what the kernel covers of some pixels into scratch, in the order of the weights, and multiplies it.

#include "im2col.h"
#include "nm_mcu.h"

// Where pixels lie while they are gathered.
struct gather {
  const struct nm_conv2d_s8 *p;
  const int8_t *image;
  int8_t *to;
  const int8_t *padding;  // a row of the kernel of the zero point, in interleaved layers
  size_t pixel_pitch;     // bytes between pixels, in layers of rows
};

// The first input row or column under an output pixel, which padding takes below 0.
static ptrdiff_t first_covered(size_t output, size_t stride, size_t pad) {
  return (ptrdiff_t) (output * stride) - (ptrdiff_t) pad;
}

// Gathers one row of the kernel at input row `y` for one pixel.
static void gather_row(const struct gather *g, int8_t *to, ptrdiff_t y, ptrdiff_t x) {
  const struct nm_conv2d_s8 *p = g->p;
  const size_t channels = p->input_channels;
  const ptrdiff_t width = p->input_width;
  const ptrdiff_t kernel = p->kernel_width;
  const ptrdiff_t dilation = p->dilation_width;
  if (y < 0 || y >= (ptrdiff_t) p->input_height) {
    nm_fill_s8(to, p->input_zero_point, (size_t) kernel * channels);
    return;
  }
  const int8_t *from = g->image + (size_t) y * p->input_width * channels;
  if (dilation == 1) {
    const ptrdiff_t left = x >= 0 ? 0 : -x < kernel ? -x : kernel;
    const ptrdiff_t end = width - x < left ? left : width - x < kernel ? width - x : kernel;
    if (left != 0) {
      nm_fill_s8(to, p->input_zero_point, (size_t) left * channels);
    }
    if (end != left) {
      const int8_t *inside = from + (size_t) (x + left) * channels;
      nm_copy_s8(to + (size_t) left * channels, inside, (size_t) (end - left) * channels);
    }
    if (end != kernel) {
      nm_fill_s8(to + (size_t) end * channels, p->input_zero_point, (size_t) (kernel - end) * channels);
    }
    return;
  }
  for (ptrdiff_t i = 0; i < kernel; i++, x += dilation, to += channels) {
    if (x < 0 || x >= width) {
      nm_fill_s8(to, p->input_zero_point, channels);
    } else {
      nm_copy_s8(to, from + (size_t) x * channels, channels);
    }
  }
}

// The kernel columns that lie on the image for each of four pixels whose first columns are `x`.
static void common_columns(const struct nm_conv2d_s8 *p, const ptrdiff_t x[4], ptrdiff_t *first, ptrdiff_t *end) {
  *first = 0;
  *end = p->dilation_width == 1 ? p->kernel_width : 0;
  for (size_t i = 0; i < 4; i++) {
    const ptrdiff_t rest = (ptrdiff_t) p->input_width - x[i];
    *first = -x[i] > *first ? -x[i] : *first;
    *end = rest < *end ? rest : *end;
  }
}

// Gathers one row of the kernel for four interleaved pixels, whose rows of the input are `row`, NULL off the image,
// and whose first columns are `x`. Columns from `first` to `end` are taken at once.
static void gather_interleaved(const struct gather *g, int8_t *to, const int8_t *const row[4], const ptrdiff_t x[4],
                               ptrdiff_t first, ptrdiff_t end) {
  const struct nm_conv2d_s8 *p = g->p;
  const size_t channels = p->input_channels;
  const ptrdiff_t width = p->input_width;
  for (ptrdiff_t k = 0; k < (ptrdiff_t) p->kernel_width;) {
    const ptrdiff_t count = k >= first && k < end ? end - k : 1;
    const int8_t *from[4];
    for (size_t i = 0; i < 4; i++) {
      const ptrdiff_t column = x[i] + k * p->dilation_width;
      from[i] = row[i] == NULL || column < 0 || column >= width ? g->padding : row[i] + (size_t) column * channels;
    }
    nm_interleave_s8(to, from, (size_t) count * channels);
    to += 4 * (size_t) count * channels;
    k += count;
  }
}

// An input row, NULL off the image.
static const int8_t *input_row(const struct gather *g, ptrdiff_t y) {
  const struct nm_conv2d_s8 *p = g->p;
  return y < 0 || y >= (ptrdiff_t) p->input_height ? NULL : g->image + (size_t) y * p->input_width * p->input_channels;
}

// Gathers four interleaved pixels that follow in reading order; the last is repeated.
static void gather_four(const struct gather *g, size_t oy, size_t ox, size_t count) {
  const struct nm_conv2d_s8 *p = g->p;
  ptrdiff_t y[4];
  ptrdiff_t x[4];
  for (size_t i = 0; i < 4; i++) {
    if (i != 0 && i < count && ++ox == p->output_width) {
      ox = 0;
      oy++;
    }
    y[i] = first_covered(oy, p->stride_height, p->pad_top);
    x[i] = first_covered(ox, p->stride_width, p->pad_left);
  }
  ptrdiff_t first;
  ptrdiff_t end;
  common_columns(p, x, &first, &end);
  int8_t *to = g->to;
  for (size_t k = 0; k < p->kernel_height; k++) {
    const int8_t *row[4];
    for (size_t i = 0; i < 4; i++) {
      row[i] = input_row(g, y[i] + (ptrdiff_t) (k * p->dilation_height));
    }
    gather_interleaved(g, to, row, x, first, end);
    to += 4 * (size_t) p->kernel_width * p->input_channels;
  }
}

// Gathers rows `first` to `end` of the kernel for `count` pixels that follow in reading order.
static void gather_rows(const struct gather *g, size_t oy, size_t ox, size_t count, size_t first, size_t end) {
  const struct nm_conv2d_s8 *p = g->p;
  const size_t row = (size_t) p->kernel_width * p->input_channels;
  for (size_t i = 0; i < count; i++) {
    const ptrdiff_t top = first_covered(oy, p->stride_height, p->pad_top);
    const ptrdiff_t left = first_covered(ox, p->stride_width, p->pad_left);
    for (size_t k = first; k < end; k++) {
      gather_row(g, g->to + i * g->pixel_pitch + k * row, top + (ptrdiff_t) (k * p->dilation_height), left);
    }
    if (++ox == p->output_width) {
      ox = 0;
      oy++;
    }
  }
}

// Pixels in reading order, each gathered anew.
static void each_pixel(struct gather *g, int8_t *output, void *scratch) {
  const struct nm_conv2d_s8 *p = g->p;
  size_t left = (size_t) p->output_height * p->output_width;
  size_t oy = 0;
  size_t ox = 0;
  g->pixel_pitch = p->filter.columns;
  while (left != 0) {
    const size_t count = left < p->pixels ? left : p->pixels;
    if (p->interleaved) {
      gather_four(g, oy, ox, count);
    } else {
      gather_rows(g, oy, ox, count, 0, p->kernel_height);
    }
    p->matmul(&p->filter, g->to, g->pixel_pitch, count, output, p->filter.channels, scratch);
    output += count * p->filter.channels;
    left -= count;
    for (ox += count; ox >= p->output_width; ox -= p->output_width) {
      oy++;
    }
  }
}

// Moves the rows of a window that are used again to its start.
static void rewind_window(const struct gather *g, int8_t *start, size_t at, size_t rows) {
  const struct nm_conv2d_s8 *p = g->p;
  const size_t row = (size_t) p->kernel_width * p->input_channels * (p->interleaved ? 4 : 1);
  for (size_t i = 0; i < (p->interleaved ? 1u : p->pixels); i++) {
    int8_t *window = start + i * g->pixel_pitch;
    nm_copy_s8(window, window + at * row, rows * row);
  }
}

// Gathers rows `valid` to the last of the kernel for the pixels of a strip, the first columns of which are `x`.
static void gather_strip(const struct gather *g, size_t oy, const ptrdiff_t x[4], size_t valid) {
  const struct nm_conv2d_s8 *p = g->p;
  const size_t pitch = 4 * (size_t) p->kernel_width * p->input_channels;
  ptrdiff_t first;
  ptrdiff_t end;
  common_columns(p, x, &first, &end);
  for (size_t k = valid; k < p->kernel_height; k++) {
    const int8_t *row = input_row(g, first_covered(oy, p->stride_height, p->pad_top) + (ptrdiff_t) k);
    if (row == NULL) {
      nm_fill_s8(g->to + k * pitch, p->input_zero_point, pitch);
    } else {
      const int8_t *const rows[4] = {row, row, row, row};
      gather_interleaved(g, g->to + k * pitch, rows, x, first, end);
    }
  }
}

// A window of rows slides down a strip of pixels, so that each row of the input is gathered once a strip.
static void each_window(struct gather *g, int8_t *output, void *scratch) {
  const struct nm_conv2d_s8 *p = g->p;
  const size_t height = p->kernel_height;
  const size_t pitch = (size_t) p->kernel_width * p->input_channels;
  const size_t row = p->interleaved ? 4 * pitch : pitch;
  int8_t *const start = g->to;
  g->pixel_pitch = p->window_rows * pitch;
  for (size_t ox = 0; ox < p->output_width; ox += p->pixels) {
    const size_t rest = p->output_width - ox;
    const size_t count = rest < p->pixels ? rest : p->pixels;
    ptrdiff_t x[4];
    for (size_t i = 0; i < 4; i++) {
      x[i] = first_covered(ox + (i < count ? i : count - 1), p->stride_width, p->pad_left);
    }
    size_t at = 0;
    size_t valid = 0;
    for (size_t oy = 0; oy < p->output_height; oy++) {
      if (at + height > p->window_rows) {
        rewind_window(g, start, at, valid);
        at = 0;
      }
      g->to = start + at * row;
      if (p->interleaved) {
        gather_strip(g, oy, x, valid);
      } else {
        gather_rows(g, oy, ox, count, valid, height);
      }
      p->matmul(&p->filter, g->to, g->pixel_pitch, count, output + (oy * p->output_width + ox) * p->filter.channels,
                p->filter.channels, scratch);
      valid = height - p->stride_height;
      at += p->stride_height;
    }
  }
  g->to = start;
}

void nm_conv2d_s8(const struct nm_conv2d_s8 *p, const int8_t *input, int8_t *output, void *scratch) {
  const size_t pixels = (size_t) p->output_height * p->output_width;
  const size_t image = (size_t) p->input_height * p->input_width * p->input_channels;
  const size_t columns = p->window_rows != 0 ? (size_t) p->window_rows * p->kernel_width * p->input_channels
                                             : p->filter.columns;
  if (!p->interleaved && p->filter.columns == p->input_channels && p->kernel_height == 1 && p->kernel_width == 1 &&
      p->stride_height == 1 && p->stride_width == 1 && p->output_height == p->input_height &&
      p->output_width == p->input_width) {
    p->matmul(&p->filter, input, p->input_channels, p->batches * pixels, output, p->filter.channels, scratch);
    return;
  }
  int8_t *const gathered = (int8_t *) scratch + p->kernel_scratch;
  struct gather g = {.p = p, .image = input, .to = gathered, .padding = gathered + 4 * columns, .pixel_pitch = 0};
  if (p->interleaved) {
    nm_fill_s8(gathered + 4 * columns, p->input_zero_point, (size_t) p->kernel_width * p->input_channels);
  }
  for (size_t i = 0; i < p->batches; i++) {
    if (p->window_rows != 0) {
      each_window(&g, output, scratch);
    } else {
      each_pixel(&g, output, scratch);
    }
    g.image += image;
    output += pixels * p->filter.channels;
  }
}
