# SPDX-License-Identifier: BSD-3-Clause
"""Order output channels so that those that want the same columns share a tile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nmpack.keras.channels import channels_of, permute_channels_
from nmpack.keras.holding import held
from nmpack.keras.layers import weights
from nmpack.keras.pruning import KERAS
from nmpack.sparsity.mask import Evidence
from nmpack.sparsity.permutation import GroupReport, order_channels, require_unpruned
from nmpack.sparsity.selection import Patterns, Select


def permute_(
    model: Any,
    pattern: Patterns,
    *,
    select: Select | None = None,
    exclude: str | Iterable[str] = (),
    score: str = "l1",
    evidence: Mapping[str, Evidence] | None = None,
    rounds: int = 16,
    seed: int = 0,
) -> list[GroupReport]:
    """Permute channels of a functional or sequential Keras model in place, before it is pruned.

    Arguments and result are those of :func:`nmpack.torch.permute_`, but no sample is needed: the
    graph is there. Nested models are followed; what a layer of your own does with channels is not
    known, so channels that reach one stay where they are.

    Raises:
        SelectionError: a layer holds a mask already.
        ModelError: the model is subclassed, so that it has no graph.
    """
    chosen = KERAS.choose_free(model, pattern, select, exclude)
    require_unpruned(chosen, lambda module: held(module) is not None)
    channels = channels_of(model)
    orders, rows = order_channels(
        channels, chosen, weights, score=score, evidence=evidence, rounds=rounds, seed=seed
    )
    permute_channels_(model, channels, orders)
    return rows
