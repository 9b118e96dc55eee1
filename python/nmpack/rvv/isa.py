# SPDX-License-Identifier: BSD-3-Clause
"""RV64GCV instruction words: their class, where they jump, the vector type they set.

Words are little-endian integers of 2 or 4 bytes. Encodings follow the RISC-V unprivileged ISA
manual and the vector extension 1.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

CLASSES = (
    "vector fma",
    "vector load",
    "vector load, strided",
    "vector load, indexed",
    "vector store",
    "vector store, strided",
    "vector store, indexed",
    "vector config",
    "vector other",
    "float load",
    "float store",
    "float other",
    "load",
    "store",
    "branch",
    "scalar",
)
_LMUL = {0: "m1", 1: "m2", 2: "m4", 3: "m8", 5: "mf8", 6: "mf4", 7: "mf2"}
_MOP = {0: "", 1: ", indexed", 2: ", strided", 3: ", indexed"}


class VectorType(NamedTuple):
    """Element width in bits and register grouping, such as (32, "m4")."""

    sew: int
    lmul: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction at ``address``, ``size`` bytes long."""

    address: int
    word: int
    size: int

    @property
    def end(self) -> int:
        """Address of what follows."""
        return self.address + self.size


def split(address: int, code: bytes) -> Iterator[Instruction]:
    """Yield the instructions of ``code``, which starts at ``address``.

    Raises:
        ValueError: the last one is cut off.
    """
    at = 0
    while at < len(code):
        size = 4 if code[at] & 3 == 3 else 2
        if at + size > len(code):
            raise ValueError(f"an instruction at {address + at:#x} is cut off")
        yield Instruction(address + at, int.from_bytes(code[at : at + size], "little"), size)
        at += size


def class_of(word: int, size: int) -> str:
    """Return which of :data:`CLASSES` an instruction counts to."""
    return _class_of_16(word) if size == 2 else _class_of_32(word)


def _class_of_16(word: int) -> str:
    quadrant, funct3 = word & 3, word >> 13 & 7
    if quadrant == 1:
        return "branch" if funct3 >= 5 else "scalar"
    if funct3 == 4:
        # The jumps to a register share their code with c.mv and c.add, which have a second operand.
        jump = quadrant == 2 and word >> 2 & 31 == 0 and word >> 7 & 31 != 0
        return "branch" if jump else "scalar"
    if funct3 == 0:
        return "scalar"
    if funct3 <= 3:
        return "float load" if funct3 == 1 else "load"
    return "float store" if funct3 == 5 else "store"


def _class_of_32(word: int) -> str:
    opcode, width = word & 0x7F, word >> 12 & 7
    if opcode in (0x07, 0x27):
        load = opcode == 0x07
        if width == 0 or width >= 5:
            return ("vector load" if load else "vector store") + _MOP[word >> 26 & 3]
        return "float load" if load else "float store"
    if opcode == 0x57:
        return _class_of_vector(word)
    if opcode in (0x43, 0x47, 0x4B, 0x4F, 0x53):
        return "float other"
    if opcode in (0x63, 0x67, 0x6F):
        return "branch"
    return {0x03: "load", 0x23: "store"}.get(opcode, "scalar")


def _class_of_vector(word: int) -> str:
    funct3, funct6 = word >> 12 & 7, word >> 26
    if funct3 == 7:
        return "vector config"
    if funct3 in (1, 5):  # floats
        return "vector fma" if 0x28 <= funct6 <= 0x2F or funct6 >= 0x3C else "vector other"
    if funct3 in (2, 6):  # integers
        odd = 0x29 <= funct6 <= 0x2F and funct6 & 1
        return "vector fma" if odd or funct6 >= 0x3C else "vector other"
    return "vector other"


def is_vector(word: int, size: int) -> bool:
    """Tell whether an instruction depends on the vector type (configuration does not)."""
    return class_of(word, size).startswith("vector") and not sets_type(word, size)


def sets_type(word: int, size: int) -> bool:
    """Tell whether an instruction is a vsetvli, vsetivli or vsetvl."""
    return size == 4 and word & 0x7F == 0x57 and word >> 12 & 7 == 7


def type_set(word: int, size: int) -> VectorType | None:
    """Return the type that a vsetvli or vsetivli states; None for vsetvl and everything else."""
    if not sets_type(word, size) or word >> 30 == 2:
        return None
    lmul = _LMUL.get(word >> 20 & 7)
    sew = 8 << (word >> 23 & 7)
    return VectorType(sew, lmul) if lmul is not None and sew <= 64 else None


def ends_block(word: int, size: int) -> bool:
    """Tell whether control may go elsewhere after an instruction: branches, calls, ecall."""
    return class_of(word, size) == "branch" or (size == 4 and word in (0x73, 0x100073))


def is_conditional(word: int, size: int) -> bool:
    """Tell whether an instruction is a conditional branch."""
    if size == 2:
        return word & 3 == 1 and word >> 13 & 7 >= 6
    return word & 0x7F == 0x63


def is_call(word: int, size: int) -> bool:
    """Tell whether an instruction is a call (it links to x1 or x5) or an ecall."""
    if size == 2:
        return class_of(word, 2) == "branch" and word & 3 == 2 and bool(word >> 12 & 1)
    if word & 0x7F in (0x67, 0x6F):
        return word >> 7 & 31 in (1, 5)
    return word == 0x73


def target(instruction: Instruction) -> int | None:
    """Return where a branch or direct jump goes; None for everything else."""
    word, address = instruction.word, instruction.address
    if instruction.size == 2:
        if word & 3 != 1 or word >> 13 & 7 < 5:
            return None
        if word >> 13 & 7 == 5:
            return address + _signed(_pick(word, (12, 8, 10, 9, 6, 7, 2, 11, 5, 4, 3)) << 1, 12)
        return address + _signed(_pick(word, (12, 6, 5, 2, 11, 10, 4, 3)) << 1, 9)
    if word & 0x7F == 0x63:
        value = (word >> 31 << 12) | (word >> 7 & 1) << 11 | (word >> 25 & 63) << 5
        return address + _signed(value | (word >> 8 & 15) << 1, 13)
    if word & 0x7F == 0x6F:
        value = (word >> 31 << 20) | (word >> 12 & 255) << 12 | (word >> 20 & 1) << 11
        return address + _signed(value | (word >> 21 & 1023) << 1, 21)
    return None


def _pick(word: int, bits: tuple[int, ...]) -> int:
    """Return the bits of ``word`` put together, the first one highest."""
    value = 0
    for bit in bits:
        value = value << 1 | (word >> bit & 1)
    return value


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
