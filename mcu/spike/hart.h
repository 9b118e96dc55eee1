// SPDX-License-Identifier: BSD-3-Clause
//
// The one core that Spike plays: its pipeline, its hardware loops, and the registers of mcu/platform/nm_platform.h.

#ifndef NM_HART_H_
#define NM_HART_H_

#include <riscv/mmu.h>
#include <riscv/processor.h>
#include <riscv/trap.h>

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline.h"

namespace nm {

class Hart {
 public:
  static constexpr uint32_t kBase = 0x8000'0000;
  static constexpr uint32_t kBytes = 64u << 20;
  static constexpr uint32_t kRegisters = 0x1000'0000;

  struct Loop {
    uint32_t start = 0;
    uint32_t end = 0;  // behind the last instruction
    uint32_t count = 0;
  };

  Pipeline pipeline;
  Loop loops[2];

  // Before every instruction: whether it belongs to the program, not to Spike's boot code.
  bool runs(uint32_t pc) {
    if (pc - kBase < kBytes) {
      if (pc != expected_) {
        enter(pc);
      }
      if (pipeline.now.cycles > limit_) {
        stop("the program did not end within " + std::to_string(limit_) + " cycles");
      }
      return true;
    }
    return outside(pc);
  }

  // Before ecall and ebreak, whose handler follows sooner than that of illegal instructions.
  void call() { exception_cycles_ = kCallCycles; }

  // After an instruction that goes on to `pc`.
  reg_t go(uint32_t pc) {
    expected_ = pc;
    return extend(pc);
  }

  // After an instruction of `bytes` bytes at `pc` that does not jump: hardware loops may.
  reg_t go_on(uint32_t pc, uint32_t bytes) {
    const uint32_t next = pc + bytes;
    if ((loops[0].count | loops[1].count) != 0) {
      return go(after_loops(pc, next));
    }
    return go(next);
  }

  // Refuses instructions that hardware loops must not hold.
  void check_not_in_loop(uint32_t pc, const char *what) const {
    if ((loops[0].count | loops[1].count) != 0) {
      refuse_in_loop(pc, what);
    }
  }
  void set_loop(uint32_t pc, uint32_t number, bool start, bool end, bool count, const Loop &loop);

  // An access to memory or registers; the pipeline must have issued it. Cycles are those that it keeps EX busy.
  static uint32_t access_cycles(uint32_t address, uint32_t bytes) { return (address & 3) + bytes > 4 ? 2 : 1; }
  void count_load(uint32_t address, uint32_t bytes);
  // False if the store was to a register, which has been done.
  bool count_store(uint32_t address, uint32_t value, uint32_t bytes);

  static reg_t extend(uint32_t value) { return static_cast<reg_t>(static_cast<sreg_t>(static_cast<int32_t>(value))); }
  static uint32_t read(processor_t *p, uint32_t number) { return static_cast<uint32_t>(p->get_state()->XPR[number]); }
  static void write(processor_t *p, uint32_t number, uint32_t value) {
    p->get_state()->XPR.write(number, extend(value));
  }

  // If `vector`, instructions that never come here are vector instructions, none of which jumps.
  void reset(bool vector);

  // Prints a sentence and ends the simulation.
  [[noreturn]] static void stop(const std::string &sentence);

 private:
  // Cycles from an instruction in ID to the first one of its handler there.
  static constexpr uint64_t kCallCycles = 4;
  static constexpr uint64_t kIllegalCycles = 5;

  void enter(uint32_t pc);
  bool outside(uint32_t pc);
  uint32_t after_loops(uint32_t pc, uint32_t next);
  bool holds(const Loop &loop, uint32_t pc) const {
    return loop.count != 0 && pc >= loop.start && pc < loop.end;
  }
  void refuse_in_loop(uint32_t pc, const char *what) const;
  void store_register(uint32_t address, uint32_t value);

  bool begun_ = false;
  bool vector_ = false;
  uint32_t expected_ = 0;
  uint64_t exception_cycles_ = kIllegalCycles;
  uint64_t limit_ = UINT64_MAX;
  std::vector<Counters> regions_;
};

extern Hart hart;

// What an instruction is made of.
inline uint32_t bits_of(insn_t insn) { return static_cast<uint32_t>(insn.bits()); }
inline uint32_t rd_of(uint32_t bits) { return bits >> 7 & 31; }
inline uint32_t rs1_of(uint32_t bits) { return bits >> 15 & 31; }
inline uint32_t rs2_of(uint32_t bits) { return bits >> 20 & 31; }
inline uint32_t imm_i_of(uint32_t bits) { return static_cast<uint32_t>(static_cast<int32_t>(bits) >> 20); }
inline uint32_t imm_s_of(uint32_t bits) {
  return static_cast<uint32_t>(static_cast<int32_t>(bits) >> 25 << 5) | (bits >> 7 & 31);
}

}  // namespace nm

#endif  // NM_HART_H_
