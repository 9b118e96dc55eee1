// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Linked into a test, this makes AT_HWCAP claim vectors, as it does on boards with those of before RVV 1.0.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <gtest/gtest.h>
#include <sys/auxv.h>
#include "xnnpack/hardware-config.h"

// In the place of the C library's.
extern "C" unsigned long getauxval(unsigned long type) {
  unsigned long value = 0;
  std::FILE* file = std::fopen("/proc/self/auxv", "rb");
  for (unsigned long entry[2]; file != nullptr && std::fread(entry, sizeof(entry), 1, file) == 1;) {
    if (entry[0] == type) value = entry[1];
  }
  if (file != nullptr) std::fclose(file);
  return type == AT_HWCAP ? value | 1ul << ('V' - 'A') : value;
}

namespace {

TEST(ClaimedVector, is_not_believed) {
  const char* cpu = std::getenv("QEMU_CPU");
  ASSERT_TRUE(cpu != nullptr && std::strstr(cpu, "v=false") != nullptr) << "run it where the claim is false";
  ASSERT_NE(getauxval(AT_HWCAP) & 1ul << ('V' - 'A'), 0u);
  const xnn_hardware_config* config = xnn_init_hardware_config();
  ASSERT_NE(config, nullptr);
  EXPECT_FALSE(config->use_riscv_vector);
  EXPECT_EQ(config->vlenb, 0u);
  EXPECT_NE(std::string(config->riscv_vector_reason).find("AT_HWCAP claims vectors, but"), std::string::npos)
      << config->riscv_vector_reason;
}

}  // namespace
