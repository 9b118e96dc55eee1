# SPDX-License-Identifier: BSD-3-Clause
"""Which layers are pruned: one rule for every framework, and a report of what it did."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from nmpack.errors import PatternError, SelectionError
from nmpack.sparsity.pattern import NMPattern, Pattern, Unstructured

#: A glob or several over layer names, a layer type or several, or a predicate (name, layer).
Select = str | type | Sequence[str] | Sequence[type] | Callable[[str, Any], bool]

#: One pattern for all layers, or globs over names with the pattern of each (None: stays dense).
Patterns = Pattern | Mapping[str, Pattern | None]

CONVOLUTION, LINEAR = "convolution", "linear"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as the adaptors hand it over.

    Attributes:
        name: its path in the model.
        module: the framework's own object.
        shape: OHWI of its weights; a linear layer is a 1x1 convolution.
        groups: convolution groups.
        kind: ``convolution`` or ``linear``.
    """

    name: str
    module: Any
    shape: tuple[int, ...]
    groups: int
    kind: str = CONVOLUTION


class Other(NamedTuple):
    """A layer that has weights and cannot be pruned: its name, and its class in the framework."""

    name: str
    kind: str

    def __str__(self) -> str:
        """Return the name with the kind in brackets."""
        return f"{self.name} ({self.kind})"


class Choice(NamedTuple):
    """A layer and the pattern it gets; without one, ``reason`` says why it stays dense."""

    layer: Layer
    pattern: Pattern | None
    reason: str


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What happened to one layer: ``pattern`` is None when it stayed dense, ``reason`` says why."""

    name: str
    shape: tuple[int, ...]
    groups: int
    pattern: Pattern | None
    density: float
    reason: str
    kind: str = CONVOLUTION


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What happened to every convolution and linear layer of a model, in the model's order."""

    layers: tuple[LayerReport, ...]

    def __iter__(self) -> Iterator[LayerReport]:
        """Iterate over the layers."""
        return iter(self.layers)

    @property
    def pruned(self) -> tuple[LayerReport, ...]:
        """The layers that were pruned."""
        return tuple(layer for layer in self.layers if layer.pattern is not None)

    @property
    def convolutions(self) -> tuple[LayerReport, ...]:
        """The convolutions alone."""
        return tuple(layer for layer in self.layers if layer.kind == CONVOLUTION)

    @property
    def counted(self) -> str:
        """Of which layers :attr:`density` is, in words."""
        linear = any(row.kind == LINEAR and row.pattern is not None for row in self.layers)
        if not linear:
            return "all convolutions"
        return "pruned linear layers" + (" and convolutions" if self.convolutions else "")

    @property
    def density(self) -> float:
        """Non-zero weights of all convolutions and pruned linear layers / all their weights."""
        counted = [row for row in self.layers if row.kind == CONVOLUTION or row.pattern is not None]
        total = sum(math.prod(layer.shape) for layer in counted)
        kept = sum(layer.density * math.prod(layer.shape) for layer in counted)
        return kept / total if total else 1.0


def choose(
    layers: Sequence[Layer],
    patterns: Patterns,
    select: Select | None,
    exclude: str | Iterable[str] = (),
    keep_dense: Sequence[str] = (),
    others: Sequence[Other] = (),
    taken: Mapping[str, str] | None = None,
) -> list[Choice]:
    """Decide about every layer.

    Without ``select``, every convolution is pruned but the first (the stem), those that match
    ``keep_dense``, grouped and depthwise ones, those with fewer output channels than one tile, and
    those whose K the pattern does not divide: in a ResNet that leaves exactly the convolutions of
    the residual blocks. A network that has no convolution but the stem, such as a transformer, is
    made of its linear layers: they are pruned by the same rules, but for the last where there is no
    ``keep_dense``. Those of other networks are pruned only where ``select`` or a mapping names
    them. A mapping of globs to patterns is a selection by itself: the first glob that matches
    decides. ``others`` are what else has weights, for messages alone. ``taken`` says by name of
    which layers others compute the weights, and how: those stay dense where nobody names them.

    Raises:
        SelectionError: nothing is left to prune, or a glob matches no layer.
    """
    exclude = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    _require_use(layers, exclude, "exclude")
    wanted = _rule(layers, patterns, select, keep_dense, others, taken or {})
    chosen = []
    for layer in layers:
        glob = _first(exclude, layer)
        pattern, silent = _pattern_of(layer, patterns)
        reason = f"excluded by {glob!r}" if glob else silent or wanted(layer)
        chosen.append(Choice(layer, None if reason else pattern, reason))
    if all(choice.reason for choice in chosen):
        raise SelectionError(_nothing(chosen, others, named=select is not None))
    return chosen


def literal_glob(name: str) -> str:
    """Return a glob that matches this name and no other."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _nothing(chosen: Sequence[Choice], others: Sequence[Other], *, named: bool) -> str:
    """Say which layers were seen, and of each why it is not pruned."""
    if not chosen:
        text = "nothing to prune: the model has no 2D convolution and no linear layer"
    else:
        text = f"nothing to prune among {len(chosen)} layer{'s' * (len(chosen) > 1)}"
        names: dict[str, list[str]] = {}
        for choice in chosen:
            names.setdefault(choice.reason, []).append(choice.layer.name)
        text += "".join(f"; {_some(group)}: {reason}" for reason, group in names.items())
        if not named:
            text += "; to prune such a layer all the same, name it in select"
    return text + (f"; {_unfit(others)}" if others else "")


def _unfit(others: Sequence[Other]) -> str:
    return f"cannot be pruned, being neither 2D convolutions nor linear layers: {_some(others)}"


def _some(items: Sequence[object]) -> str:
    shown = ", ".join(str(item) for item in items[:4])
    return shown if len(items) <= 4 else f"{shown} and {len(items) - 4} more"


def _pattern_of(layer: Layer, patterns: Patterns) -> tuple[Pattern | None, str]:
    """Return the pattern given for ``layer``, or why there is none."""
    if not isinstance(patterns, Mapping):
        return patterns, ""
    glob = _first(tuple(patterns), layer)
    if glob is None:
        return None, "no pattern names it"
    pattern = patterns[glob]
    return pattern, "" if pattern is not None else f"dense by {glob!r}"


def _rule(
    layers: Sequence[Layer],
    patterns: Patterns,
    select: Select | None,
    keep_dense: Sequence[str],
    others: Sequence[Other],
    taken: Mapping[str, str],
) -> Callable[[Layer], str]:
    if isinstance(patterns, Mapping):
        _require_use(layers, tuple(patterns), "pattern", others)
        for glob, item in patterns.items():
            if not isinstance(item, NMPattern | Unstructured | None):
                raise SelectionError(f"expected a pattern or None for {glob!r}, got {item!r}")
        if select is None:
            return lambda _: ""
    elif not isinstance(patterns, NMPattern | Unstructured):
        raise SelectionError(f"expected a pattern or a mapping of globs to them, got {patterns!r}")
    elif select is None:
        pattern = patterns
        fixed = {**taken, **_ends(layers, keep_dense)}
        return lambda layer: _default(layer, fixed, pattern, keep_dense)
    if isinstance(select, str | type):
        select = (select,)  # type: ignore[assignment]
    if isinstance(select, Sequence):
        globs = tuple(item for item in select if isinstance(item, str))
        types = tuple(item for item in select if isinstance(item, type))
        if len(globs) + len(types) != len(select):
            raise SelectionError(f"select takes globs or types in a sequence, got {select!r}")
        _require_use(layers, globs, "select", others)
        return lambda layer: (
            "" if _first(globs, layer) or isinstance(layer.module, types) else "not selected"
        )
    if callable(select):
        predicate = select
        return lambda layer: "" if predicate(layer.name, layer.module) else "not selected"
    raise SelectionError(f"select takes a glob, a type or a predicate, got {select!r}")


def _ends(layers: Sequence[Layer], keep_dense: Sequence[str]) -> Mapping[str, str]:
    """Return by name which layers stay dense for their place in the network, and why."""
    convolutions = [layer.name for layer in layers if layer.kind == CONVOLUTION]
    linear = [layer.name for layer in layers if layer.kind == LINEAR]
    ends = dict.fromkeys(convolutions[:1], "first convolution (stem)")
    if len(convolutions) > 1:
        reason = "linear layers are pruned only where they are selected"
        return ends | dict.fromkeys(linear, reason)
    return ends | ({} if keep_dense else dict.fromkeys(linear[-1:], "last linear layer (head)"))


def _default(
    layer: Layer, fixed: Mapping[str, str], pattern: Pattern, keep_dense: Sequence[str]
) -> str:
    if reason := fixed.get(layer.name):
        return reason
    if layer.groups != 1:
        return f"{layer.groups} groups"
    if glob := _first(keep_dense, layer):
        return f"dense in the model's published list ({glob})"
    if layer.shape[0] < pattern.tile:
        return f"{layer.shape[0]} output channels are fewer than one tile of {pattern.tile}"
    if isinstance(pattern, NMPattern):
        try:
            pattern.group_size(math.prod(layer.shape[1:]))
        except PatternError as error:
            return str(error).removeprefix("the layer: ")
    return ""


def _first(globs: Sequence[str], layer: Layer) -> str | None:
    return next((glob for glob in globs if fnmatchcase(layer.name, glob)), None)


def _require_use(
    layers: Sequence[Layer], globs: Sequence[str], what: str, others: Sequence[Other] = ()
) -> None:
    for glob in globs:
        if not any(fnmatchcase(layer.name, glob) for layer in layers):
            if met := [other for other in others if fnmatchcase(other.name, glob)]:
                raise SelectionError(f"{what} {glob!r} matches only what {_unfit(met)}")
            names = ", ".join(layer.name for layer in layers[:3])
            known = f"; names look like {names}" if names else "; the model has none"
            raise SelectionError(
                f"{what} {glob!r} matches no convolution and no linear layer{known}"
            )
