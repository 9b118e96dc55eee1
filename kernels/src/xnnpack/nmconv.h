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
#include "xnnpack/math.h"
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

// The same for weights, outputs and residuals of f16. Elements of pixels have 1 << log2_image_size bytes: f16, or f32 that
// the image was converted to. f32_sums: sums are of f32 and rounded once, else of f16.
typedef void (*xnn_f16_nmconv_minmax_ukernel_fn)(
    size_t mr,
    size_t nc,
    const void* const* a,
    const int32_t* offsets,
    const uint32_t* column_starts,
    const xnn_float16* w,
    xnn_float16* c,
    size_t cm_stride,
    intptr_t residual_distance,
    const union xnn_f16_minmax_params params[XNN_MIN_ELEMENTS(1)]);

#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, log2_image_size, f32_sums) \
    XNN_INTERNAL void ukernel(                                                        \
        size_t mr_,                                                                   \
        size_t nc,                                                                    \
        const void* const* a,                                                         \
        const int32_t* offsets,                                                       \
        const uint32_t* column_starts,                                                \
        const xnn_float16* w,                                                         \
        xnn_float16* c,                                                               \
        size_t cm_stride,                                                             \
        intptr_t residual_distance,                                                   \
        const union xnn_f16_minmax_params params[XNN_MIN_ELEMENTS(1)]);
#include "f16-nmconv/f16-nmconv-minmax.h"
#undef XNN_UKERNEL

// The same for quantized images and filters, KR columns at a time:
//
//   c[m][n] = clamp(round(scale[n] * (bias[n] + sum_j (input_offset + a[m][offset[j]]) * w[j][n])) + output_zero_point)
//
// where KR, input_offset, and how wide weights and the elements of pixels are, are the micro-kernel's. KR columns that are
// multiplied together follow each other in memory, and have one offset, that of the first.
//
// a                  XNN_EXTRA_BYTES beyond what the last pixel's columns take can be read, too.
// w                  per tile: nr biases of 32 bits, nr scales (float), then for each offset KR weights of each of nr
//                    channels.
// residual_distance  0.
typedef void (*xnn_qs8_qc8w_nmconv_minmax_fp32_ukernel_fn)(
    size_t mr,
    size_t nc,
    const void* const* a,
    const int32_t* offsets,
    const uint32_t* column_starts,
    const void* w,
    int8_t* c,
    size_t cm_stride,
    intptr_t residual_distance,
    const union xnn_qs8_qc8w_conv_minmax_params params[XNN_MIN_ELEMENTS(1)]);

#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, kr, log2_weight_size, log2_image_size, input_offset) \
    XNN_INTERNAL void ukernel(                                                                                  \
        size_t mr_,                                                                                             \
        size_t nc,                                                                                              \
        const void* const* a,                                                                                   \
        const int32_t* offsets,                                                                                 \
        const uint32_t* column_starts,                                                                          \
        const void* w,                                                                                          \
        int8_t* c,                                                                                              \
        size_t cm_stride,                                                                                       \
        intptr_t residual_distance,                                                                             \
        const union xnn_qs8_qc8w_conv_minmax_params params[XNN_MIN_ELEMENTS(1)]);
#include "qs8-qc8w-nmconv/qs8-qc8w-nmconv-minmax-fp32.h"
#undef XNN_UKERNEL

// How micro-kernels read weights.
struct xnn_nm_weights {
  // Columns that are multiplied together, and the size of a weight.
  uint8_t kr;
  uint8_t log2_size;
  // What is added to each byte of the input, so that signed ones become unsigned. Biases make up for it.
  uint8_t input_offset;
};

struct xnn_nmconv_config {
  xnn_nmconv_ukernel_fn ukernel;
  struct xnn_nm_weights weights;
  // Of an element of the image that is read: where it is not that of images, they are copied.
  uint8_t log2_image_size;
  // Pixels at once.
  uint8_t mr;
  // Output channels of a tile: 8 registers of 1024 bits hold 256, so not a byte.
  uint16_t nr;
};

// The micro-kernels for this hardware, XNN_MAX_NMCONV_KERNELS entries; those without a ukernel are unused.
XNN_INTERNAL const struct xnn_nmconv_config* xnn_init_f32_nmconv_config();
XNN_INTERNAL const struct xnn_nmconv_config* xnn_init_f16_nmconv_config();
XNN_INTERNAL const struct xnn_nmconv_config* xnn_init_qs8_qc8w_nmconv_config();

// Copies the entries of an instruction set; nr_scale is how many elements their unit of width has.
XNN_INTERNAL void xnn_take_nmconv_entries(
    const struct xnn_nmconv_config* entries,
    size_t nr_scale,
    struct xnn_nmconv_config* config);

#ifdef __cplusplus
}  // extern "C"
#endif
