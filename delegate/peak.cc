// SPDX-License-Identifier: BSD-3-Clause
#include "peak.h"

#include <cstddef>

#include <cpuinfo.h>

#include "profile.h"
#include "pthreadpool.h"

namespace nmpack {
namespace {

// Enough to hide the latency of two units, few enough for 16 registers.
constexpr size_t kChains = 12;
constexpr size_t kSteps = 200000;
constexpr int kTrials = 100;

// Returns floating-point operations; what was computed goes to `result`, or it would not be.
#define NMPACK_CHAINS(name, bytes, attributes)                                 \
  attributes double name(float factor, float addend, volatile float* result) { \
    typedef float Vector __attribute__((vector_size(bytes)));                  \
    Vector chains[kChains];                                                    \
    for (size_t c = 0; c < kChains; c++) chains[c] = Vector{} + addend;        \
    for (size_t i = 0; i < kSteps; i++) {                                      \
      _Pragma("GCC unroll 12") for (size_t c = 0; c < kChains; c++) {          \
        chains[c] = chains[c] * factor + addend;                               \
      }                                                                        \
    }                                                                          \
    Vector sum = chains[0];                                                    \
    for (size_t c = 1; c < kChains; c++) sum += chains[c];                     \
    *result = sum[0];                                                          \
    return 2.0 * kSteps * kChains * (bytes / sizeof(float));                   \
  }

NMPACK_CHAINS(Baseline, 16, )
#if defined(__x86_64__)
NMPACK_CHAINS(Avx, 32, __attribute__((target("avx"))))
NMPACK_CHAINS(Fma, 32, __attribute__((target("fma"))))
NMPACK_CHAINS(Avx512, 64, __attribute__((target("avx512f"))))
#endif
#undef NMPACK_CHAINS

using Chains = double (*)(float, float, volatile float*);

Chains Choose() {
#if defined(__x86_64__)
  if (cpuinfo_has_x86_avx512f()) return Avx512;
  if (cpuinfo_has_x86_fma3()) return Fma;
  if (cpuinfo_has_x86_avx()) return Avx;
#endif
  return Baseline;
}

}  // namespace

double MeasurePeak(pthreadpool* threads) {
#if defined(__riscv)
  return 0.0;
#endif
  struct Work {
    Chains chains;
    double operations;
  } work{Choose(), 0.0};
  const size_t num_threads = pthreadpool_get_threads_count(threads);
  double best = 0.0;
  for (int trial = 0; trial < kTrials; trial++) {
    const uint64_t start = Nanoseconds();
    pthreadpool_parallelize_1d(
        threads,
        [](void* context, size_t thread) {
          auto* work = static_cast<Work*>(context);
          volatile float result;
          const double operations = work->chains(0.5f, 1.0f, &result);
          if (thread == 0) work->operations = operations;
        },
        &work, num_threads, /*flags=*/0);
    const double gflops = work.operations * static_cast<double>(num_threads) / static_cast<double>(Nanoseconds() - start);
    if (gflops > best) best = gflops;
  }
  return best;
}

}  // namespace nmpack
