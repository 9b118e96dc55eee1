// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// f32-nmconv and f16-nmconv against a reference in double precision, of which they may be as far as their sums are rounded.

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
#include "xnnpack/nm-costs.h"
#include "xnnpack/nmconv.h"
#include "nmcheck.h"
#include "nmcheck-sums.h"

namespace nmcheck {
namespace {

template <typename T>
using ConvUkernel = std::conditional_t<
    sizeof(T) == sizeof(float), xnn_f32_nmconv_minmax_ukernel_fn, xnn_f16_nmconv_minmax_ukernel_fn>;
// What micro-kernels are told that pixels are.
template <typename T>
using Pixel = std::conditional_t<sizeof(T) == sizeof(float), float, void>;

template <typename T>
struct Conv {
  const char* name;
  ConvUkernel<T> ukernel;
  size_t mr;
  size_t nr;
  size_t log2_image_size;
  bool f32_sums;
};

// An element of an image, whose elements may be wider than weights are.
void SetElement(uint8_t* image, size_t i, size_t log2_image_size, float value) {
  if (log2_image_size == 2) {
    reinterpret_cast<float*>(image)[i] = value;
  } else {
    reinterpret_cast<xnn_float16*>(image)[i] = xnn_float16(value);
  }
}

float GetElement(const uint8_t* image, size_t log2_image_size) {
  return log2_image_size == 2 ? *reinterpret_cast<const float*>(image)
                              : static_cast<float>(*reinterpret_cast<const xnn_float16*>(image));
}

struct ConvShape {
  size_t mr;
  size_t nc;
  // Kept columns of a tile: this many, or at most so many, drawn.
  size_t kc;
  bool exact;
  // Elements between output pixels beyond nc.
  size_t gap;
};

template <typename T>
void CheckConv(const Conv<T>& k, const ConvShape& s, const union xnn_f32_minmax_params& bounds, Random& random) {
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
  uint8_t* input = input_arena.Take<uint8_t>(input_size << k.log2_image_size, !random.Chance(3));
  for (size_t i = 0; i < input_size; i++) SetElement(input, i, k.log2_image_size, random.Float());
  const size_t origin = random.Size(0, reach - 1);
  const uint8_t** a = pointer_arena.Take<const uint8_t*>(s.mr);
  for (size_t m = 0; m < s.mr; m++) a[m] = input + ((origin + random.Size(0, 3 * s.mr)) << k.log2_image_size);
  int32_t* offsets = offset_arena.Take<int32_t>(columns);
  for (size_t i = 0; i < columns; i++) {
    offsets[i] = (static_cast<int32_t>(random.Size(0, reach - 1)) - static_cast<int32_t>(origin)) *
                 (1 << k.log2_image_size);
  }
  const size_t num_weights = k.nr * (tiles + columns);
  T* w = w_arena.Take<T>(num_weights, !random.Chance(3));
  for (size_t i = 0; i < num_weights; i++) w[i] = T(random.Float());
  const size_t stride = s.nc + s.gap;
  c_arena.Poison();
  T* c = c_arena.Take<T>((s.mr - 1) * stride + s.nc, !random.Chance(3));

  // Something to add for half of the shapes.
  T* residual = residual_arena.Take<T>((s.mr - 1) * stride + s.nc, !random.Chance(3));
  for (size_t i = 0; i < (s.mr - 1) * stride + s.nc; i++) residual[i] = T(random.Float());
  const bool adds = random.Chance(2);
  const intptr_t distance = adds ? reinterpret_cast<intptr_t>(residual) - reinterpret_cast<intptr_t>(c) : 0;

  Case run(k.name, Shape({{"mr", s.mr}, {"nc", s.nc}, {"kc", s.kc}, {"exact", s.exact}, {"gap", s.gap}, {"adds", adds},
                          {"min", bounds.scalar.min}, {"max", bounds.scalar.max}}));
  const typename Element<T>::Params params = {{T(bounds.scalar.min), T(bounds.scalar.max)}};
  BreakVectorState();
  k.ukernel(s.mr, s.nc, reinterpret_cast<const Pixel<T>* const*>(a), offsets, starts, w, c, stride * sizeof(T), distance,
            &params);

  const std::vector<float> weights = ToFloats(w, num_weights);
  for (size_t m = 0; m < s.mr; m++) {
    for (size_t n = 0; n < s.nc; n++) {
      const size_t tile = n / k.nr;
      const float* tile_w = weights.data() + k.nr * (tile + starts[tile]) + n % k.nr;
      Sum sum(tile_w[0], adds ? static_cast<float>(residual[m * stride + n]) : 0.0);
      for (size_t j = starts[tile]; j < starts[tile + 1]; j++) {
        tile_w += k.nr;
        sum.Add(static_cast<double>(GetElement(a[m] + offsets[j], k.log2_image_size)) * tile_w[0]);
      }
      const double expected =
          std::min(std::max<double>(sum.value(), bounds.scalar.min), static_cast<double>(bounds.scalar.max));
      run.Near(c[m * stride + n], expected, GetError<T>(sum, k.f32_sums), m, n);
    }
  }
  if (!c_arena.IsPoisonedBut(c, s.mr, stride * sizeof(T), s.nc * sizeof(T))) {
    run.Fail("wrote outside of the output");
  }
}

template <typename T>
void CheckAll(const Conv<T>& k, Random& random, size_t rounds) {
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
void CheckConfig(const char* name, const struct xnn_nmconv_config* config, const struct xnn_nm_costs* costs,
                 size_t least_percent) {
  size_t i = 0;
  for (; config != nullptr && i < XNN_MAX_NMCONV_KERNELS && config[i].ukernel != nullptr; i++) {
    const size_t percent = static_cast<size_t>(costs->nmconv_percent[i]);
    Case run(name, Shape({{"entry", i}, {"mr", config[i].mr}, {"nr", config[i].nr}, {"percent", percent}}));
    if (config[i].mr < 1 || config[i].mr > XNN_MAX_NMCONV_MR) run.Fail("mr is out of bounds");
    if (config[i].nr < 1) run.Fail("nr is 0");
    if (percent < least_percent) run.Fail("costs less than a part of the dense micro-kernel of f32");
  }
  if (i == 0) Case(name, "").Fail("offers no micro-kernel");
}

template <typename T>
std::vector<Timing> TimeConv(const Conv<T>& k) {
  std::vector<Timing> timings;
  for (size_t kc : {8, 64, 144, 576}) {
    struct Data {
      AlignedVector<uint8_t> input;
      AlignedVector<T> w, c;
      std::vector<const uint8_t*> a;
      std::vector<int32_t> offsets;
      std::vector<uint32_t> starts;
      typename Element<T>::Params params;
    };
    auto data = std::make_shared<Data>();
    const size_t input_size = 4 * kc + k.mr * 64;
    data->input.resize(input_size << k.log2_image_size);
    for (size_t i = 0; i < input_size; i++) SetElement(data->input.data(), i, k.log2_image_size, 0.5f);
    for (size_t m = 0; m < k.mr; m++) data->a.push_back(data->input.data() + ((m * 64) << k.log2_image_size));
    for (size_t i = 0; i < kc; i++) data->offsets.push_back(static_cast<int32_t>((4 * i + i % 3) << k.log2_image_size));
    data->starts = {0, static_cast<uint32_t>(kc)};
    data->w.assign(k.nr * (kc + 1), T(0.25f));
    data->c.assign(k.mr * k.nr, T(0.0f));
    data->params = {{T(0.0f), T(std::numeric_limits<float>::infinity())}};
    const Conv<T> kernel = k;
    timings.push_back({Shape({{"nc", k.nr}, {"kc", kc}}), 2.0 * k.mr * k.nr * kc,
                       sizeof(T) * (k.nr * (kc + 1.0) + k.mr * k.nr) + static_cast<double>((k.mr * kc) << k.log2_image_size),
                       [kernel, data] {
                         kernel.ukernel(kernel.mr, kernel.nr, reinterpret_cast<const Pixel<T>* const*>(data->a.data()),
                                        data->offsets.data(), data->starts.data(), data->w.data(), data->c.data(),
                                        kernel.nr * sizeof(T), 0, &data->params);
                       }});
  }
  return timings;
}

template <typename T>
void Add(std::vector<Ukernel>& ukernels, uint64_t arch_flags, const Conv<T>& k) {
  ukernels.push_back({k.name, arch_flags, [k](Random& random, size_t rounds) { CheckAll(k, random, rounds); },
                      [k] { return TimeConv(k); }});
}

void AddConfig(std::vector<Ukernel>& ukernels, const char* name, const struct xnn_nmconv_config* config,
               const struct xnn_nm_costs* costs, size_t least_percent) {
  ukernels.push_back({name, 0, [=](Random&, size_t) { CheckConfig(name, config, costs, least_percent); },
                      [] { return std::vector<Timing>(); }});
}

}  // namespace

void AddNMConv(std::vector<Ukernel>& ukernels) {
#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale) \
  static_assert((mr) <= XNN_MAX_NMCONV_MR, #ukernel);      \
  Add<float>(ukernels, arch_flags, {#ukernel, ukernel, mr, (nr) * (nr_scale), 2, true});
#include "f32-nmconv/f32-nmconv-minmax.h"
#undef XNN_UKERNEL
#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, log2_image_size, f32_sums) \
  static_assert((mr) <= XNN_MAX_NMCONV_MR, #ukernel);                                 \
  Add<xnn_float16>(ukernels, arch_flags, {#ukernel, ukernel, mr, (nr) * (nr_scale), log2_image_size, f32_sums});
#include "f16-nmconv/f16-nmconv-minmax.h"
#undef XNN_UKERNEL
  AddConfig(ukernels, "xnn_init_f32_nmconv_config", xnn_init_f32_nmconv_config(), xnn_init_nm_costs(), 50);
  AddConfig(ukernels, "xnn_init_f16_nmconv_config", xnn_init_f16_nmconv_config(), xnn_init_f16_nm_costs(), 25);
}

}  // namespace nmcheck
