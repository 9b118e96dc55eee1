# SPDX-License-Identifier: BSD-3-Clause
"""The least bytes that operators read and write: images once, weights that are kept once."""

from __future__ import annotations

import math
from collections.abc import Collection

from nmpack.tflite.model import Subgraph, TensorInfo

_SIZES = {
    "float32": 4, "float16": 2, "float64": 8, "int8": 1, "uint8": 1, "int16": 2, "int32": 4,
    "int64": 8, "bool": 1,
}  # fmt: skip


class Traffic:
    """The tensors of one subgraph, told apart: what an inference computes, and constants."""

    def __init__(self, graph: Subgraph) -> None:
        """Find what depends on inputs; the rest are constants, unpacked or not."""
        self._graph = graph
        self._images = set(graph.inputs)
        self._readers: dict[int, set[int]] = {}
        for node, operator in enumerate(graph.operators):
            for index in operator.inputs:
                self._readers.setdefault(index, set()).add(node)
            if self._images.intersection(operator.inputs):
                self._images.update(operator.outputs)

    def bytes_of(self, nodes: Collection[int], density: float) -> float | None:
        """Return the bytes of operators that run as one.

        Args:
            nodes: their numbers in the subgraph.
            density: weights that are kept, of all.

        Returns:
            None where a tensor has no fixed shape or a type whose size is not known.
        """
        operators = [self._graph.operators[node] for node in nodes]
        written = {index for one in operators for index in one.outputs}
        read = {index for one in operators for index in one.inputs if index >= 0} - written
        kept = {
            index
            for index in written
            if index in self._graph.outputs or self._readers.get(index, set()) - set(nodes)
        }
        total = 0.0
        for index in read | kept:
            tensor = self._graph.tensors[index]
            size = _bytes(tensor)
            if size is None:
                return None
            filtered = index not in self._images and len(tensor.shape) > 1
            total += size * (density if filtered else 1.0)
        return total


def _bytes(tensor: TensorInfo) -> float | None:
    size = _SIZES.get(tensor.dtype)
    if size is None or any(axis < 1 for axis in (*tensor.shape, *tensor.shape_signature)):
        return None
    return float(size * math.prod(tensor.shape))
