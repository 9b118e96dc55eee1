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
#include "xnnpack/nm-costs.h"

static struct xnn_nm_costs nm_costs = {0};

XNN_INIT_ONCE_GUARD(nm_costs);

static void init_nm_costs_config(void) {
  // Where nothing was measured only weights and conversions count.
  nm_costs.dense_weight = 1.0f;
  nm_costs.converted_element = 16.0f;
  nm_costs.large_converted_element = 16.0f;

  #if XNN_ARCH_X86 || XNN_ARCH_X86_64
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (!XNN_PLATFORM_MOBILE && hardware_config->use_x86_avx512f) {
      // Not measured: the times of FMA3, whose unit is 1.7 times as long.
      nm_costs.nhwc_operator = 3400.0f;
      nm_costs.padding = 4200.0f;
      nm_costs.padded_element = 12.0f;
      nm_costs.cnhw_operator = 2600.0f;
      nm_costs.cnhw_tap = 270.0f;
      nm_costs.conversion = 5000.0f;
    } else if (hardware_config->use_x86_fma3) {
      // Fitted to 400 drawn layers of up to 60 million multiply-adds on an AMD EPYC (Zen 3), where the unit is 27 ps. What
      // N:M operators cost is raised by 15 % (NHWC) and 25 % (CNHW) over the fit: they are taken when they gain for sure.
      nm_costs.dense_column = 45.0f;
      nm_costs.dense_weight = 0.37f;
      nm_costs.nhwc_operator = 2000.0f;
      nm_costs.nhwc_tile = 270.0f;
      nm_costs.padding = 2500.0f;
      nm_costs.padded_element = 7.0f;
      nm_costs.cnhw_operator = 1500.0f;
      nm_costs.cnhw_block = 520.0f;
      nm_costs.cnhw_tap = 160.0f;
      nm_costs.conversion = 2900.0f;
      nm_costs.converted_element = 6.0f;
      nm_costs.large_converted_element = 60.0f;
    }
  #endif
}

const struct xnn_nm_costs* xnn_init_nm_costs() {
  XNN_INIT_ONCE(nm_costs);
  return &nm_costs;
}
