# SPDX-License-Identifier: BSD-3-Clause
"""Which channels of a network may change places together, for any framework.

Every convolution and linear layer makes new channels; whatever passes them on keeps their order.
Those of an attention's projections are groups of their own for each head.
Sums tie the channels of both operands (a residual stream is one group), concatenations string them
together, flattening repeats them. Channels that reach an operator which is not understood, the
network's input or its output stay where they are, so a permutation of the others never changes what
the network computes, but for the order of sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError

Order = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a channel axis: the channels of ``group``, each ``repeat`` times in a row."""

    group: int
    size: int
    repeat: int = 1


Layout = tuple[Segment, ...]


class Maker(NamedTuple):
    """A layer whose output channels from ``start`` on are those of a group."""

    name: str
    start: int


@dataclass(frozen=True, slots=True)
class Use:
    """Axis ``axis`` of the parameter or buffer ``name`` follows ``layout``."""

    name: str
    axis: int
    layout: Layout


@dataclass(frozen=True, slots=True)
class Channels:
    """The groups of channels that may be permuted.

    Attributes:
        sizes: channels of each group, by its number.
        makers: the layers whose output channels a group is, by its number.
        uses: every axis that follows, of groups that may be permuted and of those that may not.
    """

    sizes: Mapping[int, int]
    makers: Mapping[int, tuple[Maker, ...]]
    uses: tuple[Use, ...]

    def moves(self, orders: Mapping[int, Order]) -> Iterator[tuple[str, int, Order]]:
        """Yield (name, axis, index) of each axis to reorder, so that channel
        ``orders[group][i]`` comes to place i.

        Raises:
            ModelError: an order is not a permutation of its group's channels.
        """
        for group, order in orders.items():
            size = self.sizes.get(group)
            if size is None or sorted(order.tolist()) != list(range(size)):
                raise ModelError(f"expected a permutation of {size} channels for group {group}")
        for use in self.uses:
            if any(segment.group in orders for segment in use.layout):
                yield use.name, use.axis, _index(use.layout, orders)


def _index(layout: Layout, orders: Mapping[int, Order]) -> Order:
    parts, start = [], 0
    for segment in layout:
        order = orders.get(segment.group, np.arange(segment.size))
        spread = order[:, None] * segment.repeat + np.arange(segment.repeat)
        parts.append(start + spread.reshape(-1))
        start += segment.size * segment.repeat
    return np.concatenate(parts)


class Groups:
    """Groups in the making: a union-find that a walk over a graph feeds."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._sizes: list[int] = []
        self._fixed: set[int] = set()
        self._uses: list[Use] = []
        self._makers: list[tuple[Maker, int]] = []

    def new(self, size: int, maker: str, part: int | None = None) -> Layout:
        """Return the layout of ``size`` new channels that the layer ``maker`` makes.

        Each ``part`` of them, which divides ``size``, is a group; by default all are one.
        """
        part = part or size
        first = len(self._parents)
        for group, start in enumerate(range(0, size, part), first):
            self._parents.append(group)
            self._sizes.append(part)
            self._makers.append((Maker(maker, start), group))
        return tuple(Segment(group, part) for group in range(first, len(self._parents)))

    def use(self, name: str, axis: int, layout: Layout) -> None:
        """Let an axis of a parameter or buffer follow ``layout``."""
        self._uses.append(Use(name, axis, layout))

    def fix(self, layout: Layout | None) -> None:
        """Let channels stay where they are."""
        self._fixed.update(segment.group for segment in layout or ())

    def tie(self, layouts: Sequence[Layout | None]) -> Layout | None:
        """Make channels one that meet element by element; None where they cannot be."""
        first = layouts[0] if layouts else None
        if first is None or None in layouts:
            return None
        for layout in layouts[1:]:
            assert layout is not None
            if [(s.size, s.repeat) for s in layout] != [(s.size, s.repeat) for s in first]:
                return None
        for layout in layouts[1:]:
            for one, two in zip(first, layout or (), strict=True):
                self._parents[self._root(two.group)] = self._root(one.group)
        return first

    def result(self) -> Channels:
        """Return the groups that are free, and all uses."""
        fixed = {self._root(group) for group in self._fixed}
        makers: dict[int, list[Maker]] = {}
        for maker, group in self._makers:
            makers.setdefault(self._root(group), []).append(maker)
        free = {root: tuple(those) for root, those in makers.items() if root not in fixed}
        uses = tuple(
            Use(use.name, use.axis, tuple(
                Segment(self._root(s.group), s.size, s.repeat) for s in use.layout
            ))
            for use in self._uses
        )  # fmt: skip
        return Channels({root: self._sizes[root] for root in free}, free, uses)

    def _root(self, group: int) -> int:
        while self._parents[group] != group:
            self._parents[group] = self._parents[self._parents[group]]
            group = self._parents[group]
        return group


def strung(layouts: Iterable[Layout | None]) -> Layout | None:
    """Return the layout of a concatenation of channels."""
    items = list(layouts)
    if None in items:
        return None
    return tuple(segment for layout in items if layout is not None for segment in layout)
