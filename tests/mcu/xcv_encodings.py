# SPDX-License-Identifier: BSD-3-Clause
"""Encodings of RV32IM, XCV and the gather instruction: fixed bits, and kinds of operands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Encoding:
    """Fixed bits of an instruction, and what kind of operands it has."""

    match: int
    mask: int
    kind: str = "compute"


def _fields(opcode: int, funct3: int, funct7: int | None = None) -> tuple[int, int]:
    if funct7 is None:
        return opcode | funct3 << 12, 0x707F
    return opcode | funct3 << 12 | funct7 << 25, 0xFE00707F


def _xcv() -> Iterator[Encoding]:
    """Encodings of CV32E40P's manual, chapter "CORE-V Instruction Set Custom Extensions"."""
    for funct3 in (0, 1, 2, 4, 5):
        yield Encoding(*_fields(0x0B, funct3), "load_immediate")
    for size in (0, 1, 2, 8, 9):
        yield Encoding(*_fields(0x2B, 3, size), "load_register")
        yield Encoding(*_fields(0x2B, 3, size | 4), "load_register")
    for size in range(3):
        yield Encoding(*_fields(0x2B, size), "store_immediate")
        yield Encoding(*_fields(0x2B, 3, 16 | size), "store_register")
        yield Encoding(*_fields(0x2B, 3, 20 | size), "store_register")
    for funct7 in (24, 25, 26, 28, 29, 32, *range(41, 47), *range(56, 60), *range(64, 74)):
        yield Encoding(*_fields(0x2B, 3, funct7))
    for funct7 in (33, 34, 35, 36, 40, 48, 49, 50, 51):
        match, mask = _fields(0x2B, 3, funct7)
        yield Encoding(match, mask | 31 << 20)
    for top, funct3 in ((0, 0), (1, 0), (2, 0), (0, 1), (1, 1)):
        yield Encoding(top << 30 | funct3 << 12 | 0x5B, 0xC000707F)
    yield Encoding(3 << 30 | 1 << 12 | 0x5B, 0xF800707F)  # cv.bitrev
    for top in range(4):
        for funct3 in range(2, 8):
            yield Encoding(top << 30 | funct3 << 12 | 0x5B, 0xC000707F)
    yield from _simd()


def _simd() -> Iterator[Encoding]:
    def code(funct6: int, funct3: int, fixed: int, bit25: int = 0) -> Encoding:
        match = funct6 << 26 | bit25 << 25 | funct3 << 12 | 0x7B
        return Encoding(match, 0xFC00707F | fixed)

    bit25, second = 1 << 25, 31 << 20
    shifts = (0b010000, 0b010010, 0b010100)
    lanes = [*range(0, 0b011100, 2), *range(1, 0b010101, 2), *range(0b100000, 0b101100, 2)]
    for funct6 in lanes:
        for funct3 in (0, 1, 4, 5):
            yield code(funct6, funct3, bit25)
        yield code(funct6, 6, 3 << 23 if funct6 in shifts else 0)
        yield code(funct6, 7, 7 << 22 if funct6 in shifts else 0)
    for funct3 in (0, 1):
        yield code(0b011100, funct3, bit25 | second)  # cv.abs
    for funct3 in (0, 2, 4):
        yield code(0b101110, funct3, second)  # cv.extract, extractu and insert of halves
        yield code(0b101110, funct3 + 1, 15 << 21)
    yield code(0b110000, 0, bit25)
    yield code(0b110000, 1, bit25)
    yield code(0b110000, 6, 15 << 21)
    for funct6 in (0b110000, 0b110010, 0b110100, 0b110110):
        yield code(funct6, 7, 0)
    yield code(0b111000, 0, bit25)
    yield code(0b111000, 1, bit25)
    for high in (0, 1):
        yield code(0b111100, 0, bit25, high)
        yield code(0b111110, 1, bit25, high)
    for funct3 in (0, 2, 4, 6):
        yield code(0b010101, funct3, bit25, 0)
        yield code(0b010101, funct3, bit25, 1)
        yield code(0b011001, funct3, bit25)
        if funct3:
            yield code(0b011011, funct3, bit25)
            yield code(0b011101, funct3, bit25)
    yield code(0b010111, 0, bit25 | second)


def _base() -> Iterator[Encoding]:
    for funct3 in range(8):
        yield Encoding(*_fields(0x33, funct3, 0))
        yield Encoding(*_fields(0x33, funct3, 1))
        if funct3 not in (1, 5):
            yield Encoding(*_fields(0x13, funct3))
    for funct7, funct3 in ((32, 0), (32, 5)):
        yield Encoding(*_fields(0x33, funct3, funct7))
    for funct7, funct3 in ((0, 1), (0, 5), (32, 5)):
        yield Encoding(*_fields(0x13, funct3, funct7))
    yield Encoding(0x37, 0x7F)
    yield Encoding(0x17, 0x7F)
    for funct3 in (0, 1, 2, 4, 5):
        yield Encoding(*_fields(0x03, funct3), "load_plain")
    for funct3 in (0, 1, 2):
        yield Encoding(*_fields(0x23, funct3), "store_plain")


XCV = tuple(_xcv())
BASE = tuple(_base())
GATHER = tuple(Encoding(*_fields(0x2B, f, p), "gather") for f in (5, 6, 7) for p in range(8))
