// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// When RISC-V Vector kernels run: the decision for every system there may be, and what this one says.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include <gtest/gtest.h>
#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/nm-riscv-vector.h"

#if XNN_ARCH_RISCV
#include <csignal>
#include <pthread.h>
#endif

namespace {

constexpr uint64_t kSpacemit = 0x710;
constexpr auto kUnknown = xnn_riscv_vector_permission_unknown;
constexpr auto kGiven = xnn_riscv_vector_permission_given;
constexpr auto kDenied = xnn_riscv_vector_permission_denied;
constexpr auto kNotAsked = xnn_riscv_vector_core_not_asked;

enum Expected { kScalar, kScalarAndWarning, kAskCore, kVector };

struct Row {
  const char* system;
  xnn_riscv_vector_facts facts;  // hwcap_v, hwprobe, hwprobe_v, vendor_id, arch_id, permission, core, hwprobe_zvfh
  Expected expected;
  const char* reason;  // a part of it
};

struct HalfPrecisionRow {
  const char* system;
  xnn_riscv_vector_facts facts;
  bool expected;
  const char* reason;
};

const Row kRows[] = {
    // No claim of vectors.
    {"a scalar core, Linux 5.15", {false, false, false, 0, 0, kUnknown, kNotAsked}, kScalar, "no vector extension"},
    {"a scalar core, Linux 6.12", {false, true, false, 0x489, 1, kUnknown, kNotAsked}, kScalar, "no vector extension"},
    {"T-Head C910, Linux 6.12", {false, true, false, 0x5B7, 0, kUnknown, kNotAsked}, kScalar, "no vector extension"},
    // The system call answers.
    {"SpacemiT X60, Linux 6.6", {true, true, true, kSpacemit, 1, kGiven, kNotAsked}, kVector, "riscv_hwprobe says"},
    {"QEMU 10, which knows no such prctl", {true, true, true, 0, 0, kUnknown, kNotAsked}, kVector, "riscv_hwprobe says"},
    {"HWCAP hidden", {false, true, true, kSpacemit, 1, kGiven, kNotAsked}, kVector, "riscv_hwprobe says"},
    {"cores of several vendors", {true, true, true, UINT64_MAX, UINT64_MAX, kGiven, kNotAsked}, kVector, "riscv_hwprobe"},
    {"T-Head C908, Linux 6.6", {true, true, true, 0x5B7, 0x8000000009140D00, kGiven, kNotAsked}, kVector, "riscv_hwprobe"},
    {"only some cores have vectors", {true, true, false, 0, 0, kGiven, kNotAsked}, kScalarAndWarning, "denies RVV 1.0"},
    {"T-Head C910, Linux 6.6.0", {true, true, true, 0x5B7, 0, kGiven, kNotAsked}, kScalarAndWarning, "draft 0.7.1"},
    {"vectors switched off", {true, true, true, kSpacemit, 1, kDenied, kNotAsked}, kScalarAndWarning, "may not use"},
    {"switched off, old", {true, false, false, 0, 0, kDenied, kNotAsked}, kScalarAndWarning, "may not use"},
    // It does not: the core is asked, once.
    {"HWCAP alone", {true, false, false, 0, 0, kUnknown, kNotAsked}, kAskCore, "cannot say which"},
    {"HWCAP alone, switched on", {true, false, false, 0, 0, kGiven, kNotAsked}, kAskCore, "cannot say which"},
    {"a vendor and no extensions", {true, false, false, kSpacemit, 1, kGiven, kNotAsked}, kAskCore, "cannot say which"},
    {"T-Head and no extensions", {true, false, false, 0x5B7, 0, kUnknown, kNotAsked}, kScalarAndWarning, "draft 0.7.1"},
    {"SpacemiT X60, Linux 6.1", {true, false, false, 0, 0, kUnknown, xnn_riscv_vector_core_ratified}, kVector,
     "understands RVV 1.0"},
    {"T-Head C906, Linux 5.4", {true, false, false, 0, 0, kUnknown, xnn_riscv_vector_core_draft}, kScalarAndWarning,
     "a draft"},
    {"the kernel keeps vectors off", {true, false, false, 0, 0, kUnknown, xnn_riscv_vector_core_illegal},
     kScalarAndWarning, "illegal"},
};

TEST(RiscvVector, a_table_of_systems) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.system);
    const xnn_riscv_vector_decision decision = xnn_decide_riscv_vector(&row.facts);
    EXPECT_EQ(decision.use, row.expected == kVector);
    EXPECT_EQ(decision.ask_core, row.expected == kAskCore);
    EXPECT_EQ(decision.denied, row.expected == kScalarAndWarning);
    EXPECT_NE(std::string(decision.reason).find(row.reason), std::string::npos) << decision.reason;
  }
}

const HalfPrecisionRow kHalfPrecisionRows[] = {
    {"a core with Zvfh, Linux 6.12", {true, true, true, kSpacemit, 1, kGiven, kNotAsked, true}, true, "says Zvfh"},
    {"SpacemiT X60, Linux 6.6", {true, true, true, kSpacemit, 1, kGiven, kNotAsked, false}, false, "since Linux 6.8"},
    {"a core with Zvfh, Linux 6.1", {true, false, false, 0, 0, kUnknown, xnn_riscv_vector_core_ratified, false}, false,
     "only riscv_hwprobe tells"},
    {"vectors switched off", {true, true, true, kSpacemit, 1, kDenied, kNotAsked, true}, false, "no vector kernels"},
    {"Zvfh without V", {false, true, false, 0, 0, kUnknown, kNotAsked, true}, false, "no vector kernels"},
    {"T-Head C910, Linux 6.6.0", {true, true, true, 0x5B7, 0, kGiven, kNotAsked, true}, false, "no vector kernels"},
};

TEST(RiscvVector, a_table_of_systems_with_half_precision) {
  for (const HalfPrecisionRow& row : kHalfPrecisionRows) {
    SCOPED_TRACE(row.system);
    const xnn_riscv_vector_decision decision = xnn_decide_riscv_vector(&row.facts);
    EXPECT_EQ(decision.use_fp16, row.expected);
    EXPECT_NE(std::string(decision.fp16_reason).find(row.reason), std::string::npos) << decision.fp16_reason;
  }
}

// Whatever a system says.
TEST(RiscvVector, every_system_obeys_the_laws) {
  for (uint32_t bits = 0; bits < 64; bits++) {
    for (const auto permission : {kUnknown, kGiven, kDenied}) {
      for (const auto core : {kNotAsked, xnn_riscv_vector_core_ratified, xnn_riscv_vector_core_draft,
                              xnn_riscv_vector_core_illegal}) {
        const bool hwcap_v = bits & 1, hwprobe = bits & 2, hwprobe_v = hwprobe && (bits & 4);
        const uint64_t vendor_id = bits & 8 ? XNN_RISCV_VENDOR_THEAD : kSpacemit;
        const bool hwprobe_zvfh = hwprobe && (bits & 32);
        const xnn_riscv_vector_facts facts{hwcap_v, hwprobe, hwprobe_v, vendor_id, bits & 16u, permission, core,
                                           hwprobe_zvfh};
        const xnn_riscv_vector_decision decision = xnn_decide_riscv_vector(&facts);
        const bool claimed = hwcap_v || hwprobe_v;
        const bool draft = vendor_id == XNN_RISCV_VENDOR_THEAD && facts.arch_id == 0;
        SCOPED_TRACE(decision.reason);
        EXPECT_EQ(decision.use + decision.ask_core + decision.denied, claimed ? 1 : 0);
        if (decision.use || decision.ask_core) {
          EXPECT_NE(permission, kDenied);
          EXPECT_FALSE(draft);
        }
        if (decision.use) EXPECT_TRUE(hwprobe ? hwprobe_v : core == xnn_riscv_vector_core_ratified);
        if (decision.ask_core) EXPECT_TRUE(hwcap_v && !hwprobe && core == kNotAsked);
        EXPECT_EQ(decision.use_fp16, decision.use && hwprobe_zvfh);
        EXPECT_NE(std::string(decision.reason), "");
        EXPECT_NE(std::string(decision.fp16_reason), "");
      }
    }
  }
}

#if XNN_ARCH_RISCV

// What QEMU_CPU asks for. On a board nothing does.
bool Asks(const char* what) {
  const char* cpu = std::getenv("QEMU_CPU");
  return cpu != nullptr && std::strstr(cpu, what) != nullptr;
}

TEST(RiscvVector, hardware_config_is_what_the_emulator_was_asked_for) {
  const xnn_hardware_config* config = xnn_init_hardware_config();
  ASSERT_NE(config, nullptr);
  if (Asks("v=true")) {
    EXPECT_TRUE(config->use_riscv_vector) << config->riscv_vector_reason;
    const char* vlen = std::strstr(std::getenv("QEMU_CPU"), "vlen=");
    ASSERT_NE(vlen, nullptr);
    EXPECT_EQ(config->vlenb * 8, std::strtoul(vlen + 5, nullptr, 10));
  } else if (Asks("v=false")) {
    EXPECT_FALSE(config->use_riscv_vector) << config->riscv_vector_reason;
  }
  if (Asks("rv64")) EXPECT_EQ(config->use_riscv_vector_fp16_arith, Asks("zvfh=true")) << config->riscv_vector_fp16_reason;
  EXPECT_EQ(config->use_riscv_vector_fp16_arith, (config->arch_flags & xnn_arch_riscv_vector_fp16_arith) != 0);
  EXPECT_STREQ(config->riscv_vector_fp16_reason, xnn_get_riscv_vector_fp16_reason());
  EXPECT_EQ(config->use_riscv_vector, config->vlenb != 0);
  EXPECT_EQ(config->use_riscv_vector, (config->arch_flags & xnn_arch_riscv_vector) != 0);
  EXPECT_STREQ(config->riscv_vector_reason, xnn_get_riscv_vector_reason());
}

// Where riscv_hwprobe answers, the core is not needed, but says the same.
TEST(RiscvVector, core_and_kernel_agree) {
  const xnn_riscv_vector_facts facts = xnn_get_riscv_vector_facts();
  if (facts.hwprobe) EXPECT_EQ(facts.hwprobe_v, xnn_init_hardware_config()->use_riscv_vector);
  if (Asks("v=true") || Asks("v=false")) {
    EXPECT_EQ(facts.hwcap_v, Asks("v=true"));
    EXPECT_EQ(xnn_ask_riscv_vector_core(),
              Asks("v=true") ? xnn_riscv_vector_core_ratified : xnn_riscv_vector_core_illegal);
  }
}

void OnSignal(int) {}

TEST(RiscvVector, asking_the_core_leaves_signals_as_they_were) {
  struct sigaction mine = {}, before, after;
  mine.sa_handler = OnSignal;
  mine.sa_flags = SA_NODEFER;
  ASSERT_EQ(sigaction(SIGILL, &mine, &before), 0);
  sigset_t illegal, mask;
  sigemptyset(&illegal);
  sigaddset(&illegal, SIGILL);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &illegal, nullptr), 0);
  const xnn_riscv_vector_core first = xnn_ask_riscv_vector_core();
  EXPECT_EQ(first, xnn_ask_riscv_vector_core());
  ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &illegal, &mask), 0);
  EXPECT_EQ(sigismember(&mask, SIGILL), 1);
  ASSERT_EQ(sigaction(SIGILL, &before, &after), 0);
  EXPECT_EQ(after.sa_handler, OnSignal);
  EXPECT_EQ(after.sa_flags & SA_NODEFER, SA_NODEFER);
}

#else

TEST(RiscvVector, other_processors_have_no_reason) {
  EXPECT_EQ(xnn_get_riscv_vector_reason(), nullptr);
  EXPECT_EQ(xnn_get_riscv_vector_fp16_reason(), nullptr);
}

#endif  // XNN_ARCH_RISCV

}  // namespace
