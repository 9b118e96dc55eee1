# SPDX-License-Identifier: BSD-3-Clause
"""Which operators of several runs compute the same part of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nmpack.errors import NmpackError
from nmpack.measure.profile_report import OperatorRow
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.operator_codes import DENSIFY

#: A subgraph, and the operator's number in it, unpacking of sparse storage not counted.
Place = tuple[int, int]


class Places:
    """Numbers for the operators of a file, the same whether its filters are stored sparsely."""

    def __init__(self, file: TFLiteFile) -> None:
        """Number them."""
        self._places: dict[Place, Place] = {}
        self.what: dict[Place, tuple[str, tuple[tuple[int, ...], ...]]] = {}
        for graph in file.subgraphs:
            number = 0
            for node, operator in enumerate(graph.operators):
                if operator.code == DENSIFY:
                    continue
                place = (graph.index, number)
                self._places[graph.index, node] = place
                shapes = tuple(graph.tensors[index].shape for index in operator.outputs)
                self.what[place] = (operator.name, shapes)
                number += 1

    def of(self, row: OperatorRow) -> frozenset[Place]:
        """Return the places of what a row computes; empty if it only converts."""
        nodes = [(row.subgraph, node) for node in row.nodes]
        return frozenset(self._places[node] for node in nodes if node in self._places)


def require_same(model: Places, baseline: Places) -> None:
    """Check that two files have the same operators with outputs of the same shapes.

    Raises:
        NmpackError: they do not.
    """
    for place in sorted(model.what.keys() | baseline.what.keys()):
        mine, other = model.what.get(place), baseline.what.get(place)
        if mine != other:
            raise NmpackError(
                "expected a baseline with the operators of the model: operator "
                f"{place[1]} of subgraph {place[0]} is {_said(mine)}, "
                f"in the baseline {_said(other)}"
            )


def _said(what: tuple[str, tuple[tuple[int, ...], ...]] | None) -> str:
    if what is None:
        return "absent"
    return f"{what[0]} of {', '.join('x'.join(map(str, shape)) for shape in what[1])}"


def joined(sets: Iterable[frozenset[Place]]) -> list[frozenset[Place]]:
    """Return the smallest disjoint sets of which each given one lies in one."""
    parents: dict[Place, Place] = {}

    def root(place: Place) -> Place:
        while parents.setdefault(place, place) != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for each in sets:
        places = sorted(each)
        for place in places:
            parents[root(place)] = root(places[0])
    found: dict[Place, set[Place]] = {}
    for place in parents:
        found.setdefault(root(place), set()).add(place)
    return [frozenset(places) for places in found.values()]


def by_group(
    groups: Sequence[frozenset[Place]], rows: Sequence[OperatorRow], places: Places
) -> Mapping[frozenset[Place], list[OperatorRow]]:
    """Return the rows of each group, in their order; those without places are in none."""
    group_of = {place: group for group in groups for place in group}
    found: dict[frozenset[Place], list[OperatorRow]] = {group: [] for group in groups}
    for row in rows:
        mine = places.of(row)
        if mine:
            found[group_of[min(mine)]].append(row)
    return found
