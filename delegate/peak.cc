// SPDX-License-Identifier: BSD-3-Clause
#include "peak.h"

#include <cstddef>

#include <cpuinfo.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

#if defined(__x86_64__)
// The same with sums of products of bytes: `step` is an instruction, or two, that adds `products` of them.
#define NMPACK_BYTE_CHAINS(name, features, vector, broadcast, products, step)                          \
  __attribute__((target(features))) double name(float factor, float addend, volatile float* result) {  \
    vector chains[kChains], a = broadcast(static_cast<int>(factor));                                   \
    const vector b = broadcast(static_cast<int>(addend));                                              \
    for (size_t c = 0; c < kChains; c++) chains[c] = a;                                                \
    for (size_t i = 0; i < kSteps; i++) {                                                              \
      _Pragma("GCC unroll 12") for (size_t c = 0; c < kChains; c++) {                                  \
        /* A product that stays the same would be computed once. */                                    \
        asm volatile("" : "+x"(a));                                                                    \
        chains[c] = step;                                                                              \
      }                                                                                                \
    }                                                                                                  \
    for (size_t c = 0; c < kChains; c++) asm volatile("" ::"x"(chains[c]));                            \
    *result = 0.0f;                                                                                    \
    return 2.0 * kSteps * kChains * products;                                                          \
  }

NMPACK_BYTE_CHAINS(Sse2Bytes, "sse2", __m128i, _mm_set1_epi32, 8, _mm_add_epi32(chains[c], _mm_madd_epi16(a, b)))
NMPACK_BYTE_CHAINS(Avx2Bytes, "avx2", __m256i, _mm256_set1_epi32, 16,
                   _mm256_add_epi32(chains[c], _mm256_madd_epi16(a, b)))
NMPACK_BYTE_CHAINS(AvxVnniBytes, "avx2,avxvnni", __m256i, _mm256_set1_epi32, 32,
                   _mm256_dpbusd_avx_epi32(chains[c], a, b))
NMPACK_BYTE_CHAINS(Avx512Bytes, "avx512f,avx512bw", __m512i, _mm512_set1_epi32, 32,
                   _mm512_add_epi32(chains[c], _mm512_madd_epi16(a, b)))
NMPACK_BYTE_CHAINS(Avx512VnniBytes, "avx512f,avx512bw,avx512vnni", __m512i, _mm512_set1_epi32, 64,
                   _mm512_dpbusd_epi32(chains[c], a, b))
#undef NMPACK_BYTE_CHAINS
#endif

Chains ChooseBytes() {
#if defined(__x86_64__)
  if (cpuinfo_has_x86_avx512f() && cpuinfo_has_x86_avx512bw()) {
    return cpuinfo_has_x86_avx512vnni() ? Avx512VnniBytes : Avx512Bytes;
  }
  if (cpuinfo_has_x86_avxvnni()) return AvxVnniBytes;
  return cpuinfo_has_x86_avx2() ? Avx2Bytes : Sse2Bytes;
#else
  return nullptr;
#endif
}

Chains ChooseFloats() {
#if defined(__x86_64__)
  if (cpuinfo_has_x86_avx512f()) return Avx512;
  if (cpuinfo_has_x86_fma3()) return Fma;
  if (cpuinfo_has_x86_avx()) return Avx;
#endif
  return Baseline;
}

double Measure(pthreadpool* threads, Chains chains) {
  struct Work {
    Chains chains;
    double operations;
  } work{chains, 0.0};
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
    const double billions =
        work.operations * static_cast<double>(num_threads) / static_cast<double>(Nanoseconds() - start);
    if (billions > best) best = billions;
  }
  return best;
}

}  // namespace

std::map<std::string, double> MeasurePeaks(pthreadpool* threads) {
  std::map<std::string, double> peaks;
#if !defined(__riscv)
  peaks["f32"] = Measure(threads, ChooseFloats());
  if (const Chains bytes = ChooseBytes()) peaks["qs8"] = Measure(threads, bytes);
#endif
  return peaks;
}

}  // namespace nmpack
