// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Every micro-kernel of f32-nmconv-minmax.h against a scalar reference in double precision.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/isa-checks.h"
#include "xnnpack/microparams-init.h"
#include "xnnpack/nmconv.h"
#include "replicable_random_device.h"

namespace {

// An f32 that no sum in these tests comes to.
constexpr float kGuard = -7.0e30f;
constexpr size_t kGuards = 64;

class NMConvMicrokernelTester {
 public:
  NMConvMicrokernelTester(xnn_f32_nmconv_minmax_ukernel_fn ukernel, size_t mr, size_t nr)
      : ukernel_(ukernel), mr_(mr), nr_(nr) {}

  NMConvMicrokernelTester& m(size_t m) { m_ = m; return *this; }
  NMConvMicrokernelTester& n(size_t n) { n_ = n; return *this; }
  // Kept columns per tile: at most this many, drawn.
  NMConvMicrokernelTester& k(size_t k) { k_ = k; return *this; }
  NMConvMicrokernelTester& exact_k(bool exact) { exact_k_ = exact; return *this; }
  NMConvMicrokernelTester& cm_stride(size_t cm_stride) { cm_stride_ = cm_stride; return *this; }
  NMConvMicrokernelTester& bounds(float min, float max) { min_ = min; max_ = max; return *this; }
  NMConvMicrokernelTester& hostile_vector_state() { hostile_vector_state_ = true; return *this; }

  void Test() const {
    SCOPED_TRACE("m=" + std::to_string(m_) + " n=" + std::to_string(n_) + " k=" + std::to_string(k_) +
                 " mr=" + std::to_string(mr_) + " nr=" + std::to_string(nr_));
    ASSERT_LE(m_, mr_);
    xnnpack::ReplicableRandomDevice rng;
    std::uniform_real_distribution<float> dist(-1.0f, 1.0f);

    const size_t tiles = (n_ + nr_ - 1) / nr_;
    const size_t image_size = 4 * std::max<size_t>(k_, 1) + 3;
    const size_t stride = cm_stride_ == 0 ? n_ : cm_stride_;

    // Pixels lie anywhere in the image, columns ahead of them or behind.
    std::vector<float> image(3 * image_size);
    std::generate(image.begin(), image.end(), [&] { return dist(rng); });
    std::vector<const float*> a(m_);
    for (auto& pixel : a) {
      pixel = image.data() + image_size + rng() % image_size;
    }

    std::vector<uint32_t> column_starts(1, 0);
    for (size_t t = 0; t < tiles; t++) {
      column_starts.push_back(column_starts.back() + (exact_k_ ? k_ : rng() % (k_ + 1)));
    }
    const size_t columns = column_starts.back();
    std::vector<int32_t> offsets(columns);
    for (auto& offset : offsets) {
      offset = (static_cast<int32_t>(rng() % (2 * image_size)) - static_cast<int32_t>(image_size)) *
               static_cast<int32_t>(sizeof(float));
    }
    std::vector<float> w(nr_ * (tiles + columns));
    std::generate(w.begin(), w.end(), [&] { return dist(rng); });

    std::vector<float> c(2 * kGuards + (m_ - 1) * stride + n_, kGuard);
    union xnn_f32_minmax_params params;
    xnn_init_f32_minmax_scalar_params(&params, min_, max_);

    #if XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR
      if (hostile_vector_state_) {
        // An illegal vtype and vl = 0, as another function may leave them.
        asm volatile("vsetvl zero, zero, %0" : : "r"(~UINT64_C(0) >> 1) : "memory");
      }
    #endif
    ukernel_(m_, n_, a.data(), offsets.data(), column_starts.data(), w.data(), c.data() + kGuards,
             stride * sizeof(float), &params);

    for (size_t m = 0; m < m_; m++) {
      for (size_t n = 0; n < n_; n++) {
        const size_t tile = n / nr_;
        const float* tile_w = w.data() + nr_ * (tile + column_starts[tile]) + n % nr_;
        double expected = tile_w[0];
        double magnitude = std::abs(expected);
        for (size_t j = column_starts[tile]; j < column_starts[tile + 1]; j++) {
          tile_w += nr_;
          const double product =
            static_cast<double>(a[m][offsets[j] / static_cast<int32_t>(sizeof(float))]) * tile_w[0];
          expected += product;
          magnitude += std::abs(product);
        }
        expected = std::min(std::max(expected, static_cast<double>(min_)), static_cast<double>(max_));
        const double tolerance = magnitude * (k_ + 2) * std::numeric_limits<float>::epsilon();
        ASSERT_NEAR(c[kGuards + m * stride + n], expected, tolerance) << "pixel " << m << ", channel " << n;
      }
    }
    // Nothing else was written: before, between the rows, after.
    for (size_t i = 0; i < c.size(); i++) {
      const bool inside = i >= kGuards && i < kGuards + (m_ - 1) * stride + n_ && (i - kGuards) % stride < n_;
      if (!inside) {
        ASSERT_EQ(c[i], kGuard) << "write outside the output at element " << i;
      }
    }
  }

 private:
  xnn_f32_nmconv_minmax_ukernel_fn ukernel_;
  size_t mr_;
  size_t nr_;
  size_t m_ = 1;
  size_t n_ = 1;
  size_t k_ = 1;
  bool exact_k_ = false;
  bool hostile_vector_state_ = false;
  size_t cm_stride_ = 0;
  float min_ = -std::numeric_limits<float>::infinity();
  float max_ = std::numeric_limits<float>::infinity();
};

}  // namespace

#define XNN_UKERNEL(arch_flags, ukernel, mr_, nr_, nr_scale)                                             \
  TEST(ukernel, every_m_and_n_around_the_tile) {                                                         \
    TEST_REQUIRES_ARCH_FLAGS(arch_flags);                                                                \
    const size_t mr = mr_, nr = (nr_) * (nr_scale);                                                      \
    for (size_t m = 1; m <= mr; m++) {                                                                   \
      for (size_t n : {size_t{1}, nr - 1, nr, nr + 1, 2 * nr - 1, 2 * nr, 3 * nr + nr / 2}) {            \
        if (n == 0) continue;                                                                            \
        NMConvMicrokernelTester(ukernel, mr, nr).m(m).n(n).k(19).Test();                                 \
      }                                                                                                  \
    }                                                                                                    \
  }                                                                                                      \
  TEST(ukernel, every_n_of_a_short_tile) {                                                               \
    TEST_REQUIRES_ARCH_FLAGS(arch_flags);                                                                \
    const size_t mr = mr_, nr = (nr_) * (nr_scale);                                                      \
    for (size_t n = 1; n < nr; n++) {                                                                    \
      NMConvMicrokernelTester(ukernel, mr, nr).m(mr).n(n).k(5).Test();                                   \
    }                                                                                                    \
  }                                                                                                      \
  TEST(ukernel, every_number_of_columns) {                                                               \
    TEST_REQUIRES_ARCH_FLAGS(arch_flags);                                                                \
    const size_t mr = mr_, nr = (nr_) * (nr_scale);                                                      \
    for (size_t k : {0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 577}) {                                          \
      NMConvMicrokernelTester(ukernel, mr, nr).m(mr).n(2 * nr + 1).k(k).exact_k(true).Test();            \
    }                                                                                                    \
  }                                                                                                      \
  TEST(ukernel, strided_output) {                                                                        \
    TEST_REQUIRES_ARCH_FLAGS(arch_flags);                                                                \
    const size_t mr = mr_, nr = (nr_) * (nr_scale);                                                      \
    for (size_t n : {size_t{1}, nr, 2 * nr + 1}) {                                                       \
      NMConvMicrokernelTester(ukernel, mr, nr).m(mr).n(n).k(9).cm_stride(n + 7).Test();                  \
    }                                                                                                    \
  }                                                                                                      \
  TEST(ukernel, clamps_at_both_ends) {                                                                   \
    TEST_REQUIRES_ARCH_FLAGS(arch_flags);                                                                \
    const size_t mr = mr_, nr = (nr_) * (nr_scale);                                                      \
    NMConvMicrokernelTester(ukernel, mr, nr).m(mr).n(nr + 1).k(16).bounds(-0.25f, 0.25f).Test();         \
    NMConvMicrokernelTester(ukernel, mr, nr).m(mr).n(nr + 1).k(16)                                       \
        .bounds(0.0f, std::numeric_limits<float>::infinity()).Test();                                    \
    NMConvMicrokernelTester(ukernel, mr, nr).m(mr).n(nr + 1).k(16)                                       \
        .bounds(-std::numeric_limits<float>::infinity(), 0.125f).Test();                                 \
  }                                                                                                      \
  TEST(ukernel, hostile_vector_state_on_entry) {                                                         \
    TEST_REQUIRES_ARCH_FLAGS(arch_flags);                                                                \
    const size_t mr = mr_, nr = (nr_) * (nr_scale);                                                      \
    NMConvMicrokernelTester(ukernel, mr, nr).m(mr).n(nr + 1).k(16).hostile_vector_state().Test();        \
  }
#include "f32-nmconv/f32-nmconv-minmax.h"
#undef XNN_UKERNEL

TEST(F32_NMCONV, config_has_a_kernel_within_the_bounds) {
  const struct xnn_nmconv_config* config = xnn_init_f32_nmconv_config();
  ASSERT_NE(config, nullptr);
  ASSERT_NE(config[0].ukernel, nullptr);
  for (size_t i = 0; i < XNN_MAX_F32_NMCONV_UKERNELS && config[i].ukernel != nullptr; i++) {
    EXPECT_GE(config[i].mr, 1);
    EXPECT_LE(config[i].mr, XNN_MAX_NMCONV_MR);
    EXPECT_GE(config[i].nr, 1);
    EXPECT_GE(config[i].relative_cost, 50);
  }
}

#if XNN_ARCH_RISCV
// An emulator without V would make every test above pass without running it.
TEST(F32_NMCONV, requested_vector_extension_is_there) {
  const char* cpu = std::getenv("QEMU_CPU");
  if (cpu != nullptr && std::strstr(cpu, "v=true") != nullptr) {
    const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
    ASSERT_NE(hardware_config, nullptr);
    EXPECT_TRUE(hardware_config->use_riscv_vector) << "QEMU_CPU=" << cpu;
    const char* vlen = std::strstr(cpu, "vlen=");
    if (vlen != nullptr) {
      EXPECT_EQ(hardware_config->vlenb * 8, std::strtoul(vlen + 5, nullptr, 10)) << "QEMU_CPU=" << cpu;
    }
  }
}
#endif  // XNN_ARCH_RISCV
