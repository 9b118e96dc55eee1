# SPDX-License-Identifier: BSD-3-Clause
"""What layers cost, and how much the outputs move when one of them is pruned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.budget.allocation import Costs
from nmpack.errors import NmpackError, PatternError
from nmpack.modes import evaluating
from nmpack.plans import COUNTED, PREDICTED
from nmpack.progress import Progress, silent
from nmpack.sparsity.mask import Evidence
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.selection import CONVOLUTION, Layer, Select
from nmpack.torch.holding import held, original, require_free
from nmpack.torch.layers import layers_of
from nmpack.torch.pruning import TORCH, mask_of

WHAT = COUNTED + PREDICTED


def costs_of(
    model: nn.Module,
    sample: torch.Tensor,
    candidates: Sequence[Pattern],
    *,
    what: str = "macs",
    select: Select | None = None,
    target: str = "xcv",
) -> Costs:
    """Count what every layer costs with every candidate, for one image.

    Layers that stay dense by :func:`nmpack.torch.prune_`'s rule for ``select`` are there with their
    dense cost alone. A candidate that does not fit a layer is left out for it.

    Args:
        model: is not changed.
        sample: an input of the network; its first is used.
        candidates: patterns.
        what: ``macs``, multiply-adds; ``weights``, how many; ``cycles`` of the int8 network on a
            microcontroller, predicted, or its ``flash`` in bytes, as ``nmpack mcu`` will state.
        select: as for :func:`nmpack.torch.prune_`.
        target: of ``cycles`` and ``flash``: ``xcv``, ``xcv-nm`` or ``rv32imc``.

    Raises:
        PatternError: there is no such cost or target, or no candidate.
    """
    if what not in WHAT:
        raise PatternError(f"expected a cost out of {', '.join(WHAT)}, got {what!r}")
    if not candidates:
        raise PatternError("a budget needs at least one candidate pattern, got none")
    if what in PREDICTED:
        from nmpack.budget.microcontroller import check_target

        check_target(target)
    calls = calls_of(model, sample) if what != "weights" else {}
    prunable = {
        choice.layer.name
        for item in candidates
        for choice in TORCH.choose(model, item, select, ())
        if choice.pattern is not None
    }
    found: dict[str, dict[Pattern | None, float]] = {}
    for layer in layers_of(model):
        masks: dict[Pattern | None, torch.Tensor | None] = {None: None}
        if layer.name in prunable:
            kept = ((item, _mask(layer, item, "l1", None)) for item in candidates)
            masks |= {item: mask for item, mask in kept if mask is not None}
        if what in PREDICTED:
            from nmpack.budget.microcontroller import predicted

            found[layer.name] = predicted(layer, masks, calls.get(layer.name, []), what, target)
            continue
        pixels = sum(call.pixels for call in calls[layer.name]) if layer.name in calls else 1
        dense = float(original(layer.module).numel() * pixels)
        found[layer.name] = {
            item: dense if mask is None else dense * float(mask.float().mean())
            for item, mask in masks.items()
        }
    return found


def sensitivity(
    model: nn.Module,
    batches: Iterable[torch.Tensor],
    costs: Costs,
    *,
    score: str = "l1",
    evidence: Mapping[str, Evidence] | None = None,
    progress: Progress = silent,
) -> Costs:
    """Prune each layer alone with each candidate and measure how far the outputs move.

    Args:
        model: not pruned; its weights are as before afterwards.
        batches: inputs; a few hundred images are enough, labels are not needed.
        costs: of :func:`costs_of`: the layers and candidates.
        score, evidence: as :func:`nmpack.torch.prune_` will get them.
        progress: called with (candidates done, candidates).

    Returns:
        The mean Kullback-Leibler divergence of the outputs from the dense model's, at least 0.

    Raises:
        NmpackError: there was no batch.
        SelectionError: a layer holds a mask already.
    """
    inputs = list(batches)
    if not inputs:
        raise NmpackError("sensitivity needs at least one batch, got none")
    layers = {layer.name: layer for layer in layers_of(model)}
    work = [(name, item) for name, row in costs.items() for item in row if item is not None]
    found: dict[str, dict[Pattern | None, float]] = {name: {} for name in costs}
    with evaluating(model), torch.no_grad():
        target = [F.log_softmax(model(batch).float(), 1) for batch in inputs]
        for done, (name, item) in enumerate(work, 1):
            found[name][item] = _moved(model, layers[name], item, inputs, target, score, evidence)
            progress(done, len(work))
    return found


def _moved(
    model: nn.Module,
    layer: Layer,
    item: Pattern,
    inputs: list[torch.Tensor],
    target: list[torch.Tensor],
    score: str,
    evidence: Mapping[str, Evidence] | None,
) -> float:
    require_free(layer.name, layer.module)
    if held(layer.module) is not None:
        raise PatternError(f"{layer.name}: sensitivity is measured before pruning, it holds a mask")
    weight = original(layer.module)
    before = weight.detach().clone()
    mask = mask_of(layer, item, score, evidence)
    total = count = 0.0
    try:
        weight.mul_(mask.to(weight.device))
        for batch, wanted in zip(inputs, target, strict=True):
            outputs = F.log_softmax(model(batch).float(), 1)
            total += float(F.kl_div(outputs, wanted, reduction="sum", log_target=True))
            count += len(batch)
    finally:
        weight.copy_(before)
    return max(total / count, 0.0)


def _mask(layer: Layer, item: Pattern, score: str, evidence: Any) -> torch.Tensor | None:
    if layer.shape[0] < item.tile:
        return None
    try:
        return mask_of(layer, item, score, evidence)
    except PatternError:
        return None


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a layer in one run of the network.

    Attributes:
        inputs, outputs: shapes of a batch of one, ``[1, C, H, W]`` or ``[1, ..., features]``.
        pixels: that it computes; rows of a linear layer.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    pixels: int


def calls_of(model: nn.Module, sample: torch.Tensor) -> dict[str, list[Call]]:
    """Return how each layer is called for one image; layers that are not have no entry."""
    found: dict[str, list[Call]] = {}

    def hook(name: str, kind: str) -> Any:
        def count(_module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            size = (
                output[0, 0].numel()
                if kind == CONVOLUTION
                else output[0].numel() // output.shape[-1]
            )
            call = Call(tuple(inputs[0].shape), tuple(output.shape), size)
            found.setdefault(name, []).append(call)

        return count

    hooks = [
        layer.module.register_forward_hook(hook(layer.name, layer.kind))
        for layer in layers_of(model)
    ]
    try:
        with evaluating(model), torch.no_grad():
            model(sample[:1])
    finally:
        for item in hooks:
            item.remove()
    return found
