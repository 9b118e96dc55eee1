// SPDX-License-Identifier: BSD-3-Clause
//
// What both testbenches share: memory with a program in it, the registers of mcu/platform/nm_platform.h, options.

#ifndef NM_MACHINE_H_
#define NM_MACHINE_H_

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "Vcv32e40p_top.h"

// Anything wrong with the program or the command line, in one sentence.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Options {
  std::string program;
  uint64_t cycles = 4'000'000'000;  // the most that a program may take
  uint32_t cores = 8;               // of the cluster
  uint32_t banks = 16;              // of the cluster
  // Seeds; 0 is never.
  uint64_t instruction_stalls = 0;
  uint64_t data_stalls = 0;
  uint64_t interrupts = 0;
};

// Reads the words after the program's name; throws Failure.
Options parse_options(int count, char **words);

// What is counted between the borders of a region.
struct Counters {
  uint64_t cycles = 0;
  uint64_t instructions = 0;
  uint64_t loads = 0;
  uint64_t stores = 0;
  uint64_t conflicts = 0;  // cycles in which a core waited for a bank
};

// 64 MiB from 0x80000000, and the registers from 0x10000000.
class Machine {
 public:
  static constexpr uint32_t kBase = 0x8000'0000;
  static constexpr uint32_t kBytes = 64u << 20;
  static constexpr uint32_t kRegisters = 0x1000'0000;

  explicit Machine(const std::string &program);

  uint32_t entry() const { return entry_; }
  bool ended() const { return ended_; }

  static bool is_register(uint32_t address) { return (address & ~0xffu) == kRegisters; }

  // The word that holds this address. Cores fetch past the end of programs: there it is 0.
  uint32_t fetch(uint32_t address) const {
    const uint32_t offset = (address - kBase) & ~3u;
    return offset < kBytes ? word(offset) : 0;
  }

  uint32_t load(uint32_t address) const {
    const uint32_t offset = (address - kBase) & ~3u;
    if (offset >= kBytes) {
      refuse("load from", address);
    }
    return word(offset);
  }

  // Stores the bytes of `value` that `enabled` has bits for.
  void store(uint32_t address, uint32_t value, uint32_t enabled, const Counters &now);

  // Prints how the program ended.
  void report(const Counters &total) const;

 private:
  uint32_t word(uint32_t offset) const {
    uint32_t value;
    __builtin_memcpy(&value, &memory_[offset], 4);
    return value;
  }
  void load_segments(const std::vector<uint8_t> &file);
  void store_register(uint32_t address, uint32_t value, const Counters &now);
  [[noreturn]] static void refuse(const char *what, uint32_t address);

  std::vector<uint8_t> memory_;
  std::vector<Counters> begun_;
  uint32_t entry_ = 0;
  uint32_t status_ = 0;
  bool ended_ = false;
};

// Puts a core into reset, with its inputs at rest, and takes it out again.
void reset(Vcv32e40p_top &core, uint32_t entry, uint32_t hart);

// Whether the core counts an instruction in this cycle.
bool retires(const Vcv32e40p_top &core);

// Runs a testbench: turns Failure into a sentence and a status of 1.
int run_testbench(int count, char **words, void (*testbench)(const Options &options));

#endif  // NM_MACHINE_H_
