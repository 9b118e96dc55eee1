// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#include <assert.h>
#include <stddef.h>

#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/init-once.h"
#include "xnnpack/microparams-init.h"
#include "xnnpack/nmconv.h"

static struct xnn_nmconv_config f32_nmconv_config[XNN_MAX_F32_NMCONV_UKERNELS] = {0};

XNN_INIT_ONCE_GUARD(f32_nmconv);

static void init_f32_nmconv_config(void) {
  // Scalar first: every branch below overwrites it, none leaves the table empty.
  f32_nmconv_config[0].ukernel = xnn_f32_nmconv_minmax_ukernel_4x4__scalar;
  f32_nmconv_config[0].init = xnn_init_f32_minmax_scalar_params;
  f32_nmconv_config[0].mr = 4;
  f32_nmconv_config[0].nr = 4;
  f32_nmconv_config[0].relative_cost = 110;
  f32_nmconv_config[0].gemm_cost = 100;
  f32_nmconv_config[0].igemm_cost = 100;

  #if XNN_ARCH_X86 || XNN_ARCH_X86_64
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (!XNN_PLATFORM_MOBILE && hardware_config->use_x86_avx512f) {
      f32_nmconv_config[0].ukernel = xnn_f32_nmconv_minmax_ukernel_7x32__avx512f;
      f32_nmconv_config[0].init = xnn_init_f32_minmax_scalar_params;
      f32_nmconv_config[0].mr = 7;
      f32_nmconv_config[0].nr = 32;
      // Measured over the convolutions of ResNet-50 by bench/convolution-nm.
      f32_nmconv_config[0].relative_cost = 105;
      f32_nmconv_config[0].igemm_cost = 140;
      f32_nmconv_config[1].ukernel = xnn_f32_nmconv_minmax_ukernel_10x16__avx512f;
      f32_nmconv_config[1].init = xnn_init_f32_minmax_scalar_params;
      f32_nmconv_config[1].mr = 10;
      f32_nmconv_config[1].nr = 16;
      f32_nmconv_config[1].relative_cost = 130;
    } else if (hardware_config->use_x86_fma3) {
      f32_nmconv_config[0].ukernel = xnn_f32_nmconv_minmax_ukernel_6x16__fma3;
      f32_nmconv_config[0].init = xnn_init_f32_minmax_scalar_params;
      f32_nmconv_config[0].mr = 6;
      f32_nmconv_config[0].nr = 16;
      // Fitted with the costs of nm-costs-config.c, whose margin of 15 % they have.
      f32_nmconv_config[0].relative_cost = 97;
      f32_nmconv_config[1].ukernel = xnn_f32_nmconv_minmax_ukernel_10x8__fma3;
      f32_nmconv_config[1].init = xnn_init_f32_minmax_scalar_params;
      f32_nmconv_config[1].mr = 10;
      f32_nmconv_config[1].nr = 8;
      f32_nmconv_config[1].relative_cost = 147;
    }
  #elif XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (hardware_config->use_riscv_vector) {
      const uint32_t vector_length = hardware_config->vlenb / sizeof(float);
      f32_nmconv_config[0].ukernel = xnn_f32_nmconv_minmax_ukernel_7x4v__rvv;
      f32_nmconv_config[0].init = xnn_init_f32_minmax_scalar_params;
      f32_nmconv_config[0].mr = 7;
      f32_nmconv_config[0].nr = 4 * vector_length;
      // LLVM 22's model of the SpacemiT X60 at VLEN 256, as in nmspmm-config.c.
      f32_nmconv_config[0].relative_cost = 118;
      f32_nmconv_config[0].gemm_cost = 88;
      f32_nmconv_config[0].igemm_cost = 112;
      f32_nmconv_config[1].ukernel = xnn_f32_nmconv_minmax_ukernel_14x2v__rvv;
      f32_nmconv_config[1].init = xnn_init_f32_minmax_scalar_params;
      f32_nmconv_config[1].mr = 14;
      f32_nmconv_config[1].nr = 2 * vector_length;
      f32_nmconv_config[1].relative_cost = 120;
      f32_nmconv_config[2].ukernel = xnn_f32_nmconv_minmax_ukernel_3x8v__rvv;
      f32_nmconv_config[2].init = xnn_init_f32_minmax_scalar_params;
      f32_nmconv_config[2].mr = 3;
      f32_nmconv_config[2].nr = 8 * vector_length;
      f32_nmconv_config[2].relative_cost = 125;
      f32_nmconv_config[3].ukernel = xnn_f32_nmconv_minmax_ukernel_14x1v__rvv;
      f32_nmconv_config[3].init = xnn_init_f32_minmax_scalar_params;
      f32_nmconv_config[3].mr = 14;
      f32_nmconv_config[3].nr = vector_length;
      f32_nmconv_config[3].relative_cost = 210;
    }
  #endif
}

const struct xnn_nmconv_config* xnn_init_f32_nmconv_config() {
  const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
  if (hardware_config == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(f32_nmconv);
  return f32_nmconv_config;
}
