# SPDX-License-Identifier: BSD-3-Clause
"""Writing flatbuffers as the schema of ``.tflite`` files wants them."""

from __future__ import annotations

from typing import Any


def aligned_builder(flatbuffers: Any) -> Any:
    """Return a builder that aligns byte vectors as the schema wants, to 16."""

    base: Any = flatbuffers.Builder

    class Builder(base):  # type: ignore[misc]
        head: int

        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802
            if x.dtype.itemsize != 1 or not x.size:
                return super().CreateNumpyVector(x)
            self.StartVector(1, x.size, 16)
            self.head = self.head - x.size
            self.Bytes[self.head : self.head + x.size] = x.tobytes()
            self.vectorNumElems = x.size
            return self.EndVector()

    return Builder(1 << 20)
