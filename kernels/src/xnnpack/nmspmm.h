// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Micro-kernels for convolutions of CNHW images: one pixel axis, that runs over batch, rows and columns of the image,
// is cut into strips of NR consecutive pixels. A packed strip holds the im2col matrix of its pixels, [column][pixel]. As in
// GEMM, the output is a matrix of rows, here channels, whose columns, here pixels, lie together in memory: a micro-kernel
// computes MR of the one and NR of the other.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/math.h"
#include "xnnpack/microparams.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/packim2col.h"

#ifdef __cplusplus
extern "C" {
#endif

// Entries of an offset list that must be readable beyond its last column, and lead to readable columns, too:
// micro-kernels fetch so many columns ahead.
#define XNN_EXTRA_NMSPMM_OFFSETS 8

// Computes nc pixels of MR output channels in strips of NR, the last of which may be short. MR and NR are the
// micro-kernel's.
//
//   c[m][n] = clamp(bias[m] + residual[m][n] + sum_k a[offsets[k]][n] * w[k][m]),  m < MR,  n < nc
//
// nc         pixels, at least 1; any number.
// kc         columns, may be 0.
// a          the first pixel of the first strip.
// a_stride   distance in bytes from there to the first pixel of the next strip; not used for one strip.
// offsets    distance in bytes from a strip's first pixel to that of each column, and XNN_EXTRA_NMSPMM_OFFSETS entries
//            more. For dense micro-kernels one entry, the distance from each column to the next.
// w          MR biases, then MR weights for each column.
// residual   the first of MR rows of nc pixels to add, or NULL. May be c.
// c          the first of MR rows of nc pixels.
// cm_stride  distance in bytes from each row of residual and c to the next.
typedef void (*xnn_nmspmm_ukernel_fn)(
    size_t nc,
    size_t kc,
    const void* a,
    size_t a_stride,
    const int32_t* offsets,
    const void* w,
    const void* residual,
    void* c,
    size_t cm_stride,
    const void* params);

typedef void (*xnn_f32_nmspmm_minmax_ukernel_fn)(
    size_t nc,
    size_t kc,
    const float* a,
    size_t a_stride,
    const int32_t* offsets,
    const float* w,
    const float* residual,
    float* c,
    size_t cm_stride,
    const union xnn_f32_minmax_params params[XNN_MIN_ELEMENTS(1)]);

#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, dense) \
    XNN_INTERNAL void ukernel(                                    \
        size_t nc,                                                \
        size_t kc,                                                \
        const float* a,                                           \
        size_t a_stride,                                          \
        const int32_t* offsets,                                   \
        const float* w,                                           \
        const float* residual,                                    \
        float* c,                                                 \
        size_t cm_stride,                                         \
        const union xnn_f32_minmax_params params[XNN_MIN_ELEMENTS(1)]);
#include "f32-nmspmm/f32-nmspmm-minmax.h"
#undef XNN_UKERNEL

// The same for f16. f32_sums: sums are of f32 and rounded once, else of f16.
typedef void (*xnn_f16_nmspmm_minmax_ukernel_fn)(
    size_t nc,
    size_t kc,
    const xnn_float16* a,
    size_t a_stride,
    const int32_t* offsets,
    const xnn_float16* w,
    const xnn_float16* residual,
    xnn_float16* c,
    size_t cm_stride,
    const union xnn_f16_minmax_params params[XNN_MIN_ELEMENTS(1)]);

#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, dense, f32_sums) \
    XNN_INTERNAL void ukernel(                                              \
        size_t nc,                                                          \
        size_t kc,                                                          \
        const xnn_float16* a,                                               \
        size_t a_stride,                                                    \
        const int32_t* offsets,                                             \
        const xnn_float16* w,                                               \
        const xnn_float16* residual,                                        \
        xnn_float16* c,                                                     \
        size_t cm_stride,                                                   \
        const union xnn_f16_minmax_params params[XNN_MIN_ELEMENTS(1)]);
#include "f16-nmspmm/f16-nmspmm-minmax.h"
#undef XNN_UKERNEL

// The same for quantized images and filters, KR columns at a time:
//
//   c[m][n] = clamp(round(scale[m] * (bias[m] + sum_k a[offsets[k]][n] * w[k][m])) + output_zero_point)
//
// where KR and how wide a weight is packed are the micro-kernel's. Some add 128 to each byte of a, which becomes unsigned:
// 128 times the sum of a row's weights is missing from its bias.
//
// kc         columns, may be 0. If it is no multiple of KR, weights of 0 follow.
// a          XNN_EXTRA_BYTES beyond the last pixel can be read, too.
// w          MR biases of 32 bits, MR scales (float), then for each KR columns KR weights of each of MR rows.
// residual   NULL.
typedef void (*xnn_qs8_qc8w_nmspmm_minmax_fp32_ukernel_fn)(
    size_t nc,
    size_t kc,
    const int8_t* a,
    size_t a_stride,
    const int32_t* offsets,
    const void* w,
    const int8_t* residual,
    int8_t* c,
    size_t cm_stride,
    const union xnn_qs8_qc8w_conv_minmax_params params[XNN_MIN_ELEMENTS(1)]);

#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, kr, log2_weight_size, input_offset) \
    XNN_INTERNAL void ukernel(                                                   \
        size_t nc,                                                               \
        size_t kc,                                                               \
        const int8_t* a,                                                         \
        size_t a_stride,                                                         \
        const int32_t* offsets,                                                  \
        const void* w,                                                           \
        const int8_t* residual,                                                  \
        int8_t* c,                                                               \
        size_t cm_stride,                                                        \
        const union xnn_qs8_qc8w_conv_minmax_params params[XNN_MIN_ELEMENTS(1)]);
#include "qs8-qc8w-nmspmm/qs8-qc8w-nmspmm-minmax-fp32.h"
#undef XNN_UKERNEL

// Micro-kernels of one strip width.
struct xnn_nmspmm_config {
  // For 1, 2, ... mr rows; NULL where there is none, never for one row.
  xnn_nmspmm_ukernel_fn ukernel[XNN_MAX_NMSPMM_ROWS];
  // Likewise, or none at all.
  xnn_nmspmm_ukernel_fn dense_ukernel[XNN_MAX_NMSPMM_ROWS];
  xnn_packim2col_ukernel_fn pack;
  struct xnn_nm_weights weights;
  uint8_t mr;
  // Pixels of a strip: 8 registers of 1024 bits hold 256, so not a byte.
  uint16_t nr;
  // Pixels that cost the same whether they are there or not.
  uint16_t granularity;
};

// The micro-kernels for this hardware, XNN_MAX_NMSPMM_KERNELS entries; those with an mr of 0 are unused.
XNN_INTERNAL const struct xnn_nmspmm_config* xnn_init_f32_nmspmm_config();
XNN_INTERNAL const struct xnn_nmspmm_config* xnn_init_f16_nmspmm_config();
XNN_INTERNAL const struct xnn_nmspmm_config* xnn_init_qs8_qc8w_nmspmm_config();

// Copies the entries of an instruction set; nr_scale is how many elements their unit of width has.
XNN_INTERNAL void xnn_take_nmspmm_entries(
    const struct xnn_nmspmm_config* entries,
    size_t nr_scale,
    struct xnn_nmspmm_config* config);

#ifdef __cplusplus
}  // extern "C"
#endif
