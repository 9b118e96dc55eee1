// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// f32-nmspmm and f16-nmspmm against a reference in double precision, of which they may be as far as their sums are
// rounded, step by step.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/math.h"
#include "xnnpack/microparams.h"
#include "xnnpack/nmspmm.h"
#include "nmcheck.h"
#include "nmcheck-sums.h"

namespace nmcheck {
namespace {

// Columns in most tests: enough for every way through the kernels' loops.
constexpr size_t kMaxColumns = 600;
// Strips of one call: the kernels treat the first, those between and a short last one differently.
constexpr size_t kMaxStrips = 3;

template <typename T>
using SpMMUkernel = std::conditional_t<
    sizeof(T) == sizeof(float), xnn_f32_nmspmm_minmax_ukernel_fn, xnn_f16_nmspmm_minmax_ukernel_fn>;

template <typename T>
struct SpMM {
  const char* name;
  SpMMUkernel<T> ukernel;
  size_t mr;
  size_t nr;
  bool dense;
  bool f32_sums;
};

struct SpMMShape {
  size_t nc;
  size_t kc;
  // Strips lie apart, each with its own columns; else they follow each other in each column.
  bool packed;
  bool residual;
  bool in_place;
  // Elements between the rows of the output beyond nc.
  size_t gap;
  // Weights are smaller by that power of two: so that products underflow.
  size_t shift;
};

template <typename T>
void CheckSpMM(const SpMM<T>& k, const SpMMShape& s, const union xnn_f32_minmax_params& bounds, Random& random) {
  static Arena a_arena(4 << 20), offset_arena(1 << 14), w_arena(1 << 17), residual_arena(1 << 16), c_arena(1 << 16);

  // Columns lie in any order and may be shared; dense ones are one distance apart.
  const size_t strips = (s.nc - 1) / k.nr + 1;
  const size_t last = s.nc - (strips - 1) * k.nr;
  const size_t stride = (s.packed ? std::min(s.nc, k.nr) : s.nc) + random.Size(0, 3);
  const size_t planes = std::max<size_t>(s.kc, 1);
  const size_t strip_stride = s.packed ? planes * stride + random.Size(0, 3) : k.nr;
  const bool at_end = !random.Chance(3);
  const size_t size = (strips - 1) * strip_stride + (planes - 1) * stride + last;
  T* data = a_arena.Take<T>(size, at_end);
  for (size_t i = 0; i < size; i++) data[i] = T(random.Float());
  // The first pixel of the strip may lie anywhere, before and behind columns.
  const size_t origin = k.dense ? 0 : random.Size(0, planes - 1) * stride;
  const bool backwards = k.dense && random.Chance(2);
  const T* a = data + (backwards ? (planes - 1) * stride : origin);
  std::vector<int32_t> distances(s.kc);
  for (size_t i = 0; i < s.kc; i++) {
    const size_t plane = k.dense ? (backwards ? planes - 1 - i : i) : random.Size(0, planes - 1);
    distances[i] = static_cast<int32_t>((data + plane * stride - a) * static_cast<ptrdiff_t>(sizeof(T)));
  }
  const size_t num_offsets = k.dense ? 1 : s.kc + XNN_EXTRA_NMSPMM_OFFSETS;
  int32_t* offsets = offset_arena.Take<int32_t>(num_offsets);
  if (k.dense) {
    offsets[0] = static_cast<int32_t>(stride * sizeof(T)) * (backwards ? -1 : 1);
  } else {
    std::copy(distances.begin(), distances.end(), offsets);
    for (size_t i = s.kc; i < num_offsets; i++) {
      offsets[i] = static_cast<int32_t>((data - a) * static_cast<ptrdiff_t>(sizeof(T)));
    }
  }
  // With one strip nothing may be read there.
  const size_t a_stride = strips == 1 && random.Chance(2) ? SIZE_MAX / 2 : strip_stride * sizeof(T);
  const size_t num_weights = k.mr * (s.kc + 1);
  T* w = w_arena.Take<T>(num_weights, !random.Chance(3));
  for (size_t i = 0; i < num_weights; i++) w[i] = T(std::ldexp(random.Float(), -static_cast<int>(s.shift)));

  const size_t c_stride = s.nc + s.gap;
  const size_t c_size = (k.mr - 1) * c_stride + s.nc;
  c_arena.Poison();
  T* c = c_arena.Take<T>(c_size, !random.Chance(3));
  const T* residual = nullptr;
  std::vector<float> added(k.mr * s.nc, 0.0f);
  if (s.residual) {
    T* r = s.in_place ? c : residual_arena.Take<T>(c_size);
    for (size_t m = 0; m < k.mr; m++) {
      for (size_t n = 0; n < s.nc; n++) added[m * s.nc + n] = r[m * c_stride + n] = T(random.Float());
    }
    residual = r;
  }

  Case run(k.name, Shape({{"nc", s.nc}, {"kc", s.kc}, {"packed", s.packed}, {"residual", s.residual},
                          {"in_place", s.in_place}, {"gap", s.gap}, {"shift", s.shift}, {"min", bounds.scalar.min}, {"max", bounds.scalar.max}}));
  const typename Element<T>::Params params = {{T(bounds.scalar.min), T(bounds.scalar.max)}};
  BreakVectorState();
  k.ukernel(s.nc, s.kc, a, a_stride, offsets, w, residual, c, c_stride * sizeof(T), &params);

  const std::vector<float> pixels = ToFloats(data, size), weights = ToFloats(w, num_weights);
  for (size_t m = 0; m < k.mr; m++) {
    for (size_t n = 0; n < s.nc; n++) {
      const float* pixel = pixels.data() + (a - data) + (n / k.nr) * strip_stride + n % k.nr;
      Sum sum(weights[m], added[m * s.nc + n]);
      for (size_t i = 0; i < s.kc; i++) {
        sum.Add(static_cast<double>(pixel[distances[i] / static_cast<ptrdiff_t>(sizeof(T))]) * weights[(i + 1) * k.mr + m]);
      }
      const double expected =
          std::min(std::max<double>(sum.value(), bounds.scalar.min), static_cast<double>(bounds.scalar.max));
      run.Near(c[m * c_stride + n], expected, GetError<T>(sum, k.f32_sums), m, n);
    }
  }
  if (!c_arena.IsPoisonedBut(c, k.mr, c_stride * sizeof(T), s.nc * sizeof(T))) {
    run.Fail("wrote outside of the output");
  }
}

template <typename T>
void CheckAll(const SpMM<T>& k, Random& random, size_t rounds) {
  const union xnn_f32_minmax_params none = {
      {-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()}};
  for (size_t nc = 1; nc <= k.nr; nc += std::max<size_t>(k.nr / 64, 1)) {
    CheckSpMM(k, {nc, 5, false, nc % 2 == 0, nc % 4 == 0, 0, 0}, none, random);
  }
  for (size_t kc : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 64, 577}) {
    // Many columns take the reference long: once is enough.
    if (kc <= 64) CheckSpMM(k, {k.nr, kc, false, false, false, 0, 0}, none, random);
    CheckSpMM(k, {k.nr / 2 + 1, kc, false, false, false, 0, 0}, none, random);
  }
  for (size_t nc : {k.nr + 1, 2 * k.nr, kMaxStrips * k.nr - 1}) {
    for (size_t kc : {0, 1, 2, 9}) {
      // Packed or not, without residual, with one elsewhere and with one in place.
      for (size_t kind = 0; kind < 6; kind++) {
        const SpMMShape shape = {nc, kc, kind % 2 != 0, kind >= 2, kind >= 4, 0, 0};
        CheckSpMM(k, shape, kc == 9 ? DrawBounds(random) : none, random);
      }
    }
  }
  for (size_t round = 0; round < rounds; round++) {
    const bool residual = random.Chance(2);
    const size_t nc = random.Chance(3) ? k.nr * random.Size(1, kMaxStrips) : random.Size(1, kMaxStrips * k.nr);
    const SpMMShape shape = {
        nc, random.Chance(8) ? random.Size(0, kMaxColumns) : random.Size(0, 24), random.Chance(2), residual,
        residual && random.Chance(2), random.Chance(2) ? 0 : random.Size(1, 9), random.Chance(3) ? random.Size(1, 20) : 0};
    CheckSpMM(k, shape, DrawBounds(random), random);
  }
}

template <typename T>
std::vector<Timing> TimeSpMM(const SpMM<T>& k) {
  std::vector<Timing> timings;
  for (size_t kc : {8, 64, 144, 576}) {
    struct Data {
      AlignedVector<T> a, w, c;
      std::vector<int32_t> offsets;
      typename Element<T>::Params params;
    };
    auto data = std::make_shared<Data>();
    // As pruned to 1 of 4: the strip has four times the columns.
    const size_t columns = k.dense ? kc : 4 * kc;
    data->a.assign(columns * k.nr, T(0.5f));
    data->w.assign(k.mr * (kc + 1), T(0.25f));
    data->c.assign(k.mr * k.nr, T(0.0f));
    for (size_t i = 0; i < kc + XNN_EXTRA_NMSPMM_OFFSETS; i++) {
      const size_t column = k.dense ? 1 : std::min(4 * i + i % 3, columns - 1);
      data->offsets.push_back(static_cast<int32_t>(column * k.nr * sizeof(T)));
    }
    data->params = {{T(0.0f), T(std::numeric_limits<float>::infinity())}};
    const SpMM<T> kernel = k;
    timings.push_back({Shape({{"nc", k.nr}, {"kc", kc}}), 2.0 * k.mr * k.nr * kc,
                       sizeof(T) * (k.nr * (kc + k.mr) + k.mr * (kc + 1.0)), [kernel, data, kc] {
                         kernel.ukernel(kernel.nr, kc, data->a.data(), 0, data->offsets.data(), data->w.data(),
                                        nullptr, data->c.data(), kernel.nr * sizeof(T), &data->params);
                       }});
  }
  return timings;
}

template <typename T>
void Add(std::vector<Ukernel>& ukernels, uint64_t arch_flags, const SpMM<T>& k) {
  ukernels.push_back({k.name, arch_flags, [k](Random& random, size_t rounds) { CheckAll(k, random, rounds); },
                      [k] { return TimeSpMM(k); }});
}

}  // namespace

void AddNMSpMM(std::vector<Ukernel>& ukernels) {
#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, dense) \
  static_assert((mr) <= XNN_MAX_NMSPMM_ROWS, #ukernel);           \
  Add<float>(ukernels, arch_flags, {#ukernel, ukernel, mr, (nr) * (nr_scale), dense, true});
#include "f32-nmspmm/f32-nmspmm-minmax.h"
#undef XNN_UKERNEL
#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, dense, f32_sums) \
  static_assert((mr) <= XNN_MAX_NMSPMM_ROWS, #ukernel);                     \
  Add<xnn_float16>(ukernels, arch_flags, {#ukernel, ukernel, mr, (nr) * (nr_scale), dense, f32_sums});
#include "f16-nmspmm/f16-nmspmm-minmax.h"
#undef XNN_UKERNEL
}

}  // namespace nmcheck
