// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#include <assert.h>
#include <stddef.h>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/math.h"
#include "xnnpack/microfnptr.h"
#include "xnnpack/microparams.h"

// Both forms of GELU of half precision are computed in single precision, so many elements at a time.
#define BLOCK_SIZE 512

static void compute_in_f32(
  size_t batch,
  const xnn_float16* input,
  xnn_float16* output,
  const struct xnn_unary_elementwise_config* config)
{
  assert(batch != 0);
  assert(batch % sizeof(xnn_float16) == 0);

  const struct xnn_unary_elementwise_config* widen = xnn_init_f16_to_f32_cvt_config();
  const struct xnn_unary_elementwise_config* narrow = xnn_init_f32_to_f16_cvt_config();
  // Micro-kernels may read beyond the end of their input.
  XNN_ALIGN(64) float block[BLOCK_SIZE + XNN_EXTRA_BYTES / sizeof(float)];
  for (size_t n = batch / sizeof(xnn_float16); n != 0;) {
    const size_t elements = min(n, BLOCK_SIZE);
    widen->ukernel(elements * sizeof(xnn_float16), input, block, NULL);
    config->ukernel(elements * sizeof(float), block, block, NULL);
    narrow->ukernel(elements * sizeof(float), block, output, NULL);
    input += elements;
    output += elements;
    n -= elements;
  }
}

static void compute_gelu(
  size_t batch,
  const void* input,
  void* output,
  const union xnn_unary_uparams* params)
{
  compute_in_f32(batch, input, output, xnn_init_f32_gelu_config());
}

static void compute_approxgelu(
  size_t batch,
  const void* input,
  void* output,
  const union xnn_unary_uparams* params)
{
  compute_in_f32(batch, input, output, xnn_init_f32_approxgelu_config());
}

static const struct xnn_unary_elementwise_config f16_gelu_config = {compute_gelu, NULL};
static const struct xnn_unary_elementwise_config f16_approxgelu_config = {compute_approxgelu, NULL};

static bool can_compute_in_f32(void)
{
  const struct xnn_unary_elementwise_config* widen = xnn_init_f16_to_f32_cvt_config();
  const struct xnn_unary_elementwise_config* narrow = xnn_init_f32_to_f16_cvt_config();
  return widen != NULL && widen->init == NULL && narrow != NULL && narrow->init == NULL;
}

const struct xnn_unary_elementwise_config* xnn_init_f16_gelu_config()
{
  return can_compute_in_f32() ? &f16_gelu_config : NULL;
}

const struct xnn_unary_elementwise_config* xnn_init_f16_approxgelu_config()
{
  return can_compute_in_f32() ? &f16_approxgelu_config : NULL;
}
