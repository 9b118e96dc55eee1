// SPDX-License-Identifier: BSD-3-Clause

#include "pipeline.h"

#include <cinttypes>

namespace nm {

namespace {

constexpr const char *kClassNames[kClasses] = {
    "arithmetic", "multiply", "multiply_high", "divide", "load", "store", "gather", "branch", "jump", "loop", "system",
    "vector",
};

// The counters behind the classes, by name.
struct Named {
  const char *name;
  uint64_t Counters::*member;
};

constexpr Named kNamed[] = {
    {"load_stalls", &Counters::load_stalls},
    {"jump_stalls", &Counters::jump_stalls},
    {"branches_taken", &Counters::branches_taken},
    {"misaligned_targets", &Counters::misaligned_targets},
    {"misaligned_accesses", &Counters::misaligned_accesses},
    {"division_cycles", &Counters::division_cycles},
    {"loop_backs", &Counters::loop_backs},
};

}  // namespace

Counters Counters::since(const Counters &begin) const {
  Counters result;
  result.cycles = cycles - begin.cycles;
  result.instructions = instructions - begin.instructions;
  result.loads = loads - begin.loads;
  result.stores = stores - begin.stores;
  for (uint32_t i = 0; i < kClasses; i++) {
    result.classes[i] = classes[i] - begin.classes[i];
  }
  for (const Named &named : kNamed) {
    result.*named.member = this->*named.member - begin.*named.member;
  }
  return result;
}

void Counters::print(FILE *file) const {
  std::fprintf(file,
               "\"cycles\": %" PRIu64 ", \"instructions\": %" PRIu64 ", \"loads\": %" PRIu64 ", \"stores\": %" PRIu64
               ", \"conflicts\": 0, \"counts\": {",
               cycles, instructions, loads, stores);
  for (uint32_t i = 0; i < kClasses; i++) {
    std::fprintf(file, "\"%s\": %" PRIu64 ", ", kClassNames[i], classes[i]);
  }
  for (const Named &named : kNamed) {
    std::fprintf(file, "%s\"%s\": %" PRIu64, &named == kNamed ? "" : ", ", named.name, this->*named.member);
  }
  std::fputs("}", file);
}

void Pipeline::begin(uint64_t cycle) {
  *this = Pipeline();
  redirect(cycle);
}

}  // namespace nm
