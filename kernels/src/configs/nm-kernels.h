// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What layers of an element type run on, and what that costs: one instruction set for all of it.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/nm-pooling.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"

struct xnn_nm_kernels {
  struct xnn_nmconv_config nmconv[XNN_MAX_NMCONV_KERNELS];
  struct xnn_nmspmm_config nmspmm[XNN_MAX_NMSPMM_KERNELS];
  struct xnn_cnhw_pooling_config pooling;
  struct xnn_nm_costs costs;
};

// Copies the tables of an instruction set; nr_scale is how many channels or pixels their unit of width has.
XNN_INLINE static void xnn_take_nm_kernels(
  const struct xnn_nmconv_config* nmconv,
  const struct xnn_nmspmm_config* nmspmm,
  const struct xnn_cnhw_pooling_config* pooling,
  const struct xnn_nm_costs* costs,
  size_t nr_scale,
  struct xnn_nm_kernels* kernels)
{
  xnn_take_nmconv_entries(nmconv, nr_scale, kernels->nmconv);
  xnn_take_nmspmm_entries(nmspmm, nr_scale, kernels->nmspmm);
  kernels->pooling = *pooling;
  kernels->pooling.nr = (uint16_t) (pooling->nr * nr_scale);
  kernels->costs = *costs;
}
