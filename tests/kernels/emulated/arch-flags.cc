// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Before any test: those of micro-kernels for AVX512VNNI are not skipped, whatever processor this is.

#include <cstdlib>

#include "xnnpack/hardware-config.h"

namespace {

[[maybe_unused]] const bool pretends = [] {
  auto* hardware = const_cast<xnn_hardware_config*>(xnn_init_hardware_config());
  if (hardware == nullptr) {
    std::abort();
  }
  hardware->arch_flags |= xnn_arch_x86_avx512vnni;
  return true;
}();

}  // namespace
