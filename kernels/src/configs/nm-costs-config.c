// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "configs/nm-hash.h"
#include "configs/nm-tables.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/init-once.h"
#include "xnnpack/nm-costs.h"

static struct xnn_nm_costs nm_costs = {0};
static char nm_isa[64];
static size_t nm_vector_length = 0;

XNN_INIT_ONCE_GUARD(nm_costs);

#if XNN_ARCH_X86 || XNN_ARCH_X86_64
// The costs of micro-kernels of CNHW images, which are scalar ones beside dense vectors: see nmspmm-config.c.
static void take_scalar_nmspmm_costs(void) {
  memcpy(nm_costs.nmspmm_percent, nm_costs_sse2.nmspmm_percent, sizeof(nm_costs.nmspmm_percent));
  memcpy(nm_costs.pack_percent, nm_costs_sse2.pack_percent, sizeof(nm_costs.pack_percent));
  memcpy(nm_costs.strided_pack_percent, nm_costs_sse2.strided_pack_percent, sizeof(nm_costs.strided_pack_percent));
  nm_costs.cache_size = nm_costs_sse2.cache_size;
}
#endif

static void take(const struct xnn_nm_costs* costs, const char* isa) {
  nm_costs = *costs;
  strcpy(nm_isa, isa);
}

// What the processor has beyond, if micro-kernels of other types, dense ones among them, are chosen by it.
static void add_isa(bool used, const char* name) {
  if (used && strlen(nm_isa) + strlen(name) < sizeof(nm_isa)) {
    strcat(nm_isa, name);
  }
}

static void init_nm_costs_config(void) {
  // Scalar first, as for the micro-kernels.
  take(&nm_costs_scalar, "scalar");

  #if XNN_ARCH_X86 || XNN_ARCH_X86_64
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    // Scalar micro-kernels of ours, and dense ones of SSE or AVX.
    take(&nm_costs_sse2, "scalar");
    if (!XNN_PLATFORM_MOBILE && hardware_config->use_x86_avx512f) {
      take(&nm_costs_avx512f, "avx512f");
    } else if (hardware_config->use_x86_fma3) {
      take(&nm_costs_fma3, "fma3");
      if (!hardware_config->use_x86_avx2) {
        take_scalar_nmspmm_costs();
      }
    }
    add_isa(hardware_config->use_x86_sse4_1 && !hardware_config->use_x86_avx, ".sse41");
    add_isa(hardware_config->use_x86_avx && !hardware_config->use_x86_fma3, ".avx");
    add_isa(hardware_config->use_x86_avx2 && !hardware_config->use_x86_avx512f, ".avx2");
    add_isa(hardware_config->use_x86_avxvnni, ".avxvnni");
    add_isa(hardware_config->use_x86_avx512skx, ".skx");
    add_isa(hardware_config->use_x86_avx512vnni, ".vnni");
    add_isa(hardware_config->use_x86_avx512vnnigfni, ".gfni");
    add_isa(hardware_config->use_x86_avxvnniint8, ".int8");
    add_isa(hardware_config->use_x86_avx512fp16, ".fp16");
    add_isa(hardware_config->use_x86_avx512amx, ".amx");
  #elif XNN_ARCH_ARM64
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    take(&nm_costs_neonfma, "neonfma");
    add_isa(hardware_config->use_arm_neon_fp16_arith, ".fp16");
    add_isa(hardware_config->use_arm_neon_dot, ".dot");
    add_isa(hardware_config->use_arm_neon_i8mm, ".i8mm");
  #elif XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    assert(hardware_config != NULL);
    if (hardware_config->use_riscv_vector) {
      take(&nm_costs_rvv, "rvv");
      add_isa(hardware_config->use_riscv_vector_fp16_arith, ".zvfh");
      nm_vector_length = 8 * hardware_config->vlenb;
    }
  #endif
}

const struct xnn_nm_costs* xnn_init_nm_costs() {
  XNN_INIT_ONCE(nm_costs);
  return &nm_costs;
}

#define COST(name)                                     \
  {                                                    \
    #name, offsetof(struct xnn_nm_costs, name),        \
    sizeof(((struct xnn_nm_costs*) NULL)->name) / sizeof(float) \
  },

enum xnn_status xnn_set_nm_cost(
  struct xnn_nm_costs* costs,
  const char* name,
  size_t index,
  size_t count,
  const float* values)
{
  static const struct {
    const char* name;
    size_t offset;
    size_t count;
  } members[] = {XNN_NM_COSTS(COST)};
  for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
    if (strcmp(members[i].name, name) != 0) {
      continue;
    }
    // Of two dimensions the index is the first.
    const size_t row_size = members[i].count > XNN_MAX_NMSPMM_KERNELS ? XNN_MAX_NMSPMM_ROWS : 1;
    if (index >= members[i].count / row_size || count > members[i].count - index * row_size) {
      return xnn_status_invalid_parameter;
    }
    memcpy((float*) ((uintptr_t) costs + members[i].offset) + index * row_size, values, count * sizeof(float));
    return xnn_status_success;
  }
  return xnn_status_invalid_parameter;
}

const char* xnn_get_nm_isa() {
  XNN_INIT_ONCE(nm_costs);
  return nm_isa;
}

size_t xnn_get_nm_vector_length() {
  XNN_INIT_ONCE(nm_costs);
  return nm_vector_length;
}

const char* xnn_get_nm_sources_hash() {
  return XNN_NM_SOURCES_HASH;
}
