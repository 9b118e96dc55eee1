// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Micro-kernels for convolutions of NHWC images: the rows of a filter are cut into tiles of NR output channels, a column
// of a tile is kept where any row of it holds a non-zero. As in GEMM, the output is a matrix of rows, here pixels, whose
// columns, here channels, lie together in memory: a micro-kernel computes MR of the one and NR of the other.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/microparams.h"

#ifdef __cplusplus
extern "C" {
#endif

// Upper bound on the pixels that any micro-kernel computes at once.
#define XNN_MAX_NMCONV_MR 16

// Computes nc output channels of mr pixels.
//
// a              mr pointers, one a pixel: its input at tap (0, 0), channel 0.
// offsets        distance in bytes from there to each kept column, tile after tile.
// column_starts  index of the first kept column of each tile, and one past the last.
// w              per tile: nr biases, then nr weights for each kept column.
// cm_stride      distance in bytes between output pixels.
// residual_distance  distance in bytes from each output to what is added to it before clamping, or 0 to add nothing.
typedef void (*xnn_nmconv_ukernel_fn)(
    size_t mr,
    size_t nc,
    const void* const* a,
    const int32_t* offsets,
    const uint32_t* column_starts,
    const void* w,
    void* c,
    size_t cm_stride,
    intptr_t residual_distance,
    const void* params);

typedef void (*xnn_f32_nmconv_minmax_ukernel_fn)(
    size_t mr,
    size_t nc,
    const float* const* a,
    const int32_t* offsets,
    const uint32_t* column_starts,
    const float* w,
    float* c,
    size_t cm_stride,
    intptr_t residual_distance,
    const union xnn_f32_minmax_params params[XNN_MIN_ELEMENTS(1)]);

#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale) \
    XNN_INTERNAL void ukernel(                             \
        size_t mr_,                                        \
        size_t nc,                                         \
        const float* const* a,                             \
        const int32_t* offsets,                            \
        const uint32_t* column_starts,                     \
        const float* w,                                    \
        float* c,                                          \
        size_t cm_stride,                                  \
        intptr_t residual_distance,                        \
        const union xnn_f32_minmax_params params[XNN_MIN_ELEMENTS(1)]);
#include "f32-nmconv/f32-nmconv-minmax.h"
#undef XNN_UKERNEL

struct xnn_nmconv_config {
  xnn_nmconv_ukernel_fn ukernel;
  // Pixels at once.
  uint8_t mr;
  // Output channels of a tile: 8 registers of 1024 bits hold 256, so not a byte.
  uint16_t nr;
};

// The micro-kernels for this hardware, XNN_MAX_NMCONV_KERNELS entries; those without a ukernel are unused.
XNN_INTERNAL const struct xnn_nmconv_config* xnn_init_f32_nmconv_config();

#ifdef __cplusplus
}  // extern "C"
#endif
