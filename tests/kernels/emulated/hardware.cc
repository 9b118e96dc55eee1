// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Before any test: XNNPACK takes micro-kernels for what is here, then ours are taken as if NMPACK_EMULATED were here, too.

#include <cstdlib>

#include "xnnpack.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/nmspmm.h"

namespace {

[[maybe_unused]] const bool pretends = [] {
  if (xnn_initialize(/*allocator=*/nullptr) != xnn_status_success || xnn_init_qs8_qc8w_gemm_config() == nullptr ||
      xnn_init_qs8_qc8w_dwconv_config() == nullptr) {
    std::abort();
  }
  const_cast<xnn_hardware_config*>(xnn_init_hardware_config())->NMPACK_EMULATED = true;
  // Both have micro-kernels that make bytes unsigned; no others have.
  if (xnn_init_qs8_qc8w_nmspmm_config()->weights.input_offset != 128) {
    std::abort();
  }
  return true;
}();

}  // namespace
