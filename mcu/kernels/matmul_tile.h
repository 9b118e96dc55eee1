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

// Adds four columns of `pixels` rows (a constant where it is called, up to 4).
static inline void nm_tile_rows(const int8_t *w, const int8_t *const x[4], size_t k, size_t pixels,
                                struct nm_tile_sums *sums) {
  for (size_t c = 0; c < 4; c++) {
    for (size_t p = 0; p < pixels; p++) {
      for (size_t j = 0; j < 4; j++) {
        sums->of[c][p] += nm_product(w[4 * c + j], x[p][k + j]);
      }
    }
  }
}

// Adds a column of four interleaved pixels.
static inline void nm_tile_column(const int8_t *w, const int8_t *x, struct nm_tile_sums *sums) {
  for (size_t c = 0; c < 4; c++) {
    for (size_t p = 0; p < 4; p++) {
      sums->of[c][p] += nm_product(w[4 * c], x[p]);
    }
  }
}

// An index: for each tile a uint16_t that counts steps, a uint16_t that says where the first kept column lies, and
// a byte for each kept column that says how far on the next one lies.
static inline size_t nm_index_half(const uint8_t *index) { return index[0] | (size_t) index[1] << 8; }

#endif  // NM_MATMUL_TILE_H_
