// SPDX-License-Identifier: BSD-3-Clause
#ifndef NMPACK_MEASURE_MACHINE_H_
#define NMPACK_MEASURE_MACHINE_H_

#include <cstddef>
#include <string>
#include <vector>

namespace nmpack {

// What times depend on.
struct Machine {
  std::string architecture;  // as `uname -m` says
  std::string cpu;           // its name, or what else is known of it
  std::string isa;           // whose micro-kernels run
  size_t vlen = 0;           // bits of a vector, 0 where that is fixed
  std::vector<size_t> caches;  // bytes of the first core's data caches, innermost first; empty if unknown
  size_t cores = 0;
  std::string kernels;
  std::string compiler;
};

Machine DescribeMachine();

// Lets XNNPACK, which is initialized, take the processor for a lesser one of that instruction set: on x86-64 fma3, which
// is AVX2, too. False where it is none that this processor has.
bool LimitInstructions(const std::string& isa);

}  // namespace nmpack

#endif  // NMPACK_MEASURE_MACHINE_H_
