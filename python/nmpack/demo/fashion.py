# SPDX-License-Identifier: BSD-3-Clause
"""The demo's second half: train, prune, fine-tune, convert, and run on the host and riscv64."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.cli.progress import progress
from nmpack.datasets import fashion as data
from nmpack.demo.effort import Effort
from nmpack.demo.stages import Result, Stages, code_digest, digest_of, key_digest
from nmpack.errors import MismatchError
from nmpack.measure.inspection import inspect
from nmpack.runtime.interpreter import Engine, find_delegate, nmpack_engine
from nmpack.runtime.qemu import find_target, run_riscv64
from nmpack.runtime.runner import compare, require_close, run
from nmpack.sparsity.pattern import NMPattern

_KEPT = "25%"
PATTERN = NMPattern.parse(_KEPT, tile=32)
TOLERANCE = 1e-4
SAME_TOP1 = 0.9995
SHAPE = (28, 28, 1)
_SAMPLES = {128: 2, 256: 12, 512: 2}
_SOURCES = ("datasets/fashion.py", "models", "sparsity", "torch", "training")
#: Of a recipe, beside pattern and epochs: one peak of the rate, smaller where a mask is held.
_DENSE: dict[str, Any] = {"batch": 256, "rate": 0.2, "warm_up": 0.2, "seed": 1}
_TUNED: dict[str, Any] = {"batch": 256, "rate": 0.15, "warm_up": 0.1, "seed": 2}


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
        recipe = _DENSE | {"pattern": None, "epochs": epochs}
        key = self._base | {"recipe": recipe}
        title = f"train a small ResNet on Fashion-MNIST, {self._passes(epochs)}"

        def action() -> Result:
            import torch

            from nmpack.models import fashion_resnet

            torch.manual_seed(0)
            outcome = self._fit(fashion_resnet(), recipe, key, self.dense)
            return {"accuracy": outcome.tuned, "epochs": epochs, "images": self._effort.images}

        return self._stages.run("train", title, key, [self.dense], action)

    def prune(self) -> Result:
        """Prune the dense network and fine-tune it with the mask held."""
        epochs = self._effort.tuning_epochs
        recipe = _TUNED | {"pattern": _KEPT, "tile": PATTERN.tile, "epochs": epochs}
        key = self._base | {"recipe": recipe, "dense": digest_of([self.dense])}
        title = f"prune ({PATTERN}) and fine-tune with the mask held, {self._passes(epochs)}"

        def action() -> Result:
            from nmpack.sources import load_source

            outcome = self._fit(load_source(str(self.dense)).model, recipe, key, self.pruned)
            return {
                "pattern": str(PATTERN),
                "accuracy_before_fine_tuning": outcome.pruned,
                "accuracy": outcome.tuned,
                "convolution_density": outcome.density,
                "epochs": epochs,
                "images": self._effort.images,
            }

        return self._stages.run("prune", title, key, [self.pruned], action)

    def _fit(self, model: Any, recipe: dict[str, Any], key: dict[str, Any], path: Path) -> Any:
        """Train ``model`` and save it; goes on with an unfinished training of the same ``key``."""
        from nmpack.sources import Source, save_source
        from nmpack.training import Recipe, fashion, fine_tune

        parent = self._stages.folder / f"training-{path.stem}"
        folder = parent / key_digest(key)[:16]
        for other in parent.glob("*"):
            if other != folder:
                shutil.rmtree(other)
        train = fashion("train", self._data).head(self._effort.images)
        test = fashion("test", self._data)
        with self._stages.watch("training") as tell:
            outcome = fine_tune(model, train, test, Recipe(**recipe), folder, progress=tell)
        save_source(Source("torch", model, "fashion_resnet", train.classes, SHAPE), path)
        shutil.rmtree(parent)
        return outcome

    def _passes(self, epochs: int) -> str:
        images = f"{self._effort.images:,}".replace(",", " ")
        return f"{epochs} epoch{'s' * (epochs != 1)} of {images} images"

    def convert(self) -> Result:
        """Convert both networks, as ``nmpack convert dense.pt -o dense.tflite`` does."""
        key = {
            "code": code_digest("convert.py", "tflite", "torch"),
            "converter": metadata.version("litert-torch"),
            "models": digest_of([self.dense, self.pruned]),
        }

        def action() -> Result:
            from nmpack.convert import torch_to_tflite
            from nmpack.sources import load_source

            # One process for both: most of a conversion is the import of the converter.
            for checkpoint, path in zip(
                (self.dense, self.pruned), self.models.values(), strict=True
            ):
                with progress(f"converting {checkpoint.name}"):
                    torch_to_tflite(load_source(str(checkpoint)).model, path, SHAPE)
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
            "sparse_convolutions": sum(
                row.operator == "nm" and not row.linear for row in report.layers
            ),
            "convolutions": sum(not row.linear for row in report.layers),
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
            total, done = sum(_SAMPLES[vlen] for _, vlen in work), 0
            with self._stages.watch("riscv64") as tell:
                for name, vlen in work:
                    runs = []
                    for index in range(_SAMPLES[vlen]):
                        tell(done, total)
                        one = images[index : index + 1]
                        runs.append(run_riscv64(self.models[name], [one], vlen=vlen))
                        done += 1
                    rows.append(_riscv64_row(name, vlen, stock[name], runs))
            return {"rows": rows}

        return self._stages.run("riscv64", title, key, [], action)

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
