# SPDX-License-Identifier: BSD-3-Clause
"""What int8 costs on Fashion-MNIST: ``python experiments/int8_table.py dense.pt pruned.pt``.

Takes checkpoints of ``fashion_resnet``. The last, pruned to 25 % in tiles of 32, is trained on in
float32, and once more with int8's rounding in sight. Each is measured as a float32 file and as an
int8 file, on all test images, in ai-edge-litert. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nmpack.cli.progress import console, counter
from nmpack.convert import torch_to_tflite
from nmpack.datasets import fashion as files
from nmpack.errors import NmpackError
from nmpack.quantize import Int8, to_int8
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.runner import run
from nmpack.sources import load_source
from nmpack.training import Recipe, fashion, fine_tune

SHAPE = (28, 28, 1)
BATCH = 100
MASKED = Recipe(pattern="25%", tile=32)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--folder", default="build/int8", metavar="DIR", help="of the trainings")
    parser.add_argument("--images", type=int, default=60_000, help="to train on (default 60000)")
    parser.add_argument("--epochs", type=int, default=1, help="of both trainings (default 1)")
    parser.add_argument("--rate", type=float, default=0.01, help="of both (default 0.01)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=200, help="calibration images (default 200)")
    arguments = parser.parse_args(argv)
    folder = Path(arguments.folder)
    recipe = replace(MASKED, epochs=arguments.epochs, rate=arguments.rate, seed=arguments.seed)
    train, test = fashion("train").head(arguments.images), fashion("test").head(500)
    rows = {Path(path).stem: load_source(path).model for path in arguments.checkpoints}
    console().print("| network | float32 | int8 |\n| --- | --- | --- |")
    for name, model in rows.items():
        _measure(name, model, folder, arguments.samples)
    start = list(rows.values())[-1]
    for name, how in (("trained on", recipe), ("with qat", replace(recipe, qat=True))):
        model = copy.deepcopy(start)
        with counter(name) as progress:
            fine_tune(model, train, test, how, folder / name, progress=progress)
        _measure(name, model, folder, arguments.samples)
    return 0


def _measure(name: str, model: Any, folder: Path, samples: int) -> None:
    """Print a line of the table: top-1 in percent of the files of both types."""
    plain, small = folder / f"{name}.tflite", folder / f"{name}-int8.tflite"
    torch_to_tflite(model, plain, SHAPE, batch=BATCH)
    to_int8(plain, small, Int8(files.load("train").images, samples=samples))
    shares = " | ".join(f"{100 * accuracy(path):.2f}" for path in (plain, small))
    console().print(f"| {name} | {shares} |")
    sys.stdout.flush()


def accuracy(path: Path) -> float:
    """Return the share of the test images whose largest output is their label's."""
    test = files.load("test")
    (logits,) = run(path, test.images, engine=Engine("built-in")).outputs.values()
    return float((logits.argmax(axis=1) == test.labels).mean())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NmpackError as error:
        print(f"int8_table: error: {error}", file=sys.stderr)
        sys.exit(1)
