# SPDX-License-Identifier: BSD-3-Clause
"""The demo's second half: time ResNet-50 at 224x224, dense, 50 % and 75 % pruned."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from nmpack.cli.progress import progress
from nmpack.demo.effort import Effort
from nmpack.demo.stages import Result, Stages, code_digest, digest_of
from nmpack.measure.benchmark import bench, default_engines
from nmpack.runtime.interpreter import find_delegate

TILE = 32
SPARSITIES = {"resnet50-dense": 0.0, "resnet50-50": 0.5, "resnet50-75": 0.75}


def models(stages: Stages) -> dict[str, Path]:
    """Return the files that :func:`make` writes."""
    return {name: stages.folder / f"{name}.tflite" for name in SPARSITIES}


def make(stages: Stages, command: Callable[..., None]) -> Result:
    """Prune and convert ResNet-50 with random weights; times do not depend on their values."""
    key = {
        "code": code_digest("convert.py", "models", "sparsity", "torch"),
        "versions": [metadata.version("torch"), metadata.version("litert-torch")],
        "sparsities": SPARSITIES,
        "tile": TILE,
    }
    paths = models(stages)

    def action() -> Result:
        for name, sparsity in SPARSITIES.items():
            source: str | Path = "resnet50"
            if sparsity > 0:
                source = stages.folder / f"{name}.pt"
                command("prune", "resnet50", "--sparsity", sparsity, "--tile", TILE, "-o", source)
            command("convert", source, "-o", paths[name])
            if isinstance(source, Path):
                source.unlink()
        return {name: path.stat().st_size for name, path in paths.items()}

    title = "make ResNet-50 at 224x224: dense, 50 % and 75 % pruned"
    return stages.run("resnet50", title, key, list(paths.values()), action)


def time(stages: Stages, effort: Effort) -> Result:
    """Time the three models through the built-in XNNPACK and through the delegate."""
    paths = models(stages)
    key = {
        "models": digest_of(list(paths.values())),
        "delegate": digest_of([find_delegate()]),
        "code": code_digest("measure/benchmark.py", "runtime/worker.py"),
        "rounds": [effort.rounds, effort.repeat],
        "interpreter": metadata.version("ai-edge-litert"),
    }

    def action() -> Result:
        with progress("timing, rounds interleaved", effort.rounds) as (shown, task):
            report = bench(
                list(paths.values()),
                default_engines(),
                rounds=effort.rounds,
                repeat=effort.repeat,
                progress=lambda done, _: shown.update(task, completed=done),
            )
        return report.to_dict()

    title = "time ResNet-50 on one thread, the delegate against the built-in XNNPACK"
    return stages.run("bench", title, key, [], action)
