# SPDX-License-Identifier: BSD-3-Clause
"""Tables of a ``.tflite`` file, read by the names of their fields and within one budget."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError
from nmpack.tflite.flatbuffer import Table
from nmpack.tflite.schema import Field, fields, name_of, names_of

# Costs of what is read: one is about a microsecond and at most 20 bytes of memory. _FIELD is for
# looking whether options have it, and so many bytes of a text cost one.
_TABLE, _FIELD, _NUMBER, _BYTES = 8, 2, 2, 4


class Budget:
    """How much may still be read: a hostile file refers to one long list from many places."""

    def __init__(self, amount: int, why: str) -> None:
        """Start with ``amount``; ``why`` says what a file does that needs more."""
        self._left, self._why = amount, why

    def spend(self, amount: int) -> None:
        """Take ``amount`` away.

        Raises:
            ModelError: that is more than is left.
        """
        self._left -= amount
        if self._left < 0:
            raise ModelError(self._why)


class Record:
    """A table and its kind in the schema. ``record["name"]`` reads a field, and pays for it.

    A field that the file leaves out is its default, an empty tuple or text, or None. Numbers of an
    enumeration are read as its names, and what is not UTF-8 in a text is replaced. What a newer
    schema adds is not seen: fields, and tables that a union does not know, which are None.
    """

    __slots__ = ("_budget", "kind", "table")

    def __init__(self, table: Table, kind: str, budget: Budget) -> None:
        """Take the table ``kind`` of the schema."""
        self.table, self.kind, self._budget = table, kind, budget

    def __getitem__(self, name: str) -> Any:
        """Return a number, a text, a tuple of these, a record, or a list of records.

        Raises:
            ModelError: the file contradicts itself there, or the budget is spent.
        """
        field = fields(self.kind)[name]
        if field.many:
            return self._many(field)
        if field.kind == "str":
            return self._bytes(field).decode("utf-8", "replace")
        if field.kind == "union":
            kind = self[f"{name}_type"]
            return self._child(field, kind) if kind in names_of(field.names)[1:] else None
        if len(field.kind) > 1:
            return self._child(field, field.kind)
        value = self.table.scalar(field.slot, field.kind, field.default)
        return name_of(field.names, value) if field.names else value

    def values(self) -> dict[str, Any]:
        """Return all fields by name."""
        names = fields(self.kind)
        self._budget.spend(_FIELD * len(names))
        return {name: self[name] for name in names}

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return a vector of numbers as a read-only array over the file: nothing is copied."""
        field = fields(self.kind)[name]
        return self.table.numbers(field.slot, np.dtype(field.kind))

    def span(self, name: str) -> tuple[int, int]:
        """Return ``(offset, length)`` in the file of a vector of bytes; (0, 0) if absent."""
        return self.table.bytes_span(fields(self.kind)[name].slot)

    def _child(self, field: Field, kind: str) -> Record | None:
        table = self.table.table(field.slot)
        if table is None:
            return None
        self._budget.spend(_TABLE)
        return Record(table, kind, self._budget)

    def _bytes(self, field: Field) -> bytes:
        offset, length = self.table.bytes_span(field.slot)
        self._budget.spend(length // _BYTES)
        return bytes(self.table.data[offset : offset + length])

    def _many(self, field: Field) -> Any:
        if len(field.kind) > 1:
            self._budget.spend(_TABLE * self.table.count(field.slot))
            return [
                Record(item, field.kind, self._budget) for item in self.table.tables(field.slot)
            ]
        if field.kind == "B":
            return self._bytes(field)
        start, count = self.table.vector(field.slot, struct.calcsize(field.kind))
        if not count:
            return ()
        self._budget.spend(_NUMBER * count)
        values = struct.unpack_from(f"<{count}{field.kind}", self.table.data, start)
        return tuple(name_of(field.names, item) for item in values) if field.names else values
