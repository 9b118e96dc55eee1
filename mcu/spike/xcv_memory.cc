// SPDX-License-Identifier: BSD-3-Clause
//
// XCVmem (loads and stores that move their address, or take it from two registers), XCVbi, hardware loops, and the
// gather instruction of docs/nm-instruction.md.

#include "instructions.h"

namespace nm {

namespace {

constexpr uint32_t kNone = Registers::kNone;

// Numbers of bytes by bits 13 and 12, or 26 and 25, of an instruction.
constexpr uint32_t bytes_by(uint32_t size) { return 1u << size; }

template <uint32_t kSize, bool kSigned>
uint32_t read_memory(processor_t *p, uint32_t address) {
  mmu_t *mmu = p->get_mmu();
  const reg_t place = address;
  if (kSize == 2) {
    return mmu->load<uint32_t>(place);
  }
  if (kSize == 1) {
    const uint16_t half = mmu->load<uint16_t>(place);
    return kSigned ? static_cast<uint32_t>(static_cast<int16_t>(half)) : half;
  }
  const uint8_t byte = mmu->load<uint8_t>(place);
  return kSigned ? static_cast<uint32_t>(static_cast<int8_t>(byte)) : byte;
}

template <uint32_t kSize>
void write_memory(processor_t *p, uint32_t address, uint32_t value) {
  mmu_t *mmu = p->get_mmu();
  const reg_t place = address;
  if (kSize == 2) {
    mmu->store<uint32_t>(place, value);
  } else if (kSize == 1) {
    mmu->store<uint16_t>(place, static_cast<uint16_t>(value));
  } else {
    mmu->store<uint8_t>(place, static_cast<uint8_t>(value));
  }
}

// cv.l*: the offset is an immediate or rs2; the base register moves by it after the access, or the access is at the
// sum. What was loaded wins over the moved address.
template <uint32_t kSize, bool kSigned, bool kImmediate, bool kMoves>
reg_t load(processor_t *p, insn_t insn, reg_t pc) {
  const uint32_t bits = bits_of(insn);
  const uint32_t here = static_cast<uint32_t>(pc);
  hart.runs(here);
  const uint32_t base = Hart::read(p, rs1_of(bits));
  const uint32_t sum = base + (kImmediate ? imm_i_of(bits) : Hart::read(p, rs2_of(bits)));
  const uint32_t address = kMoves ? base : sum;
  hart.pipeline.issue(here, 4, kLoad,
                      {rs1_of(bits), kImmediate ? 0 : rs2_of(bits), 0, kMoves ? rs1_of(bits) : kNone, rd_of(bits)},
                      Hart::access_cycles(address, bytes_by(kSize)));
  hart.count_load(address, bytes_by(kSize));
  const uint32_t value = read_memory<kSize, kSigned>(p, address);
  if (kMoves) {
    Hart::write(p, rs1_of(bits), sum);
  }
  Hart::write(p, rd_of(bits), value);
  return hart.go_on(here, 4);
}

// cv.s*: the offset is an immediate or the register in rd's place.
template <uint32_t kSize, bool kImmediate, bool kMoves>
reg_t store(processor_t *p, insn_t insn, reg_t pc) {
  const uint32_t bits = bits_of(insn);
  const uint32_t here = static_cast<uint32_t>(pc);
  hart.runs(here);
  const uint32_t base = Hart::read(p, rs1_of(bits));
  const uint32_t sum = base + (kImmediate ? imm_s_of(bits) : Hart::read(p, rd_of(bits)));
  const uint32_t address = kMoves ? base : sum;
  const uint32_t value = Hart::read(p, rs2_of(bits));
  hart.pipeline.issue(here, 4, kStore,
                      {rs1_of(bits), rs2_of(bits), kImmediate ? 0 : rd_of(bits), kMoves ? rs1_of(bits) : kNone, kNone},
                      Hart::access_cycles(address, bytes_by(kSize)));
  if (hart.count_store(address, value, bytes_by(kSize))) {
    write_memory<kSize>(p, address, value);
  }
  if (kMoves) {
    Hart::write(p, rs1_of(bits), sum);
  }
  return hart.go_on(here, 4);
}

// cv.beqimm and cv.bneimm.
template <bool kEqual>
reg_t branch(processor_t *p, insn_t insn, reg_t pc) {
  const uint32_t bits = bits_of(insn);
  const uint32_t here = static_cast<uint32_t>(pc);
  hart.runs(here);
  hart.check_not_in_loop(here, "a branch");
  hart.pipeline.issue(here, 4, kBranch, {rs1_of(bits), 0, 0, kNone, kNone}, 1);
  const uint32_t immediate = static_cast<uint32_t>(static_cast<int32_t>(bits << 7) >> 27);
  if ((Hart::read(p, rs1_of(bits)) == immediate) != kEqual) {
    return hart.go_on(here, 4);
  }
  hart.pipeline.take_branch();
  return hart.go(here + static_cast<uint32_t>(insn.sb_imm()));
}

// cv.starti, start, endi, end, counti, count, setupi and setup are 0 to 7.
template <uint32_t kWhich>
reg_t set_loop(processor_t *p, insn_t insn, reg_t pc) {
  constexpr bool kRegister = (kWhich & 1) != 0;
  constexpr bool kAll = kWhich >= 6;
  const uint32_t bits = bits_of(insn);
  const uint32_t here = static_cast<uint32_t>(pc);
  if (!kAll && (kRegister ? bits >> 20 : rs1_of(bits)) != 0) {
    throw trap_illegal_instruction(insn.bits());
  }
  hart.runs(here);
  hart.pipeline.issue(here, 4, kLoop, {kRegister ? rs1_of(bits) : 0, 0, 0, kNone, kNone}, 1);
  const uint32_t value = Hart::read(p, rs1_of(bits));
  const uint32_t ahead = here + (bits >> 20) * 4;
  if ((kAll || kWhich == 0 || kWhich == 2) && (here & 3) != 0) {
    Hart::stop("hardware loops must be set by instructions at multiples of 4, got one that is not");
  }
  Hart::Loop loop;
  if (kAll) {
    loop.start = here + 4;
    loop.end = kRegister ? ahead : here + rs1_of(bits) * 4;
  } else {
    loop.start = loop.end = kRegister ? value : ahead;
  }
  loop.count = kRegister ? value : bits >> 20;
  hart.set_loop(here, bits >> 7 & 1, kAll || kWhich < 2, kAll || kWhich == 2 || kWhich == 3, kAll || kWhich >= 4, loop);
  return hart.go_on(here, 4);
}

// One byte, at the offset that a nibble of rs2 says in block `position` of 2^kShift bytes, into a byte of rD.
template <uint32_t kShift>
reg_t gather(processor_t *p, insn_t insn, reg_t pc) {
  const uint32_t bits = bits_of(insn);
  const uint32_t here = static_cast<uint32_t>(pc);
  const uint32_t position = bits >> 25;
  if (position > 7) {
    throw trap_illegal_instruction(insn.bits());
  }
  hart.runs(here);
  const uint32_t offset = Hart::read(p, rs2_of(bits)) >> (4 * position) & 15;
  const uint32_t address = Hart::read(p, rs1_of(bits)) + (position << kShift) + offset;
  hart.pipeline.issue_gather(here, 4, {rs1_of(bits), rs2_of(bits), rd_of(bits), kNone, rd_of(bits)});
  hart.count_load(address, 1);
  const uint32_t shift = 8 * (position & 3);
  const uint32_t byte = read_memory<0, false>(p, address) << shift;
  Hart::write(p, rd_of(bits), (Hart::read(p, rd_of(bits)) & ~(0xffu << shift)) | byte);
  return hart.go_on(here, 4);
}

constexpr uint32_t kCustom0 = 0x0b;
constexpr uint32_t kCustom1 = 0x2b;
constexpr uint32_t kFunct3 = 0x707f;
constexpr uint32_t kFunct7 = 0xfe00'707f;

constexpr uint32_t funct3(uint32_t value) { return value << 12; }
constexpr uint32_t funct7(uint32_t value) { return value << 25; }

template <uint32_t kSize, bool kSigned>
void add_loads(Instructions &list) {
  const uint32_t code = kSize | (kSigned ? 0 : 8);
  list.add(kCustom0 | funct3(kSize | (kSigned ? 0 : 4)), kFunct3, load<kSize, kSigned, true, true>);
  list.add(kCustom1 | funct3(3) | funct7(code), kFunct7, load<kSize, kSigned, false, true>);
  list.add(kCustom1 | funct3(3) | funct7(code | 4), kFunct7, load<kSize, kSigned, false, false>);
}

template <uint32_t kSize>
void add_stores(Instructions &list) {
  list.add(kCustom1 | funct3(kSize), kFunct3, store<kSize, true, true>);
  list.add(kCustom1 | funct3(3) | funct7(16 | kSize), kFunct7, store<kSize, false, true>);
  list.add(kCustom1 | funct3(3) | funct7(20 | kSize), kFunct7, store<kSize, false, false>);
}

template <uint32_t kWhich>
void add_loop(Instructions &list) {
  list.add(kCustom1 | funct3(4) | kWhich << 8, kFunct3 | 0xf00, set_loop<kWhich>);
}

}  // namespace

void add_xcv_memory(Instructions &list) {
  add_loads<0, true>(list);
  add_loads<1, true>(list);
  add_loads<2, true>(list);
  add_loads<0, false>(list);
  add_loads<1, false>(list);
  add_stores<0>(list);
  add_stores<1>(list);
  add_stores<2>(list);
  list.add(kCustom0 | funct3(6), kFunct3, branch<true>);
  list.add(kCustom0 | funct3(7), kFunct3, branch<false>);
  add_loop<0>(list);
  add_loop<1>(list);
  add_loop<2>(list);
  add_loop<3>(list);
  add_loop<4>(list);
  add_loop<5>(list);
  add_loop<6>(list);
  add_loop<7>(list);
}

void add_gather(Instructions &list) {
  list.add(kCustom1 | funct3(5), kFunct3, gather<2>);
  list.add(kCustom1 | funct3(6), kFunct3, gather<3>);
  list.add(kCustom1 | funct3(7), kFunct3, gather<4>);
}

}  // namespace nm
