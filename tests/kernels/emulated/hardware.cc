// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Before any test: XNNPACK takes micro-kernels for what is here, then ours are taken as if NMPACK_EMULATED were here, too.

#include <cstdlib>

#include "xnnpack.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/nmconv.h"
#include "xnnpack/nmspmm.h"

namespace {

[[maybe_unused]] const bool pretends = [] {
  if (xnn_initialize(/*allocator=*/nullptr) != xnn_status_success || xnn_init_qs8_qc8w_gemm_config() == nullptr ||
      xnn_init_qs8_qc8w_dwconv_config() == nullptr) {
    std::abort();
  }
  auto* hardware = const_cast<xnn_hardware_config*>(xnn_init_hardware_config());
  // What is really here may be better.
  hardware->use_x86_avx512vnni = hardware->use_x86_avxvnni = false;
  hardware->NMPACK_EMULATED = true;
  const auto nmconv = reinterpret_cast<xnn_nmconv_ukernel_fn>(NMPACK_NMCONV);
  const auto nmspmm = reinterpret_cast<xnn_nmspmm_ukernel_fn>(NMPACK_NMSPMM);
  if (xnn_init_qs8_qc8w_nmconv_config()->ukernel != nmconv || xnn_init_qs8_qc8w_nmspmm_config()->ukernel[0] != nmspmm) {
    std::abort();
  }
  return true;
}();

}  // namespace
