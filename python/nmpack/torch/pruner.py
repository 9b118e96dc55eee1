# SPDX-License-Identifier: BSD-3-Clause
"""Prune a PyTorch model while it trains, in any training loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from nmpack.errors import PatternError
from nmpack.sparsity import schedule as schedules
from nmpack.sparsity.mask import Evidence, compute_mask
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.schedule import OneShot, Schedule
from nmpack.sparsity.selection import Layer, Patterns, PruneReport, Select
from nmpack.torch.holding import HoldMask, held, hold, original, require_free
from nmpack.torch.layers import to_array, to_tensor, weights
from nmpack.torch.pruning import chosen_layers, inspect, mask_of


class Pruner:
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
        self.schedule: Schedule = schedule or OneShot()
        self.score = score
        self.steps = 0
        self._evidence = evidence
        self._layers: list[tuple[Layer, Pattern]] = []
        self._hooks: list[Any] = []
        chosen = chosen_layers(model, pattern, select, exclude)
        first = "l1" if self._live else score
        masks: dict[str, torch.Tensor] = {}
        for layer, wanted, _ in chosen:
            if wanted is not None:
                require_free(layer.name, layer.module)
                mask_of(layer, wanted, first, evidence)  # the final pattern must fit as well
                at = self._at(wanted, 0)
                masks[layer.name] = mask_of(layer, at, first, evidence)
        for layer, wanted, reason in chosen:
            layer.module.nmpack_reason = reason
            if wanted is not None:
                self._layers.append((layer, wanted))
                hold(layer.module, masks[layer.name], wanted, feedback=self._feeds_back(0))

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
        if self.schedule.decay == 0.0 or not self._feeds_back(self.steps):
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
            masks = [self._mask(layer, wanted) for layer, wanted in self._layers]
            for (layer, _), mask in zip(self._layers, masks, strict=True):
                self._holder(layer).mask.copy_(mask)
        self._set_feedback()

    def inspect(self) -> PruneReport:
        """Say what is pruned now."""
        return inspect(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values: the step, and what the schedule is, to check that it is the same."""
        return {
            "steps": self.steps,
            "schedule": schedules.to_dict(self.schedule),
            "score": self.score,
            "layers": {layer.name: str(wanted) for layer, wanted in self._layers},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`; the masks come with the model's own state.

        Raises:
            PatternError: the state is of another schedule, score, selection or pattern.
        """
        own = self.state_dict()
        for key in ("schedule", "score", "layers"):
            if state.get(key) != own[key]:
                raise PatternError(
                    f"a pruner resumes with the {key} it was saved with: expected "
                    f"{_brief(own[key])}, got {_brief(state.get(key))}"
                )
        self.steps = int(state["steps"])
        self._set_feedback()

    @property
    def _live(self) -> bool:
        return self.score == "taylor" and self._evidence is None

    def _at(self, wanted: Pattern, step: int) -> Pattern:
        progress = self.schedule.progress(step)
        return wanted if progress >= 1.0 else wanted.at(progress)

    def _feeds_back(self, step: int) -> bool:
        return self.schedule.feedback and step < getattr(self.schedule, "end", 0)

    def _set_feedback(self) -> None:
        for layer, _ in self._layers:
            self._holder(layer).feedback = self._feeds_back(self.steps)

    def _mask(self, layer: Layer, wanted: Pattern) -> torch.Tensor:
        parameter = original(layer.module)
        evidence = (self._evidence or {}).get(layer.name)
        if self._live:
            if parameter.grad is None:
                raise PatternError(
                    f"{layer.name}: the score 'taylor' needs gradients when a mask is computed, "
                    "got none: call optimizer.zero_grad() after the step, not before"
                )
            evidence = Evidence(gradient=to_array(parameter.grad))
        values = to_array(parameter) if self.schedule.feedback else weights(layer.module)
        mask = compute_mask(
            values,
            self._at(wanted, self.steps),
            groups=layer.groups,
            layer=layer.name,
            score=self.score,
            evidence=evidence,
        )
        return to_tensor(mask, layer.module)

    @staticmethod
    def _holder(layer: Layer) -> HoldMask:
        holder = held(layer.module)
        if holder is None:
            raise PatternError(f"{layer.name}: its mask is gone: it was finalized while training")
        return holder


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "..."
