// SPDX-License-Identifier: BSD-3-Clause
//
// What compilers make of ordinary C, a region each: convolution, requantization, sorting, division, a switch, calls
// through pointers, unaligned words, 64-bit products.

#include "nm_platform.h"
#include "string.h"

#define HEIGHT 6
#define CHANNELS 16
#define FILTERS 4

static int8_t input[HEIGHT * HEIGHT * CHANNELS];
static int8_t weights[FILTERS * 9 * CHANNELS];
static int8_t output[HEIGHT * HEIGHT * FILTERS];
static int32_t numbers[200];
static uint8_t bytes[512];
static uint32_t state = 12345;

static uint32_t draw(void) {
  state = state * 1664525u + 1013904223u;
  return state >> 8;
}

static int32_t requantize(int32_t sum, int32_t multiplier, int shift) {
  const int64_t product = (int64_t) sum * multiplier;
  const int32_t high = (int32_t) ((product + (1 << 30)) >> 31);
  const int32_t mask = (1 << shift) - 1;
  return (high >> shift) + ((high & mask) > (mask >> 1) + (high < 0));
}

static void convolve(void) {
  for (int y = 0; y < HEIGHT; y++) {
    for (int x = 0; x < HEIGHT; x++) {
      for (int f = 0; f < FILTERS; f++) {
        int32_t sum = 0;
        for (int j = -1; j <= 1; j++) {
          for (int i = -1; i <= 1; i++) {
            if (y + j < 0 || y + j >= HEIGHT || x + i < 0 || x + i >= HEIGHT) {
              continue;
            }
            const int8_t *a = &input[((y + j) * HEIGHT + x + i) * CHANNELS];
            const int8_t *b = &weights[((f * 3 + j + 1) * 3 + i + 1) * CHANNELS];
            for (int c = 0; c < CHANNELS; c++) {
              sum += a[c] * b[c];
            }
          }
        }
        int32_t value = requantize(sum, 0x5a82799a, 9);
        value = value < -128 ? -128 : value > 127 ? 127 : value;
        output[(y * HEIGHT + x) * FILTERS + f] = (int8_t) value;
      }
    }
  }
}

static void sort(int32_t *of, int count) {
  for (int root = count / 2, end = count; end > 1;) {
    if (root > 0) {
      root--;
    } else {
      end--;
      const int32_t last = of[end];
      of[end] = of[0];
      of[0] = last;
    }
    for (int at = root; 2 * at + 1 < end;) {
      int child = 2 * at + 1;
      if (child + 1 < end && of[child + 1] > of[child]) {
        child++;
      }
      if (of[at] >= of[child]) {
        break;
      }
      const int32_t moved = of[at];
      of[at] = of[child];
      of[child] = moved;
      at = child;
    }
  }
}

static uint32_t divide(void) {
  uint32_t sum = 0;
  for (uint32_t i = 1; i < 60; i++) {
    uint32_t a = i * 7919, b = i * 31 + 5;
    while (b != 0) {
      const uint32_t rest = a % b;
      a = b;
      b = rest;
    }
    sum += a;
    const int32_t x = (int32_t) (draw() << (i & 15)) - (1 << 20), y = (int32_t) draw() >> (i & 15);
    sum += (uint32_t) (x / (y - 4000)) + (uint32_t) (x % -(int32_t) i) + (uint32_t) (x / (int32_t) (i & 1));
  }
  return sum;
}

__attribute__((noinline)) static uint32_t one(uint32_t x) { return x + 1; }
__attribute__((noinline)) static uint32_t two(uint32_t x) { return x ^ (x >> 3); }
__attribute__((noinline)) static uint32_t three(uint32_t x) { return x * 5; }
static uint32_t (*volatile const table[3])(uint32_t) = {one, two, three};

static uint32_t call(void) {
  uint32_t x = 7;
  for (uint32_t i = 0; i < 300; i++) {
    x = table[x % 3](x);
    switch (x & 15) {
      case 0: x += 3; break;
      case 1: x ^= 17; break;
      case 2: x -= i; break;
      case 5: x = x << 1 | x >> 31; break;
      case 6: x *= 3; break;
      case 9: x += x >> 4; break;
      case 11: x = ~x; break;
      case 14: x -= 9; break;
      default: x++;
    }
  }
  return x;
}

typedef uint32_t __attribute__((may_alias, aligned(1))) word_anywhere;
typedef uint16_t __attribute__((may_alias, aligned(1))) half_anywhere;

static uint32_t unaligned(void) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i + 8 < sizeof bytes; i += 3) {
    uint32_t word;
    uint16_t half;
    __asm__ volatile("lw %0, 1(%2)\n\tlhu %1, 2(%2)" : "=&r"(word), "=&r"(half) : "r"(&bytes[i]) : "memory");
    sum += word ^ half;
    __asm__ volatile("sw %0, 0(%1)\n\tsh %0, 5(%1)" : : "r"(sum), "r"(&bytes[i]) : "memory");
  }
  return sum;
}

static uint64_t wide(void) {
  uint64_t product = 1;
  for (uint32_t i = 0; i < 100; i++) {
    product = product * (draw() | 1) + ((int64_t) (int32_t) draw() * (int32_t) i);
  }
  return product;
}

int main(void) {
  for (uint32_t i = 0; i < sizeof input; i++) {
    input[i] = (int8_t) draw();
  }
  for (uint32_t i = 0; i < sizeof weights; i++) {
    weights[i] = (int8_t) draw();
  }
  for (uint32_t i = 0; i < 200; i++) {
    numbers[i] = (int32_t) (draw() << 8);
  }
  nm_region_begin();
  convolve();
  nm_region_end(1);
  nm_region_begin();
  sort(numbers, 200);
  nm_region_end(2);
  nm_region_begin();
  uint32_t sum = divide();
  nm_region_end(3);
  nm_region_begin();
  sum ^= call();
  nm_region_end(4);
  nm_region_begin();
  sum ^= unaligned();
  nm_region_end(5);
  nm_region_begin();
  const uint64_t product = wide();
  sum ^= (uint32_t) product ^ (uint32_t) (product >> 32);
  nm_region_end(6);
  for (uint32_t i = 0; i < sizeof output; i++) {
    sum = (sum << 5 | sum >> 27) ^ (uint8_t) output[i];
  }
  for (uint32_t i = 0; i < 200; i++) {
    sum = (sum << 5 | sum >> 27) ^ (uint32_t) numbers[i];
  }
  nm_put_hex(sum);
  return 0;
}
