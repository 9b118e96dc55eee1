// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Micro-kernels that bring pixels of CNHW images together, one tap of a kernel after another: into packed strips for
// convolutions, or reduced with what is there for pooling.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "xnnpack/common.h"

#ifdef __cplusplus
extern "C" {
#endif

// Where the pixels of a strip read the image.
//
// y, x     row and column of each pixel's tap (0, 0); may lie outside of the image.
// base     distance in bytes from channel 0 of the first pixel of the first image to where that tap is, or would be if
//          the image went on.
// stride   distance in bytes from each pixel's base to the next one's where it is the same for all of the strip, else 0.
struct xnn_im2col_strip {
  const int32_t* y;
  const int32_t* x;
  const int32_t* base;
  size_t stride;
};

// A tap of the kernel: how far it lies below, right of, and in bytes behind tap (0, 0).
struct xnn_im2col_tap {
  int32_t dy;
  int32_t dx;
  int32_t distance;
};

// Brings one tap of kc channels of nc pixels into rows of the output.
//
//   output[k][n] = op(output[k][n], inside(n) ? input[channels[k]][base[n] + distance] : padding)
//   inside(n): 0 <= y[n] + dy < height and 0 <= x[n] + dx < width
//
// where op takes its second operand (packim2col), the maximum (maxpool) or the sum (avgpool). Of a channel's plane only
// what belongs to it is read. That may be more than the pixels that are inside: what lies between the first and the last
// of a few of them where both have a place in their images, and the plane's first element. Kernels of bytes read up to 15
// before the first and behind the last pixel of a vector, though nothing before the input; behind it XNN_EXTRA_BYTES can
// be read. Of the output nothing but those pixels is touched: other threads write what is beside them.
//
// nc             pixels, at least 1; any number.
// kc             channels, at least 1.
// input          channel 0 of the first pixel of the first image.
// channels       distance in bytes from there to each channel's plane.
// height, width  of one image.
// padding        bits of the value outside of images.
// output         kc rows of nc pixels.
// output_stride  distance in bytes from each row of output to the next.
typedef void (*xnn_packim2col_ukernel_fn)(
    size_t nc,
    size_t kc,
    const void* input,
    const int32_t* channels,
    const struct xnn_im2col_strip* strip,
    const struct xnn_im2col_tap* tap,
    uint32_t height,
    uint32_t width,
    uint32_t padding,
    void* output,
    size_t output_stride);

#define XNN_UKERNEL(arch_flags, ukernel, op)     \
    XNN_INTERNAL void ukernel(                   \
        size_t nc,                               \
        size_t kc,                               \
        const void* input,                       \
        const int32_t* channels,                 \
        const struct xnn_im2col_strip* strip,    \
        const struct xnn_im2col_tap* tap,        \
        uint32_t height,                         \
        uint32_t width,                          \
        uint32_t padding,                        \
        void* output,                            \
        size_t output_stride);
#include "x32-packim2col/x32-packim2col.h"
#include "x16-packim2col/x16-packim2col.h"
#include "x8-packim2col/x8-packim2col.h"
#undef XNN_UKERNEL

#ifdef __cplusplus
}  // extern "C"
#endif
