// SPDX-License-Identifier: BSD-3-Clause
//
// RV32IMC, Zicsr and Zifencei: Spike's own functions do the work, these say to the pipeline what they read, write and
// cost, and let hardware loops go back after them.

#include "instructions.h"

// The functions of Spike, from its instruction's name.
#define NM_SPIKE(name) reg_t fast_rv32i_##name(processor_t *p, insn_t insn, reg_t pc);
#define NM_ALL(X)                                                                                                   \
  X(add) X(sub) X(sll) X(slt) X(sltu) X(xor) X(srl) X(sra) X(or) X(and) X(mul) X(mulh) X(mulhsu) X(mulhu) X(div)    \
  X(divu) X(rem) X(remu) X(addi) X(slti) X(sltiu) X(xori) X(ori) X(andi) X(slli) X(srli) X(srai) X(lui) X(auipc)     \
  X(lb) X(lh) X(lw) X(lbu) X(lhu) X(sb) X(sh) X(sw) X(beq) X(bne) X(blt) X(bge) X(bltu) X(bgeu) X(jal) X(jalr)       \
  X(csrrw) X(csrrs) X(csrrc) X(csrrwi) X(csrrsi) X(csrrci) X(fence) X(fence_i) X(mret) X(ecall) X(ebreak) X(wfi)     \
  X(c_addi4spn) X(c_lw) X(c_sw) X(c_addi) X(c_jal) X(c_li) X(c_lui) X(c_srli) X(c_srai) X(c_andi) X(c_sub)           \
  X(c_xor) X(c_or) X(c_and) X(c_j) X(c_beqz) X(c_bnez) X(c_slli) X(c_lwsp) X(c_jr) X(c_mv) X(c_ebreak) X(c_jalr)     \
  X(c_add) X(c_swsp)
NM_ALL(NM_SPIKE)

namespace nm {

namespace {

constexpr uint32_t kNone = Registers::kNone;
constexpr uint32_t kSp = 2;

// Where an instruction's registers are.
using Operands = Registers (*)(insn_t insn);

Registers of_r(insn_t i) {
  return {static_cast<uint32_t>(i.rs1()), static_cast<uint32_t>(i.rs2()), 0, static_cast<uint32_t>(i.rd()), kNone};
}
Registers of_i(insn_t i) { return {static_cast<uint32_t>(i.rs1()), 0, 0, static_cast<uint32_t>(i.rd()), kNone}; }
Registers of_u(insn_t i) { return {0, 0, 0, static_cast<uint32_t>(i.rd()), kNone}; }
Registers of_load(insn_t i) { return {static_cast<uint32_t>(i.rs1()), 0, 0, kNone, static_cast<uint32_t>(i.rd())}; }
Registers of_two(insn_t i) {
  return {static_cast<uint32_t>(i.rs1()), static_cast<uint32_t>(i.rs2()), 0, kNone, kNone};
}
Registers of_none(insn_t) { return {0, 0, 0, kNone, kNone}; }

// Of compressed instructions, as the core expands them.
uint32_t low1(insn_t i) { return static_cast<uint32_t>(i.rvc_rs1s()); }
uint32_t low2(insn_t i) { return static_cast<uint32_t>(i.rvc_rs2s()); }
uint32_t full1(insn_t i) { return static_cast<uint32_t>(i.rvc_rd()); }
uint32_t full2(insn_t i) { return static_cast<uint32_t>(i.rvc_rs2()); }

Registers of_c_addi4spn(insn_t i) { return {kSp, 0, 0, low2(i), kNone}; }
Registers of_c_lw(insn_t i) { return {low1(i), 0, 0, kNone, low2(i)}; }
Registers of_c_sw(insn_t i) { return {low1(i), low2(i), 0, kNone, kNone}; }
Registers of_c_addi(insn_t i) { return {full1(i), 0, 0, full1(i), kNone}; }
Registers of_c_li(insn_t i) { return {0, 0, 0, full1(i), kNone}; }
Registers of_c_lui(insn_t i) { return {full1(i) == kSp ? kSp : 0, 0, 0, full1(i), kNone}; }
Registers of_c_low1(insn_t i) { return {low1(i), 0, 0, low1(i), kNone}; }
Registers of_c_low2(insn_t i) { return {low1(i), low2(i), 0, low1(i), kNone}; }
Registers of_c_branch(insn_t i) { return {low1(i), 0, 0, kNone, kNone}; }
Registers of_c_lwsp(insn_t i) { return {kSp, 0, 0, kNone, full1(i)}; }
Registers of_c_swsp(insn_t i) { return {kSp, full2(i), 0, kNone, kNone}; }
Registers of_c_mv(insn_t i) { return {0, full2(i), 0, full1(i), kNone}; }
Registers of_c_add(insn_t i) { return {full1(i), full2(i), 0, full1(i), kNone}; }
Registers of_c_j(insn_t) { return {0, 0, 0, 0, kNone}; }
Registers of_c_jal(insn_t) { return {0, 0, 0, 1, kNone}; }
Registers of_c_jr(insn_t i) { return {full1(i), 0, 0, 0, kNone}; }
Registers of_c_jalr(insn_t i) { return {full1(i), 0, 0, 1, kNone}; }

// Offsets of loads and stores.
using Offset = uint32_t (*)(insn_t insn);
uint32_t by_i(insn_t i) { return static_cast<uint32_t>(i.i_imm()); }
uint32_t by_s(insn_t i) { return static_cast<uint32_t>(i.s_imm()); }
uint32_t by_c_lw(insn_t i) { return static_cast<uint32_t>(i.rvc_lw_imm()); }
uint32_t by_c_lwsp(insn_t i) { return static_cast<uint32_t>(i.rvc_lwsp_imm()); }
uint32_t by_c_swsp(insn_t i) { return static_cast<uint32_t>(i.rvc_swsp_imm()); }

uint32_t low(reg_t pc) { return static_cast<uint32_t>(pc); }
uint32_t bytes_of(insn_t insn) { return static_cast<uint32_t>(insn.length()); }

template <insn_func_t kSpike, Operands kOperands, Class kKind, uint32_t kCycles>
reg_t compute(processor_t *p, insn_t insn, reg_t pc) {
  if (!hart.runs(low(pc))) {
    return kSpike(p, insn, pc);
  }
  kSpike(p, insn, pc);  // first: it may find that the instruction is illegal
  hart.pipeline.issue(low(pc), bytes_of(insn), kKind, kOperands(insn), kCycles);
  return hart.go_on(low(pc), bytes_of(insn));
}

// A bit of the quotient each cycle, from the divisor's first digit on.
template <insn_func_t kSpike, bool kSigned>
reg_t divide(processor_t *p, insn_t insn, reg_t pc) {
  if (!hart.runs(low(pc))) {
    return kSpike(p, insn, pc);
  }
  const uint32_t divisor = Hart::read(p, static_cast<uint32_t>(insn.rs2()));
  uint32_t digits = divisor;
  uint32_t cycles = 3;
  if (kSigned && static_cast<int32_t>(divisor) < 0) {
    digits = ~divisor;
    cycles = 2;
  }
  cycles += digits == 0 ? 32 : static_cast<uint32_t>(__builtin_clz(digits));
  hart.pipeline.issue(low(pc), 4, kDivide, of_r(insn), cycles);
  hart.pipeline.now.division_cycles += cycles;
  kSpike(p, insn, pc);
  return hart.go_on(low(pc), 4);
}

template <insn_func_t kSpike, Operands kOperands, Offset kOffset, uint32_t kBytes>
reg_t load(processor_t *p, insn_t insn, reg_t pc) {
  if (!hart.runs(low(pc))) {
    return kSpike(p, insn, pc);
  }
  const Registers registers = kOperands(insn);
  const uint32_t address = Hart::read(p, registers.a) + kOffset(insn);
  hart.pipeline.issue(low(pc), bytes_of(insn), kLoad, registers, Hart::access_cycles(address, kBytes));
  hart.count_load(address, kBytes);
  kSpike(p, insn, pc);
  return hart.go_on(low(pc), bytes_of(insn));
}

template <insn_func_t kSpike, Operands kOperands, Offset kOffset, uint32_t kBytes>
reg_t store(processor_t *p, insn_t insn, reg_t pc) {
  if (!hart.runs(low(pc))) {
    return kSpike(p, insn, pc);
  }
  const Registers registers = kOperands(insn);
  const uint32_t address = Hart::read(p, registers.a) + kOffset(insn);
  hart.pipeline.issue(low(pc), bytes_of(insn), kStore, registers, Hart::access_cycles(address, kBytes));
  if (hart.count_store(address, Hart::read(p, registers.b), kBytes)) {
    kSpike(p, insn, pc);
  }
  return hart.go_on(low(pc), bytes_of(insn));
}

template <insn_func_t kSpike, Operands kOperands>
reg_t branch(processor_t *p, insn_t insn, reg_t pc) {
  if (!hart.runs(low(pc))) {
    return kSpike(p, insn, pc);
  }
  hart.check_not_in_loop(low(pc), "a branch");
  hart.pipeline.issue(low(pc), bytes_of(insn), kBranch, kOperands(insn), 1);
  const uint32_t next = low(kSpike(p, insn, pc));
  if (next != low(pc) + bytes_of(insn)) {
    hart.pipeline.take_branch();
  }
  return hart.go(next);
}

template <insn_func_t kSpike, Operands kOperands>
reg_t jump(processor_t *p, insn_t insn, reg_t pc) {
  if (!hart.runs(low(pc))) {
    return kSpike(p, insn, pc);
  }
  hart.check_not_in_loop(low(pc), "a jump");
  hart.pipeline.issue_jump(low(pc), bytes_of(insn), kOperands(insn));
  return hart.go(low(kSpike(p, insn, pc)));
}

// Exceptions leave by a C++ exception of Spike's, and do not count as instructions.
template <insn_func_t kSpike>
reg_t except(processor_t *p, insn_t insn, reg_t pc) {
  if (hart.runs(low(pc))) {
    hart.call();
  }
  return kSpike(p, insn, pc);
}

// Spike may ask for the pipeline to be drained before an instruction, and runs it again then; or after it, and has set
// the program counter itself. Both are said by an odd program counter; Spike ships no header that names them.
constexpr reg_t kDrainBefore = 3;
constexpr reg_t kDrainAfter = 5;

// Registers whose access drains the core's pipeline: those of traps and of counters.
bool drains(uint32_t csr) {
  return csr == CSR_MSTATUS || csr == CSR_MEPC || csr == CSR_MTVEC || csr == CSR_MCAUSE ||
         (csr >= CSR_MCYCLE && csr <= CSR_MHPMCOUNTER31) || (csr >= CSR_MCYCLEH && csr <= CSR_MHPMCOUNTER31H) ||
         csr == CSR_MCOUNTINHIBIT || (csr >= CSR_MHPMEVENT3 && csr <= CSR_MHPMEVENT31) ||
         (csr >= CSR_CYCLE && csr <= CSR_HPMCOUNTER31) || (csr >= CSR_CYCLEH && csr <= CSR_HPMCOUNTER31H);
}

// Reads of the hardware loops' registers, which Spike does not know. False if `csr` is another.
bool read_loop_register(processor_t *p, insn_t insn, uint32_t csr) {
  if ((csr & ~7u) != 0xcc0 || (csr & 3) == 3) {
    return false;
  }
  const uint32_t operation = bits_of(insn) >> 12 & 3;
  if (operation == 1 || insn.rs1() != 0) {
    throw trap_illegal_instruction(insn.bits());
  }
  const Hart::Loop &loop = hart.loops[csr >> 2 & 1];
  const uint32_t values[] = {loop.start, loop.end, loop.count};
  Hart::write(p, static_cast<uint32_t>(insn.rd()), values[csr & 3]);
  return true;
}

template <insn_func_t kSpike, bool kRegister>
reg_t access_csr(processor_t *p, insn_t insn, reg_t pc) {
  if (!hart.runs(low(pc))) {
    return kSpike(p, insn, pc);
  }
  const uint32_t csr = static_cast<uint32_t>(insn.csr());
  reg_t next = Hart::extend(low(pc) + 4);
  if (!read_loop_register(p, insn, csr)) {
    next = kSpike(p, insn, pc);
    if (next == kDrainBefore) {
      return next;
    }
  }
  hart.pipeline.issue(low(pc), 4, kSystem, kRegister ? of_i(insn) : of_u(insn), 1);
  if (drains(csr)) {
    hart.pipeline.hold(3);
  }
  const reg_t onward = hart.go_on(low(pc), 4);
  if (next == kDrainAfter) {
    p->get_state()->pc = onward;
    return next;
  }
  return onward;
}

// Instructions after which the core fetches anew, `kCycles` after they entered EX.
template <insn_func_t kSpike, uint64_t kCycles>
reg_t drain(processor_t *p, insn_t insn, reg_t pc) {
  const reg_t next = kSpike(p, insn, pc);
  if (!hart.runs(low(pc)) || next == kDrainBefore) {
    return next;
  }
  hart.check_not_in_loop(low(pc), "fences, waits or returns from traps");
  hart.pipeline.issue(low(pc), 4, kSystem, of_none(insn), 1);
  hart.pipeline.flush(kCycles);
  hart.go(low(next == kDrainAfter ? p->get_state()->pc : next));
  return next;
}

#define NM_COMPUTE(name, operands, kind, cycles) {#name, compute<fast_rv32i_##name, operands, kind, cycles>}
#define NM_ALU(name, operands) NM_COMPUTE(name, operands, kArithmetic, 1)
#define NM_LOAD(name, operands, offset, bytes) {#name, load<fast_rv32i_##name, operands, offset, bytes>}
#define NM_STORE(name, operands, offset, bytes) {#name, store<fast_rv32i_##name, operands, offset, bytes>}
#define NM_BRANCH(name, operands) {#name, branch<fast_rv32i_##name, operands>}
#define NM_JUMP(name, operands) {#name, jump<fast_rv32i_##name, operands>}

struct Base {
  const char *name;
  insn_func_t function;
};

constexpr Base kBase[] = {
    NM_ALU(add, of_r), NM_ALU(sub, of_r), NM_ALU(sll, of_r), NM_ALU(slt, of_r), NM_ALU(sltu, of_r), NM_ALU(xor, of_r),
    NM_ALU(srl, of_r), NM_ALU(sra, of_r), NM_ALU(or, of_r), NM_ALU(and, of_r), NM_ALU(addi, of_i), NM_ALU(slti, of_i),
    NM_ALU(sltiu, of_i), NM_ALU(xori, of_i), NM_ALU(ori, of_i), NM_ALU(andi, of_i), NM_ALU(slli, of_i),
    NM_ALU(srli, of_i), NM_ALU(srai, of_i), NM_ALU(lui, of_u), NM_ALU(auipc, of_u),
    NM_COMPUTE(mul, of_r, kMultiply, 1), NM_COMPUTE(mulh, of_r, kMultiplyHigh, 5),
    NM_COMPUTE(mulhsu, of_r, kMultiplyHigh, 5), NM_COMPUTE(mulhu, of_r, kMultiplyHigh, 5),
    {"div", divide<fast_rv32i_div, true>}, {"rem", divide<fast_rv32i_rem, true>},
    {"divu", divide<fast_rv32i_divu, false>}, {"remu", divide<fast_rv32i_remu, false>},
    NM_LOAD(lb, of_load, by_i, 1), NM_LOAD(lbu, of_load, by_i, 1), NM_LOAD(lh, of_load, by_i, 2),
    NM_LOAD(lhu, of_load, by_i, 2), NM_LOAD(lw, of_load, by_i, 4), NM_STORE(sb, of_two, by_s, 1),
    NM_STORE(sh, of_two, by_s, 2), NM_STORE(sw, of_two, by_s, 4), NM_BRANCH(beq, of_two), NM_BRANCH(bne, of_two),
    NM_BRANCH(blt, of_two), NM_BRANCH(bge, of_two), NM_BRANCH(bltu, of_two), NM_BRANCH(bgeu, of_two),
    NM_JUMP(jal, of_u), NM_JUMP(jalr, of_i),
    {"csrrw", access_csr<fast_rv32i_csrrw, true>}, {"csrrs", access_csr<fast_rv32i_csrrs, true>},
    {"csrrc", access_csr<fast_rv32i_csrrc, true>}, {"csrrwi", access_csr<fast_rv32i_csrrwi, false>},
    {"csrrsi", access_csr<fast_rv32i_csrrsi, false>}, {"csrrci", access_csr<fast_rv32i_csrrci, false>},
    {"fence", drain<fast_rv32i_fence, 3>}, {"fence_i", drain<fast_rv32i_fence_i, 3>},
    {"mret", drain<fast_rv32i_mret, 4>}, {"wfi", drain<fast_rv32i_wfi, 4>}, {"ecall", except<fast_rv32i_ecall>},
    {"ebreak", except<fast_rv32i_ebreak>},
    NM_ALU(c_addi4spn, of_c_addi4spn), NM_LOAD(c_lw, of_c_lw, by_c_lw, 4), NM_STORE(c_sw, of_c_sw, by_c_lw, 4),
    NM_ALU(c_addi, of_c_addi), NM_JUMP(c_jal, of_c_jal), NM_ALU(c_li, of_c_li), NM_ALU(c_lui, of_c_lui),
    NM_ALU(c_srli, of_c_low1), NM_ALU(c_srai, of_c_low1), NM_ALU(c_andi, of_c_low1), NM_ALU(c_sub, of_c_low2),
    NM_ALU(c_xor, of_c_low2), NM_ALU(c_or, of_c_low2), NM_ALU(c_and, of_c_low2), NM_JUMP(c_j, of_c_j),
    NM_BRANCH(c_beqz, of_c_branch), NM_BRANCH(c_bnez, of_c_branch), NM_ALU(c_slli, of_c_addi),
    NM_LOAD(c_lwsp, of_c_lwsp, by_c_lwsp, 4), NM_JUMP(c_jr, of_c_jr), NM_ALU(c_mv, of_c_mv),
    {"c_ebreak", except<fast_rv32i_c_ebreak>}, NM_JUMP(c_jalr, of_c_jalr), NM_ALU(c_add, of_c_add),
    NM_STORE(c_swsp, of_c_swsp, by_c_swsp, 4),
};

struct Encoding {
  std::string_view name;
  uint32_t match;
  uint32_t mask;
};

#define DECLARE_INSN(name, match, mask) {#name, static_cast<uint32_t>(match), static_cast<uint32_t>(mask)},
constexpr Encoding kEncodings[] = {
#include <riscv/encoding.h>
};
#undef DECLARE_INSN

}  // namespace

void add_base(Instructions &instructions) {
  for (const Base &base : kBase) {
    for (const Encoding &encoding : kEncodings) {
      if (encoding.name == base.name) {
        instructions.add(encoding.match, encoding.mask, base.function);
      }
    }
  }
}

}  // namespace nm
