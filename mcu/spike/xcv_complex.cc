// SPDX-License-Identifier: BSD-3-Clause
//
// The part of XCVsimd that is for complex numbers.

#include "compute.h"

namespace nm {

namespace {

uint32_t low(uint32_t value) { return value & 0xffff; }
uint32_t high(uint32_t value) { return value >> 16; }
uint32_t halves(uint32_t upper, uint32_t lower) { return upper << 16 | low(lower); }
int32_t signed16(uint32_t value) { return static_cast<int16_t>(value); }

// Complex numbers: the real part is the lower half, both are fractions of 15 bits. Bits 14 and 13 say how far results
// are shifted to the right.
uint32_t shift_of(uint32_t bits) { return bits >> 13 & 3; }

// A sum of two products, without its lowest 15 bits.
uint32_t fraction(int64_t sum, uint32_t shift) {
  const uint64_t moved = static_cast<uint64_t>(sum) << 32;
  return static_cast<uint32_t>(static_cast<int64_t>(moved) >> 47 >> shift);
}
uint32_t cplxmul_r(uint32_t a, uint32_t b, uint32_t d, uint32_t bits) {
  const int64_t sum = int64_t{signed16(a)} * signed16(b) - int64_t{signed16(high(a))} * signed16(high(b));
  return halves(high(d), fraction(sum, shift_of(bits)));
}
uint32_t cplxmul_i(uint32_t a, uint32_t b, uint32_t d, uint32_t bits) {
  const int64_t sum = int64_t{signed16(a)} * signed16(high(b)) + int64_t{signed16(high(a))} * signed16(b);
  return halves(fraction(sum, shift_of(bits)), d);
}
uint32_t cplxconj(uint32_t a, uint32_t, uint32_t, uint32_t) { return halves(0 - high(a), a); }

// Both halves as they are in 16 bits, then shifted.
uint32_t shifted_halves(uint32_t upper, uint32_t lower, uint32_t bits) {
  return halves(static_cast<uint32_t>(signed16(upper) >> shift_of(bits)),
                static_cast<uint32_t>(signed16(lower) >> shift_of(bits)));
}
uint32_t subrotmj(uint32_t a, uint32_t b, uint32_t, uint32_t bits) {
  return shifted_halves(b - a, high(a) - high(b), bits);
}
uint32_t add_div(uint32_t a, uint32_t b, uint32_t, uint32_t bits) {
  return shifted_halves(high(a) + high(b), a + b, bits);
}
uint32_t sub_div(uint32_t a, uint32_t b, uint32_t, uint32_t bits) {
  return shifted_halves(high(a) - high(b), a - b, bits);
}

constexpr uint32_t kWith25 = 0xfe00'707f;
constexpr uint32_t kTwo = kReads1 | kReads2;
constexpr uint32_t kThree = kTwo | kReadsD;

constexpr uint32_t code(uint32_t funct6, uint32_t funct3) { return 0x7b | funct6 << 26 | funct3 << 12; }

}  // namespace

void add_xcv_complex(Instructions &list) {
  for (uint32_t shift = 0; shift < 4; shift++) {
    list.add(code(0b010101, 2 * shift), kWith25, compute<cplxmul_r, kThree, kMultiply>);
    list.add(code(0b010101, 2 * shift) | 1u << 25, kWith25, compute<cplxmul_i, kThree, kMultiply>);
    list.add(code(0b011001, 2 * shift), kWith25, compute<subrotmj, kTwo, kArithmetic>);
    if (shift > 0) {
      list.add(code(0b011011, 2 * shift), kWith25, compute<add_div, kTwo, kArithmetic>);
      list.add(code(0b011101, 2 * shift), kWith25, compute<sub_div, kTwo, kArithmetic>);
    }
  }
  list.add(code(0b010111, 0), 0xfff0'707f, compute<cplxconj, kReads1, kArithmetic>);
}

}  // namespace nm
