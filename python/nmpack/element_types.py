# SPDX-License-Identifier: BSD-3-Clause
"""The element types of layers, and what each is called: the one place that lists them."""

from __future__ import annotations

from dataclasses import dataclass

from nmpack.errors import NmpackError


@dataclass(frozen=True, slots=True)
class ElementType:
    """An element type of images, and of filters beside them.

    Attributes:
        name: as XNNPACK, records and tables have it.
        dtype: as numpy and TFLite's files have it.
        operations: what a rate of its operations is stated in.
    """

    name: str
    dtype: str
    operations: str


F32 = ElementType("f32", "float32", "GFLOP/s")
QS8 = ElementType("qs8", "int8", "GOP/s")
TYPES = (F32, QS8)
NAMES = tuple(item.name for item in TYPES)
DTYPES = tuple(item.dtype for item in TYPES)


def named(text: str) -> ElementType:
    """Return the type of a name or a dtype, as ``qs8`` or ``int8``.

    Raises:
        NmpackError: there is none.
    """
    for item in TYPES:
        if text in (item.name, item.dtype):
            return item
    raise NmpackError(f"expected an element type of {', '.join(NAMES)}, got {text!r:.80}")


def type_of(dtype: str) -> ElementType | None:
    """Return the type of a dtype, None where there is none."""
    return next((item for item in TYPES if item.dtype == dtype), None)
