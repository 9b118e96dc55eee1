// Copyright 2026 nmpack authors
//
// This source code is licensed under the BSD-style license found in the
// LICENSE file in the root directory of this source tree.

// Checks, or times, every micro-kernel of ours, of all families. See kUsage.

#include "nmcheck.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>

#include <fnmatch.h>
#include <sys/mman.h>
#include <unistd.h>

#include "xnnpack/config.h"
#include "xnnpack/hardware-config.h"
#include "nmcheck-bench.h"

namespace nmcheck {
namespace {

constexpr char kUsage[] =
    "usage: nmcheck [--test=PATTERN] [--seed=N] [--rounds=N] | --bench[=PATTERN] | --list | --help\n"
    "\n"
    "Runs every micro-kernel of the N:M families that this hardware has against a reference.\n"
    "\n"
    "  --test=PATTERN   only micro-kernels whose name contains PATTERN, or matches it where it has * ? or [\n"
    "  --seed=N         repeat the shapes and values that N gave; default: another N each time, printed\n"
    "  --rounds=N       drawn shapes for each micro-kernel; default 100\n"
    "  --bench          time micro-kernels instead: nanoseconds and GFLOP/s, or GB/s, of single calls on data in caches\n"
    "  --list           print names, and whether this hardware has what they need\n"
    "\n"
    "Exit status: 0 all passed, 1 a failure, 2 a wrong call, or nothing to run.\n"
    "On riscv64 a missing vector extension is a failure when NMPACK_REQUIRE_RVV=1 or QEMU_CPU has v=true.\n";

// What is running: for reports, also of a crash.
struct {
  char ukernel[128];
  char shape[256];
  unsigned long long seed;
  size_t failures;
  size_t cases;
} current;

extern "C" void OnCrash(int signal) {
  char text[640];
  const int size = std::snprintf(
      text, sizeof(text), "FAILED: %s: signal %d (%s) with %s; repeat with --test=%s --seed=%llu\n", current.ukernel,
      signal, signal == SIGILL ? "illegal instruction" : "access outside of the buffers, or misaligned", current.shape,
      current.ukernel, current.seed);
  (void) !write(STDERR_FILENO, text, std::min<size_t>(size, sizeof(text) - 1));
  _exit(1);
}

// Stacks may be what overflowed.
void CatchCrashes() {
  static char stack[1 << 16];
  stack_t alternate = {};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof(stack);
  sigaltstack(&alternate, nullptr);
  struct sigaction action = {};
  action.sa_handler = OnCrash;
  action.sa_flags = SA_ONSTACK;
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigaction(signal, &action, nullptr);
}

bool Matches(const std::string& pattern, const char* name) {
  const bool glob = pattern.find_first_of("*?[") != std::string::npos;
  return fnmatch(glob ? pattern.c_str() : ("*" + pattern + "*").c_str(), name, 0) == 0;
}

bool IsSupported(const Ukernel& ukernel) {
  const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
#ifdef NMCHECK_EMULATED
  // Those of these instruction sets alone, which were compiled for an emulation.
  return (ukernel.arch_flags & (NMCHECK_EMULATED)) != 0;
#endif
  return hardware_config != nullptr && (hardware_config->arch_flags & ukernel.arch_flags) == ukernel.arch_flags;
}

// An emulator without V would pass having run nothing of what was asked for.
bool HasRequestedVectors() {
  const char* cpu = std::getenv("QEMU_CPU");
  const char* required = std::getenv("NMPACK_REQUIRE_RVV");
  const bool emulated = XNN_ARCH_RISCV && cpu != nullptr && std::strstr(cpu, "v=true") != nullptr;
  if (!emulated && (required == nullptr || std::strcmp(required, "1") != 0)) {
    return true;
  }
#if XNN_ARCH_RISCV
  const struct xnn_hardware_config* hardware_config = xnn_init_hardware_config();
  if (hardware_config != nullptr && hardware_config->use_riscv_vector) {
    const char* vlen = emulated ? std::strstr(cpu, "vlen=") : nullptr;
    const unsigned long expected = vlen != nullptr ? std::strtoul(vlen + 5, nullptr, 10) : 0;
    if (expected != 0 && expected != hardware_config->vlenb * 8) {
      std::fprintf(stderr, "FAILED: QEMU_CPU asks for vlen=%lu, got %u\n", expected,
                   static_cast<unsigned>(hardware_config->vlenb * 8));
      return false;
    }
    if (emulated && std::strstr(cpu, "zvfh=true") != nullptr && !hardware_config->use_riscv_vector_fp16_arith) {
      std::fprintf(stderr, "FAILED: QEMU_CPU asks for Zvfh, but: %s\n", hardware_config->riscv_vector_fp16_reason);
      return false;
    }
    return true;
  }
#endif
  std::fprintf(stderr, "FAILED: the RISC-V vector extension was asked for (%s), but is not there\n",
               emulated ? "v=true in QEMU_CPU" : "NMPACK_REQUIRE_RVV=1");
  return false;
}

// Each micro-kernel has its own random numbers, whichever others run.
uint64_t SeedOf(uint64_t seed, const char* name) {
  uint64_t hash = 0xCBF29CE484222325 ^ seed;
  for (; *name != '\0'; name++) hash = (hash ^ static_cast<unsigned char>(*name)) * 0x100000001B3;
  return hash;
}

int Check(const std::vector<Ukernel>& ukernels, const std::string& pattern, uint64_t seed, size_t rounds) {
  CatchCrashes();
  current.seed = seed;
  std::printf("nmcheck: seed %llu\n", current.seed);
  std::fflush(stdout);
  bool passed = HasRequestedVectors();
  size_t run = 0, failed = 0, skipped = 0;
  for (const Ukernel& ukernel : ukernels) {
    if (!Matches(pattern, ukernel.name)) continue;
    if (!IsSupported(ukernel)) {
      skipped++;
      continue;
    }
    current.failures = 0;
    Random random(SeedOf(seed, ukernel.name));
    ukernel.check(random, rounds);
    run++;
    if (current.failures != 0) {
      std::fprintf(stderr, "FAILED: %s: %zu cases\n", ukernel.name, current.failures);
      failed++;
    }
  }
  if (run == 0) {
    std::fprintf(stderr, "nmcheck: no micro-kernel of this hardware matches '%s'\n", pattern.c_str());
    return 2;
  }
  std::printf("nmcheck: %zu micro-kernels checked in %zu cases, %zu failed, %zu skipped for lack of hardware\n", run,
              current.cases, failed, skipped);
  return passed && failed == 0 ? 0 : 1;
}

int List(const std::vector<Ukernel>& ukernels) {
  for (const Ukernel& ukernel : ukernels) {
    std::printf("%s%s\n", ukernel.name, IsSupported(ukernel) ? "" : " (not on this hardware)");
  }
  return 0;
}

int Bench(const std::vector<Ukernel>& ukernels, const std::string& pattern) {
  std::vector<Ukernel> chosen;
  for (const Ukernel& ukernel : ukernels) {
    if (Matches(pattern, ukernel.name) && IsSupported(ukernel)) chosen.push_back(ukernel);
  }
  if (chosen.empty()) {
    std::fprintf(stderr, "nmcheck: no micro-kernel of this hardware matches '%s'\n", pattern.c_str());
    return 2;
  }
  return TimeAll(chosen);
}

bool ParseNumber(const char* text, unsigned long long* number) {
  char* end;
  *number = std::strtoull(text, &end, 10);
  return *text >= '0' && *text <= '9' && *end == '\0';
}

}  // namespace

Arena::Arena(size_t capacity_bytes) : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
  capacity_ = (capacity_bytes + page_ - 1) / page_ * page_;
  void* mapping = mmap(nullptr, capacity_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mapping_ = static_cast<uint8_t*>(mapping) + page_;
  if (mapping == MAP_FAILED || mprotect(mapping_, capacity_, PROT_READ | PROT_WRITE) != 0) {
    std::perror("nmcheck: cannot map memory");
    std::exit(2);
  }
}

Arena::~Arena() { munmap(mapping_ - page_, capacity_ + 2 * page_); }

void* Arena::TakeBytes(size_t size, bool at_end) {
  if (size > capacity_) {
    std::fprintf(stderr, "nmcheck: a case needs %zu bytes where %zu are provided\n", size, capacity_);
    std::exit(2);
  }
  return at_end ? mapping_ + (capacity_ - size) : mapping_;
}

void Arena::Poison() {
  std::fill_n(reinterpret_cast<uint32_t*>(mapping_), capacity_ / sizeof(uint32_t), kGuardBits);
}

bool Arena::IsPoisonedBut(const void* first, size_t rows, size_t stride, size_t size) const {
  const uint8_t* position = mapping_;
  const auto is_poisoned_until = [&](const uint8_t* end) {
    uint8_t guard[sizeof(kGuardBits)];
    std::memcpy(guard, &kGuardBits, sizeof(guard));
    for (const uint8_t* byte = position; byte < end; byte++) {
      if (*byte != guard[static_cast<size_t>(byte - mapping_) % sizeof(guard)]) return false;
    }
    return true;
  };
  for (size_t row = 0; row < rows; row++) {
    const uint8_t* begin = static_cast<const uint8_t*>(first) + row * stride;
    if (!is_poisoned_until(begin)) return false;
    position = begin + size;
  }
  return is_poisoned_until(mapping_ + capacity_);
}

Case::Case(const char* ukernel, std::string shape) {
  std::snprintf(current.ukernel, sizeof(current.ukernel), "%s", ukernel);
  std::snprintf(current.shape, sizeof(current.shape), "%s", shape.c_str());
  current.cases++;
}

void Case::Fail(const std::string& why) {
  if (failed_) return;
  failed_ = true;
  if (++current.failures <= 3) {
    std::fprintf(stderr, "FAILED: %s: %s with %s; repeat with --test=%s --seed=%llu\n", current.ukernel, why.c_str(),
                 current.shape, current.ukernel, current.seed);
  }
}

void Case::Near(double actual, double expected, double tolerance, size_t row, size_t column) {
  if (!(actual >= expected - tolerance && actual <= expected + tolerance)) {
    std::ostringstream why;
    why.precision(9);
    why << "row " << row << ", column " << column << ": expected " << expected << " within " << tolerance << ", got "
        << actual;
    Fail(why.str());
  }
}

void BreakVectorState() {
#if XNN_ARCH_RISCV && XNN_ENABLE_RISCV_VECTOR
  if (xnn_init_hardware_config()->use_riscv_vector) {
    asm volatile(".option push; .option arch, +v; vsetvl zero, zero, %0; .option pop" : : "r"(~UINT64_C(0) >> 1));
  }
#endif
}

std::string Shape(std::initializer_list<std::pair<const char*, double>> values) {
  std::ostringstream text;
  for (const auto& value : values) text << (text.tellp() > 0 ? " " : "") << value.first << "=" << value.second;
  return text.str();
}

union xnn_f32_minmax_params DrawBounds(Random& random) {
  const float infinity = std::numeric_limits<float>::infinity();
  switch (random.Size(0, 4)) {
    case 0: return {{-0.25f, 0.25f}};
    case 1: return {{0.0f, infinity}};
    case 2: return {{-infinity, 0.125f}};
    case 3: return {{0.0f, 6.0f}};
    default: return {{-infinity, infinity}};
  }
}

}  // namespace nmcheck

int main(int argc, char** argv) {
  using namespace nmcheck;
  std::string pattern = "*";
  unsigned long long seed = std::random_device{}(), rounds = 100;
  bool bench = false, list = false;
  for (int i = 1; i < argc; i++) {
    const std::string arg = argv[i];
    const std::string value = arg.substr(std::min(arg.find('=') + 1, arg.size()));
    if (arg == "--help" || arg == "-h") {
      std::fputs(kUsage, stdout);
      return 0;
    } else if (arg == "--list") {
      list = true;
    } else if (arg == "--bench") {
      bench = true;
    } else if (arg.rfind("--bench=", 0) == 0 && !value.empty()) {
      bench = true;
      pattern = value;
    } else if (arg.rfind("--test=", 0) == 0 && !value.empty()) {
      pattern = value;
    } else if (arg.rfind("--seed=", 0) == 0 && ParseNumber(value.c_str(), &seed)) {
    } else if (arg.rfind("--rounds=", 0) == 0 && ParseNumber(value.c_str(), &rounds)) {
    } else {
      std::fprintf(stderr, "nmcheck: unknown or incomplete argument '%s'\n%s", argv[i], kUsage);
      return 2;
    }
  }
  if (xnn_init_hardware_config() == nullptr) {
    std::fprintf(stderr, "nmcheck: XNNPACK does not support this machine\n");
    return 2;
  }
  std::vector<Ukernel> ukernels;
  AddNMConv(ukernels);
  AddNMSpMM(ukernels);
  AddPackIm2col(ukernels);
  AddQuantizedNMConv(ukernels);
  AddQuantizedNMSpMM(ukernels);
  return list ? List(ukernels) : bench ? Bench(ukernels, pattern) : Check(ukernels, pattern, seed, rounds);
}
