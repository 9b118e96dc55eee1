// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "configs/nm-tables.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/init-once.h"
#include "xnnpack/nmconv.h"

static struct xnn_nmconv_config f32_nmconv_config[XNN_MAX_NMCONV_KERNELS] = {0};

XNN_INIT_ONCE_GUARD(f32_nmconv);

void xnn_take_nmconv_entries(
  const struct xnn_nmconv_config* entries,
  size_t nr_scale,
  struct xnn_nmconv_config* config)
{
  for (size_t i = 0; i < XNN_MAX_NMCONV_KERNELS; i++) {
    config[i] = entries[i];
    config[i].nr = (uint16_t) (entries[i].nr * nr_scale);
  }
}

static void init_f32_nmconv_config(void) {
  // Scalar first: every branch below overwrites it, none leaves the table empty.
  const struct xnn_nmconv_config* entries = f32_nmconv_scalar;
  size_t nr_scale = 1;

  #if XNN_ARCH_X86 || XNN_ARCH_X86_64
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (!XNN_PLATFORM_MOBILE && hardware_config->use_x86_avx512f) {
      entries = f32_nmconv_avx512f;
    } else if (hardware_config->use_x86_fma3) {
      entries = f32_nmconv_fma3;
    }
  #elif XNN_ARCH_ARM64
    entries = f32_nmconv_neonfma;
  #elif XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (hardware_config->use_riscv_vector) {
      entries = f32_nmconv_rvv;
      nr_scale = hardware_config->vlenb / sizeof(float);
    }
  #endif

  xnn_take_nmconv_entries(entries, nr_scale, f32_nmconv_config);
}

const struct xnn_nmconv_config* xnn_init_f32_nmconv_config() {
  const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
  if (hardware_config == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(f32_nmconv);
  return f32_nmconv_config;
}
