# SPDX-License-Identifier: BSD-3-Clause
"""Which convolutions are pruned: one rule for every framework, and a report of what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from nmpack.errors import SelectionError
from nmpack.pattern import NMPattern

#: A glob or several over layer names, a layer type or several, or a predicate (name, layer).
Select = str | type | Sequence[str] | Sequence[type] | Callable[[str, Any], bool]


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution as the adaptors hand it over.

    Attributes:
        name: its path in the model.
        module: the framework's own object.
        shape: OHWI of its weights.
        groups: convolution groups.
    """

    name: str
    module: Any
    shape: tuple[int, ...]
    groups: int


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What happened to one layer: ``pattern`` is None when it stayed dense, ``reason`` says why."""

    name: str
    shape: tuple[int, ...]
    groups: int
    pattern: NMPattern | None
    density: float
    reason: str


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What happened to every convolution of a model, in the model's order."""

    layers: tuple[LayerReport, ...]

    def __iter__(self) -> Iterator[LayerReport]:
        """Iterate over the layers."""
        return iter(self.layers)

    @property
    def pruned(self) -> tuple[LayerReport, ...]:
        """The layers that were pruned."""
        return tuple(layer for layer in self.layers if layer.pattern is not None)

    @property
    def density(self) -> float:
        """Non-zero weights of all convolutions / all their weights."""
        total = sum(_size(layer.shape) for layer in self.layers)
        kept = sum(layer.density * _size(layer.shape) for layer in self.layers)
        return kept / total if total else 1.0


def choose(
    layers: Sequence[Layer],
    pattern: NMPattern,
    select: Select | None,
    exclude: str | Iterable[str] = (),
    keep_dense: Sequence[str] = (),
) -> list[tuple[Layer, str]]:
    """Pair every layer with the reason why it stays dense; an empty reason means: prune it.

    Without ``select``, every convolution is pruned but the first (the stem), those that match
    ``keep_dense``, grouped and depthwise ones, and those with fewer output channels than one tile:
    in a ResNet that leaves exactly the convolutions of the residual blocks.

    Raises:
        SelectionError: nothing is left to prune, or a glob matches no layer.
    """
    exclude = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    if unused := [glob for glob in exclude if not _globbed(layers, glob)]:
        raise SelectionError(f"exclude {unused[0]!r} matches no convolution{_known(layers)}")
    wanted = _rule(layers, pattern, select, keep_dense)
    chosen = []
    for index, layer in enumerate(layers):
        glob = next((glob for glob in exclude if fnmatchcase(layer.name, glob)), None)
        chosen.append((layer, f"excluded by {glob!r}" if glob else wanted(index, layer)))
    if all(reason for _, reason in chosen):
        why = f"; {chosen[0][0].name}: {chosen[0][1]}" if chosen else ""
        raise SelectionError(f"nothing to prune among {len(chosen)} convolutions{why}")
    return chosen


def _rule(
    layers: Sequence[Layer],
    pattern: NMPattern,
    select: Select | None,
    keep_dense: Sequence[str],
) -> Callable[[int, Layer], str]:
    if select is None:
        return lambda index, layer: _default(index, layer, pattern, keep_dense)
    if isinstance(select, str):
        select = (select,)
    if isinstance(select, type):
        select = (select,)
    if isinstance(select, Sequence):
        globs = tuple(item for item in select if isinstance(item, str))
        types = tuple(item for item in select if isinstance(item, type))
        if len(globs) + len(types) != len(select):
            raise SelectionError(f"select takes globs or types in a sequence, got {select!r}")
        if unused := [glob for glob in globs if not _globbed(layers, glob)]:
            raise SelectionError(f"select {unused[0]!r} matches no convolution{_known(layers)}")
        return lambda _, layer: (
            ""
            if any(fnmatchcase(layer.name, glob) for glob in globs)
            or isinstance(layer.module, types)
            else "not selected"
        )
    if callable(select):
        predicate = select
        return lambda _, layer: "" if predicate(layer.name, layer.module) else "not selected"
    raise SelectionError(f"select takes a glob, a type or a predicate, got {select!r}")


def _default(index: int, layer: Layer, pattern: NMPattern, keep_dense: Sequence[str]) -> str:
    if index == 0:
        return "first convolution (stem)"
    if layer.groups != 1:
        return f"{layer.groups} groups"
    if glob := next((glob for glob in keep_dense if fnmatchcase(layer.name, glob)), None):
        return f"dense in the model's published list ({glob})"
    if layer.shape[0] < pattern.tile:
        return f"{layer.shape[0]} output channels are fewer than one tile of {pattern.tile}"
    return ""


def _globbed(layers: Sequence[Layer], glob: str) -> bool:
    return any(fnmatchcase(layer.name, glob) for layer in layers)


def _known(layers: Sequence[Layer]) -> str:
    names = [layer.name for layer in layers[:3]]
    return f"; names look like {', '.join(names)}" if names else "; the model has none"


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for axis in shape:
        size *= axis
    return size
