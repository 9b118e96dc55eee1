// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// x32-packim2col, x16-packim2col, x8-packim2col and their pooling variants against a reference that visits pixel after pixel.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "xnnpack/common.h"
#include "xnnpack/hardware-config.h"
#include "xnnpack/math.h"
#include "xnnpack/nmspmm.h"
#include "nmcheck.h"

namespace nmcheck {
namespace {

enum class Op { COPY, MAX, ADD };

struct Pack {
  const char* name;
  xnn_packim2col_ukernel_fn ukernel;
  Op op;
};

// A tap of a convolution or pooling of images, and some of its output pixels.
struct PackShape {
  size_t batch, height, width;
  // Elements from pixel to pixel: 1, or more where channels lie between.
  size_t pixel_stride;
  size_t stride, padding_y, padding_x, dy, dx;
  // Of the last tap: at least dy and dx.
  size_t reach_y, reach_x;
  size_t first, nc, kc;
  size_t gap;
  bool indexed;
};

struct Strip {
  std::vector<int32_t> y, x, base;
  std::vector<bool> inside;
  struct xnn_im2col_strip strip;
  struct xnn_im2col_tap tap;
};

size_t OutputSize(size_t input, size_t padding, size_t reach, size_t stride) {
  return (std::max(input + 2 * padding, reach + 1) - reach - 1) / stride + 1;
}

size_t NumPixels(const PackShape& s) {
  return s.batch * OutputSize(s.height, s.padding_y, s.reach_y, s.stride) * OutputSize(s.width, s.padding_x, s.reach_x, s.stride);
}

std::unique_ptr<Strip> MakeStrip(const PackShape& s, size_t element_size, Random& random) {
  auto result = std::make_unique<Strip>();
  const size_t output_height = OutputSize(s.height, s.padding_y, s.reach_y, s.stride);
  const size_t output_width = OutputSize(s.width, s.padding_x, s.reach_x, s.stride);
  const auto signed_size = [](size_t size) { return static_cast<ptrdiff_t>(size); };
  const ptrdiff_t pixel_bytes = signed_size(s.pixel_stride * element_size);
  const ptrdiff_t distance = signed_size(s.dy * s.width + s.dx) * pixel_bytes;
  bool even = true;
  for (size_t n = 0; n < s.nc; n++) {
    const size_t pixel = s.first + n;
    const ptrdiff_t y = signed_size(pixel / output_width % output_height * s.stride) - signed_size(s.padding_y);
    const ptrdiff_t x = signed_size(pixel % output_width * s.stride) - signed_size(s.padding_x);
    const ptrdiff_t image = signed_size(pixel / output_width / output_height * s.height);
    result->y.push_back(static_cast<int32_t>(y));
    result->x.push_back(static_cast<int32_t>(x));
    result->base.push_back(static_cast<int32_t>(((image + y) * signed_size(s.width) + x) * pixel_bytes));
    result->inside.push_back(y + signed_size(s.dy) >= 0 && y + signed_size(s.dy) < signed_size(s.height) &&
                             x + signed_size(s.dx) >= 0 && x + signed_size(s.dx) < signed_size(s.width));
    even = even && (n < 2 || result->base[n] - result->base[n - 1] == result->base[1] - result->base[0]);
  }
  const ptrdiff_t step = s.nc == 1 ? signed_size(element_size) : result->base[1] - result->base[0];
  const size_t stride = even && step > 0 && !s.indexed ? static_cast<size_t>(step) : 0;
  if (stride == 0) {
    // What lies outside has no place.
    for (size_t n = 0; n < s.nc; n++) {
      if (!result->inside[n]) result->base[n] = static_cast<int32_t>(random.Size(0, UINT32_MAX));
    }
  }
  result->strip = {result->y.data(), result->x.data(), result->base.data(), stride};
  result->tap = {static_cast<int32_t>(s.dy), static_cast<int32_t>(s.dx), static_cast<int32_t>(distance)};
  return result;
}

uint32_t Bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

float Value(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

uint32_t Apply(Op op, uint32_t old, uint32_t bits) {
  return op == Op::COPY ? bits
       : op == Op::MAX  ? Bits(std::max(Value(old), Value(bits)))
                        : Bits(Value(old) + Value(bits));
}

// NaNs aside, f16 are in the order of their values.
uint16_t Apply(Op op, uint16_t old, uint16_t bits) {
  const auto value = [](uint16_t half) { return xnn_float16_to_float(xnn_float16_from_bits(half)); };
  return op == Op::COPY || value(bits) > value(old) ? bits : old;
}

int8_t Apply(Op op, int8_t old, int8_t value) { return op == Op::COPY ? value : std::max(old, value); }

// A f16 that is not a NaN nor -0, which is as large as 0.
uint16_t DrawHalf(Random& random) {
  const size_t magnitude = random.Chance(20) ? 0x7C00 : random.Size(0, 0x7C00);
  return static_cast<uint16_t>(magnitude != 0 && random.Chance(2) ? 0x8000 | magnitude : magnitude);
}

// An element as an operator may have it.
template <typename T>
T Draw(Op op, Random& random) {
  if (sizeof(T) == 1 || op == Op::COPY) return static_cast<T>(random.Size(0, UINT32_MAX));
  if (sizeof(T) == 2) return static_cast<T>(DrawHalf(random));
  return static_cast<T>(Bits(random.Float()));
}

// What nothing exceeds, or what changes no sum.
template <typename T>
T Neutral(Op op) {
  if (sizeof(T) == 1) return static_cast<T>(INT8_MIN);
  if (sizeof(T) == 2) return static_cast<T>(0xFC00);
  return static_cast<T>(Bits(op == Op::MAX ? -INFINITY : 0.0f));
}

template <typename T>
void CheckPack(const Pack& k, const PackShape& s, Random& random) {
  static Arena input_arena(1 << 20), channel_arena(1 << 12), output_arena(1 << 17);
  static Arena y_arena(1 << 14), x_arena(1 << 14), base_arena(1 << 14);

  // Planes, or, where other channels lie between the pixels, those of every pixel.
  const size_t pixels = s.batch * s.height * s.width;
  const size_t num_channels = s.pixel_stride == 1 ? random.Size(1, s.kc + 2) : s.pixel_stride;
  const size_t input_size = pixels * num_channels;
  // Bytes are read in vectors that may go on behind the last one.
  constexpr size_t kExtra = sizeof(T) == 1 ? XNN_EXTRA_BYTES : 0;
  T* input = input_arena.Take<T>(input_size + kExtra, !random.Chance(3));
  for (size_t i = 0; i < input_size + kExtra; i++) input[i] = Draw<T>(k.op, random);
  int32_t* channels = channel_arena.Take<int32_t>(s.kc);
  // As operators have them, or any.
  const bool ascending = s.kc <= num_channels && random.Chance(2);
  for (size_t i = 0; i < s.kc; i++) {
    const size_t channel = (ascending ? i : random.Size(0, num_channels - 1)) * (s.pixel_stride == 1 ? pixels : 1);
    channels[i] = static_cast<int32_t>(channel * sizeof(T));
  }
  const std::unique_ptr<Strip> strip = MakeStrip(s, sizeof(T), random);
  const auto at_end = [&](Arena& arena, const std::vector<int32_t>& values) {
    return std::copy(values.begin(), values.end(), arena.Take<int32_t>(values.size())) - values.size();
  };
  struct xnn_im2col_strip places = {at_end(y_arena, strip->y), at_end(x_arena, strip->x),
                                    at_end(base_arena, strip->base), strip->strip.stride};

  const size_t output_stride = s.nc + s.gap;
  const size_t output_size = (s.kc - 1) * output_stride + s.nc;
  output_arena.Poison();
  T* output = output_arena.Take<T>(output_size, !random.Chance(3));
  std::vector<T> old(s.kc * s.nc);
  for (size_t i = 0; i < s.kc; i++) {
    for (size_t n = 0; n < s.nc; n++) {
      if (k.op != Op::COPY) output[i * output_stride + n] = Draw<T>(k.op, random);
      old[i * s.nc + n] = output[i * output_stride + n];
    }
  }
  const T padding = k.op == Op::COPY || random.Chance(2) ? Draw<T>(k.op, random) : Neutral<T>(k.op);

  Case run(k.name,
           Shape({{"batch", s.batch}, {"height", s.height}, {"width", s.width}, {"pixel_stride", s.pixel_stride},
                  {"stride", s.stride}, {"padding_y", s.padding_y}, {"padding_x", s.padding_x}, {"dy", s.dy},
                  {"dx", s.dx}, {"reach_y", s.reach_y}, {"reach_x", s.reach_x}, {"first", s.first}, {"nc", s.nc}, {"kc", s.kc}, {"gap", s.gap},
                  {"strip_stride", places.stride}}));
  BreakVectorState();
  k.ukernel(s.nc, s.kc, input, channels, &places, &strip->tap, static_cast<uint32_t>(s.height),
            static_cast<uint32_t>(s.width), static_cast<uint32_t>(padding), output, output_stride * sizeof(T));

  for (size_t i = 0; i < s.kc && !run.failed(); i++) {
    for (size_t n = 0; n < s.nc; n++) {
      const size_t position =
          strip->inside[n] ? static_cast<size_t>(strip->base[n] + strip->tap.distance + channels[i]) / sizeof(T) : 0;
      const T expected = Apply(k.op, old[i * s.nc + n], strip->inside[n] ? input[position] : padding);
      const T actual = output[i * output_stride + n];
      if (actual != expected) {
        run.Fail("row " + std::to_string(i) + ", column " + std::to_string(n) + ": expected bits " +
                 std::to_string(expected) + ", got " + std::to_string(actual));
        break;
      }
    }
  }
  if (!output_arena.IsPoisonedBut(output, s.kc, output_stride * sizeof(T), s.nc * sizeof(T))) {
    run.Fail("wrote outside of the output");
  }
}

template <typename T>
void CheckAll(const Pack& k, Random& random, size_t rounds) {
  // All output pixels of small images at once, every tap, and each way to find them.
  for (size_t stride : {1, 2, 3}) {
    for (size_t tap = 0; tap < 9; tap++) {
      for (size_t pixel_stride : {1, 3}) {
        for (bool indexed : {false, true}) {
          PackShape s = {2, 5, 6, pixel_stride, stride, 1, 1, tap / 3, tap % 3, 2, 2, 0, 0, 3, 0, indexed};
          s.nc = NumPixels(s);
          CheckPack<T>(k, s, random);
        }
      }
    }
  }
  for (size_t kc = 1; kc <= 34; kc++) {
    CheckPack<T>(k, {1, 7, 9, 1, 1, 1, 1, 2, 0, 2, 2, kc % 5, 11, kc, 0, kc % 2 == 0}, random);
  }
  for (size_t round = 0; round < rounds; round++) {
    PackShape s = {};
    s.batch = random.Size(1, 3);
    s.height = random.Size(1, 12);
    s.width = random.Size(1, random.Chance(4) ? 90 : 12);
    s.pixel_stride = random.Chance(4) ? random.Size(1, 5) : 1;
    s.stride = random.Of({1, 1, 1, 2, 2, 3, 4});
    s.padding_y = random.Size(0, 3);
    s.padding_x = random.Size(0, 3);
    // Often an output as large as the input, whose strips cross the ends of rows at an even pace.
    const bool same = random.Chance(2);
    s.reach_y = same ? 2 * s.padding_y : random.Size(0, 5);
    s.reach_x = same ? 2 * s.padding_x : random.Size(0, 5);
    s.dy = random.Size(0, s.reach_y);
    s.dx = random.Size(0, s.reach_x);
    const size_t pixels = NumPixels(s);
    s.first = random.Size(0, pixels - 1);
    s.nc = random.Chance(4) ? pixels - s.first : random.Size(1, std::min<size_t>(pixels - s.first, 130));
    s.nc = std::min<size_t>(s.nc, 1000);
    s.kc = random.Size(1, 20);
    s.gap = random.Chance(2) ? 0 : random.Size(1, 9);
    s.indexed = random.Chance(5);
    CheckPack<T>(k, s, random);
  }
}

template <typename T>
std::vector<Timing> TimePack(const Pack& k) {
  std::vector<Timing> timings;
  for (size_t way = 0; way < 5; way++) {
    struct Data {
      std::unique_ptr<Strip> strip;
      AlignedVector<T> input, output;
      std::vector<int32_t> channels;
    };
    // The last way is an NHWC image of 3 channels.
    const size_t num_channels = way == 4 ? 3 : 16;
    auto data = std::make_shared<Data>();
    const char* names[] = {"inside", "border", "strided", "indexed", "NHWC"};
    // A convolution of 3x3 taps: from the fourth row on the middle tap is inside, the left one is not at the ends of rows.
    PackShape s = {1, 56, 56, way == 4 ? 3u : 1u, way >= 2 ? 2u : 1u, 1, 1, 1, way == 1 ? 0u : 1u, 2, 2, way == 0 ? 3u * 56 : 56u,
                   64, num_channels, 0, way == 3};
    if (way == 2) s.nc = 28;
    Random random(1);
    data->strip = MakeStrip(s, sizeof(T), random);
    data->input.assign(56 * 56 * num_channels + XNN_EXTRA_BYTES, static_cast<T>(1));
    data->output.assign(s.nc * num_channels + XNN_EXTRA_BYTES, static_cast<T>(0));
    for (size_t i = 0; i < num_channels; i++) data->channels.push_back(static_cast<int32_t>(i * (way == 4 ? 1 : 56 * 56) * sizeof(T)));
    const auto ukernel = k.ukernel;
    timings.push_back({std::string(names[way]) + " " + Shape({{"nc", s.nc}, {"kc", num_channels}}), 0.0,
                       (k.op == Op::COPY ? 2.0 : 3.0) * sizeof(T) * s.nc * num_channels, [ukernel, data, s] {
                         ukernel(s.nc, s.kc, data->input.data(), data->channels.data(), &data->strip->strip,
                                 &data->strip->tap, 56, 56, 0, data->output.data(), s.nc * sizeof(T));
                       }});
  }
  return timings;
}

template <typename T>
void Add(std::vector<Ukernel>& ukernels, uint64_t arch_flags, const Pack& k) {
  ukernels.push_back({k.name, arch_flags, [k](Random& random, size_t rounds) { CheckAll<T>(k, random, rounds); },
                      [k] { return TimePack<T>(k); }});
}

}  // namespace

void AddPackIm2col(std::vector<Ukernel>& ukernels) {
#define XNN_UKERNEL(arch_flags, ukernel, op) Add<uint32_t>(ukernels, arch_flags, {#ukernel, ukernel, Op::op});
#include "x32-packim2col/x32-packim2col.h"
#undef XNN_UKERNEL
#define XNN_UKERNEL(arch_flags, ukernel, op) Add<int8_t>(ukernels, arch_flags, {#ukernel, ukernel, Op::op});
#include "x8-packim2col/x8-packim2col.h"
#undef XNN_UKERNEL
#define XNN_UKERNEL(arch_flags, ukernel, op) Add<uint16_t>(ukernels, arch_flags, {#ukernel, ukernel, Op::op});
#include "x16-packim2col/x16-packim2col.h"
#undef XNN_UKERNEL
}

}  // namespace nmcheck
