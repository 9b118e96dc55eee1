// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What quantized layers run on, and what that costs: one instruction set for all of it.

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
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-pooling.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"

static struct xnn_nm_kernels qs8_config = {0};

XNN_INIT_ONCE_GUARD(qs8);

// nr_scale: how many sums the unit of width has.
static void take(
  const struct xnn_nmconv_config* nmconv,
  const struct xnn_nmspmm_config* nmspmm,
  const struct xnn_cnhw_pooling_config* pooling,
  const struct xnn_nm_costs* costs,
  size_t nr_scale)
{
  xnn_take_nm_kernels(nmconv, nmspmm, pooling, costs, nr_scale, &qs8_config);
}

static void init_qs8_config(void) {
  // Scalar first: every branch below overwrites it.
  take(qs8_qc8w_nmconv_scalar, qs8_qc8w_nmspmm_scalar, &s8_cnhw_pooling_scalar, &qs8_nm_costs_scalar, 1);

  #if XNN_ARCH_X86 || XNN_ARCH_X86_64
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    take(qs8_qc8w_nmconv_scalar, qs8_qc8w_nmspmm_scalar, &s8_cnhw_pooling_scalar, &qs8_nm_costs_sse2, 1);
    if (hardware_config->use_x86_avx2) {
      take(
        qs8_qc8w_nmconv_avx2, qs8_qc8w_nmspmm_avx2, &s8_cnhw_pooling_avx2,
        hardware_config->use_x86_avx512skx ? &qs8_nm_costs_avx512skx : &qs8_nm_costs_avx2, 1);
    }
    #if XNN_ENABLE_AVXVNNI
      if (hardware_config->use_x86_avxvnni) {
        take(qs8_qc8w_nmconv_avxvnni, qs8_qc8w_nmspmm_avxvnni, &s8_cnhw_pooling_avx2, &qs8_nm_costs_avxvnni, 1);
      }
    #endif
    #if XNN_ENABLE_AVX512VNNI
      if (hardware_config->use_x86_avx512vnni) {
        take(
          qs8_qc8w_nmconv_avx512vnni, qs8_qc8w_nmspmm_avx512vnni, &s8_cnhw_pooling_avx2,
          hardware_config->use_x86_avx512amx ? &qs8_nm_costs_avx512amx : &qs8_nm_costs_avx512vnni, 1);
      }
    #endif
  #elif XNN_ARCH_ARM64
    take(qs8_qc8w_nmconv_neon, qs8_qc8w_nmspmm_neon, &s8_cnhw_pooling_neon, &qs8_nm_costs_neon, 1);
    #if XNN_ENABLE_ARM_DOTPROD
      const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
      assert(hardware_config != NULL);
      if (hardware_config->use_arm_neon_dot) {
        take(qs8_qc8w_nmconv_neondot, qs8_qc8w_nmspmm_neondot, &s8_cnhw_pooling_neon, &qs8_nm_costs_neondot, 1);
      }
    #endif
  #elif XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (hardware_config->use_riscv_vector) {
      take(
        qs8_qc8w_nmconv_rvv, qs8_qc8w_nmspmm_rvv, &s8_cnhw_pooling_rvv, &qs8_nm_costs_rvv,
        hardware_config->vlenb / sizeof(int32_t));
    }
  #endif
}

const struct xnn_nmconv_config* xnn_init_qs8_qc8w_nmconv_config() {
  if (xnn_init_hardware_config() == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(qs8);
  return qs8_config.nmconv;
}

const struct xnn_nmspmm_config* xnn_init_qs8_qc8w_nmspmm_config() {
  if (xnn_init_hardware_config() == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(qs8);
  return qs8_config.nmspmm;
}

const struct xnn_cnhw_pooling_config* xnn_init_s8_cnhw_pooling_config() {
  if (xnn_init_hardware_config() == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(qs8);
  return &qs8_config.pooling;
}

const struct xnn_nm_costs* xnn_init_qs8_nm_costs() {
  XNN_INIT_ONCE(qs8);
  return &qs8_config.costs;
}
