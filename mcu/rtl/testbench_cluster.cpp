// SPDX-License-Identifier: BSD-3-Clause
//
// Cores that share memory of word-interleaved banks, each bank with one port. The first in a round that turns by one
// every cycle wins a bank; the others wait, and their cycles are counted as conflicts. Instructions come at once.

#include <cstdio>
#include <memory>
#include <vector>

#include "machine.h"

namespace {

void simulate(const Options &options) {
  Machine machine(options.program);
  std::vector<std::unique_ptr<Vcv32e40p_top>> cores;
  for (uint32_t hart = 0; hart < options.cores; hart++) {
    cores.push_back(std::make_unique<Vcv32e40p_top>());
    reset(*cores.back(), machine.entry(), hart);
  }
  Counters total;
  std::vector<uint8_t> taken(options.banks);
  for (uint32_t first = 0; !machine.ended(); total.cycles++, first = (first + 1) % options.cores) {
    if (total.cycles == options.cycles) {
      throw Failure("the program did not end within " + std::to_string(options.cycles) + " cycles");
    }
    std::fill(taken.begin(), taken.end(), 0);
    for (uint32_t turn = 0; turn < options.cores; turn++) {
      Vcv32e40p_top &core = *cores[(first + turn) % options.cores];
      // Requests do not depend on grants: one evaluation finds them, another settles what grants change.
      core.clk_i = 0;
      core.instr_gnt_i = 1;
      core.data_gnt_i = 0;
      core.eval();
      const bool fetches = core.instr_req_o;
      const bool asks = core.data_req_o;
      const bool is_register = Machine::is_register(core.data_addr_o);
      if (asks) {
        uint8_t &bank = taken[(core.data_addr_o >> 2) % options.banks];
        core.data_gnt_i = is_register || !bank;
        bank |= !is_register;
        core.eval();
      }
      const bool accesses = asks && core.data_gnt_i;
      total.instructions += retires(core);
      total.conflicts += asks && !accesses;
      const uint32_t instruction = fetches ? machine.fetch(core.instr_addr_o) : 0xdeadbeef;
      uint32_t answer = 0xdeadbeef;
      if (accesses && core.data_we_o) {
        total.stores += !is_register;
        machine.store(core.data_addr_o, core.data_wdata_o, core.data_be_o, total);
      } else if (accesses) {
        total.loads++;
        answer = machine.load(core.data_addr_o);
      }
      core.clk_i = 1;
      core.eval();
      core.instr_rvalid_i = fetches;
      core.instr_rdata_i = instruction;
      core.data_rvalid_i = accesses;
      core.data_rdata_i = answer;
    }
  }
  machine.report(total);
}

}  // namespace

int main(int count, char **words) { return run_testbench(count, words, simulate); }
