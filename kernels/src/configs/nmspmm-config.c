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
#include "xnnpack/nmspmm.h"

static struct xnn_nmspmm_config f32_nmspmm_config[XNN_MAX_F32_NMSPMM_CONFIGS] = {0};

XNN_INIT_ONCE_GUARD(f32_nmspmm);

// One row of a table: the kernels of that many rows, and what they cost.
#define ROWS(config, rows, tile, isa, cost)                                                  \
  do {                                                                                       \
    (config)->ukernel[(rows) - 1] = xnn_f32_nmspmm_minmax_ukernel_##tile##__##isa;            \
    (config)->dense_ukernel[(rows) - 1] = xnn_f32_nmspmm_minmax_ukernel_##tile##__##isa##_dense; \
    (config)->relative_cost[(rows) - 1] = (cost);                                            \
    (config)->mr = (rows);                                                                   \
  } while (0)

static void init_f32_nmspmm_config(void) {
  // Scalar first: every branch below overwrites it, none leaves the table empty.
  struct xnn_nmspmm_config* config = &f32_nmspmm_config[0];
  config->pack = xnn_x32_packim2col_ukernel__scalar;
  config->init = xnn_init_f32_minmax_scalar_params;
  config->pack_cost = 100;
  config->nr = 8;
  config->granularity = 8;
  ROWS(config, 1, 1x8, scalar, 150);
  ROWS(config, 2, 2x8, scalar, 125);
  ROWS(config, 3, 3x8, scalar, 115);
  ROWS(config, 4, 4x8, scalar, 110);
}

const struct xnn_nmspmm_config* xnn_init_f32_nmspmm_config() {
  const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
  if (hardware_config == NULL) {
    return NULL;
  }
  XNN_INIT_ONCE(f32_nmspmm);
  return f32_nmspmm_config;
}
