// SPDX-License-Identifier: BSD-3-Clause

// Lets ExecuTorch 1.5.1 run on our XNNPACK, with N:M operators: docs/other-runtimes.md says how. It is preloaded before
// the library that it calls. Two of XNNPACK's functions are taken over, the others are taken as they are.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include <xnnpack.h>
#include <xnnpack-nm.h>

// The unary operators in the order in which ExecuTorch's XNNPACK numbers them.
static const enum xnn_unary_operator unary[] = {
  xnn_unary_abs, xnn_unary_approxgelu, xnn_unary_bankers_rounding, xnn_unary_ceiling, xnn_unary_clamp, xnn_unary_convert,
  xnn_unary_cosine, xnn_unary_elu, xnn_unary_exp, xnn_unary_floor, xnn_unary_gelu, xnn_unary_hardswish,
  xnn_unary_leaky_relu, xnn_unary_log, xnn_unary_negate, xnn_unary_reciprocal_square_root, xnn_unary_sigmoid,
  xnn_unary_sine, xnn_unary_square_root, xnn_unary_square, xnn_unary_tanh, xnn_unary_bitwise_not,
  xnn_unary_count_leading_zeros, xnn_unary_cube_root, xnn_unary_popcount, xnn_unary_sign,
};

enum xnn_status xnn_define_unary(
  xnn_subgraph_t subgraph,
  enum xnn_unary_operator type,
  const union xnn_unary_params* params,
  uint32_t input_id,
  uint32_t output_id,
  uint32_t flags)
{
  __typeof__(&xnn_define_unary) define = (__typeof__(&xnn_define_unary)) dlsym(RTLD_NEXT, "xnn_define_unary");
  if ((size_t) type >= sizeof(unary) / sizeof(unary[0])) {
    return xnn_status_invalid_parameter;
  }
  return define(subgraph, unary[type], params, input_id, output_id, flags);
}

// NMPACK_FLAGS: those of xnnpack-nm.h, in hexadecimal, 200 unless it says otherwise.
enum xnn_status xnn_create_runtime_v4(
  xnn_subgraph_t subgraph,
  xnn_weights_cache_t weights_cache,
  xnn_workspace_t workspace,
  pthreadpool_t threadpool,
  uint32_t flags,
  xnn_runtime_t* runtime_out)
{
  __typeof__(&xnn_create_runtime_v4) create =
    (__typeof__(&xnn_create_runtime_v4)) dlsym(RTLD_NEXT, "xnn_create_runtime_v4");
  const char* chosen = getenv("NMPACK_FLAGS");
  flags |= chosen != NULL ? (uint32_t) strtoul(chosen, NULL, 16) : XNN_FLAG_HINT_NM_SPARSE_INFERENCE;
  const enum xnn_status status = create(subgraph, weights_cache, workspace, threadpool, flags, runtime_out);
  __typeof__(&xnn_get_runtime_nm_layer_info) query =
    (__typeof__(&xnn_get_runtime_nm_layer_info)) dlsym(RTLD_NEXT, "xnn_get_runtime_nm_layer_info");
  size_t count = 0;
  if (status == xnn_status_success && query(*runtime_out, &count, NULL) == xnn_status_success) {
    struct xnn_nm_layer_info* infos = calloc(count + 1, sizeof(*infos));
    if (infos != NULL && query(*runtime_out, &count, infos) == xnn_status_success) {
      size_t chosen_layers = 0;
      for (size_t i = 0; i < count; i++) {
        chosen_layers += infos[i].reason == xnn_nm_reason_chosen;
      }
      fprintf(stderr, "XNNPACK's runtime: N:M is chosen for %zu of %zu layers\n", chosen_layers, count);
    }
    free(infos);
  }
  return status;
}
