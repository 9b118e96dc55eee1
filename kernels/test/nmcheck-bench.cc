// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// nmcheck --bench. Time is real time of this machine; under an emulator there is none worth telling.

#include "nmcheck-bench.h"

#include <algorithm>
#include <chrono>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <functional>

#include "xnnpack/common.h"

namespace nmcheck {
namespace {

enum class Counter {
  kUnreadable,
  // Counts retired instructions.
  kInstructions,
  // Counts something else, as emulators in user mode do.
  kFake,
};

#if XNN_ARCH_RISCV
sigjmp_buf no_counter;

extern "C" void OnIllegalInstruction(int) { siglongjmp(no_counter, 1); }

uint64_t ReadInstret() {
  uint64_t count;
  asm volatile("csrr %0, instret" : "=r"(count) : : "memory");
  return count;
}

// Runs a known number of instructions.
Counter FindCounter() {
  struct sigaction action = {}, before;
  action.sa_handler = OnIllegalInstruction;
  sigaction(SIGILL, &action, &before);
  Counter counter = Counter::kUnreadable;
  if (sigsetjmp(no_counter, 1) == 0) {
    counter = Counter::kInstructions;
    for (size_t loops : {1000, 5000, 1000}) {
      size_t n = loops;
      const uint64_t begin = ReadInstret();
      asm volatile("1: addi %0, %0, -1; bnez %0, 1b" : "+r"(n) : : "memory");
      const uint64_t count = ReadInstret() - begin;
      if (count < 2 * loops || count > 2 * loops + 50) counter = Counter::kFake;
    }
  }
  sigaction(SIGILL, &before, nullptr);
  return counter;
}
#else
uint64_t ReadInstret() { return 0; }

Counter FindCounter() { return Counter::kUnreadable; }
#endif

// Seconds that calls calls take.
double Measure(const std::function<void()>& call, size_t calls) {
  const auto begin = std::chrono::steady_clock::now();
  for (size_t i = 0; i < calls; i++) call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int TimeAll(const std::vector<Ukernel>& ukernels) {
  const Counter counter = FindCounter();
  if (counter == Counter::kFake) {
    std::fprintf(stderr,
                 "nmcheck: this is an emulator (its instret counts no instructions), where time means nothing: "
                 "refusing to measure\n");
    return 1;
  }
  std::printf("One thread, data in caches, 15 samples of 2 ms or more each: median and fastest.\n");
  std::printf("%-52s %-24s %10s %10s %9s %9s%s\n", "micro-kernel", "shape", "ns", "fastest", "GFLOP/s", "GB/s",
              counter == Counter::kInstructions ? "    instret" : "");
  for (const Ukernel& ukernel : ukernels) {
    for (const Timing& timing : ukernel.timings()) {
      constexpr double kSample = 2e-3;
      size_t calls = 1;
      while (Measure(timing.call, calls) < kSample) calls *= 2;
      std::vector<double> samples(15);
      for (double& sample : samples) sample = Measure(timing.call, calls) / calls;
      std::sort(samples.begin(), samples.end());
      const double median = samples[samples.size() / 2];
      std::printf("%-52s %-24s %10.1f %10.1f %9.2f %9.2f", ukernel.name, timing.shape.c_str(), median * 1e9,
                  samples[0] * 1e9, timing.flops / median * 1e-9, timing.bytes / median * 1e-9);
      if (counter == Counter::kInstructions) {
        const uint64_t begin = ReadInstret();
        timing.call();
        std::printf(" %10llu", static_cast<unsigned long long>(ReadInstret() - begin));
      }
      std::printf("\n");
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace nmcheck
