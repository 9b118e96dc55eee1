# SPDX-License-Identifier: BSD-3-Clause
"""Prune a Keras model while it trains: a callback of ``fit``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.files import write_arrays, written_whole
from nmpack.keras.pruning import KERAS
from nmpack.quiet import import_keras
from nmpack.sparsity.mask import Evidence
from nmpack.sparsity.schedule import Schedule
from nmpack.sparsity.scheduled import ScheduledMasks
from nmpack.sparsity.selection import Patterns, Select

keras = import_keras()
_Callback: Any = keras.callbacks.Callback


class Pruner(_Callback, ScheduledMasks):  # type: ignore[misc]
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
        _Callback.__init__(self)
        ScheduledMasks.__init__(
            self, KERAS, model, pattern, schedule, select, exclude, score, evidence
        )

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
            self._renew()

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
        self._resume(json.loads(str(arrays["about"])))
        for index, (layer, _) in enumerate(self._layers):
            holder = self._holder(layer)
            kernel = keras.ops.convert_to_numpy(layer.module.kernel)
            holder.mask.assign(arrays[f"mask{index}"])
            layer.module.kernel.assign(np.where(arrays[f"mask{index}"], kernel, 0.0))
            if holder.beside is not None:
                holder.beside.assign(arrays[f"beside{index}"])

    def _tune(self) -> None:
        """Tell the constraints whether pruned weights learn, and how much they decay a step."""
        if not self.schedule.feedback:
            return
        learning = self._learning
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        for layer, _ in self._layers:
            holder = self._holder(layer)
            assert holder.learning is not None
            assert holder.shrink is not None
            holder.learning.assign(float(learning))
            holder.shrink.assign(rate * self.schedule.decay if learning else 0.0)
