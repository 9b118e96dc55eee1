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
_SCALARS = {code: struct.Struct("<" + code) for code in "?bBhHiIqQfd"}
_U16, _I32, _U32 = _SCALARS["H"], _SCALARS["i"], _SCALARS["I"]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a flatbuffer. All of it, and of its vtable, lies in the file.

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
        return cls._at(data, _U32.unpack_from(data, 0)[0])

    @classmethod
    def _at(cls, data: memoryview, position: int) -> Table:
        vtable = position - _unpack(_I32, data, position)
        length = _unpack(_U16, data, vtable)
        if length < 4 or length % 2 != 0:
            raise ModelError(f"a vtable at byte {vtable} states an impossible length of {length}")
        _need(data, vtable, length)
        (size,) = _U16.unpack_from(data, vtable + 2)
        _need(data, position, size)
        return cls(data, position, vtable, (length - 4) // 2, size)

    def _slot(self, index: int, width: int) -> int | None:
        if index >= self.fields:
            return None
        offset: int = _U16.unpack_from(self.data, self.vtable + 4 + 2 * index)[0]
        if offset == 0:
            return None
        if offset < 4 or offset + width > self.size:
            raise ModelError(
                f"field {index} of the table at byte {self.position} lies outside of its table"
            )
        return self.position + offset

    def scalar(self, index: int, kind: str, default: Any = 0) -> Any:
        """Return field ``index`` read as the :mod:`struct` code ``kind``, or ``default``."""
        form = _SCALARS[kind]
        position = self._slot(index, form.size)
        return default if position is None else form.unpack_from(self.data, position)[0]

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
        target: int = position + _U32.unpack_from(self.data, position)[0]
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
        (count,) = _U32.unpack_from(self.data, start)
        _need(self.data, start + 4, count * width)
        return start + 4, count


def _need(data: memoryview, position: int, length: int) -> None:
    if position < 0 or length < 0 or position + length > len(data):
        raise ModelError(
            f"bytes {position} to {position + length} are needed, but the file has {len(data)}: "
            "truncated or damaged"
        )


def _unpack(form: struct.Struct, data: memoryview, position: int) -> Any:
    _need(data, position, form.size)
    return form.unpack_from(data, position)[0]
