# SPDX-License-Identifier: BSD-3-Clause
"""Prune, fine-tune and finalize, in steps that can stop and go on anywhere."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from nmpack import checkpointing
from nmpack.errors import NmpackError
from nmpack.files import write_json
from nmpack.progress import Progress, silent
from nmpack.quiet import import_module
from nmpack.torch import (
    Pruner,
    collect,
    fake_quantize_,
    finalize_,
    inspect,
    permute_,
    reestimate_batch_norm_,
    remove_fake_quantization_,
)
from nmpack.training import state
from nmpack.training.data import Images, batches, order_of
from nmpack.training.norm import desynchronise_, synchronise_
from nmpack.training.parts import count_right, distance, logs, make_optimizer, stopping
from nmpack.training.recipe import Recipe

_LOOK = 4  # batches for the scores that look at data
_LOG = 20  # steps between two points of a log


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out; accuracies are top-1 shares of the test images.

    Attributes:
        dense: of the model as it was given.
        pruned: after the first mask, before training.
        tuned: after training.
        density: non-zero weights of all convolutions and pruned linear layers / all their weights.
        steps: optimizer steps.
        seconds: spent training in this process, resumed parts not counted.
        history: test accuracy after each epoch.
    """

    dense: float
    pruned: float
    tuned: float
    density: float
    steps: int
    seconds: float
    history: tuple[float, ...]


def fine_tune(
    model: nn.Module,
    train: Images,
    test: Images,
    recipe: Recipe,
    folder: str | Path,
    *,
    save_every: int = 200,
    stop_after: int | None = None,
    workers: int = 0,
    memory: str | int | None = None,
    progress: Progress = silent,
) -> Outcome | None:
    """Prune ``model`` in place, train it with its masks and bake them in.

    ``folder`` gets ``last.pt`` (every ``save_every`` steps, after each epoch and on SIGINT or
    SIGTERM), TensorBoard logs, and ``result.json`` and ``final.pt`` at the end. The same call with
    the same model, data and recipe goes on from ``last.pt``: on a CPU to the same bits. Under
    ``torchrun`` each process takes its share of every batch and batch norm sees all of it.

    Args:
        model: as :func:`nmpack.torch.prune_` takes it; it ends finalized, in evaluation mode.
        train, test: images and labels.
        recipe: what to do.
        folder: one for each training.
        save_every: steps; at least 1.
        stop_after: leave after this many steps of this call, as an interruption would.
        workers: processes that read images ahead.
        memory: ``auto`` or bytes such as ``800M`` for activations: keep the best checkpoints and
            compute the rest again, see :mod:`nmpack.checkpointing`; None keeps all of them.
        progress: called with (steps done, steps).

    Returns:
        The outcome; None when ``stop_after`` came first.

    Raises:
        MismatchError: the folder holds another training.
        NmpackError, PatternError, SelectionError: as pruning and the data say.
    """
    run = _Run(model, train, test, recipe, Path(folder), save_every, workers, memory)
    return run.go(stop_after, progress)


def accuracy(model: nn.Module, images: Images, *, batch: int = 500) -> float:
    """Return the share of ``images`` whose largest logit is their label's."""
    return count_right(model, images, batch, 0, 1)[0] / len(images)


class _Run:
    def __init__(
        self,
        model: nn.Module,
        train: Images,
        test: Images,
        recipe: Recipe,
        folder: Path,
        save_every: int,
        workers: int,
        memory: str | int | None,
    ) -> None:
        self.memory = memory
        self.recipe, self.folder, self.save_every, self.workers = (
            recipe,
            folder,
            save_every,
            workers,
        )
        self.model, self.train, self.test = model, train, test
        accelerate = import_module("accelerate", "train")
        import_module("accelerate.state", "train").AcceleratorState._reset_state()
        cpu = not torch.cuda.is_available()
        self.accelerator = accelerate.Accelerator(mixed_precision=recipe.precision, cpu=cpu)
        self.world = int(self.accelerator.num_processes)
        self.rank = int(self.accelerator.process_index)
        if recipe.batch % self.world:
            raise NmpackError(
                f"a batch of {recipe.batch} does not divide by {self.world} processes"
            )
        self.per_epoch = len(train) // recipe.batch
        if not self.per_epoch:
            raise NmpackError(f"a batch of {recipe.batch} is more than the {len(train)} images")
        if recipe.qat and memory is not None:
            raise NmpackError(
                "qat learns ranges in each forward pass, which memory repeats: "
                "expected one of the two, got both"
            )
        self.steps = recipe.epochs * self.per_epoch
        facts = recipe.to_dict() | {"train": len(train), "test": len(test)}
        self.key = state.key_of(model, facts)

    def go(self, stop_after: int | None, progress: Progress) -> Outcome | None:
        done = state.load(self.folder / "final.pt", self.key)
        if done is not None:
            finalize_(self.model).load_state_dict(done["model"])
            self.model.eval()
            values = dict(done["outcome"])
            return Outcome(**values | {"history": tuple(values["history"])})
        self._prepare()
        last = state.load(self.folder / "last.pt", self.key)
        if last is not None:
            self._restore(last)
        with logs(self.folder, self.step, self.rank) as log, stopping() as asked:
            if not self._train(stop_after, progress, log, asked):
                return None
        return self._finish()

    def _prepare(self) -> None:
        """Prune and set up what trains; the same in every process and at every start."""
        recipe, model = self.recipe, self.model
        torch.manual_seed(recipe.seed)
        model.to(self.accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dense = self._accuracy(model)
        self.teacher = copy.deepcopy(model).eval().requires_grad_(False) if recipe.distill else None
        pattern = recipe.what()
        self.pruner: Pruner | None = None
        if pattern is not None:
            look = [self._look(index) for index in range(_LOOK)]
            sample = look[0][0][:1].to(self.accelerator.device)
            evidence = None
            for turn in range(2 if recipe.permute else 1):
                if recipe.score in ("taylor", "activation"):
                    loss = F.cross_entropy if recipe.score == "taylor" else None
                    evidence = collect(model, look, loss=loss)
                if recipe.permute and turn == 0:
                    how: dict[str, Any] = {"score": recipe.score, "evidence": evidence}
                    permute_(model, sample, pattern, **how)
            schedule = recipe.when(self.steps)
            self.pruner = Pruner(model, pattern, schedule, score=recipe.score, evidence=evidence)
            if recipe.reestimate:
                count = min(recipe.reestimate, self.per_epoch)
                reestimate_batch_norm_(model, (self._look(index)[0] for index in range(count)))
        self.pruned = self._accuracy(model) if self.pruner is not None else self.dense
        if self.world > 1:
            synchronise_(model)
        if recipe.qat:
            fake_quantize_(model)
        if self.memory is not None:
            share = self.recipe.batch // self.world
            images = self.train.batch(range(share), None)[0].to(self.accelerator.device)
            checkpointing.fit_(model, images, self.memory)
        plain = make_optimizer(model, recipe)
        if self.pruner is not None:
            self.pruner.attach(plain)
        self.average = state.Average(model, recipe.ema) if recipe.ema else None
        self.ready, self.optimizer = self.accelerator.prepare(model, plain)
        self.step = 0
        self.history: list[float] = []
        self.seconds = 0.0

    def _train(
        self, stop_after: int | None, progress: Progress, log: Any, asked: list[int]
    ) -> bool:
        recipe = self.recipe
        stop = self.steps if stop_after is None else min(self.steps, self.step + stop_after)
        start = time.monotonic()
        while self.step < stop:
            epoch, first = divmod(self.step, self.per_epoch)
            places = self._places(epoch)[first : first + stop - self.step]
            draw = (recipe.seed, epoch) if recipe.augment else None
            self.ready.train()
            for images, labels in batches(self.train, places, draw, workers=self.workers):
                loss = self._one(images, labels)
                progress(self.step, self.steps)
                if self.step % _LOG == 0:
                    log(self.step, loss=float(loss), rate=self._rate())
                if asked:
                    self._save()
                    raise KeyboardInterrupt
                if self.step % self.save_every == 0:
                    self._save()
            if self.step % self.per_epoch == 0:
                self.history.append(self._accuracy(self.model))
                log(self.step, accuracy=self.history[-1])
            self._save()
        self.seconds = time.monotonic() - start
        return self.step == self.steps

    def _one(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Do one step."""
        recipe, device = self.recipe, self.accelerator.device
        # Dropout is a function of the step, so that there is no state of it to save.
        torch.manual_seed((recipe.seed * 1_000_003 + self.step) * 64 + self.rank)
        images = images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        labels = labels.to(device, non_blocking=True)
        share = recipe.rate_at(self.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * share
        with self.accelerator.autocast():
            outputs = self.ready(images)
            loss = F.cross_entropy(outputs.float(), labels, label_smoothing=recipe.smoothing)
            if self.teacher is not None:
                with torch.no_grad():
                    target = self.teacher(images)
                loss = (1.0 - recipe.distill) * loss + recipe.distill * distance(
                    outputs.float(), target.float(), recipe.temperature
                )
        self.accelerator.backward(loss)
        if recipe.clip:
            self.accelerator.clip_grad_norm_(self.ready.parameters(), recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.model)
        self.step += 1
        return loss.detach()

    def _finish(self) -> Outcome:
        # The wrapper of mixed precision stays on the model's forward otherwise.
        self.accelerator.unwrap_model(self.ready, keep_fp32_wrapper=False)
        checkpointing.remove_(self.model)
        desynchronise_(self.model)
        if self.average is not None:
            self.model.load_state_dict(self.average.values)
        remove_fake_quantization_(self.model)
        if self.pruner is not None:
            self.pruner.detach()
        density = inspect(self.model).density  # while layers still say that they are pruned
        finalize_(self.model)
        self.model.eval()
        outcome = Outcome(
            self.dense,
            self.pruned,
            self._accuracy(self.model),
            density,
            self.step,
            self.seconds,
            tuple(self.history),
        )
        if self.rank == 0:
            values = asdict(outcome) | {"history": list(outcome.history)}
            content = {"model": self.model.state_dict(), "outcome": values}
            state.save(self.folder / "final.pt", self.key, content)
            write_json(
                self.folder / "result.json",
                {"schema": 1, "recipe": self.recipe.to_dict(), **values},
            )
            (self.folder / "last.pt").unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        return outcome

    def _save(self) -> None:
        if self.rank:
            return
        scaler = getattr(self.accelerator, "scaler", None)
        content = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "pruner": self.pruner.state_dict() if self.pruner is not None else None,
            "average": self.average.values if self.average is not None else None,
            "scaler": scaler.state_dict() if scaler is not None else None,
            "history": self.history,
        }
        state.save(self.folder / "last.pt", self.key, content)

    def _restore(self, last: dict[str, Any]) -> None:
        self.step, self.history = int(last["step"]), list(last["history"])
        self.model.load_state_dict(last["model"])
        self.optimizer.load_state_dict(last["optimizer"])
        if self.pruner is not None:
            self.pruner.load_state_dict(last["pruner"])
        if self.average is not None:
            for name, value in last["average"].items():
                self.average.values[name].copy_(value)
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and last["scaler"] is not None:
            scaler.load_state_dict(last["scaler"])

    def _places(self, epoch: int) -> list[list[int]]:
        """Return this process's places in each batch of ``epoch``."""
        order = order_of(len(self.train), self.recipe.seed, epoch)
        share = self.recipe.batch // self.world
        rows = order[: self.per_epoch * self.recipe.batch].reshape(self.per_epoch, -1)
        return [row[self.rank * share : (self.rank + 1) * share].tolist() for row in rows]

    def _look(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        start = index * self.recipe.batch % len(self.train)
        stop = min(start + self.recipe.batch, len(self.train))
        images, labels = self.train.batch(range(start, stop), None)
        return images.to(self.accelerator.device), labels.to(self.accelerator.device)

    def _rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _accuracy(self, model: nn.Module) -> float:
        right, seen = count_right(model, self.test, 500, self.rank, self.world)
        both = torch.tensor([right, seen], dtype=torch.int64, device=self.accelerator.device)
        right, seen = self.accelerator.reduce(both, "sum").tolist()
        return float(right / seen)
