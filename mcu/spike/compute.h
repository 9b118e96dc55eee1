// SPDX-License-Identifier: BSD-3-Clause
//
// XCV instructions that compute a register from registers.

#ifndef NM_COMPUTE_H_
#define NM_COMPUTE_H_

#include "instructions.h"

namespace nm {

// Computes rD from rs1, rs2, rD's old value and the instruction.
using Function = uint32_t (*)(uint32_t a, uint32_t b, uint32_t d, uint32_t bits);

// Registers that it reads, to be added: the core waits for each of them, whether it needs its value or not.
constexpr uint32_t kReads1 = 1;
constexpr uint32_t kReads2 = 2;
constexpr uint32_t kReadsD = 4;

template <Function kFunction, uint32_t kReads, Class kKind>
reg_t compute(processor_t *p, insn_t insn, reg_t pc) {
  const uint32_t bits = bits_of(insn);
  const uint32_t here = static_cast<uint32_t>(pc);
  hart.runs(here);
  hart.pipeline.issue(here, 4, kKind,
                      {(kReads & kReads1) != 0 ? rs1_of(bits) : 0, (kReads & kReads2) != 0 ? rs2_of(bits) : 0,
                       (kReads & kReadsD) != 0 ? rd_of(bits) : 0, rd_of(bits), Registers::kNone},
                      1);
  Hart::write(p, rd_of(bits),
              kFunction(Hart::read(p, rs1_of(bits)), Hart::read(p, rs2_of(bits)), Hart::read(p, rd_of(bits)), bits));
  return hart.go_on(here, 4);
}

}  // namespace nm

#endif  // NM_COMPUTE_H_
