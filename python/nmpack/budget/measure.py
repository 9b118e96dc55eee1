# SPDX-License-Identifier: BSD-3-Clause
"""What layers cost, and how much the outputs move when one of them is pruned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nmpack.budget.allocation import Costs
from nmpack.errors import NmpackError, PatternError
from nmpack.modes import evaluating
from nmpack.progress import Progress, silent
from nmpack.sparsity.mask import Evidence
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.selection import CONVOLUTION, Layer, Select
from nmpack.torch.holding import held, original, require_free
from nmpack.torch.layers import layers_of
from nmpack.torch.pruning import TORCH, mask_of

WHAT = ("macs", "weights")


def costs_of(
    model: nn.Module,
    sample: torch.Tensor,
    candidates: Sequence[Pattern],
    *,
    what: str = "macs",
    select: Select | None = None,
) -> Costs:
    """Count multiply-adds of one image (or weights) for every layer and candidate.

    Layers that stay dense by :func:`nmpack.torch.prune_`'s rule for ``select`` are there with their
    dense cost alone. A candidate that does not fit a layer is left out for it.

    Raises:
        PatternError: ``what`` is neither ``macs`` nor ``weights``, or there is no candidate.
    """
    if what not in WHAT:
        raise PatternError(f"expected a cost out of {', '.join(WHAT)}, got {what!r}")
    if not candidates:
        raise PatternError("a budget needs at least one candidate pattern, got none")
    pixels = _pixels(model, sample) if what == "macs" else {}
    prunable = {
        choice.layer.name
        for item in candidates
        for choice in TORCH.choose(model, item, select, ())
        if choice.pattern is not None
    }
    found: dict[str, dict[Pattern | None, float]] = {}
    for layer in layers_of(model):
        weight = original(layer.module)
        dense = float(weight.numel() * pixels.get(layer.name, 1))
        row: dict[Pattern | None, float] = {None: dense}
        if layer.name in prunable:
            for item in candidates:
                mask = _mask(layer, item, "l1", None)
                if mask is not None:
                    row[item] = dense * float(mask.float().mean())
        found[layer.name] = row
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


def _pixels(model: nn.Module, sample: torch.Tensor) -> dict[str, int]:
    """Return how many output pixels each layer computes for one image."""
    found: dict[str, int] = {}

    def hook(name: str, kind: str) -> Any:
        def count(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            size = (
                output[0, 0].numel()
                if kind == CONVOLUTION
                else output[0].numel() // output.shape[-1]
            )
            found[name] = found.get(name, 0) + size

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
