// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "configs/nm-tables.h"
#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/init-once.h"
#include "xnnpack/nm-pooling.h"

static struct xnn_cnhw_pooling_config f32_cnhw_pooling_config = {0};

XNN_INIT_ONCE_GUARD(f32_cnhw_pooling);

static void init_f32_cnhw_pooling_config(void) {
  // Scalar first: every branch below overwrites it.
  f32_cnhw_pooling_config = f32_cnhw_pooling_scalar;

  #if XNN_ARCH_X86 || XNN_ARCH_X86_64
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (!XNN_PLATFORM_MOBILE && hardware_config->use_x86_avx512f) {
      f32_cnhw_pooling_config = f32_cnhw_pooling_avx512f;
    } else if (hardware_config->use_x86_avx2) {
      f32_cnhw_pooling_config = f32_cnhw_pooling_avx2;
    }
  #elif XNN_ARCH_ARM64
    f32_cnhw_pooling_config = f32_cnhw_pooling_neon;
  #elif XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (hardware_config->use_riscv_vector) {
      f32_cnhw_pooling_config = f32_cnhw_pooling_rvv;
      f32_cnhw_pooling_config.nr = (uint16_t) (f32_cnhw_pooling_rvv.nr * hardware_config->vlenb / sizeof(float));
    }
  #endif
}

const struct xnn_cnhw_pooling_config* xnn_init_f32_cnhw_pooling_config() {
  const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
  if (hardware_config == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(f32_cnhw_pooling);
  return &f32_cnhw_pooling_config;
}
