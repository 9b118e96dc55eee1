// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What layers are predicted to cost, beside what their micro-kernels cost.

#pragma once

#include <stddef.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/nm-layer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct xnn_nmconv_analysis;

// The costs for this hardware.
XNN_INTERNAL const struct xnn_nm_costs* xnn_init_nm_costs();
XNN_INTERNAL const struct xnn_nm_costs* xnn_init_f16_nm_costs();
XNN_INTERNAL const struct xnn_nm_costs* xnn_init_qs8_nm_costs();

// Percent that the dense operator's kind of micro-kernel, GEMM or IGEMM, costs.
XNN_INTERNAL float xnn_get_dense_percent(const struct xnn_nm_layer* layer, const struct xnn_nm_costs* costs);

// Columns that the dense operator multiplies for an output channel. Input channels that are multiplied together count where
// they are missing, too: in each tap.
XNN_INTERNAL double xnn_count_dense_columns(const struct xnn_nm_layer* layer, const struct xnn_nm_costs* costs);

// Time of the dense operator for one output pixel.
XNN_INTERNAL double xnn_predict_dense(const struct xnn_nm_layer* layer, const struct xnn_nm_costs* costs);

// Time for one output pixel that the N:M operator of NHWC images takes beside its micro-kernel.
XNN_INTERNAL double xnn_predict_nhwc_overhead(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_costs* costs,
    const struct xnn_nmconv_analysis* analysis);

// Time for one output pixel to bring so many bytes of weights from beyond the second cache.
XNN_INTERNAL double xnn_predict_nm_weights(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_costs* costs,
    size_t num_bytes);

// The same for those of the dense operator.
XNN_INTERNAL double xnn_predict_dense_weights(const struct xnn_nm_layer* layer, const struct xnn_nm_costs* costs);

// Time to bring an image from one layout to the other.
XNN_INTERNAL double xnn_predict_conversion(size_t elements, size_t log2_element_size, const struct xnn_nm_costs* costs);

#ifdef __cplusplus
}  // extern "C"
#endif
