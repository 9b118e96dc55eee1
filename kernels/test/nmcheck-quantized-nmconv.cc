// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// qs8-qc8w-nmconv against a reference that computes one sum after another.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "xnnpack.h"
#include "xnnpack-nm.h"
#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/microparams-init.h"
#include "xnnpack/nm-costs.h"
#include "xnnpack/nm-pack.h"
#include "xnnpack/nmconv.h"
#include "nmcheck-quantized.h"
#include "nmcheck.h"

namespace nmcheck {
namespace {

struct Conv {
  const char* name;
  xnn_qs8_qc8w_nmconv_minmax_fp32_ukernel_fn ukernel;
  size_t mr;
  size_t nr;
  size_t kr;
  size_t log2_weight_size;
  size_t log2_image_size;
  int32_t input_offset;

  // Bytes of a tile before its weights, and of its weights for one run.
  size_t head_size() const { return nr * (sizeof(int32_t) + sizeof(float)); }
  size_t run_size() const { return (nr * kr) << log2_weight_size; }
};

struct ConvShape {
  size_t mr;
  size_t nc;
  // Kept runs of a tile: this many, or at most so many, drawn.
  size_t kc;
  bool exact;
  // Elements between output pixels beyond nc.
  size_t gap;
  // Everything is as far from 0 as it can be.
  bool extreme;
};

// Element i of an array of bytes, or of bytes in 16 bits.
int32_t Get(const void* data, ptrdiff_t i, size_t log2_size) {
  return log2_size == 0 ? static_cast<const int8_t*>(data)[i] : static_cast<const int16_t*>(data)[i];
}

void Set(void* data, size_t i, size_t log2_size, int8_t value) {
  if (log2_size == 0) {
    static_cast<int8_t*>(data)[i] = value;
  } else {
    static_cast<int16_t*>(data)[i] = value;
  }
}

// Runs of all tiles: where each is, and how many of its columns are channels; the others have weights of 0.
struct Runs {
  uint32_t* starts;
  int32_t* offsets;
  std::vector<size_t> columns;
};

void DrawWeights(const Conv& k, const ConvShape& s, size_t tiles, const Runs& runs, Random& random, uint8_t* w) {
  for (size_t t = 0; t < tiles; t++) {
    for (size_t n = 0; n < k.nr; n++) {
      reinterpret_cast<int32_t*>(w)[n] = DrawBias(random);
      reinterpret_cast<float*>(w)[k.nr + n] = DrawScale(random);
    }
    w += k.head_size();
    for (size_t j = runs.starts[t]; j < runs.starts[t + 1]; j++) {
      for (size_t i = 0; i < k.nr * k.kr; i++) {
        Set(w, i, k.log2_weight_size, i % k.kr < runs.columns[j] ? DrawByte(random, s.extreme) : 0);
      }
      w += k.run_size();
    }
  }
}

void CheckConv(const Conv& k, const ConvShape& s, Random& random) {
  static Arena input_arena(1 << 16), pointer_arena(1 << 12), offset_arena(1 << 14), start_arena(1 << 14),
      w_arena(1 << 22), c_arena(1 << 16);

  const size_t tiles = (s.nc + k.nr - 1) / k.nr;
  Runs runs;
  runs.starts = start_arena.Take<uint32_t>(tiles + 1);
  runs.starts[0] = 0;
  for (size_t t = 0; t < tiles; t++) {
    runs.starts[t + 1] = runs.starts[t] + static_cast<uint32_t>(s.exact ? s.kc : random.Size(0, s.kc));
  }
  const size_t num_runs = runs.starts[tiles];
  // Pixels lie anywhere; columns before and behind them. Beyond the last column comes what is read with weights of 0.
  const size_t reach = std::max<size_t>(s.kc, 1) + 3;
  const size_t input_size = reach + 3 * s.mr;
  const size_t element_size = size_t{1} << k.log2_image_size;
  uint8_t* input = reinterpret_cast<uint8_t*>(
    input_arena.Take<uint16_t>((input_size * element_size + XNN_EXTRA_BYTES + 1) / 2, !random.Chance(3)));
  for (size_t i = 0; i < input_size + XNN_EXTRA_BYTES / element_size; i++) {
    Set(input, i, k.log2_image_size, DrawByte(random, s.extreme));
  }
  const size_t origin = random.Size(0, reach - 1);
  const void** a = pointer_arena.Take<const void*>(s.mr);
  for (size_t m = 0; m < s.mr; m++) a[m] = input + (origin + random.Size(0, 3 * s.mr)) * element_size;
  runs.offsets = offset_arena.Take<int32_t>(num_runs);
  for (size_t j = 0; j < num_runs; j++) {
    const size_t first = random.Size(0, reach - 1);
    runs.offsets[j] = (static_cast<int32_t>(first) - static_cast<int32_t>(origin)) * static_cast<int32_t>(element_size);
    const size_t most = std::min(k.kr, reach - first);
    runs.columns.push_back(random.Chance(4) ? random.Size(1, most) : most);
  }
  const size_t w_size = tiles * k.head_size() + num_runs * k.run_size();
  uint8_t* w = reinterpret_cast<uint8_t*>(w_arena.Take<uint32_t>((w_size + 3) / 4, !random.Chance(3)));
  DrawWeights(k, s, tiles, runs, random, w);
  const size_t stride = s.nc + s.gap;
  c_arena.Poison();
  int8_t* c = c_arena.Take<int8_t>((s.mr - 1) * stride + s.nc, !random.Chance(3));
  const Requantization to_bytes(random);

  Case run(k.name, Shape({{"mr", s.mr}, {"nc", s.nc}, {"kc", s.kc}, {"exact", s.exact}, {"gap", s.gap},
                          {"extreme", s.extreme}, {"zero_point", to_bytes.zero_point}, {"min", to_bytes.min},
                          {"max", to_bytes.max}}));
  BreakVectorState();
  k.ukernel(s.mr, s.nc, a, runs.offsets, runs.starts, w, c, stride, 0, &to_bytes.params);

  for (size_t m = 0; m < s.mr && !run.failed(); m++) {
    for (size_t n = 0; n < s.nc && !run.failed(); n++) {
      const size_t tile = n / k.nr;
      const uint8_t* tile_w = w + tile * k.head_size() + runs.starts[tile] * k.run_size();
      int32_t sum = reinterpret_cast<const int32_t*>(tile_w)[n % k.nr];
      const float scale = reinterpret_cast<const float*>(tile_w)[k.nr + n % k.nr];
      tile_w += k.head_size();
      for (size_t j = runs.starts[tile]; j < runs.starts[tile + 1]; j++) {
        const void* first = static_cast<const uint8_t*>(a[m]) + runs.offsets[j];
        for (size_t i = 0; i < runs.columns[j]; i++) {
          const int32_t weight = Get(tile_w, n % k.nr * k.kr + i, k.log2_weight_size);
          sum += (Get(first, i, k.log2_image_size) + k.input_offset) * weight;
        }
        tile_w += k.run_size();
      }
      run.Near(c[m * stride + n], to_bytes.Apply(sum, scale), 0.0, m, n);
    }
  }
  if (!c_arena.IsPoisonedBut(c, s.mr, stride, s.nc)) run.Fail("wrote outside of the output");
}

void CheckAll(const Conv& k, Random& random, size_t rounds) {
  for (size_t m = 1; m <= k.mr; m++) {
    for (size_t n : {size_t{1}, k.nr - 1, k.nr, k.nr + 1, 2 * k.nr, 3 * k.nr + k.nr / 2}) {
      if (n != 0) CheckConv(k, {m, n, 5, false, 0, false}, random);
    }
  }
  for (size_t n = 1; n < k.nr; n += std::max<size_t>(k.nr / 64, 1)) {
    CheckConv(k, {k.mr, n, 3, false, 0, false}, random);
  }
  for (size_t kc : {0, 1, 2, 3, 4, 5, 8, 9, 31, 577}) {
    // Many columns take the reference long: fewer channels are enough.
    CheckConv(k, {k.mr, kc < 100 ? k.nr + 1 : std::min<size_t>(k.nr, 16), kc, true, 0, kc % 2 == 1}, random);
  }
  for (size_t round = 0; round < rounds; round++) {
    CheckConv(k, {random.Chance(3) ? k.mr : random.Size(1, k.mr), random.Size(1, 3 * k.nr + 1), random.Size(0, 24),
                  random.Chance(2), random.Chance(2) ? 0 : random.Size(1, 9), random.Chance(4)}, random);
  }
}

// What operators choose from.
void CheckConfig(const char* name) {
  const struct xnn_nmconv_config* config = xnn_init_qs8_qc8w_nmconv_config();
  size_t i = 0;
  for (; config != nullptr && i < XNN_MAX_NMCONV_KERNELS && config[i].ukernel != nullptr; i++) {
    const size_t percent = static_cast<size_t>(xnn_init_qs8_nm_costs()->nmconv_percent[i]);
    Case run(name, Shape({{"entry", i}, {"mr", config[i].mr}, {"nr", config[i].nr}, {"percent", percent}}));
    if (config[i].mr < 1 || config[i].mr > XNN_MAX_NMCONV_MR) run.Fail("mr is out of bounds");
    if (config[i].nr < 1) run.Fail("nr is 0");
    if (percent < 1) run.Fail("costs nothing");
    if (config[i].nr * xnn_get_nmconv_run_size(&config[i]) % sizeof(int32_t) != 0) run.Fail("biases are not aligned");
  }
  if (i == 0) Case(name, "").Fail("offers no micro-kernel");
}

std::vector<Timing> TimeConv(const Conv& k) {
  std::vector<Timing> timings;
  for (size_t kc : {8, 64, 144, 576}) {
    struct Data {
      AlignedVector<uint8_t> input, w, c;
      std::vector<const void*> a;
      std::vector<int32_t> offsets;
      std::vector<uint32_t> starts;
      union xnn_qs8_qc8w_conv_minmax_params params;
    };
    auto data = std::make_shared<Data>();
    // As pruned to 1 of 4 runs: pixels have four times the columns.
    const size_t num_runs = kc / k.kr;
    data->input.assign(((4 * kc + k.mr * 64) << k.log2_image_size) + XNN_EXTRA_BYTES, 0);
    for (size_t m = 0; m < k.mr; m++) data->a.push_back(data->input.data() + ((m * 64) << k.log2_image_size));
    for (size_t i = 0; i < num_runs; i++) {
      data->offsets.push_back(static_cast<int32_t>(((4 * i + i % 3) * k.kr) << k.log2_image_size));
    }
    data->starts = {0, static_cast<uint32_t>(num_runs)};
    data->w.assign(k.head_size() + num_runs * k.run_size(), 0);
    data->c.assign(k.mr * k.nr, 0);
    xnn_init_qs8_qc8w_conv_minmax_fp32_scalar_params(&data->params, 0, INT8_MIN, INT8_MAX);
    const Conv kernel = k;
    timings.push_back({Shape({{"nc", k.nr}, {"kc", kc}}), 2.0 * k.mr * k.nr * kc,
                       static_cast<double>(data->w.size() + k.mr * ((kc << k.log2_image_size) + k.nr)), [kernel, data] {
                         kernel.ukernel(kernel.mr, kernel.nr, data->a.data(), data->offsets.data(), data->starts.data(),
                                        data->w.data(), reinterpret_cast<int8_t*>(data->c.data()), kernel.nr, 0,
                                        &data->params);
                       }});
  }
  return timings;
}

}  // namespace

void AddQuantizedNMConv(std::vector<Ukernel>& ukernels) {
  const auto add = [&](uint64_t arch_flags, const Conv& k) {
    ukernels.push_back({k.name, arch_flags, [k](Random& random, size_t rounds) { CheckAll(k, random, rounds); },
                        [k] { return TimeConv(k); }});
  };
#define XNN_UKERNEL(arch_flags, ukernel, mr, nr, nr_scale, kr, log2_weight_size, log2_image_size, input_offset) \
  static_assert((mr) <= XNN_MAX_NMCONV_MR, #ukernel);                                                           \
  add(arch_flags, {#ukernel, ukernel, mr, (nr) * (nr_scale), kr, log2_weight_size, log2_image_size, input_offset});
#include "qs8-qc8w-nmconv/qs8-qc8w-nmconv-minmax-fp32.h"
#undef XNN_UKERNEL
  const char* config = "xnn_init_qs8_qc8w_nmconv_config";
  ukernels.push_back({config, 0, [config](Random&, size_t) { CheckConfig(config); }, [] { return std::vector<Timing>(); }});
}

}  // namespace nmcheck
