# SPDX-License-Identifier: BSD-3-Clause
"""Cycles and flash of layers on a microcontroller, as costs that a budget can be spent from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from nmpack.errors import PatternError
from nmpack.mcu.filters_conv2d import Geometry
from nmpack.mcu.layer_costs import PREDICTED, depthwise_cost, layer_cost
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.selection import Layer
from nmpack.torch.layers import to_array

if TYPE_CHECKING:
    from nmpack.budget.measure import Call


def check_target(target: str) -> None:
    """Check that cycles are predicted for ``target``.

    Raises:
        PatternError: they are not.
    """
    if target not in PREDICTED:
        raise PatternError(f"expected a target out of {', '.join(PREDICTED)}, got {target!r}")


def predicted(
    layer: Layer,
    masks: Mapping[Pattern | None, torch.Tensor | None],
    calls: Sequence[Call],
    what: str,
    target: str,
) -> dict[Pattern | None, float]:
    """Predict what a layer costs with each mask; None stands for all weights.

    Args:
        layer: of a PyTorch model.
        masks: by pattern, of the weight's shape.
        calls: of one run of the network; a layer that is not called costs no cycles.
        what: ``cycles`` or ``flash``.
        target: one of ``xcv``, ``xcv-nm`` and ``rv32imc``.
    """
    module = layer.module
    used = calls if what == "cycles" else calls[:1]
    geometries = [_geometry(layer, call) for call in used]
    if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
        costs = [depthwise_cost(module.out_channels, one, target) for one in geometries]
        return dict.fromkeys(masks, float(sum(getattr(cost, what) for cost in costs)))
    # The compiler makes one filter of all groups, with zeros between them.
    rows = np.arange(layer.shape[0]) * layer.groups // layer.shape[0]
    own = rows[:, None, None] == np.arange(layer.groups)[None, :, None]
    found: dict[Pattern | None, float] = {}
    for item, mask in masks.items():
        kept = to_array(torch.ones(module.weight.shape) if mask is None else mask)
        taps = kept.reshape(len(kept), -1, 1, kept.shape[3])
        spread = np.where(own[:, None], taps, 0).reshape(len(kept), -1).astype(np.int8)
        costs = [layer_cost(spread, geometry, target) for geometry in geometries]
        found[item] = float(sum(getattr(cost, what) for cost in costs))
    return found


def _geometry(layer: Layer, call: Call) -> Geometry:
    module = layer.module
    if not isinstance(module, nn.Conv2d):
        return Geometry(1, 1, call.pixels, call.inputs[-1], 1, call.pixels)
    _, channels, height, width = call.inputs
    pads = module.padding
    if isinstance(pads, str):
        full = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        pads = tuple(total // 2 if module.padding == "same" else 0 for total in full)
    return Geometry(
        1,
        height,
        width,
        channels,
        *call.outputs[2:],
        *module.kernel_size,
        *module.stride,
        *module.dilation,
        *pads,
    )
