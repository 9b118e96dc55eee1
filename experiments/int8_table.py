# SPDX-License-Identifier: BSD-3-Clause
"""What int8 costs on Fashion-MNIST: ``python experiments/int8_table.py dense.pt``.

From a dense checkpoint of ``fashion_resnet``: pruned to 25 % in tiles of 32 and fine-tuned; that,
trained on for some epochs in float32 and as many with int8's rounding in sight. Each is measured as
a float32 file and as an int8 file, on all test images, in ai-edge-litert. Interrupted, the same
command goes on.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nmpack.cli.progress import console, counter
from nmpack.convert import torch_to_tflite
from nmpack.datasets import fashion as files
from nmpack.quantize import Int8, to_int8
from nmpack.quiet import import_module, silenced
from nmpack.sources import load_source
from nmpack.training import Recipe, fashion, fine_tune

SHAPE = (28, 28, 1)
BATCH = 100
PRUNE = Recipe(pattern="25%", tile=32, reestimate=8)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dense", help="the checkpoint")
    parser.add_argument("--folder", default="build/int8", metavar="DIR", help="of the trainings")
    parser.add_argument("--epochs", type=int, default=1, help="of each training (default 1)")
    parser.add_argument("--rate", type=float, default=0.01, help="of the second (default 0.01)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=200, help="calibration images (default 200)")
    arguments = parser.parse_args(argv)
    folder = Path(arguments.folder)
    train, test = fashion("train"), fashion("test")
    recipe = replace(PRUNE, epochs=arguments.epochs, seed=arguments.seed)
    again = replace(recipe, rate=arguments.rate, reestimate=0)
    model = load_source(arguments.dense).model
    rows = {"dense": copy.deepcopy(model)}

    def tuned(name: str, start: str, how: Recipe) -> None:
        rows[name] = copy.deepcopy(rows[start])
        with counter(name) as progress:
            fine_tune(rows[name], train, test, how, folder / name, progress=progress)

    tuned("pruned", "dense", recipe)
    tuned("pruned, trained on", "pruned", again)
    tuned("pruned, trained on with qat", "pruned", replace(again, qat=True))
    console().print("| network | float32 | int8 |\n| --- | --- | --- |")
    for name, trained in rows.items():
        plain, small = folder / f"{name}.tflite", folder / f"{name}-int8.tflite"
        torch_to_tflite(trained, plain, SHAPE, batch=BATCH)
        to_int8(plain, small, Int8(files.load("train").images, samples=arguments.samples))
        shares = (100 * accuracy(path) for path in (plain, small))
        console().print(f"| {name} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    return 0


def accuracy(path: Path) -> float:
    """Return the share of the test images whose largest output is their label's."""
    with silenced():
        module = import_module("ai_edge_litert.interpreter", "interpreter")
        interpreter = module.Interpreter(str(path))
        interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    test = files.load("test")
    right = 0
    for start in range(0, len(test.labels), BATCH):
        interpreter.set_tensor(source, test.images[start : start + BATCH])
        interpreter.invoke()
        guesses = interpreter.get_tensor(target).argmax(axis=1)
        right += int(np.count_nonzero(guesses == test.labels[start : start + BATCH]))
    return right / len(test.labels)


if __name__ == "__main__":
    raise SystemExit(main())
