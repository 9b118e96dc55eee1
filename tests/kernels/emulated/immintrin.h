// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// In place of the compiler's header: AVX-512 and AVX-VNNI as SIMDe computes them, with the instructions that are there.
// Only what micro-kernels of ours use has a name here. Masked loads and stores, which SIMDe has not, touch no lane that the
// mask leaves out.

#pragma once

#include_next <immintrin.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <simde/x86/avx512.h>

#define __m512 simde__m512
#define __m512i simde__m512i
#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32
#define _mm512_add_epi32 simde_mm512_add_epi32
#define _mm512_add_ps simde_mm512_add_ps
#define _mm512_adds_epi16 simde_mm512_adds_epi16
#define _mm512_castsi512_ps simde_mm512_castsi512_ps
#define _mm512_cvtsepi32_epi8 simde_mm512_cvtsepi32_epi8
#define _mm512_dpbusd_epi32 simde_mm512_dpbusd_epi32
#define _mm512_dpwssd_epi32 simde_mm512_dpwssd_epi32
#define _mm512_fmadd_ps simde_mm512_fmadd_ps
#define _mm512_loadu_ps simde_mm512_loadu_ps
#define _mm512_loadu_si512 simde_mm512_loadu_si512
#define _mm512_max_epi8 simde_mm512_max_epi8
#define _mm512_max_ps simde_mm512_max_ps
#define _mm512_min_epi8 simde_mm512_min_epi8
#define _mm512_min_ps simde_mm512_min_ps
#define _mm512_mul_ps simde_mm512_mul_ps
#define _mm512_packs_epi16 simde_mm512_packs_epi16
#define _mm512_packs_epi32 simde_mm512_packs_epi32
#define _mm512_permutexvar_epi32 simde_mm512_permutexvar_epi32
#define _mm512_set1_epi16 simde_mm512_set1_epi16
#define _mm512_set1_epi32 simde_mm512_set1_epi32
#define _mm512_set1_epi8 simde_mm512_set1_epi8
#define _mm512_set1_ps simde_mm512_set1_ps
// The compiler has it as a macro.
#undef _mm512_setr_epi32
#define _mm512_setr_epi32 simde_mm512_setr_epi32
#define _mm512_setzero_ps simde_mm512_setzero_ps
#define _mm512_setzero_si512 simde_mm512_setzero_si512
#define _mm512_storeu_ps simde_mm512_storeu_ps
#define _mm512_storeu_si512 simde_mm512_storeu_si512
#define _mm512_unpackhi_epi16 simde_mm512_unpackhi_epi16
#define _mm512_unpackhi_epi8 simde_mm512_unpackhi_epi8
#define _mm512_unpacklo_epi16 simde_mm512_unpacklo_epi16
#define _mm512_unpacklo_epi8 simde_mm512_unpacklo_epi8
#define _mm512_xor_si512 simde_mm512_xor_si512

#define _cvtu32_mask16(mask) ((__mmask16) (mask))
#define _cvtmask16_u32(mask) ((uint32_t) (mask))
#define _cvtu64_mask64(mask) ((__mmask64) (mask))

// Lane i of the result is `value` where the mask has bit i, else that of `other`.
#define NMPACK_LANES(lanes, type, element, other, mask, value) \
  element result[lanes];                                       \
  type v = other;                                              \
  memcpy(result, &v, sizeof(result));                          \
  for (int i = 0; i < lanes; i++) {                            \
    if (((mask) >> i & 1) != 0) {                              \
      result[i] = value;                                       \
    }                                                          \
  }                                                            \
  memcpy(&v, result, sizeof(v));                               \
  return v

#define _mm512_sra_epi32 nmpack_sra_epi32
static inline __m512i nmpack_sra_epi32(__m512i of, __m128i count)
{
  __m128i quarters[4];
  memcpy(quarters, &of, sizeof(of));
  for (int i = 0; i < 4; i++) {
    quarters[i] = _mm_sra_epi32(quarters[i], count);
  }
  memcpy(&of, quarters, sizeof(of));
  return of;
}

#define _mm512_mask_loadu_ps nmpack_mask_loadu_ps
static inline __m512 nmpack_mask_loadu_ps(__m512 other, __mmask16 mask, const void* from)
{
  NMPACK_LANES(16, __m512, float, other, mask, ((const float*) from)[i]);
}

#define _mm512_maskz_loadu_ps(mask, from) nmpack_mask_loadu_ps(simde_mm512_setzero_ps(), mask, from)

#define _mm512_maskz_loadu_epi32 nmpack_maskz_loadu_epi32
static inline __m512i nmpack_maskz_loadu_epi32(__mmask16 mask, const void* from)
{
  NMPACK_LANES(16, __m512i, int32_t, simde_mm512_setzero_si512(), mask, ((const int32_t*) from)[i]);
}

#define _mm512_maskz_loadu_epi8 nmpack_maskz_loadu_epi8
static inline __m512i nmpack_maskz_loadu_epi8(__mmask64 mask, const void* from)
{
  NMPACK_LANES(64, __m512i, int8_t, simde_mm512_setzero_si512(), mask, ((const int8_t*) from)[i]);
}

#undef _mm512_mask_i32gather_ps
#define _mm512_mask_i32gather_ps nmpack_mask_i32gather_ps
static inline __m512 nmpack_mask_i32gather_ps(__m512 other, __mmask16 mask, __m512i index, const void* from, int scale)
{
  int32_t indices[16];
  memcpy(indices, &index, sizeof(indices));
  NMPACK_LANES(
    16, __m512, float, other, mask, *(const float*) ((uintptr_t) from + (intptr_t) indices[i] * scale));
}

#define _mm512_mask_storeu_ps nmpack_mask_storeu_ps
static inline void nmpack_mask_storeu_ps(void* to, __mmask16 mask, __m512 v)
{
  for (int i = 0; i < 16; i++) {
    if ((mask >> i & 1) != 0) {
      memcpy((float*) to + i, (const float*) &v + i, sizeof(float));
    }
  }
}

#define _mm512_mask_storeu_epi8 nmpack_mask_storeu_epi8
static inline void nmpack_mask_storeu_epi8(void* to, __mmask64 mask, __m512i v)
{
  for (int i = 0; i < 64; i++) {
    if ((mask >> i & 1) != 0) {
      memcpy((int8_t*) to + i, (const int8_t*) &v + i, 1);
    }
  }
}

#define _mm_mask_storeu_epi8 nmpack_mask_storeu_16_epi8
static inline void nmpack_mask_storeu_16_epi8(void* to, __mmask16 mask, __m128i v)
{
  for (int i = 0; i < 16; i++) {
    if ((mask >> i & 1) != 0) {
      memcpy((int8_t*) to + i, (const int8_t*) &v + i, 1);
    }
  }
}

#undef _mm512_mask_cmplt_epu32_mask
#define _mm512_mask_cmplt_epu32_mask nmpack_mask_cmplt_epu32_mask
static inline __mmask16 nmpack_mask_cmplt_epu32_mask(__mmask16 mask, __m512i a, __m512i b)
{
  return mask & (__mmask16) ~simde_mm512_cmple_epu32_mask(b, a);
}

// Halves by the conversions of AVX: to nearest, and INT32_MIN for what fits no integer.
#define _mm512_cvtepi32_ps nmpack_cvtepi32_ps
static inline __m512 nmpack_cvtepi32_ps(__m512i v)
{
  __m512 result;
  for (int i = 0; i < 2; i++) {
    _mm256_storeu_ps((float*) &result + 8 * i, _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i*) &v + i)));
  }
  return result;
}

#define _mm512_cvtps_epi32 nmpack_cvtps_epi32
static inline __m512i nmpack_cvtps_epi32(__m512 v)
{
  __m512i result;
  for (int i = 0; i < 2; i++) {
    _mm256_storeu_si256((__m256i*) &result + i, _mm256_cvtps_epi32(_mm256_loadu_ps((const float*) &v + 8 * i)));
  }
  return result;
}
