// SPDX-License-Identifier: BSD-3-Clause

#include "hart.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace nm {

Hart hart;

namespace {

std::string hex(uint32_t value) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08" PRIx32, value);
  return text;
}

// Cycle in which the first instruction of a program is in ID, counted as the RTL's testbench counts.
constexpr uint64_t kFirst = 5;

}  // namespace

void Hart::reset(bool vector) {
  *this = Hart();
  vector_ = vector;
  if (const char *limit = std::getenv("NM_SPIKE_CYCLES")) {
    limit_ = std::strtoull(limit, nullptr, 10);
  }
}

void Hart::stop(const std::string &sentence) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s\n", sentence.c_str());
  std::fflush(stderr);
  std::_Exit(1);
}

void Hart::enter(uint32_t pc) {
  if (!begun_) {
    begun_ = true;
    pipeline.begin(kFirst);
  } else if (vector_ && pc > expected_ && (pc - expected_) % 4 == 0) {
    for (; expected_ != pc; expected_ += 4) {
      pipeline.issue(expected_, 4, kVector, {}, 1);
    }
  } else {
    pipeline.except(exception_cycles_);
    exception_cycles_ = kIllegalCycles;
  }
  expected_ = pc;
}

bool Hart::outside(uint32_t pc) {
  if (begun_) {
    stop("the program jumped to " + hex(pc) + ", where nothing is");
  }
  return false;
}

uint32_t Hart::after_loops(uint32_t pc, uint32_t next) {
  if (next - pc == 2 && (holds(loops[0], pc) || holds(loops[1], pc))) {
    refuse_in_loop(pc, "a compressed instruction");
  }
  for (Loop &loop : loops) {
    if (loop.count != 0 && next == loop.end) {
      if (--loop.count != 0) {
        pipeline.now.loop_backs++;
        return loop.start;
      }
    }
  }
  return next;
}

void Hart::refuse_in_loop(uint32_t pc, const char *what) const {
  for (const Loop &loop : loops) {
    if (holds(loop, pc)) {
      stop("hardware loop " + std::to_string(&loop - loops) + " from " + hex(loop.start) + " to " + hex(loop.end) +
           " must not hold " + what + ", got one at " + hex(pc));
    }
  }
}

void Hart::set_loop(uint32_t pc, uint32_t number, bool start, bool end, bool count, const Loop &loop) {
  Loop &set = loops[number];
  const std::string name = "hardware loop " + std::to_string(number) + ", set at " + hex(pc) + ", ";
  if (holds(set, pc)) {
    stop(name + "must not be changed in its own body");
  }
  if ((start || end) && set.count != 0) {
    stop(name + "must not be changed before it has ended");
  }
  if (start) {
    if ((loop.start & 3) != 0) {
      stop(name + "must begin at a multiple of 4, got " + hex(loop.start));
    }
    set.start = loop.start;
  }
  if (end) {
    if ((loop.end & 3) != 0) {
      stop(name + "must end at a multiple of 4, got " + hex(loop.end));
    }
    set.end = loop.end;
  }
  if (count) {
    set.count = loop.count;
  }
  if (set.count != 0 && (set.end < set.start || set.end - set.start < 12)) {
    stop(name + "must hold at least 3 instructions, got " + hex(set.start) + " to " + hex(set.end));
  }
  const Loop &inner = loops[0];
  const Loop &outer = loops[1];
  if (inner.count != 0 && outer.count != 0 && inner.start >= outer.start && inner.start < outer.end &&
      outer.end < inner.end + 8) {
    stop(name + "must end at least 2 instructions behind the loop inside it");
  }
}

void Hart::count_load(uint32_t address, uint32_t bytes) {
  const uint32_t offset = address - kBase;
  if (offset >= kBytes || kBytes - offset < bytes) {
    stop("the program made a load from " + hex(address) + ", where nothing is");
  }
  const uint32_t cycles = access_cycles(address, bytes);
  pipeline.now.loads += cycles;
  pipeline.now.misaligned_accesses += cycles - 1;
}

bool Hart::count_store(uint32_t address, uint32_t value, uint32_t bytes) {
  const uint32_t offset = address - kBase;
  if (offset < kBytes && kBytes - offset >= bytes) {
    const uint32_t cycles = access_cycles(address, bytes);
    pipeline.now.stores += cycles;
    pipeline.now.misaligned_accesses += cycles - 1;
    return true;
  }
  if ((address & ~0xffu) != kRegisters) {
    stop("the program made a store to " + hex(address) + ", where nothing is");
  }
  store_register(address, value);
  return false;
}

void Hart::store_register(uint32_t address, uint32_t value) {
  switch (address - kRegisters) {
    case 0:
      std::putchar(static_cast<int>(value & 0xff));
      break;
    case 4:
      std::fflush(stdout);
      std::fprintf(stderr, "{\"exit\": %" PRIu32 ", ", value);
      pipeline.now.print(stderr);
      std::fputs("}\n", stderr);
      std::fflush(stderr);
      std::_Exit(0);
    case 8:
      if (value == 0) {
        if (regions_.size() == 1024) {
          stop("expected at most 1024 nested regions, got more");
        }
        regions_.push_back(pipeline.now);
        break;
      }
      if (regions_.empty()) {
        stop("expected region " + std::to_string(value) + " to be begun before it ends");
      }
      std::fprintf(stderr, "{\"region\": %" PRIu32 ", ", value);
      pipeline.now.since(regions_.back()).print(stderr);
      std::fputs("}\n", stderr);
      regions_.pop_back();
      break;
    default:
      stop("the program made a store to " + hex(address) + ", where nothing is");
  }
}

}  // namespace nm
