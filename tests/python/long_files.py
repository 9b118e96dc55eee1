# SPDX-License-Identifier: BSD-3-Clause
"""A chain of many operators, written as a flatbuffer by hand: flatc's module would take minutes."""

from __future__ import annotations

import struct

import numpy as np
from ai_edge_litert import schema_py_generated as schema

# The bytes of each table, and where its fields are in it, by slot; 0 is left out.
_VTABLES = {
    "model": (20, (4, 8, 12, 0, 16)),
    "code": (8, (0, 0, 4)),
    "graph": (20, (4, 8, 12, 16)),
    "buffer": (4, ()),
    "tensor": (16, (4, 0, 8, 12)),
    "operator": (24, (4, 8, 12, 16, 20)),
    "options": (4, ()),
}
# A table with all that only it refers to. It begins with how far back its vtable is; a reference
# is the distance from its own place.
_TENSOR = np.dtype(
    [("vtable", "<i4"), ("shape", "<i4"), ("buffer", "<i4"), ("name", "<i4"), ("sizes", "<i4", 5),
     ("length", "<i4"), ("text", "S12")]
)  # fmt: skip
_OPERATOR = np.dtype(
    [("vtable", "<i4"), ("code", "<i4"), ("inputs", "<i4"), ("outputs", "<i4"), ("kind", "<i4"),
     ("options", "<i4"), ("read", "<i4", 3), ("written", "<i4", 2), ("option_vtable", "<i4")]
)  # fmt: skip


def _plain(fields: int) -> np.dtype:
    return np.dtype([("vtable", "<i4"), *((f"field{i}", "<i4") for i in range(fields))])


class _File:
    """A flatbuffer that grows at its end."""

    def __init__(self) -> None:
        self.data = bytearray(struct.pack("<I4s", 0, b"TFL3"))
        self.vtables = {}
        for name, (size, slots) in _VTABLES.items():
            self.vtables[name] = len(self.data)
            self.data += struct.pack(f"<{len(slots) + 2}H", 4 + 2 * len(slots), size, *slots)
            self.data += bytes(-len(self.data) % 4)

    def refer(self, place: int) -> None:
        """Let the reference at ``place`` be to what comes next."""
        struct.pack_into("<I", self.data, place, len(self.data) - place)

    def numbers(self, place: int, *values: int) -> None:
        """Add the vector that ``place`` refers to."""
        self.refer(place)
        self.data += struct.pack(f"<I{len(values)}i", len(values), *values)

    def tables(self, place: int, kind: str, rows: np.ndarray) -> np.ndarray:
        """Add the vector of tables that ``place`` refers to; returns where they are."""
        self.refer(place)
        count = len(rows)
        slots = len(self.data) + 4 + 4 * np.arange(count)
        starts = len(self.data) + 4 + 4 * count + rows.itemsize * np.arange(count)
        rows["vtable"] = starts - self.vtables[kind]
        if kind == "operator":
            own = starts + _OPERATOR.fields["option_vtable"][1]
            rows["option_vtable"] = own - self.vtables["options"]
        self.data += struct.pack("<I", count) + (starts - slots).astype("<u4").tobytes()
        self.data += rows.tobytes()
        return starts


def chain(operators: int) -> bytes:
    """Return a file of additions, each of the last tensor to itself, with a buffer a tensor."""
    tensors = np.zeros(operators + 1, _TENSOR)
    places = np.arange(len(tensors))
    tensors["shape"], tensors["name"], tensors["buffer"] = 12, 24, places
    tensors["sizes"] = 4, 1, 8, 8, 32
    tensors["length"] = 10
    tensors["text"] = [f"tensor{i % 10000:04}" for i in places]
    nodes = np.zeros(operators, _OPERATOR)
    nodes["inputs"], nodes["outputs"], nodes["options"] = 16, 24, 24
    nodes["kind"] = schema.BuiltinOptions.AddOptions
    nodes["read"] = np.stack([np.full(operators, 2), places[:-1], places[:-1]], axis=1)
    nodes["written"] = np.stack([np.ones(operators), places[1:]], axis=1)
    file = _File()
    file.refer(0)
    model = len(file.data)
    file.data += struct.pack("<5i", model - file.vtables["model"], 3, 0, 0, 0)
    file.tables(model + 8, "code", np.ones(1, _plain(1)))
    file.tables(model + 16, "buffer", np.zeros(len(tensors), _plain(0)))
    (graph,) = file.tables(model + 12, "graph", np.zeros(1, _plain(4)))
    file.tables(graph + 4, "tensor", tensors)
    file.numbers(graph + 8, 0)
    file.numbers(graph + 12, operators)
    file.tables(graph + 16, "operator", nodes)
    return bytes(file.data)
