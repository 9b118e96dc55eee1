// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What f16 layers run on, and what that costs: one instruction set for all of it.

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "configs/nm-kernels.h"
#include "configs/nm-tables.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/init-once.h"
#include "xnnpack/math.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-pooling.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"

static struct xnn_nm_kernels f16_config = {0};

XNN_INIT_ONCE_GUARD(f16);

// nr_scale: how many elements the unit of width has.
static void take(
  const struct xnn_nmconv_config* nmconv,
  const struct xnn_nmspmm_config* nmspmm,
  const struct xnn_cnhw_pooling_config* pooling,
  const struct xnn_nm_costs* costs,
  size_t nr_scale)
{
  xnn_take_nm_kernels(nmconv, nmspmm, pooling, costs, nr_scale, &f16_config);
}

static void init_f16_config(void) {
  // Scalar first: every branch below overwrites it.
  take(f16_nmconv_scalar, f16_nmspmm_scalar, &f16_cnhw_pooling_scalar, &f16_nm_costs_scalar, 1);

  #if XNN_ARCH_X86 || XNN_ARCH_X86_64
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (hardware_config->use_x86_avx2 && hardware_config->use_x86_fma3 && hardware_config->use_x86_f16c) {
      take(f16_nmconv_fma3, f16_nmspmm_fma3, &f16_cnhw_pooling_avx2, &f16_nm_costs_fma3, 1);
      #if XNN_ENABLE_AVX512FP16
        if (!XNN_PLATFORM_MOBILE && hardware_config->use_x86_avx512fp16) {
          take(
            f16_nmconv_avx512fp16, f16_nmspmm_avx512fp16, &f16_cnhw_pooling_avx2, &f16_nm_costs_avx512fp16, 1);
        }
      #endif
    }
  #elif XNN_ARCH_ARM64 && XNN_ENABLE_ARM_FP16_VECTOR
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (hardware_config->use_arm_neon_fp16_arith) {
      take(
        f16_nmconv_neonfp16arith, f16_nmspmm_neonfp16arith, &f16_cnhw_pooling_neon, &f16_nm_costs_neonfp16arith, 1);
    }
  #elif XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR && XNN_ENABLE_RISCV_FP16_VECTOR
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (hardware_config->use_riscv_vector_fp16_arith) {
      const size_t nr_scale = hardware_config->vlenb / sizeof(xnn_float16);
      take(
        f16_nmconv_rvvfp16arith, f16_nmspmm_rvvfp16arith, &f16_cnhw_pooling_rvv, &f16_nm_costs_rvvfp16arith, nr_scale);
    }
  #endif
}

const struct xnn_nmconv_config* xnn_init_f16_nmconv_config() {
  if (xnn_init_hardware_config() == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(f16);
  return f16_config.nmconv;
}

const struct xnn_nmspmm_config* xnn_init_f16_nmspmm_config() {
  if (xnn_init_hardware_config() == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(f16);
  return f16_config.nmspmm;
}

const struct xnn_cnhw_pooling_config* xnn_init_f16_cnhw_pooling_config() {
  if (xnn_init_hardware_config() == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(f16);
  return &f16_config.pooling;
}

const struct xnn_nm_costs* xnn_init_f16_nm_costs() {
  XNN_INIT_ONCE(f16);
  return &f16_config.costs;
}
