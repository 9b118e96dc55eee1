// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// f32-nmconv against a reference in double precision.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nmconv.h"
#include "nmcheck.h"

namespace nmcheck {
namespace {

struct Conv {
  const char* name;
  xnn_f32_nmconv_minmax_ukernel_fn ukernel;
  size_t mr;
  size_t nr;
};

struct ConvShape {
  size_t mr;
  size_t nc;
  // Kept columns of a tile: this many, or at most so many, drawn.
  size_t kc;
  bool exact;
  // Elements between output pixels beyond nc.
  size_t gap;
};

void CheckConv(const Conv& k, const ConvShape& s, const union xnn_f32_minmax_params& params, Random& random) {
  static Arena input_arena(1 << 20), pointer_arena(1 << 12), offset_arena(1 << 14), start_arena(1 << 14),
      w_arena(1 << 22), residual_arena(1 << 17), c_arena(1 << 17);

  const size_t tiles = (s.nc + k.nr - 1) / k.nr;
  uint32_t* starts = start_arena.Take<uint32_t>(tiles + 1);
  starts[0] = 0;
  for (size_t t = 0; t < tiles; t++) {
    starts[t + 1] = starts[t] + static_cast<uint32_t>(s.exact ? s.kc : random.Size(0, s.kc));
  }
  const size_t columns = starts[tiles];
  // Pixels lie anywhere; columns before and behind them.
  const size_t reach = std::max<size_t>(s.kc, 1) + 3;
  const size_t input_size = reach + 3 * s.mr;
  float* input = input_arena.Take<float>(input_size, !random.Chance(3));
  for (size_t i = 0; i < input_size; i++) input[i] = random.Float();
  const size_t origin = random.Size(0, reach - 1);
  const float** a = pointer_arena.Take<const float*>(s.mr);
  for (size_t m = 0; m < s.mr; m++) a[m] = input + origin + random.Size(0, 3 * s.mr);
  int32_t* offsets = offset_arena.Take<int32_t>(columns);
  for (size_t i = 0; i < columns; i++) {
    offsets[i] = (static_cast<int32_t>(random.Size(0, reach - 1)) - static_cast<int32_t>(origin)) *
                 static_cast<int32_t>(sizeof(float));
  }
  const size_t num_weights = k.nr * (tiles + columns);
  float* w = w_arena.Take<float>(num_weights, !random.Chance(3));
  for (size_t i = 0; i < num_weights; i++) w[i] = random.Float();
  const size_t stride = s.nc + s.gap;
  c_arena.Poison();
  float* c = c_arena.Take<float>((s.mr - 1) * stride + s.nc, !random.Chance(3));

  // Something to add for half of the shapes.
  float* residual = residual_arena.Take<float>((s.mr - 1) * stride + s.nc, !random.Chance(3));
  for (size_t i = 0; i < (s.mr - 1) * stride + s.nc; i++) residual[i] = random.Float();
  const bool adds = random.Chance(2);
  const intptr_t distance = adds ? reinterpret_cast<intptr_t>(residual) - reinterpret_cast<intptr_t>(c) : 0;

  Case run(k.name, Shape({{"mr", s.mr}, {"nc", s.nc}, {"kc", s.kc}, {"exact", s.exact}, {"gap", s.gap}, {"adds", adds},
                          {"min", params.scalar.min}, {"max", params.scalar.max}}));
  BreakVectorState();
  k.ukernel(s.mr, s.nc, a, offsets, starts, w, c, stride * sizeof(float), distance, &params);

  for (size_t m = 0; m < s.mr; m++) {
    for (size_t n = 0; n < s.nc; n++) {
      const size_t tile = n / k.nr;
      const float* tile_w = w + k.nr * (tile + starts[tile]) + n % k.nr;
      const double added = adds ? residual[m * stride + n] : 0.0;
      double expected = tile_w[0] + added;
      double magnitude = std::abs(tile_w[0]) + std::abs(added);
      for (size_t j = starts[tile]; j < starts[tile + 1]; j++) {
        tile_w += k.nr;
        const double product = static_cast<double>(a[m][offsets[j] / static_cast<int32_t>(sizeof(float))]) * tile_w[0];
        expected += product;
        magnitude += std::abs(product);
      }
      expected = std::min(std::max<double>(expected, params.scalar.min), static_cast<double>(params.scalar.max));
      run.Near(c[m * stride + n], expected, magnitude * (s.kc + 2) * std::numeric_limits<float>::epsilon(), m, n);
    }
  }
  if (!c_arena.IsPoisonedBut(c, s.mr, stride * sizeof(float), s.nc * sizeof(float))) {
    run.Fail("wrote outside of the output");
  }
}

void CheckAll(const Conv& k, Random& random, size_t rounds) {
  const union xnn_f32_minmax_params none = {
      {-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()}};
  for (size_t m = 1; m <= k.mr; m++) {
    for (size_t n : {size_t{1}, k.nr - 1, k.nr, k.nr + 1, 2 * k.nr - 1, 2 * k.nr, 3 * k.nr + k.nr / 2}) {
      if (n != 0) CheckConv(k, {m, n, 19, false, 0}, none, random);
    }
  }
  for (size_t n = 1; n < k.nr; n++) CheckConv(k, {k.mr, n, 5, false, 0}, none, random);
  for (size_t kc : {0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 577}) {
    CheckConv(k, {k.mr, 2 * k.nr + 1, kc, true, 0}, none, random);
  }
  for (size_t round = 0; round < rounds; round++) {
    const ConvShape shape = {random.Chance(3) ? k.mr : random.Size(1, k.mr), random.Size(1, 3 * k.nr + 1),
                             random.Size(0, 24), random.Chance(2), random.Chance(2) ? 0 : random.Size(1, 9)};
    CheckConv(k, shape, DrawBounds(random), random);
  }
}

// What operators choose from.
void CheckConfig(const char* name) {
  const struct xnn_nmconv_config* config = xnn_init_f32_nmconv_config();
  size_t i = 0;
  for (; config != nullptr && i < XNN_MAX_NMCONV_KERNELS && config[i].ukernel != nullptr; i++) {
    const size_t percent = static_cast<size_t>(xnn_init_nm_costs()->nmconv_percent[i]);
    Case run(name, Shape({{"entry", i}, {"mr", config[i].mr}, {"nr", config[i].nr}, {"percent", percent}}));
    if (config[i].mr < 1 || config[i].mr > XNN_MAX_NMCONV_MR) run.Fail("mr is out of bounds");
    if (config[i].nr < 1) run.Fail("nr is 0");
    if (percent < 50) run.Fail("costs less than half of the dense micro-kernel");
  }
  if (i == 0) Case(name, "").Fail("offers no micro-kernel");
}

std::vector<Timing> TimeConv(const Conv& k) {
  std::vector<Timing> timings;
  for (size_t kc : {8, 64, 144, 576}) {
    struct Data {
      AlignedVector<float> input, w, c;
      std::vector<const float*> a;
      std::vector<int32_t> offsets;
      std::vector<uint32_t> starts;
      union xnn_f32_minmax_params params;
    };
    auto data = std::make_shared<Data>();
    data->input.assign(4 * kc + k.mr * 64, 0.5f);
    for (size_t m = 0; m < k.mr; m++) data->a.push_back(data->input.data() + m * 64);
    for (size_t i = 0; i < kc; i++) data->offsets.push_back(static_cast<int32_t>((4 * i + i % 3) * sizeof(float)));
    data->starts = {0, static_cast<uint32_t>(kc)};
    data->w.assign(k.nr * (kc + 1), 0.25f);
    data->c.assign(k.mr * k.nr, 0.0f);
    data->params = {{0.0f, std::numeric_limits<float>::infinity()}};
    const Conv kernel = k;
    timings.push_back({Shape({{"nc", k.nr}, {"kc", kc}}), 2.0 * k.mr * k.nr * kc,
                       sizeof(float) * (k.nr * (kc + 1.0) + k.mr * (kc + k.nr)), [kernel, data] {
                         kernel.ukernel(kernel.mr, kernel.nr, data->a.data(), data->offsets.data(), data->starts.data(),
                                        data->w.data(), data->c.data(), kernel.nr * sizeof(float), 0, &data->params);
                       }});
  }
  return timings;
}

}  // namespace

void AddNMConv(std::vector<Ukernel>& ukernels) {
  const auto add = [&](uint64_t arch_flags, const Conv& k) {
    ukernels.push_back({k.name, arch_flags, [k](Random& random, size_t rounds) { CheckAll(k, random, rounds); },
                        [k] { return TimeConv(k); }});
  };
#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale) \
  static_assert((mr) <= XNN_MAX_NMCONV_MR, #ukernel);      \
  add(arch_flags, {#ukernel, ukernel, mr, (nr) * (nr_scale)});
#include "f32-nmconv/f32-nmconv-minmax.h"
#undef XNN_UKERNEL
  const char* config = "xnn_init_f32_nmconv_config";
  ukernels.push_back({config, 0, [config](Random&, size_t) { CheckConfig(config); }, [] { return std::vector<Timing>(); }});
}

}  // namespace nmcheck
