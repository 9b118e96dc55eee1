# SPDX-License-Identifier: BSD-3-Clause
"""The demo's first half: train, prune, fine-tune, convert, and run on the host and riscv64."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.cli.progress import progress
from nmpack.datasets import fashion as data
from nmpack.demo.effort import Effort
from nmpack.demo.stages import Result, Stages, code_digest, digest_of
from nmpack.errors import MismatchError
from nmpack.measure.inspection import inspect
from nmpack.runtime.interpreter import Engine, find_delegate, nmpack_engine
from nmpack.runtime.qemu import find_target, run_riscv64
from nmpack.runtime.runner import compare, require_close, run
from nmpack.sparsity.pattern import NMPattern

PATTERN = NMPattern.from_sparsity(0.75, tile=32)
TOLERANCE = 1e-4
SAME_TOP1 = 0.9995
_SAMPLES = {128: 2, 256: 12, 512: 2}
_SOURCES = (
    "datasets/fashion.py", "demo/train.py", "models", "sparsity", "torch",
)  # fmt: skip


class Fashion:
    """The stages on Fashion-MNIST; files go to the stages' folder."""

    def __init__(self, stages: Stages, folder: Path, effort: Effort) -> None:
        """Read the data from ``folder``."""
        self._stages = stages
        self._data = folder
        self._effort = effort
        self._base: dict[str, Any] = {
            "code": code_digest(*_SOURCES),
            "images": effort.images,
            "data": digest_of(data.files(folder)),
            "torch": metadata.version("torch"),
        }
        self.dense, self.pruned = (stages.folder / f"{n}.pt" for n in ("dense", "pruned"))
        self.models = {n: stages.folder / f"{n}.tflite" for n in ("dense", "pruned")}

    def train(self) -> Result:
        """Train the dense network."""
        epochs = self._effort.epochs
        key = self._base | {"epochs": epochs}
        title = f"train a small ResNet on Fashion-MNIST, {_epochs(epochs)}"

        def action() -> Result:
            import torch

            from nmpack.demo.train import accuracy, train
            from nmpack.models import fashion_resnet

            torch.manual_seed(0)
            model = fashion_resnet()
            train(
                model,
                self._images(),
                epochs=epochs,
                rate=0.1,
                seed=1,
                title="training",
                checkpoint=self._stages.folder / "dense.part.pt",
                key=_digest(key),
            )
            _save(self.dense, model)
            return {"accuracy": accuracy(model, data.load("test", self._data))}

        return self._stages.run("train", title, key, [self.dense], action)

    def prune(self) -> Result:
        """Prune the dense network and fine-tune it with the mask held."""
        epochs = self._effort.tuning_epochs
        key = self._base | {"epochs": epochs, "dense": digest_of([self.dense])}
        key |= {"pattern": str(PATTERN)}
        title = f"prune ({PATTERN}) and fine-tune with the mask held, {_epochs(epochs)}"

        def action() -> Result:
            import nmpack.torch
            from nmpack.demo.train import accuracy, train
            from nmpack.sources import load_source

            model = load_source(str(self.dense)).model
            nmpack.torch.prune_(model, PATTERN)
            test = data.load("test", self._data)
            before = accuracy(model, test)
            train(
                model,
                self._images(),
                epochs=epochs,
                rate=0.03,
                seed=2,
                title="fine-tuning",
                checkpoint=self._stages.folder / "pruned.part.pt",
                key=_digest(key),
            )
            report = nmpack.torch.inspect(model)
            nmpack.torch.finalize_(model)
            _save(self.pruned, model)
            return {
                "pattern": str(PATTERN),
                "accuracy_before_fine_tuning": before,
                "accuracy": accuracy(model, test),
                "convolutions": len(report.convolutions),
                "pruned_convolutions": len(report.pruned),
                "convolution_density": report.density,
            }

        return self._stages.run("prune", title, key, [self.pruned], action)

    def convert(self, command: Callable[..., None]) -> Result:
        """Convert both networks with the command line that a user would type."""
        key = {
            "code": code_digest("convert.py"),
            "converter": metadata.version("litert-torch"),
            "models": digest_of([self.dense, self.pruned]),
        }

        def action() -> Result:
            for checkpoint, name in ((self.dense, "dense"), (self.pruned, "pruned")):
                command("convert", checkpoint, "-o", self.models[name])
            return {name: path.stat().st_size for name, path in self.models.items()}

        outputs = list(self.models.values())
        return self._stages.run("convert", "convert both to .tflite", key, outputs, action)

    def host(self) -> Result:
        """Run all test images with and without the delegate and compare every output."""
        key = self._execution_key() | {"delegate": digest_of([find_delegate()])}
        title = "run the 10 000 test images through the stock interpreter, without and with us"

        def action() -> Result:
            test = data.load("test", self._data)
            return {name: self._on_host(name, test) for name in self.models}

        return self._stages.run("host", title, key, [], action)

    def _on_host(self, name: str, test: data.Images) -> Result:
        model = self.models[name]
        outputs = {}
        for engine in (Engine("built-in"), nmpack_engine(), nmpack_engine(alone=True, name="us")):
            with progress(f"{name}: {engine.name}"):
                result = run(model, test.images, engine=engine)
            outputs[engine.name] = result.outputs
        gap = require_close(
            outputs["built-in"], outputs["nmpack"], TOLERANCE, f"{name}: the delegate"
        )
        require_close(outputs["built-in"], outputs["us"], TOLERANCE, f"{name}: the delegate alone")
        # Two classes may tie to within the rounding of one addition.
        if (gap.top1 or 0.0) < SAME_TOP1:
            raise MismatchError(
                f"{name}: expected the same top-1 for at least {100 * SAME_TOP1}% of the images, "
                f"got {100 * (gap.top1 or 0.0):.2f}%"
            )
        report = inspect(model)
        if report.partitions != 1:
            raise MismatchError(f"{name}: expected one partition, got {report.partitions}")
        logits = next(iter(outputs["nmpack"].values()))
        return {
            "accuracy": float((logits.argmax(axis=1) == test.labels).mean()),
            "images": len(test.labels),
            "largest_difference": gap.largest,
            "relative_difference": gap.relative,
            "same_top1": gap.top1,
            "partitions": report.partitions,
            "sparse_convolutions": sum(row.operator == "nm" for row in report.convolutions),
            "convolutions": len(report.convolutions),
        }

    def riscv64(self) -> Result:
        """Run a sample on riscv64 at several vector lengths and compare with the host."""
        target = find_target()
        key = self._execution_key() | {"build": digest_of([target.program, target.library])}
        lengths = ", ".join(map(str, _SAMPLES))
        title = f"run a sample on riscv64 under QEMU (VLEN {lengths})"

        def action() -> Result:
            images = data.load("test", self._data).images[: max(_SAMPLES.values())]
            rows: list[Result] = []
            work = [(name, vlen) for name in self.models for vlen in _SAMPLES]
            stock = {
                name: run(path, images, engine=Engine("built-in")).outputs
                for name, path in self.models.items()
            }
            total = sum(_SAMPLES[vlen] for _, vlen in work)
            with progress("riscv64", total) as (shown, task):
                for name, vlen in work:
                    runs = []
                    for index in range(_SAMPLES[vlen]):
                        one = images[index : index + 1]
                        runs.append(run_riscv64(self.models[name], [one], vlen=vlen))
                        shown.advance(task)
                    rows.append(_riscv64_row(name, vlen, stock[name], runs))
            return {"rows": rows}

        return self._stages.run("riscv64", title, key, [], action)

    def _images(self) -> data.Images:
        whole = data.load("train", self._data)
        count = self._effort.images
        return data.Images(whole.images[:count], whole.labels[:count])

    def _execution_key(self) -> dict[str, Any]:
        versions = [metadata.version("ai-edge-litert"), metadata.version("numpy")]
        return {
            "models": digest_of(list(self.models.values())),
            "data": self._base["data"],
            "interpreter": versions,
        }


def _riscv64_row(name: str, vlen: int, stock: dict[str, Any], runs: list[dict[str, Any]]) -> Result:
    first = next(iter(stock.values()))[: len(runs)]
    joined = np.concatenate([next(iter(outputs.values())) for outputs in runs])
    what = f"{name} on riscv64 at VLEN {vlen} against the host"
    gap = require_close({"logits": first}, {"logits": joined}, TOLERANCE, what)
    if compare({"logits": first}, {"logits": joined}).top1 != 1.0:
        raise MismatchError(f"{what}: expected the same top-1 for every image")
    return {
        "model": name,
        "vlen": vlen,
        "images": len(runs),
        "largest_difference": gap.largest,
        "relative_difference": gap.relative,
        "same_top1": gap.top1,
    }


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _save(path: Path, model: Any) -> None:
    from nmpack.sources import Source, save_source

    save_source(Source("torch", model, "fashion_resnet", 10, (28, 28, 1)), path)


def _digest(key: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
