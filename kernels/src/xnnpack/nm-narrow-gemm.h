// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Which dense micro-kernels a convolution gets.

#pragma once

#include <stddef.h>

#include "xnnpack/common.h"
#include "xnnpack/config.h"

#ifdef __cplusplus
extern "C" {
#endif

// Returns the micro-kernels of the dense f32 convolution of so many output channels a group: where they fill half a tile
// at most and the hardware has micro-kernels with half the tile, those. NULL without support for the hardware.
XNN_INTERNAL const struct xnn_gemm_config* xnn_get_f32_convolution_gemm_config(size_t group_output_channels);

#ifdef __cplusplus
}  // extern "C"
#endif
