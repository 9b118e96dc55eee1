# SPDX-License-Identifier: BSD-3-Clause
"""Order output channels so that those that want the same columns share a tile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from nmpack.sparsity.mask import Evidence
from nmpack.sparsity.permutation import GroupReport, order_channels, require_unpruned
from nmpack.sparsity.selection import Patterns, Select
from nmpack.torch.channels import channels_of, permute_channels_
from nmpack.torch.holding import held
from nmpack.torch.layers import weights
from nmpack.torch.pruning import TORCH


def permute_(
    model: nn.Module,
    sample: torch.Tensor,
    pattern: Patterns,
    *,
    select: Select | None = None,
    exclude: str | Iterable[str] = (),
    score: str = "l1",
    evidence: Mapping[str, Evidence] | None = None,
    rounds: int = 16,
    seed: int = 0,
) -> list[GroupReport]:
    """Permute channels of ``model`` in place, before it is pruned; it computes the same function.

    The best columns for each tile's rows are found by turns with the best assignment of rows to the
    tiles' columns, and the best order seen is taken. The order of a residual stream serves all
    layers that write to it.

    Args:
        model: not pruned yet; optimizer state made before does not follow.
        sample: an input, to trace the model with.
        pattern, select, exclude, score, evidence: as :func:`prune_` will get them. Evidence of
            columns does not follow the permutation: collect it again for :func:`prune_`.
        rounds: turns for each group; at least 1.
        seed: of the parts into which large groups are cut.

    Returns:
        A row for each group that some pruned layer makes and that may be permuted.

    Raises:
        SelectionError: a layer holds a mask already.
        ModelError: the model cannot be traced.
    """
    chosen = TORCH.choose_free(model, pattern, select, exclude)
    require_unpruned(chosen, lambda module: held(module) is not None)
    channels = channels_of(model, sample)
    orders, rows = order_channels(
        channels, chosen, weights, score=score, evidence=evidence, rounds=rounds, seed=seed
    )
    permute_channels_(model, channels, orders)
    return rows
