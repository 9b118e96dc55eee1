# SPDX-License-Identifier: BSD-3-Clause
"""Prune a PyTorch model while it trains, in any training loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from nmpack.errors import PatternError
from nmpack.sparsity.mask import Evidence
from nmpack.sparsity.schedule import Schedule
from nmpack.sparsity.scheduled import ScheduledMasks
from nmpack.sparsity.selection import Layer, Patterns, Select
from nmpack.torch.holding import original
from nmpack.torch.layers import to_array
from nmpack.torch.pruning import TORCH


class Pruner(ScheduledMasks):
    """Masks that follow a schedule, moved on by the optimizer.

    >>> pruner = Pruner(model, pattern, Gradual(end=2000)).attach(optimizer)  # doctest: +SKIP
    >>> # ... any loop that calls optimizer.step(), DDP, AMP and accumulation included ...
    >>> finalize_(model)  # doctest: +SKIP

    Masks live in the model's ``state_dict``; :meth:`state_dict` holds the step beside them. With
    both and the optimizer's, training goes on as if it had not stopped.
    """

    def __init__(
        self,
        model: nn.Module,
        pattern: Patterns,
        schedule: Schedule | None = None,
        *,
        select: Select | None = None,
        exclude: str | Iterable[str] = (),
        score: str = "l1",
        evidence: Mapping[str, Evidence] | None = None,
    ) -> None:
        """Hold the masks of step 0 on ``model``.

        Arguments are those of :func:`prune_`. The score ``taylor`` without ``evidence`` takes the
        gradient of the step just done, and ``l1`` for the mask of step 0.

        Raises:
            PatternError, SelectionError: as :func:`prune_`; the model is then unchanged.
        """
        self.model = model
        self._hooks: list[Any] = []
        super().__init__(TORCH, model, pattern, schedule, select, exclude, score, evidence)

    def attach(self, optimizer: torch.optim.Optimizer) -> Pruner:
        """Let ``optimizer.step()`` move the masks on; returns the pruner.

        The hooks see the gradients that the step uses: unscaled, clipped, averaged over processes.
        """
        self.detach()
        self._hooks = [
            optimizer.register_step_pre_hook(lambda *_: self.before_step()),
            optimizer.register_step_post_hook(lambda *_: self.after_step()),
        ]
        return self

    def detach(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def before_step(self) -> None:
        """Add the decay of pruned weights to their gradients."""
        if self.schedule.decay == 0.0 or not self._learning:
            return
        with torch.no_grad():
            for layer, _ in self._layers:
                weight = original(layer.module)
                if weight.grad is not None:
                    pruned = weight.masked_fill(self._holder(layer).mask, 0.0)
                    weight.grad.add_(pruned, alpha=self.schedule.decay)

    def after_step(self) -> None:
        """Count a step and compute the masks anew where the schedule says so."""
        self.steps += 1
        if self.schedule.due(self.steps):
            self._renew()
        self._set_feedback()

    def state_dict(self) -> dict[str, Any]:
        """Return plain values: the step, and what the schedule is, to check that it is the same."""
        return self._about()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`; the masks come with the model's own state.

        Raises:
            PatternError: the state is of another schedule, score, selection or pattern.
        """
        self._resume(state)
        self._set_feedback()

    def _set_feedback(self) -> None:
        for layer, _ in self._layers:
            self._holder(layer).feedback = self._learning

    @property
    def _live(self) -> bool:
        return self.score == "taylor" and self._evidence is None

    def _first_score(self) -> str:
        return "l1" if self._live else self.score

    def _seen(self, layer: Layer) -> Mapping[str, Evidence] | None:
        if not self._live:
            return self._evidence
        gradient = original(layer.module).grad
        if gradient is None:
            raise PatternError(
                f"{layer.name}: the score 'taylor' needs gradients when a mask is computed, "
                "got none: call optimizer.zero_grad() after the step, not before"
            )
        return {layer.name: Evidence(gradient=to_array(gradient))}
