// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// What the parts of nmcheck share: where data lies while a micro-kernel runs, and how it is entered, judged and timed.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "xnnpack.h"
#include "xnnpack/common.h"
#include "xnnpack/microparams.h"

namespace nmcheck {

// An f32, and its bits as a pattern, that nothing in these tests computes.
constexpr uint32_t kGuardBits = 0xF2B16B00;

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  // Uniform, both ends included.
  size_t Size(size_t first, size_t last) { return std::uniform_int_distribution<size_t>(first, last)(engine_); }
  bool Chance(size_t n) { return Size(1, n) == 1; }
  float Float() { return std::uniform_real_distribution<float>(-1.0f, 1.0f)(engine_); }
  // Any of the values.
  size_t Of(const std::vector<size_t>& values) { return values[Size(0, values.size() - 1)]; }

 private:
  std::mt19937_64 engine_;
};

// Memory between two inaccessible pages. What is taken from it touches one of them: a read or a write beyond that end
// stops the program.
class Arena {
 public:
  explicit Arena(size_t capacity_bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // n elements at the end, or at the start. What was taken before is gone.
  template <typename T>
  T* Take(size_t n, bool at_end = true) {
    return static_cast<T*>(TakeBytes(n * sizeof(T), at_end));
  }
  // Fills everything with kGuardBits.
  void Poison();
  // Whether all but the rows rows of size bytes, stride bytes apart from first on, is kGuardBits still.
  bool IsPoisonedBut(const void* first, size_t rows, size_t stride, size_t size) const;

 private:
  void* TakeBytes(size_t size, bool at_end);

  uint8_t* mapping_;
  size_t page_;
  size_t capacity_;
};

// For timing: vectors that begin at a cache line, as operators' buffers do.
template <typename T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};
  CacheLineAllocator() = default;
  template <typename U>
  explicit CacheLineAllocator(const CacheLineAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kAlignment)); }
  void deallocate(T* p, size_t) { ::operator delete(p, kAlignment); }
  bool operator==(const CacheLineAllocator&) const { return true; }
  bool operator!=(const CacheLineAllocator&) const { return false; }
};
template <typename T>
using AlignedVector = std::vector<T, CacheLineAllocator<T>>;

// One shape run by one micro-kernel. Reported when it fails or crashes.
class Case {
 public:
  Case(const char* ukernel, std::string shape);
  // Marks the case as failed; the first few failures of a micro-kernel are printed.
  void Fail(const std::string& why);
  // Fails unless |actual - expected| <= tolerance. A NaN fails.
  void Near(double actual, double expected, double tolerance, size_t row, size_t column);
  bool failed() const { return failed_; }

 private:
  bool failed_ = false;
};

struct Timing {
  std::string shape;
  // Of one call: multiply-adds count twice; bytes are what has to be read and written.
  double flops;
  double bytes;
  std::function<void()> call;
};

struct Ukernel {
  const char* name;
  uint64_t arch_flags;
  // Runs fixed shapes, then rounds drawn ones.
  std::function<void(Random& random, size_t rounds)> check;
  // Shapes to time. The calls hold what they need.
  std::function<std::vector<Timing>()> timings;
};

void AddNMConv(std::vector<Ukernel>& ukernels);
void AddNMSpMM(std::vector<Ukernel>& ukernels);
void AddPackIm2col(std::vector<Ukernel>& ukernels);
void AddQuantizedNMConv(std::vector<Ukernel>& ukernels);
void AddQuantizedNMSpMM(std::vector<Ukernel>& ukernels);

// "name=value" of each.
std::string Shape(std::initializer_list<std::pair<const char*, double>> values);

// A pair of bounds: none, both ends, or one.
union xnn_f32_minmax_params DrawBounds(Random& random);

// Leaves the vector unit as badly as a caller may: on RISC-V with an illegal vtype and vl = 0. To be called last before
// a micro-kernel.
void BreakVectorState();

}  // namespace nmcheck
