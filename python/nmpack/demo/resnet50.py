# SPDX-License-Identifier: BSD-3-Clause
"""The demo's first half: time ResNet-50 at 224x224, dense, 50 % and 75 % pruned."""

from __future__ import annotations

import tempfile
from importlib import metadata
from pathlib import Path

from nmpack.demo.effort import Effort
from nmpack.demo.resnet50_file import resnet50_file
from nmpack.demo.stages import Result, Stages, code_digest, digest_of
from nmpack.measure.benchmark import bench, default_engines
from nmpack.runtime.interpreter import find_delegate
from nmpack.sparsity.pattern import NMPattern

TILE = 32
SPARSITIES = {"resnet50-dense": 0.0, "resnet50-50": 0.5, "resnet50-75": 0.75}


def time(stages: Stages, effort: Effort) -> Result:
    """Time the three networks through the built-in XNNPACK and through the delegate."""
    key = {
        "code": code_digest("demo/resnet50_file.py", "measure/benchmark.py", "runtime", "sparsity"),
        "sparsities": SPARSITIES,
        "tile": TILE,
        "delegate": digest_of([find_delegate()]),
        "rounds": [effort.rounds, effort.repeat],
        "versions": [metadata.version("ai-edge-litert"), metadata.version("numpy")],
    }

    def action() -> Result:
        with tempfile.TemporaryDirectory(prefix="resnet50-", dir=stages.folder) as folder:
            paths = []
            for name, sparsity in SPARSITIES.items():
                pattern = NMPattern.from_sparsity(sparsity, tile=TILE) if sparsity else None
                paths.append(Path(folder) / f"{name}.tflite")
                paths[-1].write_bytes(resnet50_file(pattern))
            with stages.watch("timing, rounds interleaved") as progress:
                report = bench(
                    paths,
                    default_engines(),
                    rounds=effort.rounds,
                    repeat=effort.repeat,
                    progress=progress,
                )
        return report.to_dict()

    title = "time ResNet-50, random weights, one thread, against the interpreter's built-in XNNPACK"
    return stages.run("resnet50", title, key, [], action)
