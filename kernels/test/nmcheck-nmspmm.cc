// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// f32-nmspmm against a reference in double precision.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "xnnpack/common.h"
#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/nmspmm.h"
#include "nmcheck.h"

namespace nmcheck {
namespace {

// Columns in most tests: enough for every way through the kernels' loops.
constexpr size_t kMaxColumns = 600;
// Strips of one call: the kernels treat the first, those between and a short last one differently.
constexpr size_t kMaxStrips = 3;

struct SpMM {
  const char* name;
  xnn_f32_nmspmm_minmax_ukernel_fn ukernel;
  size_t mr;
  size_t nr;
  bool dense;
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
};

void CheckSpMM(const SpMM& k, const SpMMShape& s, const union xnn_f32_minmax_params& params, Random& random) {
  static Arena a_arena(4 << 20), offset_arena(1 << 14), w_arena(1 << 17), residual_arena(1 << 16), c_arena(1 << 16);

  // Columns lie in any order and may be shared; dense ones are one distance apart.
  const size_t strips = (s.nc - 1) / k.nr + 1;
  const size_t last = s.nc - (strips - 1) * k.nr;
  const size_t stride = (s.packed ? std::min(s.nc, k.nr) : s.nc) + random.Size(0, 3);
  const size_t planes = std::max<size_t>(s.kc, 1);
  const size_t strip_stride = s.packed ? planes * stride + random.Size(0, 3) : k.nr;
  const bool at_end = !random.Chance(3);
  const size_t size = (strips - 1) * strip_stride + (planes - 1) * stride + last;
  float* data = a_arena.Take<float>(size, at_end);
  for (size_t i = 0; i < size; i++) data[i] = random.Float();
  // The first pixel of the strip may lie anywhere, before and behind columns.
  const size_t origin = k.dense ? 0 : random.Size(0, planes - 1) * stride;
  const bool backwards = k.dense && random.Chance(2);
  const float* a = data + (backwards ? (planes - 1) * stride : origin);
  std::vector<int32_t> distances(s.kc);
  for (size_t i = 0; i < s.kc; i++) {
    const size_t plane = k.dense ? (backwards ? planes - 1 - i : i) : random.Size(0, planes - 1);
    distances[i] = static_cast<int32_t>((data + plane * stride - a) * static_cast<ptrdiff_t>(sizeof(float)));
  }
  const size_t num_offsets = k.dense ? 1 : s.kc + XNN_EXTRA_NMSPMM_OFFSETS;
  int32_t* offsets = offset_arena.Take<int32_t>(num_offsets);
  if (k.dense) {
    offsets[0] = static_cast<int32_t>(stride * sizeof(float)) * (backwards ? -1 : 1);
  } else {
    std::copy(distances.begin(), distances.end(), offsets);
    for (size_t i = s.kc; i < num_offsets; i++) {
      offsets[i] = static_cast<int32_t>((data - a) * static_cast<ptrdiff_t>(sizeof(float)));
    }
  }
  // With one strip nothing may be read there.
  const size_t a_stride = strips == 1 && random.Chance(2) ? SIZE_MAX / 2 : strip_stride * sizeof(float);
  const size_t num_weights = k.mr * (s.kc + 1);
  float* w = w_arena.Take<float>(num_weights, !random.Chance(3));
  for (size_t i = 0; i < num_weights; i++) w[i] = random.Float();

  const size_t c_stride = s.nc + s.gap;
  const size_t c_size = (k.mr - 1) * c_stride + s.nc;
  c_arena.Poison();
  float* c = c_arena.Take<float>(c_size, !random.Chance(3));
  const float* residual = nullptr;
  std::vector<float> added(k.mr * s.nc, 0.0f);
  if (s.residual) {
    float* r = s.in_place ? c : residual_arena.Take<float>(c_size);
    for (size_t m = 0; m < k.mr; m++) {
      for (size_t n = 0; n < s.nc; n++) added[m * s.nc + n] = r[m * c_stride + n] = random.Float();
    }
    residual = r;
  }

  Case run(k.name, Shape({{"nc", s.nc}, {"kc", s.kc}, {"packed", s.packed}, {"residual", s.residual},
                          {"in_place", s.in_place}, {"gap", s.gap}, {"min", params.scalar.min}, {"max", params.scalar.max}}));
  BreakVectorState();
  k.ukernel(s.nc, s.kc, a, a_stride, offsets, w, residual, c, c_stride * sizeof(float), &params);

  for (size_t m = 0; m < k.mr; m++) {
    for (size_t n = 0; n < s.nc; n++) {
      const float* pixel = a + (n / k.nr) * strip_stride + n % k.nr;
      double expected = static_cast<double>(w[m]) + added[m * s.nc + n];
      double magnitude = std::abs(w[m]) + std::abs(added[m * s.nc + n]);
      for (size_t i = 0; i < s.kc; i++) {
        const double product = static_cast<double>(pixel[distances[i] / static_cast<ptrdiff_t>(sizeof(float))]) *
                               w[(i + 1) * k.mr + m];
        expected += product;
        magnitude += std::abs(product);
      }
      expected = std::min(std::max<double>(expected, params.scalar.min), static_cast<double>(params.scalar.max));
      run.Near(c[m * c_stride + n], expected, magnitude * (s.kc + 3) * std::numeric_limits<float>::epsilon(), m, n);
    }
  }
  if (!c_arena.IsPoisonedBut(c, k.mr, c_stride * sizeof(float), s.nc * sizeof(float))) {
    run.Fail("wrote outside of the output");
  }
}

void CheckAll(const SpMM& k, Random& random, size_t rounds) {
  const union xnn_f32_minmax_params none = {
      {-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()}};
  for (size_t nc = 1; nc <= k.nr; nc += std::max<size_t>(k.nr / 64, 1)) {
    CheckSpMM(k, {nc, 5, false, nc % 2 == 0, nc % 4 == 0, 0}, none, random);
  }
  for (size_t kc : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 64, 577}) {
    for (size_t nc : {k.nr, k.nr / 2 + 1}) CheckSpMM(k, {nc, kc, false, false, false, 0}, none, random);
  }
  for (size_t nc : {k.nr + 1, 2 * k.nr, kMaxStrips * k.nr - 1}) {
    for (size_t kc : {0, 1, 2, 9}) {
      // Packed or not, without residual, with one elsewhere and with one in place.
      for (size_t kind = 0; kind < 6; kind++) {
        const SpMMShape shape = {nc, kc, kind % 2 != 0, kind >= 2, kind >= 4, 0};
        CheckSpMM(k, shape, kc == 9 ? DrawBounds(random) : none, random);
      }
    }
  }
  for (size_t round = 0; round < rounds; round++) {
    const bool residual = random.Chance(2);
    const size_t nc = random.Chance(3) ? k.nr * random.Size(1, kMaxStrips) : random.Size(1, kMaxStrips * k.nr);
    const SpMMShape shape = {
        nc, random.Chance(8) ? random.Size(0, kMaxColumns) : random.Size(0, 24), random.Chance(2), residual,
        residual && random.Chance(2), random.Chance(2) ? 0 : random.Size(1, 9)};
    CheckSpMM(k, shape, DrawBounds(random), random);
  }
}

std::vector<Timing> TimeSpMM(const SpMM& k) {
  std::vector<Timing> timings;
  for (size_t kc : {8, 64, 144, 576}) {
    struct Data {
      AlignedVector<float> a, w, c;
      std::vector<int32_t> offsets;
      union xnn_f32_minmax_params params;
    };
    auto data = std::make_shared<Data>();
    // As pruned to 1 of 4: the strip has four times the columns.
    const size_t columns = k.dense ? kc : 4 * kc;
    data->a.assign(columns * k.nr, 0.5f);
    data->w.assign(k.mr * (kc + 1), 0.25f);
    data->c.assign(k.mr * k.nr, 0.0f);
    for (size_t i = 0; i < kc + XNN_EXTRA_NMSPMM_OFFSETS; i++) {
      const size_t column = k.dense ? 1 : std::min(4 * i + i % 3, columns - 1);
      data->offsets.push_back(static_cast<int32_t>(column * k.nr * sizeof(float)));
    }
    data->params = {{0.0f, std::numeric_limits<float>::infinity()}};
    const SpMM kernel = k;
    timings.push_back({Shape({{"nc", k.nr}, {"kc", kc}}), 2.0 * k.mr * k.nr * kc,
                       sizeof(float) * (k.nr * (kc + k.mr) + k.mr * (kc + 1.0)), [kernel, data, kc] {
                         kernel.ukernel(kernel.nr, kc, data->a.data(), 0, data->offsets.data(), data->w.data(),
                                        nullptr, data->c.data(), kernel.nr * sizeof(float), &data->params);
                       }});
  }
  return timings;
}

}  // namespace

void AddNMSpMM(std::vector<Ukernel>& ukernels) {
  const auto add = [&](uint64_t arch_flags, const SpMM& k) {
    ukernels.push_back({k.name, arch_flags, [k](Random& random, size_t rounds) { CheckAll(k, random, rounds); },
                        [k] { return TimeSpMM(k); }});
  };
#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, dense) \
  static_assert((mr) <= XNN_MAX_NMSPMM_ROWS, #ukernel);                \
  add(arch_flags, {#ukernel, ukernel, mr, (nr) * (nr_scale), dense});
#include "f32-nmspmm/f32-nmspmm-minmax.h"
#undef XNN_UKERNEL
}

}  // namespace nmcheck
