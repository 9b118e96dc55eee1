// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/init-once.h"
#include "xnnpack/microparams-init.h"
#include "xnnpack/nmspmm.h"

static struct xnn_nmspmm_config f32_nmspmm_config[XNN_MAX_F32_NMSPMM_CONFIGS] = {0};

XNN_INIT_ONCE_GUARD(f32_nmspmm);

// The kernels for that many rows, and what they cost.
#define ROWS(config, rows, sparse_ukernel, dense_ukernel_, cost) \
  do {                                                           \
    (config)->ukernel[(rows) - 1] = (sparse_ukernel);            \
    (config)->dense_ukernel[(rows) - 1] = (dense_ukernel_);      \
    (config)->relative_cost[(rows) - 1] = (cost);                \
    (config)->mr = (rows);                                       \
  } while (0)

static void init_f32_nmspmm_config(void) {
  // Scalar first: every branch below overwrites it, none leaves the table empty.
  struct xnn_nmspmm_config* config = &f32_nmspmm_config[0];
  config->pack = xnn_x32_packim2col_ukernel__scalar;
  config->init = xnn_init_f32_minmax_scalar_params;
  config->pack_cost = 100;
  config->nr = 8;
  config->granularity = 8;
  ROWS(config, 1, xnn_f32_nmspmm_minmax_ukernel_1x8__scalar, xnn_f32_nmspmm_minmax_ukernel_1x8__scalar_dense, 150);
  ROWS(config, 2, xnn_f32_nmspmm_minmax_ukernel_2x8__scalar, xnn_f32_nmspmm_minmax_ukernel_2x8__scalar_dense, 125);
  ROWS(config, 3, xnn_f32_nmspmm_minmax_ukernel_3x8__scalar, xnn_f32_nmspmm_minmax_ukernel_3x8__scalar_dense, 115);
  ROWS(config, 4, xnn_f32_nmspmm_minmax_ukernel_4x8__scalar, xnn_f32_nmspmm_minmax_ukernel_4x8__scalar_dense, 110);

  #if XNN_ARCH_X86 || XNN_ARCH_X86_64
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (!XNN_PLATFORM_MOBILE && hardware_config->use_x86_avx512f) {
      // Costs: measured over the convolutions of ResNet-50 by bench/convolution-nm, beside the NHWC kernels' 105.
      config->pack = xnn_x32_packim2col_ukernel__avx512f;
      config->nr = 48;
      config->granularity = 16;
      config->cache_size = 1024 * 1024;
      config->pack_cost = 200;
      ROWS(config, 1, xnn_f32_nmspmm_minmax_ukernel_1x48__avx512f, xnn_f32_nmspmm_minmax_ukernel_1x48__avx512f_dense, 260);
      ROWS(config, 2, xnn_f32_nmspmm_minmax_ukernel_2x48__avx512f, xnn_f32_nmspmm_minmax_ukernel_2x48__avx512f_dense, 170);
      ROWS(config, 3, xnn_f32_nmspmm_minmax_ukernel_3x48__avx512f, xnn_f32_nmspmm_minmax_ukernel_3x48__avx512f_dense, 140);
      ROWS(config, 4, xnn_f32_nmspmm_minmax_ukernel_4x48__avx512f, xnn_f32_nmspmm_minmax_ukernel_4x48__avx512f_dense, 128);
      ROWS(config, 5, xnn_f32_nmspmm_minmax_ukernel_5x48__avx512f, xnn_f32_nmspmm_minmax_ukernel_5x48__avx512f_dense, 122);
      ROWS(config, 6, xnn_f32_nmspmm_minmax_ukernel_6x48__avx512f, xnn_f32_nmspmm_minmax_ukernel_6x48__avx512f_dense, 118);
      ROWS(config, 7, xnn_f32_nmspmm_minmax_ukernel_7x48__avx512f, xnn_f32_nmspmm_minmax_ukernel_7x48__avx512f_dense, 116);
      ROWS(config, 8, xnn_f32_nmspmm_minmax_ukernel_8x48__avx512f, xnn_f32_nmspmm_minmax_ukernel_8x48__avx512f_dense, 115);

      config = &f32_nmspmm_config[1];
      config->pack = xnn_x32_packim2col_ukernel__avx512f;
      config->init = xnn_init_f32_minmax_scalar_params;
      config->nr = 64;
      config->granularity = 16;
      config->cache_size = 1024 * 1024;
      config->pack_cost = 200;
      ROWS(config, 1, xnn_f32_nmspmm_minmax_ukernel_1x64__avx512f, xnn_f32_nmspmm_minmax_ukernel_1x64__avx512f_dense, 260);
      ROWS(config, 2, xnn_f32_nmspmm_minmax_ukernel_2x64__avx512f, xnn_f32_nmspmm_minmax_ukernel_2x64__avx512f_dense, 165);
      ROWS(config, 3, xnn_f32_nmspmm_minmax_ukernel_3x64__avx512f, xnn_f32_nmspmm_minmax_ukernel_3x64__avx512f_dense, 138);
      ROWS(config, 4, xnn_f32_nmspmm_minmax_ukernel_4x64__avx512f, xnn_f32_nmspmm_minmax_ukernel_4x64__avx512f_dense, 126);
      ROWS(config, 5, xnn_f32_nmspmm_minmax_ukernel_5x64__avx512f, xnn_f32_nmspmm_minmax_ukernel_5x64__avx512f_dense, 120);
      ROWS(config, 6, xnn_f32_nmspmm_minmax_ukernel_6x64__avx512f, xnn_f32_nmspmm_minmax_ukernel_6x64__avx512f_dense, 117);

      config = &f32_nmspmm_config[2];
      config->pack = xnn_x32_packim2col_ukernel__avx512f;
      config->init = xnn_init_f32_minmax_scalar_params;
      config->nr = 32;
      config->granularity = 16;
      config->cache_size = 1024 * 1024;
      config->pack_cost = 200;
      ROWS(config, 1, xnn_f32_nmspmm_minmax_ukernel_1x32__avx512f, xnn_f32_nmspmm_minmax_ukernel_1x32__avx512f_dense, 280);
      ROWS(config, 2, xnn_f32_nmspmm_minmax_ukernel_2x32__avx512f, xnn_f32_nmspmm_minmax_ukernel_2x32__avx512f_dense, 180);
      ROWS(config, 3, xnn_f32_nmspmm_minmax_ukernel_3x32__avx512f, xnn_f32_nmspmm_minmax_ukernel_3x32__avx512f_dense, 148);
      ROWS(config, 4, xnn_f32_nmspmm_minmax_ukernel_4x32__avx512f, xnn_f32_nmspmm_minmax_ukernel_4x32__avx512f_dense, 136);
      ROWS(config, 5, xnn_f32_nmspmm_minmax_ukernel_5x32__avx512f, xnn_f32_nmspmm_minmax_ukernel_5x32__avx512f_dense, 130);
      ROWS(config, 6, xnn_f32_nmspmm_minmax_ukernel_6x32__avx512f, xnn_f32_nmspmm_minmax_ukernel_6x32__avx512f_dense, 125);
      ROWS(config, 7, xnn_f32_nmspmm_minmax_ukernel_7x32__avx512f, xnn_f32_nmspmm_minmax_ukernel_7x32__avx512f_dense, 122);
      ROWS(config, 8, xnn_f32_nmspmm_minmax_ukernel_8x32__avx512f, xnn_f32_nmspmm_minmax_ukernel_8x32__avx512f_dense, 120);
      ROWS(config, 14, xnn_f32_nmspmm_minmax_ukernel_14x32__avx512f, xnn_f32_nmspmm_minmax_ukernel_14x32__avx512f_dense, 114);
    } else if (hardware_config->use_x86_avx2 && hardware_config->use_x86_fma3) {
      // Costs: fitted with those of nm-costs-config.c, whose margin of 25 % they have.
      config->pack = xnn_x32_packim2col_ukernel__avx2;
      config->nr = 16;
      config->granularity = 8;
      config->pack_cost = 780;
      config->strided_pack_cost = 2600;
      ROWS(config, 1, xnn_f32_nmspmm_minmax_ukernel_1x16__fma3, xnn_f32_nmspmm_minmax_ukernel_1x16__fma3_dense, 272);
      ROWS(config, 2, xnn_f32_nmspmm_minmax_ukernel_2x16__fma3, xnn_f32_nmspmm_minmax_ukernel_2x16__fma3_dense, 177);
      ROWS(config, 3, xnn_f32_nmspmm_minmax_ukernel_3x16__fma3, xnn_f32_nmspmm_minmax_ukernel_3x16__fma3_dense, 156);
      ROWS(config, 4, xnn_f32_nmspmm_minmax_ukernel_4x16__fma3, xnn_f32_nmspmm_minmax_ukernel_4x16__fma3_dense, 143);
      ROWS(config, 5, xnn_f32_nmspmm_minmax_ukernel_5x16__fma3, xnn_f32_nmspmm_minmax_ukernel_5x16__fma3_dense, 139);
      ROWS(config, 6, xnn_f32_nmspmm_minmax_ukernel_6x16__fma3, xnn_f32_nmspmm_minmax_ukernel_6x16__fma3_dense, 136);
    }
  #elif XNN_ARCH_ARM64
    config->pack = xnn_x32_packim2col_ukernel__neon;
    config->nr = 16;
    config->granularity = 4;
    config->pack_cost = 200;
    ROWS(config, 1, xnn_f32_nmspmm_minmax_ukernel_1x16__neonfma, xnn_f32_nmspmm_minmax_ukernel_1x16__neonfma_dense, 200);
    ROWS(config, 2, xnn_f32_nmspmm_minmax_ukernel_2x16__neonfma, xnn_f32_nmspmm_minmax_ukernel_2x16__neonfma_dense, 130);
    ROWS(config, 3, xnn_f32_nmspmm_minmax_ukernel_3x16__neonfma, xnn_f32_nmspmm_minmax_ukernel_3x16__neonfma_dense, 115);
    ROWS(config, 4, xnn_f32_nmspmm_minmax_ukernel_4x16__neonfma, xnn_f32_nmspmm_minmax_ukernel_4x16__neonfma_dense, 105);
    ROWS(config, 5, xnn_f32_nmspmm_minmax_ukernel_5x16__neonfma, xnn_f32_nmspmm_minmax_ukernel_5x16__neonfma_dense, 102);
    ROWS(config, 6, xnn_f32_nmspmm_minmax_ukernel_6x16__neonfma, xnn_f32_nmspmm_minmax_ukernel_6x16__neonfma_dense, 100);
  #elif XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (hardware_config->use_riscv_vector) {
      // Costs: LLVM 22's model of the SpacemiT X60 at VLEN 256, cycles a column and weight over those of dense 7x4v, the
      // mean of its GEMM (43 cycles a column) and IGEMM (55).
      const uint16_t vector_length = (uint16_t) (hardware_config->vlenb / sizeof(float));
      config->pack = xnn_x32_packim2col_ukernel__rvv;
      config->nr = 4 * vector_length;
      config->granularity = config->nr;
      config->pack_cost = 200;
      ROWS(config, 1, xnn_f32_nmspmm_minmax_ukernel_1x4v__rvv, xnn_f32_nmspmm_minmax_ukernel_1x4v__rvv_dense, 136);
      ROWS(config, 2, xnn_f32_nmspmm_minmax_ukernel_2x4v__rvv, xnn_f32_nmspmm_minmax_ukernel_2x4v__rvv_dense, 71);
      ROWS(config, 3, xnn_f32_nmspmm_minmax_ukernel_3x4v__rvv, xnn_f32_nmspmm_minmax_ukernel_3x4v__rvv_dense, 64);
      ROWS(config, 4, xnn_f32_nmspmm_minmax_ukernel_4x4v__rvv, xnn_f32_nmspmm_minmax_ukernel_4x4v__rvv_dense, 62);
      ROWS(config, 5, xnn_f32_nmspmm_minmax_ukernel_5x4v__rvv, xnn_f32_nmspmm_minmax_ukernel_5x4v__rvv_dense, 61);
      ROWS(config, 6, xnn_f32_nmspmm_minmax_ukernel_6x4v__rvv, xnn_f32_nmspmm_minmax_ukernel_6x4v__rvv_dense, 60);
      ROWS(config, 7, xnn_f32_nmspmm_minmax_ukernel_7x4v__rvv, xnn_f32_nmspmm_minmax_ukernel_7x4v__rvv_dense, 67);

      config = &f32_nmspmm_config[1];
      config->pack = xnn_x32_packim2col_ukernel__rvv;
      config->init = xnn_init_f32_minmax_scalar_params;
      config->nr = 2 * vector_length;
      config->granularity = config->nr;
      config->pack_cost = 250;
      ROWS(config, 1, xnn_f32_nmspmm_minmax_ukernel_1x2v__rvv, xnn_f32_nmspmm_minmax_ukernel_1x2v__rvv_dense, 186);
      ROWS(config, 2, xnn_f32_nmspmm_minmax_ukernel_2x2v__rvv, xnn_f32_nmspmm_minmax_ukernel_2x2v__rvv_dense, 107);
      ROWS(config, 3, xnn_f32_nmspmm_minmax_ukernel_3x2v__rvv, xnn_f32_nmspmm_minmax_ukernel_3x2v__rvv_dense, 81);
      ROWS(config, 4, xnn_f32_nmspmm_minmax_ukernel_4x2v__rvv, xnn_f32_nmspmm_minmax_ukernel_4x2v__rvv_dense, 75);
      ROWS(config, 5, xnn_f32_nmspmm_minmax_ukernel_5x2v__rvv, xnn_f32_nmspmm_minmax_ukernel_5x2v__rvv_dense, 71);
      ROWS(config, 6, xnn_f32_nmspmm_minmax_ukernel_6x2v__rvv, xnn_f32_nmspmm_minmax_ukernel_6x2v__rvv_dense, 69);
      ROWS(config, 7, xnn_f32_nmspmm_minmax_ukernel_7x2v__rvv, xnn_f32_nmspmm_minmax_ukernel_7x2v__rvv_dense, 67);
      ROWS(config, 8, xnn_f32_nmspmm_minmax_ukernel_8x2v__rvv, xnn_f32_nmspmm_minmax_ukernel_8x2v__rvv_dense, 66);
      ROWS(config, 12, xnn_f32_nmspmm_minmax_ukernel_12x2v__rvv, xnn_f32_nmspmm_minmax_ukernel_12x2v__rvv_dense, 63);
      ROWS(config, 14, xnn_f32_nmspmm_minmax_ukernel_14x2v__rvv, xnn_f32_nmspmm_minmax_ukernel_14x2v__rvv_dense, 62);
    }
  #endif
}

const struct xnn_nmspmm_config* xnn_init_f32_nmspmm_config() {
  const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
  if (hardware_config == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(f32_nmspmm);
  return f32_nmspmm_config;
}
