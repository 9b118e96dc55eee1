# SPDX-License-Identifier: BSD-3-Clause
"""Random programs of RV32IMC, XCV and the gather instruction, as assembly.

A program is a function of the C that :data:`HARNESS` is: it sets all registers, runs a body, and
leaves the registers where C prints them, with a sum over the memory that the body may access.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from xcv_encodings import BASE, GATHER, XCV, Encoding

MASK32 = 0xFFFFFFFF
#: Registers that hold addresses inside the memory of a body, and those that hold small offsets.
BASES = (8, 9, 18, 19)
OFFSETS = (20, 21)
#: Registers that a body may overwrite; x2 and x3 stay those of C.
DATA = tuple(r for r in range(32) if r not in (2, 3, *BASES, *OFFSETS))
#: Those of them that compressed instructions reach.
LOW = tuple(r for r in DATA if 8 <= r < 16)
MEMORY = 65536
#: How far immediate offsets move an address inside loops and outside.
NEAR, FAR = 64, 1024

HARNESS = r"""
#include "nm_platform.h"
uint32_t random_memory[16384];
uint32_t random_registers[32];
typedef void random_program(void);
extern random_program *const random_programs[];
int main(void) {
  for (uint32_t p = 0; random_programs[p] != 0; p++) {
    uint32_t value = p + 1;
    for (uint32_t i = 0; i < 16384; i++) {
      value = value * 1664525u + 1013904223u;
      random_memory[i] = value;
    }
    random_programs[p]();
    nm_puts("program ");
    nm_put_int((int32_t) p);
    for (uint32_t i = 0; i < 32; i++) {
      nm_putc(' ');
      nm_put_hex(random_registers[i]);
    }
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 16384; i++) {
      sum = (sum << 5 | sum >> 27) ^ random_memory[i];
    }
    nm_putc(' ');
    nm_put_hex(sum);
    nm_putc('\n');
  }
  return 0;
}
"""


class Program:
    """A body that is drawn, as lines of assembly; ``count`` are its instructions."""

    def __init__(self, chance: random.Random, *, gather: bool, compressed: bool) -> None:
        """Prepare to draw from ``chance``, with the gather and compressed instructions or not."""
        self.chance = chance
        self.compressed = compressed
        self.count = 0
        self.lines: list[str] = []
        self._encodings = XCV * 3 + BASE * 2 + (GATHER * 6 if gather else ())
        self._labels = 0
        self._name = f"{chance.getrandbits(64):016x}"
        self._loops: list[int] = []
        self._last = 0  # register that the last instruction wrote

    def draw(self, instructions: int) -> str:
        """Return assembly of a body of at least ``instructions`` instructions."""
        self._bases()
        pieces: list[tuple[Callable[[], None], int]] = [
            (self._straight, 12),
            (self._loop, 2),
            (self._skip, 3),
            (self._call, 1),
            (self._count_down, 1),
        ]
        while self.count < instructions:
            kinds, weights = zip(*pieces, strict=True)
            self.chance.choices(kinds, weights)[0]()
        return "\n".join(self.lines)

    def _label(self) -> str:
        self._labels += 1
        return f".L{self._name}_{self._labels}"

    def _emit(self, line: str) -> None:
        self.lines.append("  " + line)
        self.count += 1

    def _bases(self) -> None:
        for register in BASES:
            low, high = -4096, 4096
            self._emit(f"la x{register}, random_memory + {MEMORY // 2 + self._draw(low, high)}")

    def _draw(self, low: int, high: int) -> int:
        return self.chance.randint(low, high)

    def _source(self) -> int:
        """A register to read: often what was written last, so that hazards are many."""
        return self._last if self.chance.random() < 0.3 else self.chance.randrange(32)

    def _straight(self) -> None:
        for _ in range(self._draw(1, 12)):
            self._one()
        if self.chance.random() < 0.3:
            self._bases()

    def _one(self) -> None:
        if self.compressed and not self._loops and self.chance.random() < 0.3:
            self._emit(f".2byte {self._compressed_word():#x}")
        else:
            self._emit(f".4byte {self._word(self.chance.choice(self._encodings)):#x}")

    def _word(self, encoding: Encoding) -> int:
        word = encoding.match | (self.chance.getrandbits(32) & ~encoding.mask)
        rd = self.chance.choice(DATA)
        rs1, rs2 = self._source(), self._source()
        reach = NEAR if self._loops else FAR
        offset = self._draw(-reach, reach) & 0xFFF
        base = self.chance.choice(BASES)
        if encoding.kind == "compute":
            self._last = rd
            free = ~encoding.mask & MASK32
            fields = (rd << 7, 0x1F << 7), (rs1 << 15, 0x1F << 15), (rs2 << 20, 0x1F << 20)
            for value, field in fields:
                if free & field == field and (field != 0x1F << 20 or self.chance.random() < 0.5):
                    word = (word & ~field) | value
            return word
        if encoding.kind in ("load_immediate", "load_plain"):
            self._last = rd
            return encoding.match | rd << 7 | base << 15 | offset << 20
        if encoding.kind in ("store_immediate", "store_plain"):
            low, high = offset & 31, offset >> 5
            return encoding.match | low << 7 | base << 15 | rs2 << 20 | high << 25
        small = self.chance.choice(OFFSETS)
        if encoding.kind == "load_register":
            self._last = rd
            return encoding.match | rd << 7 | base << 15 | small << 20
        if encoding.kind == "store_register":
            return encoding.match | small << 7 | base << 15 | rs2 << 20
        assert encoding.kind == "gather"
        if self.chance.random() < 0.5 and self._last != 0:
            rd = self._last
        self._last = rd
        return encoding.match | rd << 7 | base << 15 | rs2 << 20

    def _compressed_word(self) -> int:
        rd = self.chance.choice([r for r in DATA if r not in (0, 2)])
        rs2 = self.chance.choice(range(1, 32))
        low1 = self.chance.choice(LOW) - 8
        low2 = self._draw(0, 7)
        bits = self.chance.getrandbits
        immediate = bits(5) << 2 | bits(1) << 12
        base = self.chance.choice([r for r in BASES if r < 16]) - 8
        self._last = rd
        drawn = (
            0x0001 | rd << 7 | immediate,  # c.addi
            0x4001 | rd << 7 | immediate,  # c.li
            0x6001 | rd << 7 | max(1, bits(5)) << 2 | bits(1) << 12,  # c.lui
            0x8001 | low1 << 7 | bits(5) << 2,  # c.srli
            0x8401 | low1 << 7 | bits(5) << 2,  # c.srai
            0x8801 | low1 << 7 | immediate,  # c.andi
            0x8C01 | low1 << 7 | bits(2) << 5 | low2 << 2,  # c.sub, c.xor, c.or, c.and
            0x0002 | rd << 7 | bits(5) << 2,  # c.slli
            0x8002 | rd << 7 | rs2 << 2,  # c.mv
            0x9002 | rd << 7 | rs2 << 2,  # c.add
            0x0000 | max(1, bits(8)) << 5 | low1 << 2,  # c.addi4spn
            0x4000 | bits(3) << 10 | bits(2) << 5 | base << 7 | low1 << 2,  # c.lw
            0xC000 | bits(3) << 10 | bits(2) << 5 | base << 7 | low2 << 2,  # c.sw
        )
        return self.chance.choice(drawn)

    def _loop(self) -> None:
        """A hardware loop, one in another, or one after another, by any of its instructions."""
        self.lines.append("  .option rvc\n  .balign 4\n  .option norvc")
        if self.chance.random() < 0.4:
            self._one_loop(1, self._draw(0, 3), inner=True)
        else:
            self._one_loop(self._draw(0, 1), self._draw(0, 6), inner=False)
        self.lines.append("  .option rvc")
        self._bases()

    def _one_loop(self, number: int, times: int, *, inner: bool) -> None:
        start, end, here = self._label(), self._label(), self._label()
        counter = self.chance.choice([r for r in DATA if r not in (0, 1)])
        form = self.chance.choice(("setup", "setupi", "apart", "registers"))
        if form == "setupi" and inner:
            form = "setup"
        common = f"0x2b + (4 << 12) + ({number} << 7)"
        if form in ("setup", "registers") or self.chance.random() < 0.5:
            self._emit(f".option norvc\n  li x{counter}, {times}")
            count = f".4byte {common} + (5 << 8) + ({counter} << 15)"
        else:
            count = f".4byte {common} + (4 << 8) + ({times} << 20)"
        if form == "setup":
            words = f"((({end} - {here}) / 4) << 20)"
            self._emit(f"{here}: .4byte {common} + (7 << 8) + ({counter} << 15) + {words}")
        elif form == "setupi":
            words = f"((({end} - {here}) / 4) << 15)"
            self._emit(f"{here}: .4byte {common} + (6 << 8) + ({times} << 20) + {words}")
        elif form == "apart":
            for which, label in ((0, start), (2, end)):
                at = self._label()
                words = f"((({label} - {at}) / 4) << 20)"
                self._emit(f"{at}: .4byte {common} + ({which} << 8) + {words}")
            self._emit(count)
        else:
            for which, label in ((1, start), (3, end)):
                other = self.chance.choice([r for r in DATA if r not in (0, counter)])
                self._emit(f"la x{other}, {label}")
                self._emit(f".4byte {common} + ({which} << 8) + ({other} << 15)")
            self._emit(count)
        if form in ("apart", "registers") and self.chance.random() < 0.3:
            for _ in range(self._draw(1, 3)):
                self.lines.append("  addi x0, x0, 0")
        self.lines.append(f"{start}:")
        self._loops.append(number)
        most = 10 if form != "setupi" else 8
        for _ in range(self._draw(3, most)):
            self._one()
        if inner:
            self._one_loop(0, self._draw(0, 4), inner=False)
            for _ in range(self._draw(2, 6)):
                self._one()
        self._loops.pop()
        self.lines.append(f"{end}:")

    def _skip(self) -> None:
        """A branch over a few instructions, taken or not."""
        label = self._label()
        a, b = self._source(), self._source()
        kind = self.chance.randrange(4 if self.compressed else 3)
        if kind == 0:
            immediate = self._draw(-16, 15) & 31
            name = self.chance.choice((6, 7))
            at, far = self._label(), f"({label} - .L{self._name}_{self._labels})"
            split = f"((({far} >> 1) & 15) << 8) + ((({far} >> 5) & 63) << 25)"
            fixed = 0x0B | name << 12 | a << 15 | immediate << 20
            self._emit(f"{at}: .4byte {fixed:#x} + {split}")
            # An immediate takes the place of rs2, nothing else differs from other branches.
        elif kind == 3:
            name = self.chance.choice(("c.beqz", "c.bnez"))
            self._emit(f"{name} x{self.chance.choice(LOW)}, {label}")
        else:
            name = self.chance.choice(("beq", "bne", "blt", "bge", "bltu", "bgeu"))
            self._emit(f".option norvc\n  {name} x{a}, x{b}, {label}\n  .option rvc")
        for _ in range(self._draw(1, 5)):
            self._one()
        self.lines.append(f"{label}:")

    def _call(self) -> None:
        """A jump over a few instructions: direct, or to an address in a register."""
        label = self._label()
        register = self.chance.choice([r for r in DATA if r != 0])
        link = self.chance.choice((0, 0, *DATA))
        kind = self.chance.randrange(3)
        if kind == 0:
            self._emit(f".option norvc\n  jal x{link}, {label}\n  .option rvc")
        else:
            self._emit(f"la x{register}, {label}")
            for _ in range(self._draw(0, 2)):
                self._emit(f"add x0, x{self._source()}, x{self._source()}")
            option = "rvc" if kind == 1 and self.compressed else "norvc"
            jump = f"jr x{register}" if kind == 1 else f"jalr x{link}, 0(x{register})"
            self._emit(f".option {option}\n  {jump}\n  .option rvc")
        for _ in range(self._draw(0, 4)):
            self._one()
        self.lines.append(f"{label}:")

    def _count_down(self) -> None:
        """A loop by a branch backwards, of any alignment."""
        label = self._label()
        counter = self.chance.choice([r for r in DATA if r not in (0, 1)])
        self._emit(f"li x{counter}, {self._draw(1, 5)}")
        self.lines.append(f"{label}:")
        for _ in range(self._draw(0, 4)):
            word = 0x13 | 0 << 7 | self._source() << 15  # addi x0, rs1, 0
            self._emit(f".4byte {word:#x}")
        if self.compressed and self.chance.random() < 0.5:
            self._emit("c.nop")
        self._emit(f"addi x{counter}, x{counter}, -1")
        self._emit(f"bnez x{counter}, {label}")


def function(name: str, body: str, chance: random.Random, region: int) -> str:
    """Return assembly of a program: a function that runs ``body`` with drawn registers."""
    lines = [".option norelax", ".text", ".balign 4", f".globl {name}", f"{name}:"]
    lines += ["addi sp, sp, -64"]
    saved = (1, 4, 8, 9, *range(18, 28))
    lines += [f"sw x{register}, {4 * i}(sp)" for i, register in enumerate(saved)]
    lines += ["lui x5, 0x10000", "sw x0, 8(x5)"]
    for register in range(1, 32):
        if register in OFFSETS:
            lines.append(f"li x{register}, {chance.randint(-NEAR, NEAR)}")
        elif register in DATA:
            value = chance.choice((chance.getrandbits(32), chance.getrandbits(8), 0, MASK32))
            lines.append(f"li x{register}, {value}")
    lines += [body, "sw x31, -4(sp)", "la x31, random_registers"]
    kept = [register for register in range(1, 31) if register not in (2, 3)]
    lines += [f"sw x{register}, {4 * register}(x31)" for register in kept]
    lines += ["lw x5, -4(sp)", "sw x5, 124(x31)"]
    lines += ["lui x5, 0x10000", f"li x6, {region}", "sw x6, 8(x5)"]
    lines += [f"lw x{register}, {4 * i}(sp)" for i, register in enumerate(saved)]
    lines += ["addi sp, sp, 64", "ret"]
    return "\n".join(lines) + "\n"


def programs(seed: int, count: int, instructions: int, *, gather: bool) -> str:
    """Return assembly of ``count`` programs and of the table by which C finds them.

    Args:
        seed: of all that is drawn.
        count: programs; the region of each is its place in the table, from 1 on.
        instructions: the least that a program holds.
        gather: with the gather instruction.
    """
    chance = random.Random(seed)
    text = [".option arch, +c"]
    for i in range(count):
        program = Program(chance, gather=gather, compressed=i % 3 != 2)
        text.append(function(f"program_{i}", program.draw(instructions), chance, i + 1))
    names = ", ".join(f"program_{i}" for i in range(count))
    text.append(".section .rodata\n.balign 4\n.globl random_programs\nrandom_programs:\n")
    text.append(f".4byte {names}, 0\n")
    return "\n".join(text)
