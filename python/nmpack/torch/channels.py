# SPDX-License-Identifier: BSD-3-Clause
"""Which channels of a network may change places together: found on its exported graph.

Every convolution and linear layer makes new channels; whatever passes them on keeps their order.
Sums tie the channels of both operands (a residual stream is one group), concatenations string them
together, flattening repeats each by the pixels. Channels that reach an operator which is not
understood, the network's input or its output stay where they are, so a permutation of the others
never changes what the network computes, but for the order of sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from nmpack.errors import ModelError
from nmpack.torch.layers import unwrap

Order = npt.NDArray[np.int64]

#: Operators that treat channels one by one, all alike.
_PASS = frozenset(
    [
        "relu",
        "relu_",
        "relu6",
        "hardtanh",
        "hardtanh_",
        "silu",
        "silu_",
        "sigmoid",
        "hardswish",
        "hardswish_",
        "hardsigmoid",
        "gelu",
        "leaky_relu",
        "leaky_relu_",
        "elu",
        "tanh",
        "dropout",
        "dropout_",
        "feature_dropout",
        "clamp",
        "clamp_",
        "max_pool2d",
        "avg_pool2d",
        "adaptive_avg_pool2d",
        "adaptive_max_pool2d",
        "clone",
        "contiguous",
        "to",
        "_to_copy",
        "alias",
        "detach",
        "upsample_nearest2d",
        "upsample_bilinear2d",
    ]
)
_TIE = frozenset(["add", "add_", "sub", "mul", "mul_", "div", "maximum", "minimum"])
_RESHAPE = frozenset(["flatten", "view", "reshape", "_unsafe_view"])


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a channel axis: the channels of ``group``, each ``repeat`` times in a row."""

    group: int
    size: int
    repeat: int = 1


Layout = tuple[Segment, ...]


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
        makers: names of the layers whose output channels a group is, by its number.
        uses: every axis that follows, of groups that may be permuted and of those that may not.
    """

    sizes: Mapping[int, int]
    makers: Mapping[int, tuple[str, ...]]
    uses: tuple[Use, ...]

    def apply_(self, model: nn.Module, orders: Mapping[int, Order]) -> None:
        """Put channel ``orders[group][i]`` at place i, in every parameter and buffer, in place.

        Raises:
            ModelError: an order is not a permutation of its group's channels.
        """
        for group, order in orders.items():
            size = self.sizes.get(group)
            if size is None or sorted(order.tolist()) != list(range(size)):
                raise ModelError(f"expected a permutation of {size} channels for group {group}")
        tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        with torch.no_grad():
            for use in self.uses:
                if any(segment.group in orders for segment in use.layout):
                    index = torch.from_numpy(_index(use.layout, orders))
                    value = tensors[use.name]
                    value.copy_(value.index_select(use.axis, index.to(value.device)))


def _index(layout: Layout, orders: Mapping[int, Order]) -> Order:
    parts, start = [], 0
    for segment in layout:
        order = orders.get(segment.group, np.arange(segment.size))
        spread = order[:, None] * segment.repeat + np.arange(segment.repeat)
        parts.append(start + spread.reshape(-1))
        start += segment.size * segment.repeat
    return np.concatenate(parts)


def channels_of(model: nn.Module, sample: torch.Tensor) -> Channels:
    """Find the groups of ``model``, exported in evaluation mode with the input ``sample``.

    Raises:
        ModelError: ``torch.export`` cannot trace the model.
    """
    inner = unwrap(model)
    modes = [(module, module.training) for module in inner.modules()]
    try:
        exported = torch.export.export(inner.eval(), (sample,))
    except Exception as error:
        raise ModelError(f"torch.export cannot trace this model: {str(error)[:300]}") from error
    finally:
        for module, mode in modes:
            module.training = mode
    walk = _Walk(exported)
    for node in exported.graph.nodes:
        walk.visit(node)
    return walk.result()


class _Walk:
    """One pass over the graph with a union-find of groups."""

    def __init__(self, exported: Any) -> None:
        signature = exported.graph_signature
        self._names = dict(signature.inputs_to_parameters) | dict(signature.inputs_to_buffers)
        self._parents: list[int] = []
        self._sizes: list[int] = []
        self._fixed: set[int] = set()
        self._layouts: dict[Any, Layout] = {}
        self._uses: list[Use] = []
        self._makers: list[tuple[str, int]] = []

    def visit(self, node: Any) -> None:
        if node.op == "output":
            for source in node.all_input_nodes:
                self._fix(self._layouts.get(source))
        elif node.op == "call_function":
            layout = self._through(node)
            if layout is None:
                for source in node.all_input_nodes:
                    self._fix(self._layouts.get(source))
            else:
                self._layouts[node] = layout

    def result(self) -> Channels:
        fixed = {self._root(group) for group in self._fixed}
        makers: dict[int, list[str]] = {}
        for name, group in self._makers:
            makers.setdefault(self._root(group), []).append(name)
        free = {root: tuple(names) for root, names in makers.items() if root not in fixed}
        uses = tuple(
            Use(use.name, use.axis, tuple(
                Segment(self._root(s.group), s.size, s.repeat) for s in use.layout
            ))
            for use in self._uses
        )  # fmt: skip
        return Channels({root: self._sizes[root] for root in free}, free, uses)

    def _through(self, node: Any) -> Layout | None:
        """Return the channels of a node's result; None fixes those of its operands."""
        kind = getattr(getattr(node.target, "overloadpacket", None), "__name__", "")
        arguments = node.args
        source = self._layouts.get(arguments[0]) if arguments else None
        shape = _shape(node)
        if kind in ("conv2d", "linear"):
            return self._layer(node, kind, source)
        if kind in _TIE:
            return self._tie(arguments)
        if kind == "cat":
            return self._cat(node)
        if source is None or shape is None:
            return None
        if kind == "batch_norm":
            for name in arguments[1:5]:
                if not self._follow(name, 0, source):
                    return None
            return source
        if kind in _PASS:
            return source
        if kind == "pad":
            return source if len(arguments[1]) <= 2 * (len(shape) - 2) else None
        before = _shape(arguments[0])
        assert before is not None
        if kind == "mean":
            axes = arguments[1] if len(arguments) > 1 else ()
            inner = [axis % len(before) for axis in axes] if isinstance(axes, list) else []
            return source if inner and min(inner) > 1 else None
        if kind in _RESHAPE and len(before) >= 2 and shape == (before[0], math.prod(before[1:])):
            pixels = math.prod(before[2:])
            return tuple(Segment(s.group, s.size, s.repeat * pixels) for s in source)
        return None

    def _layer(self, node: Any, kind: str, source: Layout | None) -> Layout | None:
        weight, bias = node.args[1], (node.args[2] if len(node.args) > 2 else None)
        shape = _shape(weight)
        name = self._names.get(getattr(weight, "name", ""))
        before = _shape(node.args[0])
        if shape is None or name is None or before is None or len(weight.users) > 1:
            return None
        groups = node.args[6] if kind == "conv2d" and len(node.args) > 6 else 1
        if groups == shape[0] == before[1] and source is not None and groups > 1:  # depthwise
            self._uses.append(Use(name, 0, source))
            return source if self._follow(bias, 0, source) else None
        if groups != 1 or (kind == "linear" and len(before) != 2):
            return None
        if source is not None:
            self._uses.append(Use(name, 1, source))
        own = (Segment(self._new(shape[0]), shape[0]),)
        self._uses.append(Use(name, 0, own))
        self._makers.append((name.removesuffix(".weight"), own[0].group))
        if not self._follow(bias, 0, own):
            self._fix(own)
        return own

    def _follow(self, node: Any, axis: int, layout: Layout) -> bool:
        """Let a parameter follow ``layout``; False when it is none, or is used elsewhere too."""
        if node is None:
            return True
        name = self._names.get(getattr(node, "name", ""))
        if name is None or len(node.users) > 1:
            return False
        self._uses.append(Use(name, axis, layout))
        return True

    def _tie(self, operands: Sequence[Any]) -> Layout | None:
        tensors = [item for item in operands if hasattr(item, "meta")]
        layouts = [self._layouts.get(item) for item in tensors]
        shapes = [_shape(item) for item in tensors]
        first = layouts[0] if layouts else None
        if first is None or None in layouts or None in shapes:
            return None
        for layout, shape in zip(layouts[1:], shapes[1:], strict=True):
            assert layout is not None
            same = [(s.size, s.repeat) for s in layout] == [(s.size, s.repeat) for s in first]
            if not same or len(shape or ()) != len(shapes[0] or ()):
                return None
            for one, two in zip(first, layout, strict=True):
                self._parents[self._root(two.group)] = self._root(one.group)
        return first

    def _cat(self, node: Any) -> Layout | None:
        axis = node.args[1] if len(node.args) > 1 else 0
        layouts = [self._layouts.get(item) for item in node.args[0]]
        if axis % len(_shape(node) or (1,)) != 1 or None in layouts:
            return None
        return tuple(segment for layout in layouts if layout is not None for segment in layout)

    def _new(self, size: int) -> int:
        self._parents.append(len(self._parents))
        self._sizes.append(size)
        return len(self._parents) - 1

    def _root(self, group: int) -> int:
        while self._parents[group] != group:
            self._parents[group] = self._parents[self._parents[group]]
            group = self._parents[group]
        return group

    def _fix(self, layout: Layout | None) -> None:
        self._fixed.update(segment.group for segment in layout or ())


def _shape(node: Any) -> tuple[int, ...] | None:
    value = getattr(node, "meta", {}).get("val")
    return tuple(int(axis) for axis in value.shape) if isinstance(value, torch.Tensor) else None
