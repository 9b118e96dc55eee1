# SPDX-License-Identifier: BSD-3-Clause
"""Prune a Keras model while it trains: a callback of ``fit``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.errors import PatternError
from nmpack.files import write_arrays, written_whole
from nmpack.keras.holding import HoldMask, all_weights, held, hold, require_free
from nmpack.keras.layers import weights
from nmpack.keras.pruning import chosen_layers, inspect, mask_of
from nmpack.quiet import import_keras
from nmpack.sparsity import schedule as schedules
from nmpack.sparsity.mask import BoolArray, Evidence
from nmpack.sparsity.pattern import Pattern
from nmpack.sparsity.schedule import OneShot, Schedule
from nmpack.sparsity.selection import Layer, Patterns, PruneReport, Select

keras = import_keras()
_Callback: Any = keras.callbacks.Callback


class Pruner(_Callback):  # type: ignore[misc]
    """Masks that follow a schedule, moved on by ``model.fit(..., callbacks=[pruner])``.

    Steps are the optimizer's iterations. Masks and what lives beside them are not part of a saved
    model: :meth:`save` and :meth:`load` keep them, beside the model and its optimizer.
    """

    def __init__(
        self,
        model: Any,
        pattern: Patterns,
        schedule: Schedule | None = None,
        *,
        select: Select | None = None,
        exclude: str | Iterable[str] = (),
        score: str = "l1",
        evidence: Mapping[str, Evidence] | None = None,
    ) -> None:
        """Hold the masks of step 0 on ``model``; arguments and errors as :func:`prune_`."""
        super().__init__()
        self.schedule: Schedule = schedule or OneShot()
        self.score = score
        self.steps = 0
        self._pruned_model = model
        self._evidence = evidence
        self._layers: list[tuple[Layer, Pattern]] = []
        chosen = chosen_layers(model, pattern, select, exclude)
        masks: dict[str, BoolArray] = {}
        for layer, wanted, _ in chosen:
            if wanted is not None:
                require_free(layer.name, layer.module)
                mask_of(layer, wanted, score, evidence)  # the final pattern must fit as well
                masks[layer.name] = mask_of(layer, self._at(wanted, 0), score, evidence)
        for layer, wanted, reason in chosen:
            layer.module.nmpack_reason = reason
            if wanted is not None:
                self._layers.append((layer, wanted))
                hold(layer.module, masks[layer.name], wanted, feedback=self.schedule.feedback)

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Set how fast pruned weights decay."""
        self._tune()

    def on_train_batch_begin(self, *_: Any, **__: Any) -> None:
        """Follow the learning rate."""
        self._tune()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Compute the masks anew where the schedule says so."""
        before, self.steps = self.steps, int(self.model.optimizer.iterations)
        if any(self.schedule.due(step) for step in range(before + 1, self.steps + 1)):
            for layer, wanted in self._layers:
                values = (all_weights if self.schedule.feedback else weights)(layer.module)
                at = self._at(wanted, self.steps)
                mask = mask_of(layer, at, self.score, self._evidence, values=values)
                self._holder(layer).renew(layer.module.kernel, mask)

    def inspect(self) -> PruneReport:
        """Say what is pruned now."""
        return inspect(self._pruned_model)

    def save(self, path: str | Path) -> None:
        """Write step, masks and the values of pruned weights as ``.npz``."""
        arrays = {"about": np.array(json.dumps(self._about()))}
        for index, (layer, _) in enumerate(self._layers):
            holder = self._holder(layer)
            arrays[f"mask{index}"] = keras.ops.convert_to_numpy(holder.mask)
            if holder.beside is not None:
                arrays[f"beside{index}"] = keras.ops.convert_to_numpy(holder.beside)
        with written_whole(path) as temporary, temporary.open("wb") as file:
            write_arrays(file, arrays)

    def load(self, path: str | Path) -> None:
        """Go on from :meth:`save`; model and optimizer have been loaded already.

        Raises:
            PatternError: the file is of another schedule, score, selection or pattern.
        """
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about, own = json.loads(str(arrays["about"])), self._about()
        for key in ("schedule", "score", "layers"):
            if about.get(key) != own[key]:
                raise PatternError(
                    f"a pruner resumes with the {key} it was saved with: expected "
                    f"{str(own[key])[:200]}, got {str(about.get(key))[:200]}"
                )
        self.steps = int(about["steps"])
        for index, (layer, _) in enumerate(self._layers):
            holder = self._holder(layer)
            kernel = keras.ops.convert_to_numpy(layer.module.kernel)
            holder.mask.assign(arrays[f"mask{index}"])
            layer.module.kernel.assign(np.where(arrays[f"mask{index}"], kernel, 0.0))
            if holder.beside is not None:
                holder.beside.assign(arrays[f"beside{index}"])

    def _about(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "schedule": schedules.to_dict(self.schedule),
            "score": self.score,
            "layers": {layer.name: str(wanted) for layer, wanted in self._layers},
        }

    def _at(self, wanted: Pattern, step: int) -> Pattern:
        progress = self.schedule.progress(step)
        return wanted if progress >= 1.0 else wanted.at(progress)

    def _tune(self) -> None:
        """Tell the constraints whether pruned weights learn, and how much they decay a step."""
        if not self.schedule.feedback:
            return
        learning = self.steps < getattr(self.schedule, "end", 0)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        for layer, _ in self._layers:
            holder = self._holder(layer)
            assert holder.learning is not None
            assert holder.shrink is not None
            holder.learning.assign(float(learning))
            holder.shrink.assign(rate * self.schedule.decay if learning else 0.0)

    @staticmethod
    def _holder(layer: Layer) -> HoldMask:
        holder = held(layer.module)
        if holder is None:
            raise PatternError(f"{layer.name}: its mask is gone: it was finalized while training")
        return holder
