# SPDX-License-Identifier: BSD-3-Clause
"""The groups of channels of a PyTorch model, found on its exported graph."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from nmpack.errors import ModelError
from nmpack.modes import evaluating
from nmpack.sparsity.channels import Channels, Groups, Layout, Order, strung
from nmpack.torch.channel_axes import Place, Shape, picked, product, reshaped, transposed
from nmpack.torch.channel_operators import (
    PARTS,
    PASS,
    POOLS,
    PRODUCTS,
    RESHAPE,
    TIE,
    head_of,
    kind_of,
    or_fix,
    reduced,
    shape_of,
)
from nmpack.torch.layers import unwrap


def channels_of(model: nn.Module, sample: torch.Tensor) -> Channels:
    """Find the groups of ``model``, exported in evaluation mode with the input ``sample``.

    Raises:
        ModelError: ``torch.export`` cannot trace the model.
    """
    inner = unwrap(model)
    try:
        with evaluating(inner):
            exported = torch.export.export(inner, (sample,))
    except Exception as error:
        raise ModelError(f"torch.export cannot trace this model: {str(error)[:300]}") from error
    walk = _Walk(exported)
    for node in exported.graph.nodes:
        walk.visit(node)
    return walk.groups.result()


def permute_channels_(model: nn.Module, channels: Channels, orders: Mapping[int, Order]) -> None:
    """Put channel ``orders[group][i]`` at place i, in every parameter and buffer, in place.

    Raises:
        ModelError: an order is not a permutation of its group's channels.
    """
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, axis, index in channels.moves(orders):
            value = tensors[name]
            value.copy_(value.index_select(axis, torch.from_numpy(index).to(value.device)))


class _Walk:
    """One pass over the graph."""

    def __init__(self, exported: Any) -> None:
        signature = exported.graph_signature
        self._names = dict(signature.inputs_to_parameters) | dict(signature.inputs_to_buffers)
        self._places: dict[Any, Place] = {}
        self._parts: dict[Any, list[Place | None]] = {}
        self.groups = Groups()

    def visit(self, node: Any) -> None:
        if node.op == "output":
            self._fix(node)
        elif node.op == "call_function":
            place, understood = self._through(node)
            if not understood:
                self._fix(node)
            elif place is not None:
                self._places[node] = place

    def _fix(self, node: Any) -> None:
        for source in node.all_input_nodes:
            for place in (self._places.get(source), *self._parts.get(source, ())):
                self.groups.fix(place.layout if place is not None else None)

    def _through(self, node: Any) -> tuple[Place | None, bool]:
        """Return where a node's result has channels, and whether the node is understood.

        One that is not fixes the channels of its operands.
        """
        if node.target is operator.getitem:
            return self._item(node)
        kind = kind_of(node)
        if kind in ("conv2d", "linear"):
            return or_fix(self._layer(node, kind))
        if kind in TIE:
            return or_fix(self._tie(node))
        if kind == "cat":
            return or_fix(self._cat(node))
        if kind in PRODUCTS:
            return self._product(node, kind)
        source = self._places.get(node.args[0]) if node.args else None
        if source is None:
            # Of what was no channel none is made; operands behind the first are not looked at.
            return None, not any(item in self._places for item in node.all_input_nodes)
        before, after = shape_of(node.args[0]), shape_of(node)
        assert before is not None
        if kind in PARTS:
            self._parts[node] = self._split(node, kind, source, before)
            return None, all(part is not None for part in self._parts[node])
        if after is None:
            return None, False
        if kind in ("mean", "sum", "amax", "amin"):
            return reduced(node, source, before)
        return or_fix(self._one(node, kind, source, before, after))

    def _one(
        self, node: Any, kind: str, source: Place, before: Shape, after: Shape
    ) -> Place | None:
        """Return the place behind an operator of one tensor; None where it is not understood."""
        arguments = node.args
        if kind == "batch_norm":
            followed = source.axis == 1 and all(
                self._follow(name, 0, source.layout) for name in arguments[1:5]
            )
            return source if followed and not source.outer else None
        if kind == "layer_norm":
            last = source.axis == len(before) - 1 and len(arguments[1]) == 1
            if source.outer or not last:
                return None
            followed = all(self._follow(name, 0, source.layout) for name in arguments[2:4])
            return source if followed else None
        if len(node.all_input_nodes) > 1:
            return None
        if kind in POOLS:
            return source if source.axis == len(before) - 3 and not source.outer else None
        if kind in PASS:
            return source
        if kind == "pad":
            return source if len(arguments[1]) // 2 <= len(before) - 1 - source.axis else None
        if kind in RESHAPE:
            return reshaped(source, before, after)
        if kind == "expand":
            alike = len(before) == len(after) and all(before[i] == after[i] for i in source.axes)
            return source if alike else None
        if kind == "permute":
            return transposed(source, [axis % len(before) for axis in arguments[1]])
        if kind == "transpose":
            order = list(range(len(before)))
            one, two = (axis % len(before) for axis in arguments[1:3])
            order[one], order[two] = two, one
            return transposed(source, order)
        if kind == "select":
            axis = arguments[1] % len(before)
            return picked(source, before, axis, arguments[2] % before[axis])
        if kind == "slice":
            given = [*arguments[1:], *(0, None, None, 1)[len(arguments) - 1 :]]
            return picked(source, before, int(given[0]) % len(before), slice(*given[1:]))
        return None

    def _item(self, node: Any) -> tuple[Place | None, bool]:
        parts = self._parts.get(node.args[0])
        return (None, True) if parts is None else (parts[node.args[1]], True)

    def _split(self, node: Any, kind: str, source: Place, before: Shape) -> list[Place | None]:
        """Return the place of each part that an axis is cut into."""
        at = 1 if kind == "unbind" else 2
        axis = node.args[at] if len(node.args) > at else node.kwargs.get("dim", 0)
        axis %= len(before)
        if kind == "unbind":
            return [picked(source, before, axis, index) for index in range(before[axis])]
        places, start = [], 0
        for part in node.meta["val"]:
            size = int(part.shape[axis])
            places.append(picked(source, before, axis, slice(start, start + size)))
            start += size
        return places

    def _product(self, node: Any, kind: str) -> tuple[Place | None, bool]:
        if kind == "scaled_dot_product_attention":
            if len(node.args) < 3 or node.kwargs.get("enable_gqa"):
                return None, False
            query, key, value = node.args[:3]
            _, understood = self._einsum("bhqd,bhkd->bhqk", (query, key), 4)
            place, follows = self._einsum("bhqk,bhkd->bhqd", (None, value), 4)
            return place, understood and follows
        if kind == "einsum":
            equation, operands = node.args[:2]
            return self._einsum(equation, operands, None)
        rank = len(shape_of(node.args[0]) or ())
        if rank < 2:
            return None, not any(item in self._places for item in node.all_input_nodes)
        batch = "abcdefgh"[: rank - 2]
        equation = f"{batch}mk,{batch}kn->{batch}mn"
        return self._einsum(equation, node.args[:2], rank)

    def _einsum(self, equation: str, operands: Any, rank: int | None) -> tuple[Place | None, bool]:
        places = [None if item is None else self._places.get(item) for item in operands]
        if all(place is None for place in places):
            return None, True
        shapes = [shape_of(item) for item in operands if item is not None]
        if len(operands) != 2 or (rank and any(len(shape or ()) != rank for shape in shapes)):
            return None, False
        return product(self.groups, equation, places)

    def _layer(self, node: Any, kind: str) -> Place | None:
        weight, bias = node.args[1], (node.args[2] if len(node.args) > 2 else None)
        shape = shape_of(weight)
        name = self._names.get(getattr(weight, "name", ""))
        before = shape_of(node.args[0])
        if shape is None or name is None or before is None or len(weight.users) > 1:
            return None
        axis = 1 if kind == "conv2d" else len(before) - 1
        source = self._places.get(node.args[0])
        if source is not None and (source.outer or source.axis != axis):
            return None
        groups = node.args[6] if kind == "conv2d" and len(node.args) > 6 else 1
        if groups == shape[0] == before[1] and source is not None and groups > 1:  # depthwise
            self.groups.use(name, 0, source.layout)
            return source if self._follow(bias, 0, source.layout) else None
        if groups != 1:
            return None
        if source is not None:
            self.groups.use(name, 1, source.layout)
        part = head_of(node, shape[0]) if kind == "linear" else None
        own = self.groups.new(shape[0], name.removesuffix(".weight"), part)
        self.groups.use(name, 0, own)
        if not self._follow(bias, 0, own):
            self.groups.fix(own)
        return Place(axis, own)

    def _follow(self, node: Any, axis: int, layout: Layout) -> bool:
        """Let a parameter follow ``layout``; False when it is none, or is used elsewhere too."""
        if node is None:
            return True
        name = self._names.get(getattr(node, "name", ""))
        if name is None or len(node.users) > 1:
            return False
        self.groups.use(name, axis, layout)
        return True

    def _join(self, items: Sequence[Any], rank: int) -> Place | None:
        """Make the channels of operands one; parameters follow, what has none is broadcast."""
        places = [self._places[item] for item in items if item in self._places]
        if not places or len({place.axes for place in places}) != 1:
            return None
        if any(len(shape_of(item) or ()) != rank for item in items if item in self._places):
            return None
        first = places[0]
        if self.groups.tie([place.layout for place in places]) is None:
            return None
        for item in items:
            if item in self._places:
                continue
            shape = shape_of(item) or ()
            axes = [axis - rank + len(shape) for axis in first.axes]
            if all(axis < 0 or shape[axis] == 1 for axis in axes):
                continue
            if first.outer or not self._follow_expanded(item, axes[-1], first.layout):
                return None
        return first

    def _follow_expanded(self, item: Any, axis: int, layout: Layout) -> bool:
        """Let a parameter, perhaps expanded along other axes, follow ``layout``."""
        shape = shape_of(item) or ()
        if shape[axis] != sum(segment.size * segment.repeat for segment in layout):
            return False
        kind = kind_of(item)
        if kind == "expand" and len(item.users) == 1:
            inner = shape_of(item.args[0]) or ()
            if len(inner) != len(shape) or inner[axis] != shape[axis]:
                return False
            item = item.args[0]
        return self._follow(item, axis, layout)

    def _tie(self, node: Any) -> Place | None:
        tensors = [item for item in node.args if hasattr(item, "meta")]
        shape = shape_of(node)
        if shape is None:
            return None
        if not any(item in self._places for item in tensors):
            return None
        return self._join(list(dict.fromkeys(tensors)), len(shape))

    def _cat(self, node: Any) -> Place | None:
        rank = len(shape_of(node) or (1,))
        axis = (node.args[1] if len(node.args) > 1 else 0) % rank
        items = node.args[0]
        places = [self._places.get(item) for item in items]
        if any(place is not None and axis in place.axes for place in places):
            if any(place is None or place.axes != (axis,) for place in places):
                return None
            layout = strung(place.layout for place in places if place is not None)
            return None if layout is None else Place(axis, layout)
        return self._join(items, rank)
