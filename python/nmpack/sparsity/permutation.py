# SPDX-License-Identifier: BSD-3-Clause
"""Order rows so that those that want the same columns share a tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import SelectionError
from nmpack.quiet import import_module
from nmpack.sparsity.channels import Channels, Order
from nmpack.sparsity.mask import Array, Evidence, compute_mask, importance
from nmpack.sparsity.pattern import NMPattern
from nmpack.sparsity.selection import Choice

Scores = npt.NDArray[np.float64]

# An exact assignment of this many channels takes milliseconds; more are done in random parts.
_AT_ONCE = 384


@dataclass(frozen=True, slots=True)
class GroupReport:
    """One group of channels that was ordered.

    Attributes:
        layers: the pruned layers whose output channels it is.
        channels: how many.
        before, after: share of their total score that the pattern keeps.
    """

    layers: tuple[str, ...]
    channels: int
    before: float
    after: float


def require_unpruned(chosen: list[Choice], is_held: Callable[[Any], bool]) -> None:
    """Check that no layer that will be pruned holds a mask, for a mask does not follow.

    Raises:
        SelectionError: one does.
    """
    for layer, wanted, _ in chosen:
        if wanted is not None and is_held(layer.module):
            raise SelectionError(
                f"{layer.name}: channels are permuted before pruning, it holds a mask"
            )


def order_channels(
    channels: Channels,
    chosen: list[Choice],
    weights: Callable[[Any], Array],
    *,
    score: str,
    evidence: Mapping[str, Evidence] | None,
    rounds: int,
    seed: int,
) -> tuple[dict[int, Order], list[GroupReport]]:
    """Find the orders of the groups of channels that pruned layers make.

    Args:
        channels: of the model.
        chosen: its layers, and the pattern of each that will be pruned.
        weights: returns the OHWI weights of a layer's module.
        score, evidence: of :func:`nmpack.sparsity.mask.importance`.
        rounds, seed: of :func:`best_order`.

    Raises:
        PatternError: a pattern does not fit its layer.
    """
    wanted_by = {
        layer.name: (layer, wanted) for layer, wanted, _ in chosen if isinstance(wanted, NMPattern)
    }
    orders: dict[int, Order] = {}
    rows = []
    matrices: dict[str, Scores] = {}
    for group, makers in channels.makers.items():
        parts: list[tuple[Scores, NMPattern]] = []
        size = channels.sizes[group]
        wanting = [maker for maker in makers if maker.name in wanted_by]
        for name, start in wanting:
            layer, wanted = wanted_by[name]
            if name not in matrices:
                seen = (evidence or {}).get(name)
                value = importance(weights(layer.module), score, seen, layer=name)
                matrices[name] = value.reshape(value.shape[0], -1)
                compute_mask(matrices[name], wanted, layer=name)  # the pattern must fit
            count = len(matrices[name])
            if size < count and (start % wanted.tile or size % wanted.tile):
                parts = []  # a tile has channels of other groups, too
                break
            matrix = matrices[name][start : start + size]
            parts.append((matrix / max(matrix.sum(), 1e-300), wanted))
        if not parts or all(wanted.tile == 1 for _, wanted in parts):
            continue
        names = tuple(dict.fromkeys(maker.name for maker in wanting))
        order = best_order(parts, rounds, np.random.default_rng(seed))
        identity = np.arange(len(order))
        before, after = (kept_share(parts, item) for item in (identity, order))
        if after > before:
            orders[group] = order
        rows.append(GroupReport(names, len(order), before, max(before, after)))
    return orders, rows


def kept_share(parts: list[tuple[Scores, NMPattern]], order: Order) -> float:
    """Return the share of the score that is kept when the rows stand in ``order``, a mean."""
    kept = [matrix[order][compute_mask(matrix[order], wanted)].sum() for matrix, wanted in parts]
    return float(np.mean(kept))


def best_order(
    parts: list[tuple[Scores, NMPattern]], rounds: int, generator: np.random.Generator
) -> Order:
    """Order the rows that all ``parts`` share: ``(scores [rows, K], pattern)``, each summing to 1.

    Places belong to tiles; where parts have tiles of several heights, to one of each.
    """
    assign = import_module("scipy.optimize", "torch").linear_sum_assignment
    count = parts[0][0].shape[0]
    order = _first_order(parts)
    if kept_share(parts, order) < kept_share(parts, np.arange(count)):
        order = np.arange(count)
    best: Order = order.copy()
    best_share = kept_share(parts, order)
    for _ in range(rounds):
        gain = np.zeros((count, count))
        for matrix, wanted in parts:
            gain += _gain(matrix, wanted, order)[:, np.arange(count) // wanted.tile]
        places = generator.permutation(count)
        for piece in np.array_split(places, -(-count // _AT_ONCE)):
            rows = order[piece]
            _, target = assign(gain[np.ix_(rows, piece)], maximize=True)
            order[piece[target]] = rows
        share = kept_share(parts, order)
        if share > best_share:
            best, best_share = order.copy(), share
    return best


def _gain(matrix: Scores, wanted: NMPattern, order: Order) -> Scores:
    """Return ``[rows, tiles]``: what each row keeps in each tile, as the rows stand in ``order``.

    A row is not asked about the columns of its own tile: it helped to choose them, and would stay
    wherever it is.
    """
    count = len(order)
    heads = np.arange(0, count, wanted.tile)
    gain: Scores = matrix @ compute_mask(matrix[order], wanted)[heads].T.astype(np.float64)
    home = np.empty(count, dtype=np.int64)
    home[order] = np.arange(count) // wanted.tile
    others = np.add.reduceat(matrix[order], heads, axis=0)[home] - matrix
    alone = compute_mask(np.maximum(others, 0.0), replace(wanted, tile=1))
    gain[np.arange(count), home] = (matrix * alone).sum(axis=1)
    return gain


def _first_order(parts: list[tuple[Scores, NMPattern]]) -> Order:
    """Sort rows along the direction in which their scores differ most."""
    matrix = np.concatenate(
        [part / np.linalg.norm(part) for part, _ in parts if part.any()], axis=1
    )
    rows = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-300)
    centred = rows - rows.mean(axis=0)
    _, vectors = np.linalg.eigh(centred @ centred.T)
    return np.argsort(vectors[:, -1], kind="stable")
