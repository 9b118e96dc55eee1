// SPDX-License-Identifier: BSD-3-Clause
//
// When CV32E40P issues each instruction, with memory that answers at once, and what it counts.
//
// Instructions enter EX in order, one after the other. Time is the cycle in which the last one entered EX. What delays
// the next one: EX is still busy (products' high words, division, second halves of misaligned accesses), a load's
// result or its register is wanted at once, fetching follows a jump (from ID) or a branch (from EX), or a status
// register drains the pipeline. docs/design/mcu-cycles.md lists the rules and how they were checked.

#ifndef NM_PIPELINE_H_
#define NM_PIPELINE_H_

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace nm {

enum Class : uint32_t {
  kArithmetic,  // of RV32I, RVC and XCV, moves and constants
  kMultiply,    // one cycle, with dot products and sums of products
  kMultiplyHigh,
  kDivide,
  kLoad,
  kStore,
  kGather,
  kBranch,
  kJump,
  kLoop,  // set-up of hardware loops
  kSystem,
  kVector,
  kClasses,
};

// What is counted between the borders of a region; each is a number of its own kind, as said in counter_names.
struct Counters {
  uint64_t cycles = 0;
  uint64_t instructions = 0;
  uint64_t loads = 0;   // accesses to memory: a misaligned one is two
  uint64_t stores = 0;
  std::array<uint64_t, kClasses> classes{};
  uint64_t load_stalls = 0;
  uint64_t jump_stalls = 0;
  uint64_t branches_taken = 0;
  uint64_t misaligned_targets = 0;
  uint64_t misaligned_accesses = 0;
  uint64_t division_cycles = 0;
  uint64_t loop_backs = 0;

  Counters since(const Counters &begin) const;

  // Prints them as members of a JSON object.
  void print(FILE *file) const;
};

// Registers that an instruction in ID reads, and those that it writes from EX and from WB; kNone is none.
struct Registers {
  static constexpr uint32_t kNone = ~0u;
  uint32_t a = 0;  // x0 is never waited for
  uint32_t b = 0;
  uint32_t c = 0;
  uint32_t from_ex = kNone;
  uint32_t from_wb = kNone;
};

class Pipeline {
 public:
  // An instruction at `pc` of `bytes` bytes, which keeps EX busy for `cycles` cycles.
  void issue(uint32_t pc, uint32_t bytes, Class kind, const Registers &registers, uint32_t cycles) {
    arrive(pc, bytes);
    enter(kind, registers, cycles);
  }

  // A jump is taken from ID, as soon as its register is known, even if EX is still busy.
  void issue_jump(uint32_t pc, uint32_t bytes, const Registers &registers) {
    arrive(pc, bytes);
    now.jump_stalls += wait(registers.a);
    const uint64_t taken = fetched_;
    enter(kJump, registers, 1);
    redirect(taken + 2);
    // While ID is empty, the core takes the jump for one that waits for the register which it has just written itself.
    stale_ = registers.a != 0 && registers.a == registers.from_ex;
  }

  // A gather takes its indices from the register file, after whatever writes them.
  void issue_gather(uint32_t pc, uint32_t bytes, const Registers &registers) {
    arrive(pc, bytes);
    now.load_stalls += wait(registers.b);
    enter(kGather, registers, 1);
  }

  // The branch issued last was taken.
  void take_branch() {
    now.branches_taken++;
    redirect(entered_ + 2);
  }

  // The instruction issued last keeps the next out of ID until `cycles` after it entered EX.
  void hold(uint64_t cycles) { fetched_ = entered_ + cycles; }

  // The same, and the next one is fetched only then.
  void flush(uint64_t cycles) { redirect(entered_ + cycles); }

  // An instruction in ID, which was never issued, caused an exception: its handler follows `cycles` later.
  void except(uint64_t cycles) { redirect((fetched_ > entered_ ? fetched_ : entered_) + cycles); }

  // Whatever ran before the program is forgotten.
  void begin(uint64_t cycle);

  Counters now;

 private:
  void arrive(uint32_t pc, uint32_t bytes) {
    if (redirected_) {
      redirected_ = false;
      if ((pc & 2) != 0 && bytes == 4) {
        now.misaligned_targets++;
        // Its first half is put aside as ID becomes ready, however long ago it was fetched.
        fetched_ = (fetched_ > entered_ ? fetched_ : entered_) + 1;
      }
      if (stale_ && fetched_ > entered_) {
        fetched_++;
      }
      stale_ = false;
    }
  }

  // Keeps an instruction in ID until the register file has `number`; returns for how long.
  uint64_t wait(uint32_t number) {
    const uint64_t arrived = fetched_ > entered_ ? fetched_ : entered_;
    fetched_ = number != 0 && known_[number] > arrived ? known_[number] : arrived;
    return fetched_ - arrived;
  }

  void enter(Class kind, const Registers &registers, uint32_t cycles) {
    uint64_t entry = entered_ + busy_;
    if (loaded_ != Registers::kNone &&
        ((loaded_ != 0 && (registers.a == loaded_ || registers.b == loaded_ || registers.c == loaded_)) ||
         registers.from_ex == loaded_) &&
        fetched_ < entry) {
      entry++;
      now.load_stalls++;
    }
    if (fetched_ + 1 > entry) {
      entry = fetched_ + 1;
    }
    entered_ = entry;
    busy_ = cycles;
    loaded_ = registers.from_wb;
    if (registers.from_ex != Registers::kNone) {
      // A misaligned access moves its address in the first of its cycles.
      known_[registers.from_ex] = entry + (kind == kLoad || kind == kStore ? 1 : cycles);
    }
    if (registers.from_wb != Registers::kNone) {
      known_[registers.from_wb] = entry + cycles + 1;
    }
    now.cycles = entry;
    now.instructions++;
    now.classes[kind]++;
  }

  void redirect(uint64_t cycle) {
    fetched_ = cycle;
    redirected_ = true;
  }

  uint64_t entered_ = 0;  // cycle in which the last instruction entered EX
  uint64_t busy_ = 1;     // for how long it stays there
  uint64_t fetched_ = 0;  // cycle before which the next one cannot be in ID
  bool redirected_ = false;
  bool stale_ = false;    // whether the last jump wrote its own register
  uint32_t loaded_ = Registers::kNone;  // register that the last instruction writes from WB
  std::array<uint64_t, 32> known_{};    // cycle from which the register file has a register's value
};

}  // namespace nm

#endif  // NM_PIPELINE_H_
