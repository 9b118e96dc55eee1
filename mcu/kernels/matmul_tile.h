// SPDX-License-Identifier: BSD-3-Clause
//
// Tiles of four channels, for the portable kernels. The four weights of a channel for four columns lie together,
// then those of the next channel.

#ifndef NM_MATMUL_TILE_H_
#define NM_MATMUL_TILE_H_

#include "requantize.h"

struct nm_tile_sums {
  uint32_t of[4][4];  // [channel][pixel]
};

static inline void nm_tile_begin(const struct nm_filter_s8 *filter, size_t channel, struct nm_tile_sums *sums) {
  for (size_t c = 0; c < 4; c++) {
    const uint32_t bias = channel + c < filter->channels ? (uint32_t) filter->bias[channel + c] : 0;
    for (size_t p = 0; p < 4; p++) {
      sums->of[c][p] = bias;
    }
  }
}

static inline void nm_tile_end(const struct nm_filter_s8 *filter, size_t channel, const struct nm_tile_sums *sums,
                               size_t pixels, int8_t *output, size_t output_stride) {
  for (size_t c = 0; c < 4 && channel + c < filter->channels; c++) {
    for (size_t p = 0; p < pixels; p++) {
      output[p * output_stride + channel + c] = nm_requantize_s8(filter, channel + c, sums->of[c][p]);
    }
  }
}

// Adds `steps` blocks of four columns of two rows; the next block lies `distances[i]` columns on, or 4 if it is NULL.
// Sums stay in registers meanwhile: what they are copied to has no address.
static inline void nm_tile_rows(const int8_t *w, const int8_t *x0, const int8_t *x1, size_t steps,
                                const uint8_t *distances, struct nm_tile_sums *sums) {
  uint32_t a[4];
  uint32_t b[4];
  for (size_t c = 0; c < 4; c++) {
    a[c] = sums->of[c][0];
    b[c] = sums->of[c][1];
  }
  for (size_t i = 0; i < steps; i++) {
    for (size_t j = 0; j < 4; j++) {
      for (size_t c = 0; c < 4; c++) {
        a[c] += nm_product(w[4 * c + j], x0[j]);
        b[c] += nm_product(w[4 * c + j], x1[j]);
      }
    }
    const size_t distance = distances == NULL ? 4 : distances[i];
    x0 += distance;
    x1 += distance;
    w += 16;
  }
  for (size_t c = 0; c < 4; c++) {
    sums->of[c][0] = a[c];
    sums->of[c][1] = b[c];
  }
}

// All of a dense filter, two pixels at a time.
static inline void nm_tile_dense(const struct nm_filter_s8 *filter, const int8_t *pixels, size_t pixel_stride,
                                 size_t count, int8_t *output, size_t output_stride) {
  while (count != 0) {
    const size_t more = count > 1 ? 1 : 0;
    const int8_t *w = filter->weights;
    for (size_t c = 0; c < filter->channels; c += 4) {
      struct nm_tile_sums sums;
      nm_tile_begin(filter, c, &sums);
      nm_tile_rows(w, pixels, pixels + more * pixel_stride, filter->columns / 4u, NULL, &sums);
      w += 4 * (size_t) filter->columns;
      nm_tile_end(filter, c, &sums, 1 + more, output, output_stride);
    }
    pixels += 2 * pixel_stride;
    output += 2 * output_stride;
    count -= 1 + more;
  }
}

// Adds `steps` times four columns of four interleaved pixels, likewise; distances are of bytes, one a column.
static inline void nm_tile_columns(const int8_t *w, const int8_t *x, size_t steps, const uint8_t *distances,
                                   struct nm_tile_sums *sums) {
  uint32_t a[4][4];
  for (size_t c = 0; c < 4; c++) {
    for (size_t p = 0; p < 4; p++) {
      a[c][p] = sums->of[c][p];
    }
  }
  for (size_t i = 0; i < steps; i++) {
    for (size_t j = 0; j < 4; j++) {
      for (size_t c = 0; c < 4; c++) {
        for (size_t p = 0; p < 4; p++) {
          a[c][p] += nm_product(w[4 * c + j], x[p]);
        }
      }
      x += distances[4 * i + j];
    }
    w += 16;
  }
  for (size_t c = 0; c < 4; c++) {
    for (size_t p = 0; p < 4; p++) {
      sums->of[c][p] = a[c][p];
    }
  }
}

// An index: for each tile a uint16_t that counts steps, a uint16_t that says where the first kept column lies, and
// a byte for each kept column that says how far on the next one lies.
static inline size_t nm_index_half(const uint8_t *index) { return index[0] | (size_t) index[1] << 8; }

#endif  // NM_MATMUL_TILE_H_
