// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What convolutions are predicted to cost on this hardware, beside what their micro-kernels cost.
//
// The unit is the time of one weight and pixel in the dense operator's micro-kernel. Costs of convolutions are for one
// output pixel; what an operator costs however many pixels it has is spread over them.

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "xnnpack/common.h"
#include "xnnpack/nmconv.h"

#ifdef __cplusplus
extern "C" {
#endif

// Images of more bytes are brought from one layout to the other more slowly.
#define XNN_NM_LARGE_IMAGE_SIZE (512 * 1024)

// What a tile of NHWC images costs beside its columns, dense or not, in columns: biases, clamping, stores.
#define XNN_NM_TILE_OVERHEAD 3

// Time of an addition of its own for one element.
#define XNN_NM_ADDITION_COST 20.0f

// Below this, the prediction may be wrong about which operator is faster: a dense one stays.
#define XNN_NM_MIN_PREDICTED_SPEEDUP 1.1f

struct xnn_nm_costs {
  // The dense operator: a column of a tile of mr pixels and nr channels costs dense_column + mr * nr * dense_weight.
  float dense_column;
  float dense_weight;
  // The N:M operator of NHWC images: itself; a call of its micro-kernel for one tile; padding an image; an element of it.
  float nhwc_operator;
  float nhwc_tile;
  float padding;
  float padded_element;
  // That of CNHW images: itself; a block of rows of a strip; packing a tap of as many pixels as there are in a vector.
  float cnhw_operator;
  float cnhw_block;
  float cnhw_tap;
  // Bringing an image from one layout to the other: itself, an element, an element of a large image.
  float conversion;
  float converted_element;
  float large_converted_element;
};

// The costs for this hardware.
XNN_INTERNAL const struct xnn_nm_costs* xnn_init_nm_costs();

// Whether the dense operator runs on GEMM micro-kernels, not on IGEMM ones.
XNN_INTERNAL bool xnn_uses_dense_gemm(const struct xnn_nm_convolution2d* conv);

// Time of the dense operator for one output pixel.
XNN_INTERNAL double xnn_predict_dense_convolution(const struct xnn_nm_convolution2d* conv);

// Time for one output pixel that the N:M operator of NHWC images takes beside its micro-kernel.
XNN_INTERNAL double xnn_predict_nhwc_overhead(const struct xnn_nm_convolution2d* conv);

// Time to bring an image of so many elements from one layout to the other.
XNN_INTERNAL double xnn_predict_conversion(size_t elements);

#ifdef __cplusplus
}  // extern "C"
#endif
