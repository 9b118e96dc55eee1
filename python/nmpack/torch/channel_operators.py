# SPDX-License-Identifier: BSD-3-Clause
"""The operators of an exported graph, as the search for groups of channels sees them."""

from __future__ import annotations

import operator
from typing import Any

import torch

from nmpack.torch.channel_axes import Place, Shape, without

#: Operators that treat channels one by one, all alike.
PASS = frozenset(
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
        "clamp",
        "clamp_",
        "clone",
        "contiguous",
        "to",
        "_to_copy",
        "alias",
        "detach",
        "softmax",
    ]
)
#: The same, for images whose channels come before their pixels.
POOLS = frozenset(
    [
        "feature_dropout",
        "max_pool2d",
        "avg_pool2d",
        "adaptive_avg_pool2d",
        "adaptive_max_pool2d",
        "upsample_nearest2d",
        "upsample_bilinear2d",
    ]
)
TIE = frozenset(["add", "add_", "sub", "mul", "mul_", "div", "maximum", "minimum"])
RESHAPE = frozenset(
    ["flatten", "unflatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze"]
)
PARTS = frozenset(["chunk", "split", "split_with_sizes", "unbind"])
PRODUCTS = frozenset(["matmul", "bmm", "einsum", "scaled_dot_product_attention"])


def kind_of(node: Any) -> str:
    """Return the name of an operator of ATen, empty for what is none."""
    return getattr(getattr(node.target, "overloadpacket", None), "__name__", "")


def or_fix(place: Place | None) -> tuple[Place | None, bool]:
    return place, place is not None


def reduced(node: Any, source: Place, before: Shape) -> tuple[Place | None, bool]:
    """Return the place behind a reduction: of channels themselves none is left."""
    given = node.args[1] if len(node.args) > 1 else ()
    axes = [axis % len(before) for axis in given] if isinstance(given, list | tuple) else []
    if not axes or source.axis in axes:
        return None, True
    if set(source.outer) & set(axes):
        return None, False
    keep = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
    return (source if keep else without(source, axes)), True


def head_of(node: Any, count: int) -> int | None:
    """Return into how many channels a reshape behind a linear layer cuts its outputs, if one does.

    Between the two are only operators that cut and scale.
    """
    waiting, found = list(node.users), set()
    while waiting:
        user = waiting.pop()
        kind = kind_of(user)
        scales = kind in ("mul", "div") and sum(hasattr(item, "meta") for item in user.args) == 1
        if user.target is operator.getitem or kind in (*PARTS, "slice") or scales:
            waiting += list(user.users)
        elif kind in RESHAPE:
            before, after = shape_of(user.args[0]), shape_of(user)
            if before and after and after[-1] < before[-1] and before[-1] % after[-1] == 0:
                found.add(after[-1])
    (size,) = found if len(found) == 1 else (0,)
    return size if size and count % size == 0 else None


def shape_of(node: Any) -> tuple[int, ...] | None:
    value = getattr(node, "meta", {}).get("val")
    return tuple(int(axis) for axis in value.shape) if isinstance(value, torch.Tensor) else None
