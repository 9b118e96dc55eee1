// SPDX-License-Identifier: BSD-3-Clause
//
// XCValu, XCVbitmanip and XCVmac.

#include "compute.h"

namespace nm {

namespace {

int32_t s(uint32_t value) { return static_cast<int32_t>(value); }
uint32_t u(int32_t value) { return static_cast<uint32_t>(value); }

uint32_t s2_of(uint32_t bits) { return bits >> 20 & 31; }
uint32_t s3_of(uint32_t bits) { return bits >> 25 & 31; }

// `width` + 1 ones from bit `from` on.
uint32_t mask(uint32_t width, uint32_t from) { return ~(0xffff'fffeu << width) << from; }

template <bool kSigned>
uint32_t extract(uint32_t a, uint32_t width, uint32_t from) {
  const uint32_t shifted = kSigned ? u(s(a) >> from) : a >> from;
  const uint32_t kept = mask(width, 0);
  const uint32_t rest = kSigned && (shifted >> width & 1) != 0 ? ~kept : 0;
  return (shifted & kept) | rest;
}
uint32_t insert(uint32_t a, uint32_t d, uint32_t width, uint32_t from) {
  const uint32_t place = mask(width, from);
  return (a << from & place) | (d & ~place);
}

uint32_t extract_i(uint32_t a, uint32_t, uint32_t, uint32_t i) { return extract<true>(a, s3_of(i), s2_of(i)); }
uint32_t extractu_i(uint32_t a, uint32_t, uint32_t, uint32_t i) { return extract<false>(a, s3_of(i), s2_of(i)); }
uint32_t insert_i(uint32_t a, uint32_t, uint32_t d, uint32_t i) { return insert(a, d, s3_of(i), s2_of(i)); }
uint32_t bclr_i(uint32_t a, uint32_t, uint32_t, uint32_t i) { return a & ~mask(s3_of(i), s2_of(i)); }
uint32_t bset_i(uint32_t a, uint32_t, uint32_t, uint32_t i) { return a | mask(s3_of(i), s2_of(i)); }
uint32_t extract_r(uint32_t a, uint32_t b, uint32_t, uint32_t) { return extract<true>(a, b >> 5 & 31, b & 31); }
uint32_t extractu_r(uint32_t a, uint32_t b, uint32_t, uint32_t) { return extract<false>(a, b >> 5 & 31, b & 31); }
uint32_t insert_r(uint32_t a, uint32_t b, uint32_t d, uint32_t) { return insert(a, d, b >> 5 & 31, b & 31); }
uint32_t bclr_r(uint32_t a, uint32_t b, uint32_t, uint32_t) { return a & ~mask(b >> 5 & 31, b & 31); }
uint32_t bset_r(uint32_t a, uint32_t b, uint32_t, uint32_t) { return a | mask(b >> 5 & 31, b & 31); }

// Digits of 1, 2 or 3 bits in reverse, the first ones dropped.
uint32_t bitrev(uint32_t a, uint32_t, uint32_t, uint32_t i) {
  const uint32_t radix = s3_of(i) & 3;
  const uint32_t digit = radix == 3 ? 1 : radix + 1;
  const uint32_t shifted = a << s2_of(i);
  uint32_t result = 0;
  for (uint32_t place = 0; place + digit <= 32; place += digit) {
    result |= (shifted >> (32 - digit - place) & ((1u << digit) - 1)) << place;
  }
  return result;
}

uint32_t ror(uint32_t a, uint32_t b, uint32_t, uint32_t) { return a >> (b & 31) | a << (-b & 31); }
uint32_t ff1(uint32_t a, uint32_t, uint32_t, uint32_t) { return a == 0 ? 32 : u(__builtin_ctz(a)); }
uint32_t fl1(uint32_t a, uint32_t, uint32_t, uint32_t) { return a == 0 ? 32 : 31 - u(__builtin_clz(a)); }
uint32_t clb(uint32_t a, uint32_t, uint32_t, uint32_t) {
  const uint32_t digits = s(a) < 0 ? ~a : a;
  return digits == 0 ? (s(a) < 0 ? 31 : 0) : u(__builtin_clz(digits)) - 1;
}
uint32_t cnt(uint32_t a, uint32_t, uint32_t, uint32_t) { return u(__builtin_popcount(a)); }

uint32_t abs_(uint32_t a, uint32_t, uint32_t, uint32_t) { return s(a) > 0 ? a : 0 - a; }
uint32_t sle(uint32_t a, uint32_t b, uint32_t, uint32_t) { return s(a) <= s(b); }
uint32_t sleu(uint32_t a, uint32_t b, uint32_t, uint32_t) { return a <= b; }
uint32_t min(uint32_t a, uint32_t b, uint32_t, uint32_t) { return s(a) < s(b) ? a : b; }
uint32_t minu(uint32_t a, uint32_t b, uint32_t, uint32_t) { return a < b ? a : b; }
uint32_t max(uint32_t a, uint32_t b, uint32_t, uint32_t) { return s(a) > s(b) ? a : b; }
uint32_t maxu(uint32_t a, uint32_t b, uint32_t, uint32_t) { return a > b ? a : b; }
uint32_t exths(uint32_t a, uint32_t, uint32_t, uint32_t) { return u(static_cast<int16_t>(a)); }
uint32_t exthz(uint32_t a, uint32_t, uint32_t, uint32_t) { return a & 0xffff; }
uint32_t extbs(uint32_t a, uint32_t, uint32_t, uint32_t) { return u(static_cast<int8_t>(a)); }
uint32_t extbz(uint32_t a, uint32_t, uint32_t, uint32_t) { return a & 0xff; }

// The least is -limit - 1, or 0.
uint32_t clip(uint32_t a, uint32_t limit) {
  if (s(a) <= s(~limit)) {
    return ~limit;
  }
  return s(a) < s(limit) ? a : limit;
}
uint32_t clipu(uint32_t a, uint32_t limit) {
  if (s(a) <= 0) {
    return 0;
  }
  return s(a) < s(limit) ? a : limit;
}
uint32_t clip_limit(uint32_t bits) { return ((1u << s2_of(bits)) - 1) >> 1; }
uint32_t clip_i(uint32_t a, uint32_t, uint32_t, uint32_t i) { return clip(a, clip_limit(i)); }
uint32_t clipu_i(uint32_t a, uint32_t, uint32_t, uint32_t i) { return clipu(a, clip_limit(i)); }
uint32_t clip_r(uint32_t a, uint32_t b, uint32_t, uint32_t) { return clip(a, b & 0x7fff'ffff); }
uint32_t clipu_r(uint32_t a, uint32_t b, uint32_t, uint32_t) { return clipu(a, b & 0x7fff'ffff); }

// Sums and differences, shifted to the right, rounded half up or down.
template <bool kSubtract, bool kSigned, bool kRound>
uint32_t shifted_sum(uint32_t a, uint32_t b, uint32_t shift) {
  const uint32_t sum = (kSubtract ? a - b : a + b) + (kRound ? (1u << shift) >> 1 : 0);
  return kSigned ? u(s(sum) >> shift) : sum >> shift;
}
template <bool kSubtract, bool kSigned, bool kRound>
uint32_t sum_i(uint32_t a, uint32_t b, uint32_t, uint32_t i) {
  return shifted_sum<kSubtract, kSigned, kRound>(a, b, s3_of(i));
}
template <bool kSubtract, bool kSigned, bool kRound>
uint32_t sum_r(uint32_t a, uint32_t b, uint32_t d, uint32_t) {
  return shifted_sum<kSubtract, kSigned, kRound>(d, a, b & 31);
}

uint32_t mac(uint32_t a, uint32_t b, uint32_t d, uint32_t) { return d + a * b; }
uint32_t msu(uint32_t a, uint32_t b, uint32_t d, uint32_t) { return d - a * b; }

// Products of halves, with a sum or without one.
template <bool kSigned, bool kHigh, bool kAccumulate, bool kRound>
uint32_t half_product(uint32_t a, uint32_t b, uint32_t d, uint32_t i) {
  const uint32_t shift = s3_of(i);
  const uint32_t x = kHigh ? a >> 16 : a & 0xffff;
  const uint32_t y = kHigh ? b >> 16 : b & 0xffff;
  const uint32_t product = kSigned ? u(static_cast<int16_t>(x) * static_cast<int16_t>(y)) : x * y;
  const uint32_t sum = product + (kAccumulate ? d : 0) + (kRound ? (1u << shift) >> 1 : 0);
  return kSigned ? u(s(sum) >> shift) : sum >> shift;
}

constexpr uint32_t kCustom1 = 0x302b;
constexpr uint32_t kCustom2 = 0x5b;

template <Function kFunction, uint32_t kReads, Class kKind = kArithmetic>
void add1(Instructions &list, uint32_t funct7) {
  list.add(kCustom1 | funct7 << 25, 0xfe00'707f, compute<kFunction, kReads, kKind>);
}

// With a second register field that must be 0.
template <Function kFunction>
void add_unary(Instructions &list, uint32_t funct7) {
  list.add(kCustom1 | funct7 << 25, 0xfff0'707f, compute<kFunction, kReads1, kArithmetic>);
}

template <Function kFunction, uint32_t kReads, Class kKind = kArithmetic>
void add2(Instructions &list, uint32_t funct2, uint32_t funct3) {
  list.add(kCustom2 | funct2 << 30 | funct3 << 12, 0xc000'707f, compute<kFunction, kReads, kKind>);
}

template <bool kSigned, bool kAccumulate>
void add_products(Instructions &list, uint32_t funct3) {
  constexpr uint32_t kReads = kReads1 | kReads2 | (kAccumulate ? kReadsD : 0);
  add2<half_product<kSigned, false, kAccumulate, false>, kReads, kMultiply>(list, 0, funct3);
  add2<half_product<kSigned, true, kAccumulate, false>, kReads, kMultiply>(list, 1, funct3);
  add2<half_product<kSigned, false, kAccumulate, true>, kReads, kMultiply>(list, 2, funct3);
  add2<half_product<kSigned, true, kAccumulate, true>, kReads, kMultiply>(list, 3, funct3);
}

template <bool kSubtract>
void add_sums(Instructions &list) {
  constexpr uint32_t kTwo = kReads1 | kReads2;
  constexpr uint32_t kThree = kTwo | kReadsD;
  constexpr uint32_t kFunct3 = kSubtract ? 3 : 2;
  constexpr uint32_t kFunct7 = kSubtract ? 68 : 64;
  add2<sum_i<kSubtract, true, false>, kTwo>(list, 0, kFunct3);
  add2<sum_i<kSubtract, false, false>, kTwo>(list, 1, kFunct3);
  add2<sum_i<kSubtract, true, true>, kTwo>(list, 2, kFunct3);
  add2<sum_i<kSubtract, false, true>, kTwo>(list, 3, kFunct3);
  add1<sum_r<kSubtract, true, false>, kThree>(list, kFunct7);
  add1<sum_r<kSubtract, false, false>, kThree>(list, kFunct7 + 1);
  add1<sum_r<kSubtract, true, true>, kThree>(list, kFunct7 + 2);
  add1<sum_r<kSubtract, false, true>, kThree>(list, kFunct7 + 3);
}

}  // namespace

void add_xcv_arithmetic(Instructions &list) {
  constexpr uint32_t kTwo = kReads1 | kReads2;
  constexpr uint32_t kThree = kTwo | kReadsD;
  add2<extract_i, kReads1>(list, 0, 0);
  add2<extractu_i, kReads1>(list, 1, 0);
  add2<insert_i, kReads1 | kReadsD>(list, 2, 0);
  add2<bclr_i, kReads1>(list, 0, 1);
  add2<bset_i, kReads1>(list, 1, 1);
  list.add(kCustom2 | 3u << 30 | 1u << 12, 0xf800'707f, compute<bitrev, kReads1 | kReadsD, kArithmetic>);
  add1<extract_r, kTwo>(list, 24);
  add1<extractu_r, kTwo>(list, 25);
  add1<insert_r, kThree>(list, 26);
  add1<bclr_r, kTwo>(list, 28);
  add1<bset_r, kTwo>(list, 29);

  add1<ror, kTwo>(list, 32);
  add_unary<ff1>(list, 33);
  add_unary<fl1>(list, 34);
  add_unary<clb>(list, 35);
  add_unary<cnt>(list, 36);
  add_unary<abs_>(list, 40);
  add1<sle, kTwo>(list, 41);
  add1<sleu, kTwo>(list, 42);
  add1<min, kTwo>(list, 43);
  add1<minu, kTwo>(list, 44);
  add1<max, kTwo>(list, 45);
  add1<maxu, kTwo>(list, 46);
  add_unary<exths>(list, 48);
  add_unary<exthz>(list, 49);
  add_unary<extbs>(list, 50);
  add_unary<extbz>(list, 51);
  add1<clip_i, kReads1>(list, 56);
  add1<clipu_i, kReads1>(list, 57);
  add1<clip_r, kTwo>(list, 58);
  add1<clipu_r, kTwo>(list, 59);
  add_sums<false>(list);
  add_sums<true>(list);

  add1<mac, kThree, kMultiply>(list, 72);
  add1<msu, kThree, kMultiply>(list, 73);
  add_products<true, false>(list, 4);
  add_products<false, false>(list, 5);
  add_products<true, true>(list, 6);
  add_products<false, true>(list, 7);
}

}  // namespace nm
