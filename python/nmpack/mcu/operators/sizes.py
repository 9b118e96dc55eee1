# SPDX-License-Identifier: BSD-3-Clause
"""SHAPE and RANK: numbers that are known with the shapes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nmpack.mcu.graph import Node
from nmpack.mcu.operators.context import Context, refuse

Ints = npt.NDArray[np.int32] | npt.NDArray[np.int64]


def _shape(node: Node, context: Context) -> list[Ints]:
    del context
    options = node.options_of("ShapeOptions")
    kind = "FLOAT32" if options is None else options.out_type
    if kind not in ("INT32", "INT64"):
        refuse(node, f"expected a shape of INT32 or INT64, got {kind}")
    return [np.array(_source(node), np.dtype(kind.lower()))]


def _rank(node: Node, context: Context) -> list[Ints]:
    del context
    return [np.array(len(_source(node)), np.int32)]


def _source(node: Node) -> tuple[int, ...]:
    if not node.inputs or node.inputs[0] is None:
        refuse(node, "expected an input, got none")
    return node.inputs[0].shape


FOLDINGS = {"SHAPE": _shape, "RANK": _rank}
