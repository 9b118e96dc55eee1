// SPDX-License-Identifier: BSD-3-Clause
//
// The lists that the extension registers with Spike.

#ifndef NM_INSTRUCTIONS_H_
#define NM_INSTRUCTIONS_H_

#include <riscv/extension.h>

#include <string_view>
#include <vector>

#include "hart.h"

namespace nm {

class Instructions {
 public:
  void add(uint32_t match, uint32_t mask, insn_func_t function) {
    list.push_back({match, mask, function, function, function, function, function, function, function, function});
  }

  std::vector<insn_desc_t> list;
};

void add_base(Instructions &instructions);
void add_xcv_memory(Instructions &instructions);
void add_xcv_arithmetic(Instructions &instructions);
void add_xcv_simd(Instructions &instructions);
void add_xcv_complex(Instructions &instructions);
void add_gather(Instructions &instructions);

}  // namespace nm

#endif  // NM_INSTRUCTIONS_H_
