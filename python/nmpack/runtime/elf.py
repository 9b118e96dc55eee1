# SPDX-License-Identifier: BSD-3-Clause
"""Names of the functions in an ELF file, by file offset (64-bit little-endian files only)."""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass
from pathlib import Path

from nmpack.errors import NmpackError

_SYMTAB, _DYNSYM, _LOAD, _FUNCTION = 2, 11, 1, 2


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions of one file, ordered by file offset."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    names: tuple[str, ...]

    def at(self, offset: int) -> str | None:
        """Return the function that holds the byte at ``offset``, None where none is named."""
        index = bisect.bisect_right(self.starts, offset) - 1
        if index < 0 or offset >= self.ends[index]:
            return None
        return self.names[index]

    def offset(self, name: str) -> int:
        """Return where the function ``name`` starts.

        Raises:
            KeyError: there is none of that name.
        """
        try:
            return self.starts[self.names.index(name)]
        except ValueError:
            raise KeyError(name) from None


def read_functions(path: str | Path) -> Functions:
    """Read the symbol table of ``path``, or the dynamic one when it is stripped.

    Raises:
        NmpackError: not a 64-bit little-endian ELF file, or one that is cut off.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise NmpackError(f"{path}: cannot be read: {error.strerror or error}") from error
    if data[:6] != b"\x7fELF\x02\x01":
        raise NmpackError(f"{path}: expected a 64-bit little-endian ELF file")
    try:
        return _functions(data)
    except (struct.error, IndexError, ValueError) as error:
        raise NmpackError(f"{path}: the ELF file is damaged: {error}") from error


def _functions(data: bytes) -> Functions:
    header = struct.unpack_from("<QQQIHHHHHH", data, 24)
    _, program, section, _, _, program_size, programs, section_size, sections, _ = header
    loads = []
    for index in range(programs):
        kind, _, offset, address, _, size = struct.unpack_from(
            "<IIQQQQ", data, program + index * program_size
        )
        if kind == _LOAD:
            loads.append((address, address + size, offset))
    tables = {}
    for index in range(sections):
        row = struct.unpack_from("<IIQQQQIIQQ", data, section + index * section_size)
        tables[row[1]] = row
    table = tables.get(_SYMTAB) or tables.get(_DYNSYM)
    found: dict[int, tuple[int, str]] = {}
    if table is not None:
        strings = struct.unpack_from("<IIQQQQIIQQ", data, section + table[6] * section_size)[4]
        for at in range(table[4], table[4] + table[5], 24):
            name, info, _, where, value, size = struct.unpack_from("<IBBHQQ", data, at)
            if info & 15 != _FUNCTION or where == 0:
                continue
            text = data[strings + name : data.index(b"\0", strings + name)].decode(
                "utf-8", "replace"
            )
            for begin, end, offset in loads:
                if begin <= value < end:
                    start = value - begin + offset
                    if start not in found or size > found[start][0]:
                        found[start] = (size, text)
    starts = tuple(sorted(found))
    # A function without a size (hand-written assembly) ends where the next one starts.
    following = (*starts[1:], len(data))
    ends = tuple(
        start + found[start][0] if found[start][0] else after
        for start, after in zip(starts, following, strict=False)
    )
    return Functions(starts, ends, tuple(found[start][1] for start in starts))
