// SPDX-License-Identifier: BSD-3-Clause
//
// One core and its memory, which answers at once or, with stalls, when chance will have it.
//
// Both ports follow OBI: a request stands until it is granted, and its answer comes in a later cycle, in order.

#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <random>

#include "machine.h"

namespace {

// One side of the bus: grants requests, and gives answers in order.
class Port {
 public:
  explicit Port(uint64_t seed) : stalls_(seed != 0), chance_(seed) {}

  // Whether a request would be granted in this cycle.
  bool grants() { return !stalls_ || (chance_() & 3) != 0; }

  void accept(uint32_t answer) { answers_.push_back(answer); }

  // Whether this cycle brings an answer; if so, it is in `answer`.
  bool answers(uint32_t &answer) {
    if (answers_.empty() || (stalls_ && (chance_() & 3) == 0)) {
      return false;
    }
    answer = answers_.front();
    answers_.pop_front();
    return true;
  }

 private:
  bool stalls_;
  std::minstd_rand chance_;
  std::deque<uint32_t> answers_;
};

// Raises fast interrupt 16 now and then, until the core takes it.
class Interrupts {
 public:
  explicit Interrupts(uint64_t seed) : raises_(seed != 0), chance_(seed) {}

  uint32_t lines() {
    if (raises_ && chance_() % 50 == 0) {
      raised_ = true;
    }
    return raised_ ? 1u << 16 : 0;
  }

  void taken() { raised_ = false; }

 private:
  bool raises_;
  bool raised_ = false;
  std::minstd_rand chance_;
};

// A request that waits for its grant must not change.
struct Request {
  uint32_t address;
  uint32_t enabled;
  uint32_t value;
  bool writes;

  bool operator==(const Request &) const = default;
};

// Does what a request asks for; returns what is answered.
uint32_t access(Machine &machine, const Request &request, Counters &total) {
  if (request.writes) {
    total.stores += !Machine::is_register(request.address);
    machine.store(request.address, request.value, request.enabled, total);
    return 0;
  }
  total.loads++;
  return machine.load(request.address);
}

void simulate(const Options &options) {
  Machine machine(options.program);
  auto core = std::make_unique<Vcv32e40p_top>();
  reset(*core, machine.entry(), 0);
  Port instructions(options.instruction_stalls);
  Port data(options.data_stalls);
  Interrupts interrupts(options.interrupts);
  Counters total;
  std::optional<Request> waiting;
  for (; !machine.ended(); total.cycles++) {
    if (total.cycles == options.cycles) {
      throw Failure("the program did not end within " + std::to_string(options.cycles) + " cycles");
    }
    // The half of the cycle in which outputs settle.
    core->clk_i = 0;
    core->instr_gnt_i = instructions.grants();
    core->data_gnt_i = data.grants();
    core->irq_i = interrupts.lines();
    core->eval();
    if (core->irq_ack_o) {
      interrupts.taken();
    }
    total.instructions += retires(*core);
    if (core->instr_req_o && core->instr_gnt_i) {
      instructions.accept(machine.fetch(core->instr_addr_o));
    }
    std::optional<Request> request;
    if (core->data_req_o) {
      request = {core->data_addr_o, core->data_be_o, core->data_we_o ? core->data_wdata_o : 0, core->data_we_o != 0};
    }
    if (waiting && request != waiting) {
      throw Failure("the core changed a request before it was granted");
    }
    if (request && core->data_gnt_i) {
      data.accept(access(machine, *request, total));
      request.reset();
    }
    waiting = request;
    // The edge, after which answers come.
    core->clk_i = 1;
    core->eval();
    uint32_t answer = 0xdeadbeef;
    core->instr_rvalid_i = instructions.answers(answer);
    core->instr_rdata_i = answer;
    answer = 0xdeadbeef;
    core->data_rvalid_i = data.answers(answer);
    core->data_rdata_i = answer;
  }
  machine.report(total);
}

}  // namespace

int main(int count, char **words) { return run_testbench(count, words, simulate); }
