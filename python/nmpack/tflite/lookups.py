# SPDX-License-Identifier: BSD-3-Clause
"""Which inputs of a ``.tflite`` file are places in a table, as the words of a text are."""

from __future__ import annotations

from nmpack.tflite.model import Operator, Subgraph

_WHOLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def table_rows(graph: Subgraph) -> list[int]:
    """Return for each input how many rows the smallest table has in which it looks up; 0 for none.

    An input of whole numbers is followed through the operators that make whole numbers of it.
    """
    return [_rows(graph, index) for index in graph.inputs]


def _rows(graph: Subgraph, start: int) -> int:
    if graph.tensors[start].dtype not in _WHOLE:
        return 0
    made, rows = {start}, []
    for operator in graph.operators:
        if size := _looked_up(graph, operator, made):
            rows.append(size)
        if made.intersection(operator.inputs):
            made.update(i for i in operator.outputs if graph.tensors[i].dtype in _WHOLE)
    return min(rows, default=0)


def _looked_up(graph: Subgraph, operator: Operator, places: set[int]) -> int:
    """Return the rows of the table that ``operator`` reads at ``places``, 0 where it does not."""
    at = {"EMBEDDING_LOOKUP": 0, "GATHER": 1, "GATHER_ND": 1}.get(operator.name)
    if at is None or len(operator.inputs) != 2 or operator.inputs[at] not in places:
        return 0
    table = operator.inputs[1 - at]
    shape = graph.tensors[table].shape if table >= 0 else ()
    options = operator.options_of("GatherOptions")
    axis = options.axis if options is not None else 0
    if not -len(shape) <= axis < len(shape):
        return 0
    if operator.name == "GATHER_ND":
        depth = (graph.tensors[operator.inputs[at]].shape or (0,))[-1]
        return max(0, min(shape[:depth], default=0))
    return max(0, shape[axis])
