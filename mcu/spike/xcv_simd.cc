// SPDX-License-Identifier: BSD-3-Clause
//
// XCVsimd: two halves or four bytes of a register at a time. Field funct3 says which, and where the second operand
// comes from: a register, its first lane for all lanes (.sc), or an immediate for all lanes (.sci).

#include "compute.h"

namespace nm {

namespace {

// Values of funct3.
enum Form : uint32_t { kHalves, kBytes, kScHalves = 4, kScBytes, kSciHalves, kSciBytes };

constexpr bool immediate(uint32_t form) { return form >= kSciHalves; }
constexpr uint32_t lane_bits(uint32_t form) { return (form & 1) != 0 ? 8 : 16; }

uint32_t low(uint32_t value) { return value & 0xffff; }
uint32_t high(uint32_t value) { return value >> 16; }
uint32_t halves(uint32_t upper, uint32_t lower) { return upper << 16 | low(lower); }

// Six bits, the lowest of them in bit 25.
uint32_t unsigned6(uint32_t bits) { return (bits >> 20 & 31) << 1 | (bits >> 25 & 1); }
uint32_t signed6(uint32_t bits) {
  const uint32_t value = unsigned6(bits);
  return (value & 32) != 0 ? value | ~63u : value;
}

template <uint32_t kForm, bool kUnsignedImmediate>
uint32_t second(uint32_t b, uint32_t bits) {
  if (kForm < kScHalves) {
    return b;
  }
  const uint32_t scalar = !immediate(kForm) ? b : kUnsignedImmediate ? unsigned6(bits) : signed6(bits);
  return lane_bits(kForm) == 8 ? (scalar & 0xff) * 0x0101'0101u : low(scalar) * 0x0001'0001u;
}

// A lane, extended to an int32_t.
template <uint32_t kBits, bool kSigned>
int32_t lane(uint32_t value, uint32_t number) {
  const uint32_t moved = value << (32 - kBits * (number + 1));
  return kSigned ? static_cast<int32_t>(moved) >> (32 - kBits) : static_cast<int32_t>(moved >> (32 - kBits));
}

// Operations on lanes; `kBits` is the width of a lane.
using Lane = int32_t (*)(int32_t a, int32_t b, uint32_t width);

int32_t add(int32_t a, int32_t b, uint32_t) { return a + b; }
int32_t sub(int32_t a, int32_t b, uint32_t) { return a - b; }
// The sum has no more bits than a lane before it is halved.
int32_t avg(int32_t a, int32_t b, uint32_t width) {
  const uint32_t sum = static_cast<uint32_t>(a + b) << (32 - width);
  return static_cast<int32_t>(sum) >> (33 - width);
}
int32_t avgu(int32_t a, int32_t b, uint32_t width) { return ((a + b) & ((1 << width) - 1)) >> 1; }
int32_t min(int32_t a, int32_t b, uint32_t) { return a < b ? a : b; }
int32_t max(int32_t a, int32_t b, uint32_t) { return a > b ? a : b; }
int32_t shift_right(int32_t a, int32_t b, uint32_t width) { return a >> (static_cast<uint32_t>(b) & (width - 1)); }
int32_t shift_left(int32_t a, int32_t b, uint32_t width) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) << (static_cast<uint32_t>(b) & (width - 1)));
}
int32_t or_(int32_t a, int32_t b, uint32_t) { return a | b; }
int32_t xor_(int32_t a, int32_t b, uint32_t) { return a ^ b; }
int32_t and_(int32_t a, int32_t b, uint32_t) { return a & b; }
int32_t abs_(int32_t a, int32_t, uint32_t) { return a > 0 ? a : -a; }
int32_t eq(int32_t a, int32_t b, uint32_t) { return -(a == b); }
int32_t ne(int32_t a, int32_t b, uint32_t) { return -(a != b); }
int32_t gt(int32_t a, int32_t b, uint32_t) { return -(a > b); }
int32_t ge(int32_t a, int32_t b, uint32_t) { return -(a >= b); }
int32_t lt(int32_t a, int32_t b, uint32_t) { return -(a < b); }
int32_t le(int32_t a, int32_t b, uint32_t) { return -(a <= b); }

template <Lane kLane, uint32_t kForm, bool kSigned, bool kUnsignedImmediate>
uint32_t vector(uint32_t a, uint32_t b, uint32_t, uint32_t bits) {
  constexpr uint32_t kWidth = lane_bits(kForm);
  const uint32_t with = second<kForm, kUnsignedImmediate>(b, bits);
  uint32_t result = 0;
  for (uint32_t i = 0; i < 32 / kWidth; i++) {
    const int32_t value = kLane(lane<kWidth, kSigned>(a, i), lane<kWidth, kSigned>(with, i), kWidth);
    result |= (static_cast<uint32_t>(value) & ((1u << kWidth) - 1)) << (i * kWidth);
  }
  return result;
}

template <uint32_t kForm, bool kSigned1, bool kSigned2, bool kAccumulate>
uint32_t dot(uint32_t a, uint32_t b, uint32_t d, uint32_t bits) {
  constexpr uint32_t kWidth = lane_bits(kForm);
  const uint32_t with = second<kForm, !kSigned1 && !kSigned2>(b, bits);
  uint32_t sum = kAccumulate ? d : 0;
  for (uint32_t i = 0; i < 32 / kWidth; i++) {
    sum += static_cast<uint32_t>(lane<kWidth, kSigned1>(a, i)) * static_cast<uint32_t>(lane<kWidth, kSigned2>(with, i));
  }
  return sum;
}

// Lanes that an immediate selects: bit 25 is the lowest, bit 20 the next.
uint32_t selected(uint32_t bits, uint32_t width) { return unsigned6(bits) & (32 / width - 1); }

template <uint32_t kBits, bool kSigned>
uint32_t extract(uint32_t a, uint32_t, uint32_t, uint32_t bits) {
  return static_cast<uint32_t>(lane<kBits, kSigned>(a, selected(bits, kBits)));
}

template <uint32_t kBits>
uint32_t insert(uint32_t a, uint32_t, uint32_t d, uint32_t bits) {
  const uint32_t shift = selected(bits, kBits) * kBits;
  const uint32_t place = ((1u << kBits) - 1) << shift;
  return (d & ~place) | (a << shift & place);
}

// Each lane of `control` chooses one of `from`.
template <uint32_t kBits>
uint32_t permute(uint32_t from, uint32_t control) {
  uint32_t result = 0;
  for (uint32_t i = 0; i < 32 / kBits; i++) {
    const uint32_t chosen = control >> (i * kBits) & (32 / kBits - 1);
    result |= (from >> (chosen * kBits) & ((1u << kBits) - 1)) << (i * kBits);
  }
  return result;
}

template <uint32_t kBits>
uint32_t shuffle(uint32_t a, uint32_t b, uint32_t, uint32_t) {
  return permute<kBits>(a, b);
}
uint32_t shuffle_sci_h(uint32_t a, uint32_t, uint32_t, uint32_t bits) {
  return permute<16>(a, halves(bits >> 20 & 1, bits >> 25 & 1));
}
// Four selectors of two bits, the last one in the opcode.
uint32_t shuffle_sci_b(uint32_t a, uint32_t, uint32_t, uint32_t bits) {
  const uint32_t immediate = unsigned6(bits);
  return permute<8>(a, (bits >> 27 & 3) << 24 | (immediate >> 4 & 3) << 16 | (immediate >> 2 & 3) << 8 |
                           (immediate & 3));
}
template <uint32_t kBits>
uint32_t shuffle2(uint32_t a, uint32_t b, uint32_t d, uint32_t) {
  uint32_t result = 0;
  for (uint32_t i = 0; i < 32 / kBits; i++) {
    const uint32_t control = b >> (i * kBits);
    const uint32_t from = (control & (32 / kBits)) != 0 ? a : d;
    result |= (from >> ((control & (32 / kBits - 1)) * kBits) & ((1u << kBits) - 1)) << (i * kBits);
  }
  return result;
}

uint32_t pack(uint32_t a, uint32_t b, uint32_t, uint32_t) { return halves(low(a), b); }
uint32_t pack_h(uint32_t a, uint32_t b, uint32_t, uint32_t) { return halves(high(a), high(b)); }
uint32_t packlo_b(uint32_t a, uint32_t b, uint32_t d, uint32_t) {
  return (d & 0xffff'0000u) | (a & 0xff) << 8 | (b & 0xff);
}
uint32_t packhi_b(uint32_t a, uint32_t b, uint32_t d, uint32_t) {
  return (d & 0xffffu) | (a & 0xff) << 24 | (b & 0xff) << 16;
}

constexpr uint32_t kCustom3 = 0x7b;
constexpr uint32_t kWithout25 = 0xfc00'707f;  // bit 25 is of an immediate
constexpr uint32_t kWith25 = 0xfe00'707f;

constexpr uint32_t code(uint32_t funct6, uint32_t funct3) { return kCustom3 | funct6 << 26 | funct3 << 12; }

template <Function kFunction, uint32_t kReads, Class kKind = kArithmetic>
void add(Instructions &list, uint32_t match, uint32_t mask) {
  list.add(match, mask, compute<kFunction, kReads, kKind>);
}

template <Lane kLane, bool kSigned, bool kUnsignedImmediate, uint32_t kForm>
void add_form(Instructions &list, uint32_t funct6) {
  add<vector<kLane, kForm, kSigned, kUnsignedImmediate>, kReads1 | (immediate(kForm) ? 0 : kReads2)>(
      list, code(funct6, kForm), immediate(kForm) ? kWithout25 : kWith25);
}
template <Lane kLane, bool kSigned, bool kUnsignedImmediate = !kSigned>
void add_forms(Instructions &list, uint32_t funct6) {
  add_form<kLane, kSigned, kUnsignedImmediate, kHalves>(list, funct6);
  add_form<kLane, kSigned, kUnsignedImmediate, kBytes>(list, funct6);
  add_form<kLane, kSigned, kUnsignedImmediate, kScHalves>(list, funct6);
  add_form<kLane, kSigned, kUnsignedImmediate, kScBytes>(list, funct6);
  add_form<kLane, kSigned, kUnsignedImmediate, kSciHalves>(list, funct6);
  add_form<kLane, kSigned, kUnsignedImmediate, kSciBytes>(list, funct6);
}

// Shifts by an immediate have no more than the bits that a lane needs.
template <Lane kLane, bool kSigned>
void add_shifts(Instructions &list, uint32_t funct6) {
  add_form<kLane, kSigned, false, kHalves>(list, funct6);
  add_form<kLane, kSigned, false, kBytes>(list, funct6);
  add_form<kLane, kSigned, false, kScHalves>(list, funct6);
  add_form<kLane, kSigned, false, kScBytes>(list, funct6);
  add<vector<kLane, kSciHalves, kSigned, false>, kReads1>(list, code(funct6, kSciHalves), kWithout25 | 3u << 23);
  add<vector<kLane, kSciBytes, kSigned, false>, kReads1>(list, code(funct6, kSciBytes), kWithout25 | 7u << 22);
}

template <uint32_t kForm, bool kSigned1, bool kSigned2, bool kAccumulate>
void add_dot(Instructions &list, uint32_t funct6) {
  add<dot<kForm, kSigned1, kSigned2, kAccumulate>,
      kReads1 | (immediate(kForm) ? 0 : kReads2) | (kAccumulate ? kReadsD : 0), kMultiply>(
      list, code(funct6, kForm), immediate(kForm) ? kWithout25 : kWith25);
}
template <bool kSigned1, bool kSigned2, bool kAccumulate>
void add_dots(Instructions &list, uint32_t funct6) {
  add_dot<kHalves, kSigned1, kSigned2, kAccumulate>(list, funct6);
  add_dot<kBytes, kSigned1, kSigned2, kAccumulate>(list, funct6);
  add_dot<kScHalves, kSigned1, kSigned2, kAccumulate>(list, funct6);
  add_dot<kScBytes, kSigned1, kSigned2, kAccumulate>(list, funct6);
  add_dot<kSciHalves, kSigned1, kSigned2, kAccumulate>(list, funct6);
  add_dot<kSciBytes, kSigned1, kSigned2, kAccumulate>(list, funct6);
}

void add_lanes(Instructions &list) {
  add_forms<add, true>(list, 0b000000);
  add_forms<sub, true>(list, 0b000010);
  add_forms<avg, true>(list, 0b000100);
  add_forms<avgu, false>(list, 0b000110);
  add_forms<min, true>(list, 0b001000);
  add_forms<min, false>(list, 0b001010);
  add_forms<max, true>(list, 0b001100);
  add_forms<max, false>(list, 0b001110);
  add_shifts<shift_right, false>(list, 0b010000);
  add_shifts<shift_right, true>(list, 0b010010);
  add_shifts<shift_left, true>(list, 0b010100);
  add_forms<or_, true>(list, 0b010110);
  add_forms<xor_, true>(list, 0b011000);
  add_forms<and_, true>(list, 0b011010);
  add<vector<abs_, kHalves, true, false>, kReads1>(list, code(0b011100, kHalves), 0xfff0'707f);
  add<vector<abs_, kBytes, true, false>, kReads1>(list, code(0b011100, kBytes), 0xfff0'707f);
  add_forms<eq, true>(list, 0b000001);
  add_forms<ne, true>(list, 0b000011);
  add_forms<gt, true>(list, 0b000101);
  add_forms<ge, true>(list, 0b000111);
  add_forms<lt, true>(list, 0b001001);
  add_forms<le, true>(list, 0b001011);
  add_forms<gt, false>(list, 0b001101);
  add_forms<ge, false>(list, 0b001111);
  add_forms<lt, false>(list, 0b010001);
  add_forms<le, false>(list, 0b010011);
}

void add_dot_products(Instructions &list) {
  add_dots<false, false, false>(list, 0b100000);
  add_dots<false, true, false>(list, 0b100010);
  add_dots<true, true, false>(list, 0b100100);
  add_dots<false, false, true>(list, 0b100110);
  add_dots<false, true, true>(list, 0b101000);
  add_dots<true, true, true>(list, 0b101010);
}

// The core takes the immediate of extract and insert for a register that it waits for.
void add_moves(Instructions &list) {
  constexpr uint32_t kTwo = kReads1 | kReads2;
  constexpr uint32_t kThree = kTwo | kReadsD;
  constexpr uint32_t kHalf = kWithout25 | 31u << 20;
  constexpr uint32_t kByte = kWithout25 | 15u << 21;
  add<extract<16, true>, kTwo>(list, code(0b101110, 0), kHalf);
  add<extract<8, true>, kTwo>(list, code(0b101110, 1), kByte);
  add<extract<16, false>, kTwo>(list, code(0b101110, 2), kHalf);
  add<extract<8, false>, kTwo>(list, code(0b101110, 3), kByte);
  add<insert<16>, kThree>(list, code(0b101110, 4), kHalf);
  add<insert<8>, kThree>(list, code(0b101110, 5), kByte);
  add<shuffle<16>, kTwo>(list, code(0b110000, 0), kWith25);
  add<shuffle<8>, kTwo>(list, code(0b110000, 1), kWith25);
  // Here, too: bits 24 to 20 are an immediate.
  add<shuffle_sci_h, kTwo>(list, code(0b110000, 6), kWithout25 | 15u << 21);
  add<shuffle_sci_b, kTwo>(list, code(0b110000, 7), kWithout25);
  add<shuffle_sci_b, kTwo>(list, code(0b110010, 7), kWithout25);
  add<shuffle_sci_b, kTwo>(list, code(0b110100, 7), kWithout25);
  add<shuffle_sci_b, kTwo>(list, code(0b110110, 7), kWithout25);
  add<shuffle2<16>, kThree>(list, code(0b111000, 0), kWith25);
  add<shuffle2<8>, kThree>(list, code(0b111000, 1), kWith25);
  add<pack, kTwo>(list, code(0b111100, 0), kWith25);
  add<pack_h, kTwo>(list, code(0b111100, 0) | 1u << 25, kWith25);
  add<packlo_b, kThree>(list, code(0b111110, 1), kWith25);
  add<packhi_b, kThree>(list, code(0b111110, 1) | 1u << 25, kWith25);
}

}  // namespace

void add_xcv_simd(Instructions &list) {
  add_lanes(list);
  add_dot_products(list);
  add_moves(list);
}

}  // namespace nm
