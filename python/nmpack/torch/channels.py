# SPDX-License-Identifier: BSD-3-Clause
"""The groups of channels of a PyTorch model, found on its exported graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nmpack.errors import ModelError
from nmpack.modes import evaluating
from nmpack.sparsity.channels import Channels, Groups, Layout, Order, Segment, strung
from nmpack.torch.layers import unwrap

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
        self._layouts: dict[Any, Layout] = {}
        self.groups = Groups()

    def visit(self, node: Any) -> None:
        if node.op == "output":
            for source in node.all_input_nodes:
                self.groups.fix(self._layouts.get(source))
        elif node.op == "call_function":
            layout = self._through(node)
            if layout is None:
                for source in node.all_input_nodes:
                    self.groups.fix(self._layouts.get(source))
            else:
                self._layouts[node] = layout

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
            self.groups.use(name, 0, source)
            return source if self._follow(bias, 0, source) else None
        if groups != 1 or (kind == "linear" and len(before) != 2):
            return None
        if source is not None:
            self.groups.use(name, 1, source)
        own = self.groups.new(shape[0], name.removesuffix(".weight"))
        self.groups.use(name, 0, own)
        if not self._follow(bias, 0, own):
            self.groups.fix(own)
        return own

    def _follow(self, node: Any, axis: int, layout: Layout) -> bool:
        """Let a parameter follow ``layout``; False when it is none, or is used elsewhere too."""
        if node is None:
            return True
        name = self._names.get(getattr(node, "name", ""))
        if name is None or len(node.users) > 1:
            return False
        self.groups.use(name, axis, layout)
        return True

    def _tie(self, operands: Any) -> Layout | None:
        tensors = [item for item in operands if hasattr(item, "meta")]
        ranks = {len(_shape(item) or ()) for item in tensors}
        if len(ranks) != 1 or 0 in ranks:
            return None
        return self.groups.tie([self._layouts.get(item) for item in tensors])

    def _cat(self, node: Any) -> Layout | None:
        axis = node.args[1] if len(node.args) > 1 else 0
        if axis % len(_shape(node) or (1,)) != 1:
            return None
        return strung(self._layouts.get(item) for item in node.args[0])


def _shape(node: Any) -> tuple[int, ...] | None:
    value = getattr(node, "meta", {}).get("val")
    return tuple(int(axis) for axis in value.shape) if isinstance(value, torch.Tensor) else None
