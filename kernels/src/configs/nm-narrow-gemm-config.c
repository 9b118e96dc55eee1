// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Dense micro-kernels for convolutions of few output channels.

#include <assert.h>
#include <stddef.h>

#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/gemm.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/igemm.h"
#include "xnnpack/init-once.h"
#include "xnnpack/microparams-init.h"
#include "xnnpack/nm-narrow-gemm.h"
#include "xnnpack/pack.h"
#include "xnnpack/packw.h"

static struct xnn_gemm_config f32_narrow_gemm_config = {0};

XNN_INIT_ONCE_GUARD(f32_narrow_gemm);

#if XNN_ARCH_X86 || XNN_ARCH_X86_64
#define ROWS(rows, gemm_ukernel, igemm_ukernel)                       \
  do {                                                                \
    f32_narrow_gemm_config.minmax.gemm[(rows) - 1] =                  \
      xnn_init_hmp_gemm_ukernel((xnn_gemm_ukernel_fn) gemm_ukernel);  \
    f32_narrow_gemm_config.minmax.igemm[(rows) - 1] =                 \
      xnn_init_hmp_igemm_ukernel((xnn_igemm_ukernel_fn) igemm_ukernel); \
    f32_narrow_gemm_config.mr = (rows);                               \
  } while (0)
#endif

static void init_f32_narrow_gemm_config(void) {
  #if XNN_ARCH_X86 || XNN_ARCH_X86_64
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (hardware_config->use_x86_fma3 && !hardware_config->use_x86_avx512f) {
      ROWS(1, xnn_f32_gemm_minmax_ukernel_1x8__fma3_broadcast, xnn_f32_igemm_minmax_ukernel_1x8__fma3_broadcast);
      ROWS(4, xnn_f32_gemm_minmax_ukernel_4x8__fma3_broadcast, xnn_f32_igemm_minmax_ukernel_4x8__fma3_broadcast);
      ROWS(5, xnn_f32_gemm_minmax_ukernel_5x8__fma3_broadcast, xnn_f32_igemm_minmax_ukernel_5x8__fma3_broadcast);
      ROWS(6, xnn_f32_gemm_minmax_ukernel_6x8__fma3_broadcast, xnn_f32_igemm_minmax_ukernel_6x8__fma3_broadcast);
      ROWS(7, xnn_f32_gemm_minmax_ukernel_7x8__fma3_broadcast, xnn_f32_igemm_minmax_ukernel_7x8__fma3_broadcast);
      ROWS(8, xnn_f32_gemm_minmax_ukernel_8x8__fma3_broadcast, xnn_f32_igemm_minmax_ukernel_8x8__fma3_broadcast);
      f32_narrow_gemm_config.init.f32 = xnn_init_f32_minmax_scalar_params;
      f32_narrow_gemm_config.pack_gemm_gio = (xnn_packw_gemm_gio_ukernel_fn) xnn_pack_f32_gemm_gio_w;
      f32_narrow_gemm_config.pack_gemm_goi = (xnn_packw_gemm_goi_ukernel_fn) xnn_x32_packw_gemm_goi_ukernel_x8__avx_u4;
      f32_narrow_gemm_config.nr = 8;
    }
  #endif
}

const struct xnn_gemm_config* xnn_get_f32_convolution_gemm_config(size_t group_output_channels) {
  const struct xnn_gemm_config* gemm_config = xnn_init_f32_gemm_config();
  if (gemm_config == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(f32_narrow_gemm);
  return group_output_channels <= f32_narrow_gemm_config.nr ? &f32_narrow_gemm_config : gemm_config;
}
