# SPDX-License-Identifier: BSD-3-Clause
"""Where the channels of a tensor are, and what reshaping, transposing and products do to that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nmpack.sparsity.channels import Groups, Layout, Segment

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """The channels of one tensor.

    Attributes:
        axis: the tensor's axis that they are.
        layout: of all of them: of the outer axes' indices in turn, in row-major order.
        outer: axes that the channels were split into as well, as the heads of an attention; each
            index of them has as many segments of the layout as any other.
    """

    axis: int
    layout: Layout
    outer: tuple[int, ...] = ()

    @property
    def axes(self) -> tuple[int, ...]:
        """All axes that matter."""
        return (*self.outer, self.axis)


def transposed(place: Place, order: Sequence[int]) -> Place:
    """Return the place in a tensor whose axis i was ``order[i]``."""
    return replace(
        place,
        axis=order.index(place.axis),
        outer=tuple(order.index(axis) for axis in place.outer),
    )


def without(place: Place, gone: Sequence[int]) -> Place:
    """Return the place in a tensor that has lost the axes ``gone``, none of the channels'."""

    def moved(axis: int) -> int:
        return axis - sum(other < axis for other in gone)

    return replace(place, axis=moved(place.axis), outer=tuple(map(moved, place.outer)))


def picked(place: Place, shape: Shape, axis: int, index: slice | int) -> Place | None:
    """Return the place when indices of one axis are taken; an ``int`` removes the axis.

    None where that cuts through a segment, or takes a single channel.
    """
    if axis not in place.axes:
        return without(place, [axis]) if isinstance(index, int) else place
    if axis == place.axis:
        if place.outer or isinstance(index, int):
            return None
        layout = _cut(place.layout, *index.indices(shape[axis]))
        return None if layout is None else replace(place, layout=layout)
    table = _table(place, shape)
    at = place.outer.index(axis)
    kept = np.take(table, _indices(index, table.shape[at]), axis=at).reshape(-1)
    layout = tuple(place.layout[i] for i in kept)
    if isinstance(index, slice):
        return replace(place, layout=layout)
    rest = tuple(other for other in place.outer if other != axis)
    return without(replace(place, layout=layout, outer=rest), [axis])


def reshaped(place: Place, before: Shape, after: Shape) -> Place | None:
    """Return the place in a tensor of another shape, None where channels are mixed or torn."""
    if not place.outer:
        if before[place.axis] == 1:
            return None
        first = math.prod(before[: place.axis])
        for axis, size in enumerate(after):
            if math.prod(after[:axis]) == first and size == before[place.axis]:
                return replace(place, axis=axis)
        if place.axis == 1 and after == (before[0], math.prod(before[1:])):
            pixels = math.prod(before[2:])
            return Place(
                1, tuple(Segment(s.group, s.size, s.repeat * pixels) for s in place.layout)
            )
        return _split(place, before, after)
    # Split channels may become one axis again, where their axes follow each other.
    start = place.outer[0]
    if place.axes != tuple(range(start, place.axis + 1)):
        return None
    channels = math.prod(before[start : place.axis + 1])
    for axis, size in enumerate(after):
        if math.prod(after[:axis]) == math.prod(before[:start]) and size == channels:
            return Place(axis, place.layout)
    return None


def product(
    groups: Groups, equation: str, places: Sequence[Place | None]
) -> tuple[Place | None, bool]:
    """Return where the channels of an einsum of two operands are, and whether it is understood.

    Channels that are summed over must be those of both operands, and are one from then on.
    """
    operands, _, output = equation.replace(" ", "").partition("->")
    names = operands.split(",")
    if "." in equation or not output or len(names) != 2:
        return None, False
    if any(len(set(name)) != len(name) for name in names):
        return None, False
    found: Place | None = None
    letters = [
        None if place is None else [name[axis] for axis in place.axes]
        for name, place in zip(names, places, strict=True)
    ]
    for own, place, other in zip(letters, places, reversed(names), strict=True):
        if own is None or place is None:
            continue
        if own[-1] not in output:
            one, two = places
            if letters[0] != letters[1] or one is None or two is None:
                return None, False
            return None, groups.tie([one.layout, two.layout]) is not None
        if own[-1] in other or found is not None or any(name not in output for name in own):
            return None, False
        axes = [output.index(name) for name in own]
        found = Place(axes[-1], place.layout, tuple(axes[:-1]))
    return found, True


def _split(place: Place, before: Shape, after: Shape) -> Place | None:
    """Return the place of channels whose axis becomes several, the last a segment each."""
    first, count = math.prod(before[: place.axis]), before[place.axis]
    sizes = {segment.size * segment.repeat for segment in place.layout}
    for start in range(len(after)):
        for axis in range(start + 1, len(after)):
            if (
                math.prod(after[:start]) == first
                and math.prod(after[start : axis + 1]) == count
                and sizes == {after[axis]}
                and after[start] > 1
            ):
                return Place(axis, place.layout, tuple(range(start, axis)))
    return None


def _cut(layout: Layout, start: int, stop: int, step: int) -> Layout | None:
    found, place = [], 0
    if step != 1:
        return None
    for segment in layout:
        end = place + segment.size * segment.repeat
        if start <= place and end <= stop:
            found.append(segment)
        elif place < stop and start < end:
            return None
        place = end
    return tuple(found) or None


def _table(place: Place, shape: Shape) -> npt.NDArray[np.int64]:
    """Return the segments' numbers by indices of the outer axes."""
    return np.arange(len(place.layout)).reshape([shape[axis] for axis in place.outer])


def _indices(index: slice | int, size: int) -> npt.NDArray[np.int64]:
    return np.arange(size)[index].reshape(-1)
