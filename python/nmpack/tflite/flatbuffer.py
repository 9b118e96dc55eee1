# SPDX-License-Identifier: BSD-3-Clause
"""A bounds-checked flatbuffer reader: every offset of a file is treated as hostile."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError

_MAX_BYTES = 1 << 31


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a flatbuffer.

    Attributes:
        data: the whole file.
        position: byte offset of the table.
        vtable: byte offset of its vtable.
        fields: number of slots in the vtable.
        size: bytes of the table itself, as the vtable states it.
    """

    data: memoryview
    position: int
    vtable: int
    fields: int
    size: int

    @classmethod
    def root(cls, data: memoryview, identifier: bytes) -> Table:
        """Return the root table of ``data``, which must carry the four-byte ``identifier``.

        Raises:
            ModelError: too short, another identifier, or an offset out of bounds.
        """
        if len(data) < 8:
            raise ModelError(f"expected at least 8 bytes of header, got {len(data)}")
        if len(data) >= _MAX_BYTES:
            raise ModelError(f"expected a file below 2 GiB, got {len(data)} bytes")
        found = bytes(data[4:8])
        if found != identifier:
            raise ModelError(f"expected the file identifier {identifier!r}, got {found!r}")
        return cls._at(data, _u32(data, 0))

    @classmethod
    def _at(cls, data: memoryview, position: int) -> Table:
        vtable = position - _unpack("<i", data, position)
        length = _u16(data, vtable)
        if length < 4 or length % 2 != 0:
            raise ModelError(f"a vtable at byte {vtable} states an impossible length of {length}")
        _need(data, vtable, length)
        size = _u16(data, vtable + 2)
        _need(data, position, size)
        return cls(data, position, vtable, (length - 4) // 2, size)

    def _slot(self, index: int, width: int) -> int | None:
        if index >= self.fields:
            return None
        offset = _u16(self.data, self.vtable + 4 + 2 * index)
        if offset == 0:
            return None
        if offset < 4 or offset + width > self.size:
            raise ModelError(
                f"field {index} of the table at byte {self.position} lies outside of its table"
            )
        return self.position + offset

    def scalar(self, index: int, kind: str, default: Any = 0) -> Any:
        """Return field ``index`` read as the :mod:`struct` code ``kind``, or ``default``."""
        position = self._slot(index, struct.calcsize("<" + kind))
        return default if position is None else _unpack("<" + kind, self.data, position)

    def table(self, index: int) -> Table | None:
        """Return the table that field ``index`` refers to, or None."""
        position = self._slot(index, 4)
        return None if position is None else Table._at(self.data, self._follow(position))

    def tables(self, index: int) -> Iterator[Table]:
        """Yield the tables of the vector in field ``index``."""
        start, count = self.vector(index, 4)
        for item in range(count):
            yield Table._at(self.data, self._follow(start + 4 * item))

    def count(self, index: int) -> int:
        """Return the length of the vector of tables in field ``index``."""
        return self.vector(index, 4)[1]

    def numbers(self, index: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return the vector in field ``index`` as a read-only array over the file."""
        kind = np.dtype(dtype).newbyteorder("<")
        start, count = self.vector(index, kind.itemsize)
        return np.frombuffer(self.data, kind, count, start) if count else np.zeros(0, kind)

    def bytes_span(self, index: int) -> tuple[int, int]:
        """Return ``(offset, length)`` of the byte vector in field ``index``; (0, 0) if absent."""
        return self.vector(index, 1)

    def _follow(self, position: int) -> int:
        target = position + _u32(self.data, position)
        _need(self.data, target, 4)
        return target

    def vector(self, index: int, width: int) -> tuple[int, int]:
        """Return where the vector in field ``index`` starts, and how many items of ``width`` bytes
        it has; (0, 0) if absent.
        """
        position = self._slot(index, 4)
        if position is None:
            return 0, 0
        start = self._follow(position)
        count = _u32(self.data, start)
        _need(self.data, start + 4, count * width)
        return start + 4, count


def _need(data: memoryview, position: int, length: int) -> None:
    if position < 0 or length < 0 or position + length > len(data):
        raise ModelError(
            f"bytes {position} to {position + length} are needed, but the file has {len(data)}: "
            "truncated or damaged"
        )


def _unpack(kind: str, data: memoryview, position: int) -> Any:
    _need(data, position, struct.calcsize(kind))
    return struct.unpack_from(kind, data, position)[0]


def _u16(data: memoryview, position: int) -> int:
    return int(_unpack("<H", data, position))


def _u32(data: memoryview, position: int) -> int:
    return int(_unpack("<I", data, position))
