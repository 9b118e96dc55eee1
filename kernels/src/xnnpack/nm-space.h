// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// All ways to run a layer on this hardware: what may be chosen, what a tuner measures, what records name.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/nm-layer.h"
#include "pthreadpool.h"

#ifdef __cplusplus
extern "C" {
#endif

struct xnn_nm_zeros;

// The dense operator; the micro-kernels of NHWC images; those of CNHW images of each strip width, up to each height.
#define XNN_MAX_NM_CANDIDATES (1 + XNN_MAX_NMCONV_KERNELS + XNN_MAX_NMSPMM_KERNELS * XNN_MAX_NMSPMM_ROWS)

enum xnn_nm_candidate_kind {
  xnn_nm_candidate_dense = 0,
  xnn_nm_candidate_nhwc,
  xnn_nm_candidate_cnhw,
};

#define XNN_NUM_NM_CANDIDATE_KINDS 3

// One way to run a layer.
struct xnn_nm_candidate {
  enum xnn_nm_candidate_kind kind;
  // Index in XNNPACK's configuration of the kind's micro-kernels.
  uint32_t kernel;
  // CNHW: the most rows of a block. Others: 0.
  uint32_t max_rows;
};

XNN_INLINE static bool xnn_is_same_nm_candidate(const struct xnn_nm_candidate* a, const struct xnn_nm_candidate* b)
{
  return a->kind == b->kind && a->kernel == b->kernel && a->max_rows == b->max_rows;
}

// Lists all candidates for a layer that xnn_check_nm_layer takes, and returns how many there are. Whoever chooses, measures
// or reads records goes by this list.
XNN_INTERNAL size_t xnn_list_nm_candidates(
    const struct xnn_nm_layer* layer,
    struct xnn_nm_candidate candidates[XNN_MAX_NM_CANDIDATES]);

// The name of a candidate for layers of that type: dense, nhwc-6x16, cnhw-4x24.
XNN_INTERNAL void xnn_name_nm_candidate(
    const struct xnn_nm_datatype* datatype,
    const struct xnn_nm_candidate* candidate,
    char name[XNN_NM_CANDIDATE_NAME_SIZE]);

// Predicts the time of a candidate for one output pixel.
XNN_INTERNAL enum xnn_status xnn_predict_nm_candidate(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nm_candidate* candidate,
    float* cost);

// Creates the operator that a candidate stands for. The filter of the layer is in memory.
XNN_INTERNAL enum xnn_status xnn_create_nm_candidate(
    const struct xnn_nm_layer* layer,
    const struct xnn_nm_zeros* zeros,
    const struct xnn_nm_candidate* candidate,
    xnn_operator_t* convolution_op_out);

// Prepares such an operator for the layer's images.
XNN_INTERNAL enum xnn_status xnn_reshape_nm_candidate(
    const struct xnn_nm_layer* layer,
    xnn_operator_t convolution_op,
    size_t* workspace_size,
    size_t* workspace_alignment,
    pthreadpool_t threadpool);

XNN_INTERNAL enum xnn_status xnn_setup_nm_candidate(
    const struct xnn_nm_layer* layer,
    xnn_operator_t convolution_op,
    void* workspace,
    const void* input,
    void* output);

#ifdef __cplusplus
}  // extern "C"
#endif
