// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// qs8-qc8w-nmspmm against a reference that computes one sum after another.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/microparams-init.h"
#include "xnnpack/nmspmm.h"
#include "nmcheck-quantized.h"
#include "nmcheck.h"

namespace nmcheck {
namespace {

constexpr size_t kMaxColumns = 600;
constexpr size_t kMaxStrips = 3;

struct SpMM {
  const char* name;
  xnn_qs8_qc8w_nmspmm_minmax_fp32_ukernel_fn ukernel;
  size_t mr;
  size_t nr;
  size_t kr;
  size_t log2_weight_size;
  int32_t input_offset;
};

struct SpMMShape {
  size_t nc;
  size_t kc;
  // Strips lie apart, each with its own columns; else they follow each other in each column.
  bool packed;
  // Elements between the rows of the output beyond nc.
  size_t gap;
  // Everything is as far from 0 as it can be.
  bool extreme;
};

struct Weights {
  std::vector<int32_t> biases;
  std::vector<float> scales;
  // By column.
  std::vector<int8_t> values;
};

Weights DrawWeights(const SpMM& k, const SpMMShape& s, Random& random) {
  Weights weights;
  for (size_t m = 0; m < k.mr; m++) {
    weights.biases.push_back(DrawBias(random));
    weights.scales.push_back(DrawScale(random));
  }
  for (size_t i = 0; i < k.mr * s.kc; i++) weights.values.push_back(DrawByte(random, s.extreme));
  return weights;
}

// As micro-kernels read them.
std::vector<uint8_t> PackWeights(const SpMM& k, size_t kc, const Weights& weights) {
  const size_t groups = (kc + k.kr - 1) / k.kr;
  const size_t head = k.mr * (sizeof(int32_t) + sizeof(float));
  std::vector<uint8_t> packed(head + ((groups * k.kr * k.mr) << k.log2_weight_size));
  std::vector<int32_t> biases = weights.biases;
  for (size_t i = 0; i < k.mr * kc; i++) biases[i % k.mr] -= k.input_offset * weights.values[i];
  std::memcpy(packed.data(), biases.data(), k.mr * sizeof(int32_t));
  std::memcpy(packed.data() + k.mr * sizeof(int32_t), weights.scales.data(), k.mr * sizeof(float));
  for (size_t i = 0; i < kc; i++) {
    for (size_t m = 0; m < k.mr; m++) {
      const int16_t wide = weights.values[i * k.mr + m];
      const int8_t narrow = weights.values[i * k.mr + m];
      const size_t index = (i / k.kr * k.mr + m) * k.kr + i % k.kr;
      uint8_t* to = packed.data() + head + (index << k.log2_weight_size);
      if (k.log2_weight_size == 0) {
        std::memcpy(to, &narrow, sizeof(narrow));
      } else {
        std::memcpy(to, &wide, sizeof(wide));
      }
    }
  }
  return packed;
}

void CheckSpMM(const SpMM& k, const SpMMShape& s, Random& random) {
  static Arena a_arena(1 << 20), offset_arena(1 << 14), w_arena(1 << 17), c_arena(1 << 16);

  const size_t strips = (s.nc - 1) / k.nr + 1;
  const size_t last = s.nc - (strips - 1) * k.nr;
  const size_t stride = (s.packed ? std::min(s.nc, k.nr) : s.nc) + random.Size(0, 3);
  const size_t planes = std::max<size_t>(s.kc, 1);
  const size_t strip_stride = s.packed ? planes * stride + random.Size(0, 3) : k.nr;
  const size_t size = (strips - 1) * strip_stride + (planes - 1) * stride + last;
  int8_t* data = a_arena.Take<int8_t>(size + XNN_EXTRA_BYTES, !random.Chance(3));
  for (size_t i = 0; i < size; i++) data[i] = DrawByte(random, s.extreme);
  const int8_t* a = data + random.Size(0, planes - 1) * stride;
  int32_t* offsets = offset_arena.Take<int32_t>(s.kc + XNN_EXTRA_NMSPMM_OFFSETS);
  for (size_t i = 0; i < s.kc + XNN_EXTRA_NMSPMM_OFFSETS; i++) {
    const size_t plane = i < s.kc ? random.Size(0, planes - 1) : 0;
    offsets[i] = static_cast<int32_t>(data + plane * stride - a);
  }
  const size_t a_stride = strips == 1 && random.Chance(2) ? SIZE_MAX / 2 : strip_stride;
  const Weights weights = DrawWeights(k, s, random);
  const std::vector<uint8_t> packed = PackWeights(k, s.kc, weights);
  // Whole words, so that their end is where the memory ends.
  uint32_t* w = w_arena.Take<uint32_t>((packed.size() + 3) / 4, !random.Chance(3));
  std::memcpy(w, packed.data(), packed.size());

  const size_t c_stride = s.nc + s.gap;
  c_arena.Poison();
  int8_t* c = c_arena.Take<int8_t>((k.mr - 1) * c_stride + s.nc, !random.Chance(3));
  const Requantization to_bytes(random);

  Case run(k.name, Shape({{"nc", s.nc}, {"kc", s.kc}, {"packed", s.packed}, {"gap", s.gap}, {"extreme", s.extreme},
                          {"zero_point", to_bytes.zero_point}, {"min", to_bytes.min}, {"max", to_bytes.max}}));
  BreakVectorState();
  k.ukernel(s.nc, s.kc, a, a_stride, offsets, w, nullptr, c, c_stride, &to_bytes.params);

  for (size_t m = 0; m < k.mr && !run.failed(); m++) {
    for (size_t n = 0; n < s.nc && !run.failed(); n++) {
      const int8_t* pixel = a + (n / k.nr) * strip_stride + n % k.nr;
      int32_t sum = weights.biases[m];
      for (size_t i = 0; i < s.kc; i++) sum += pixel[offsets[i]] * weights.values[i * k.mr + m];
      run.Near(c[m * c_stride + n], to_bytes.Apply(sum, weights.scales[m]), 0.0, m, n);
    }
  }
  if (!c_arena.IsPoisonedBut(c, k.mr, c_stride, s.nc)) run.Fail("wrote outside of the output");
}

void CheckAll(const SpMM& k, Random& random, size_t rounds) {
  for (size_t nc = 1; nc <= k.nr; nc += std::max<size_t>(k.nr / 64, 1)) {
    CheckSpMM(k, {nc, 5, false, 0, false}, random);
  }
  for (size_t kc : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 64, 577}) {
    for (size_t nc : {k.nr, k.nr / 2 + 1}) {
      for (bool extreme : {false, true}) {
        // Many columns take the reference long: once is enough.
        if (kc <= 64 || (nc != k.nr && extreme)) CheckSpMM(k, {nc, kc, false, 0, extreme}, random);
      }
    }
  }
  for (size_t round = 0; round < rounds; round++) {
    const size_t nc = random.Chance(3) ? k.nr * random.Size(1, kMaxStrips) : random.Size(1, kMaxStrips * k.nr);
    CheckSpMM(k, {nc, random.Chance(8) ? random.Size(0, kMaxColumns) : random.Size(0, 24), random.Chance(2),
                  random.Chance(2) ? 0 : random.Size(1, 9), random.Chance(4)}, random);
  }
}

std::vector<Timing> TimeSpMM(const SpMM& k) {
  std::vector<Timing> timings;
  for (size_t kc : {8, 64, 144, 576}) {
    struct Data {
      AlignedVector<int8_t> a, c;
      AlignedVector<uint32_t> w;
      std::vector<int32_t> offsets;
      union xnn_qs8_qc8w_conv_minmax_params params;
    };
    auto data = std::make_shared<Data>();
    // As pruned to 1 of 4: the strip has four times the columns.
    const size_t columns = 4 * kc;
    data->a.assign(columns * k.nr + XNN_EXTRA_BYTES, 1);
    data->w.assign(k.mr * (kc + 8), 1);
    // Behind the biases; numbers that are not normal would take longer.
    std::fill_n(reinterpret_cast<float*>(data->w.data()) + k.mr, k.mr, 0.01f);
    data->c.assign(k.mr * k.nr, 0);
    for (size_t i = 0; i < kc + XNN_EXTRA_NMSPMM_OFFSETS; i++) {
      data->offsets.push_back(static_cast<int32_t>(std::min(4 * i + i % 3, columns - 1) * k.nr));
    }
    xnn_init_qs8_qc8w_conv_minmax_fp32_scalar_params(&data->params, 0, INT8_MIN, INT8_MAX);
    const SpMM kernel = k;
    const double weight_size = static_cast<double>(size_t{1} << k.log2_weight_size);
    timings.push_back({Shape({{"nc", k.nr}, {"kc", kc}}), 2.0 * k.mr * k.nr * kc,
                       k.nr * (kc + k.mr) + k.mr * (kc * weight_size + 8.0), [kernel, data, kc] {
                         kernel.ukernel(kernel.nr, kc, data->a.data(), 0, data->offsets.data(), data->w.data(),
                                        nullptr, data->c.data(), kernel.nr, &data->params);
                       }});
  }
  return timings;
}

}  // namespace

void AddQuantizedNMSpMM(std::vector<Ukernel>& ukernels) {
  const auto add = [&](uint64_t arch_flags, const SpMM& k) {
    ukernels.push_back({k.name, arch_flags, [k](Random& random, size_t rounds) { CheckAll(k, random, rounds); },
                        [k] { return TimeSpMM(k); }});
  };
#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, kr, log2_weight_size, input_offset) \
  static_assert((mr) <= XNN_MAX_NMSPMM_ROWS, #ukernel);                          \
  add(arch_flags, {#ukernel, ukernel, mr, (nr) * (nr_scale), kr, log2_weight_size, input_offset});
#include "qs8-qc8w-nmspmm/qs8-qc8w-nmspmm-minmax-fp32.h"
#undef XNN_UKERNEL
}

}  // namespace nmcheck
