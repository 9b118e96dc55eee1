# SPDX-License-Identifier: BSD-3-Clause
"""Masks that follow a schedule: what the pruners of all frameworks share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nmpack.errors import PatternError
from nmpack.sparsity import schedule as schedules
from nmpack.sparsity.mask import BoolArray, Evidence
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.pruning import Adaptor
from nmpack.sparsity.schedule import OneShot, Schedule
from nmpack.sparsity.selection import Layer, Patterns, PruneReport, Select


class ScheduledMasks:
    """Masks on a model that follow a schedule; what moves them on is each framework's own."""

    def __init__(
        self,
        adaptor: Adaptor,
        model: Any,
        pattern: Patterns,
        schedule: Schedule | None,
        select: Select | None,
        exclude: str | Iterable[str],
        score: str,
        evidence: Mapping[str, Evidence] | None,
    ) -> None:
        """Hold the masks of step 0 on ``model``; an error leaves it unchanged."""
        self.schedule: Schedule = schedule or OneShot()
        self.score = score
        self.steps = 0
        self._adaptor = adaptor
        self._target = model
        self._evidence = evidence
        chosen = adaptor.choose_free(model, pattern, select, exclude)
        self._layers = [(layer, wanted) for layer, wanted, _ in chosen if wanted is not None]
        first = self._first_score()
        masks: dict[str, BoolArray] = {}
        for layer, wanted in self._layers:
            adaptor.mask_of(layer, wanted, first, evidence)  # the final pattern must fit as well
            masks[layer.name] = adaptor.mask_of(layer, self._at(wanted), first, evidence)
        adaptor.hold_all(chosen, masks, feedback=self._learning)

    def inspect(self) -> PruneReport:
        """Say what is pruned now."""
        return self._adaptor.inspect(self._target)

    @property
    def _learning(self) -> bool:
        """Whether pruned weights go on learning now."""
        return self.schedule.feedback and self.steps < getattr(self.schedule, "end", 0)

    def _first_score(self) -> str:
        return self.score

    def _seen(self, _layer: Layer) -> Mapping[str, Evidence] | None:
        """Return the evidence for a mask that is computed now."""
        return self._evidence

    def _at(self, wanted: Pattern) -> Pattern:
        progress = self.schedule.progress(self.steps)
        return wanted if progress >= 1.0 else wanted.at(progress)

    def _renew(self) -> None:
        """Compute all masks of the present step, then replace those that are held."""
        adaptor = self._adaptor
        values = adaptor.all_weights if self.schedule.feedback else adaptor.weights
        masks = []
        for layer, wanted in self._layers:
            evidence = self._seen(layer)
            masks.append(
                adaptor.mask_of(
                    layer, self._at(wanted), self.score, evidence, values=values(layer.module)
                )
            )
        for (layer, _), mask in zip(self._layers, masks, strict=True):
            adaptor.renew(self._holder(layer), layer.module, mask)

    def _holder(self, layer: Layer) -> Any:
        holder = self._adaptor.held(layer.module)
        if holder is None:
            raise PatternError(f"{layer.name}: its mask is gone: it was finalized while training")
        return holder

    def _about(self) -> dict[str, Any]:
        """Return plain values: the step, and what decides the masks beside the weights."""
        return {
            "steps": self.steps,
            "schedule": schedules.to_dict(self.schedule),
            "score": self.score,
            "layers": {layer.name: str(wanted) for layer, wanted in self._layers},
        }

    def _resume(self, state: Mapping[str, Any]) -> None:
        """Take the step of ``state``, which :meth:`_about` returned.

        Raises:
            PatternError: it is of another schedule, score, selection or pattern.
        """
        own = self._about()
        for key in ("schedule", "score", "layers"):
            if state.get(key) != own[key]:
                raise PatternError(
                    f"a pruner resumes with the {key} it was saved with: expected "
                    f"{_brief(own[key])}, got {_brief(state.get(key))}"
                )
        self.steps = int(state["steps"])


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "..."
