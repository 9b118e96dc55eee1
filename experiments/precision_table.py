# SPDX-License-Identifier: BSD-3-Clause
"""What int8 and half precision cost on Fashion-MNIST: ``python experiments/precision_table.py``.

For each seed it trains ``fashion_resnet``, prunes it to 25 % in tiles of 32, and trains on, once
more with int8's rounding in sight. Each network is measured as a float32 file, as that file in half
precision, and as an int8 file, on all test images. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import copy
import statistics
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
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.runner import run
from nmpack.sources import Source, load_source, save_source
from nmpack.training import Recipe, fashion, fine_tune

SHAPE = (28, 28, 1)
BATCH = 100
DENSE = Recipe(pattern=None, epochs=2, batch=256, rate=0.2, warm_up=0.2)
PRUNED = Recipe(pattern="25%", tile=32, epochs=1, batch=256, rate=0.15)
ON = Recipe(pattern="25%", tile=32, epochs=1, rate=0.01)
#: Each network: what it starts from, and how it is trained.
NETWORKS = {
    "dense": ("", DENSE),
    "pruned": ("dense", PRUNED),
    "trained on": ("pruned", ON),
    "trained on with qat": ("pruned", replace(ON, qat=True)),
}
COLUMNS = ("float32", "f16", "int8")


def main(argv: Sequence[str] | None = None) -> int:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/precision"), metavar="DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=60_000, help="to train on (default 60000)")
    parser.add_argument("--samples", type=int, default=200, help="calibration images (default 200)")
    parser.add_argument("--train-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args(argv)
    shares: dict[str, list[list[float]]] = {name: [] for name in NETWORKS}
    for seed in arguments.seeds:
        folder = arguments.folder / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        for name in NETWORKS:
            _train(name, folder, seed, arguments.images)
            if not arguments.train_only:
                shares[name].append(_measure(name, folder, arguments.samples))
    if not arguments.train_only:
        _print(shares)
    return 0


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(' ', '-')}.pt"


def _train(name: str, folder: Path, seed: int, images: int) -> None:
    path = _path(folder, name)
    if path.exists():
        return
    import torch

    from nmpack.models import fashion_resnet

    start, recipe = NETWORKS[name]
    torch.manual_seed(seed)
    model = load_source(str(_path(folder, start))).model if start else fashion_resnet()
    train, test = fashion("train").head(images), fashion("test").head(500)
    with counter(f"seed {seed}, {name}") as progress:
        fine_tune(
            model, train, test, replace(recipe, seed=seed), path.with_suffix(""), progress=progress
        )
    save_source(Source("torch", model, "fashion_resnet", train.classes, SHAPE), path)


def _measure(name: str, folder: Path, samples: int) -> list[float]:
    """Return top-1 in percent: of the float32 file, of it in half precision, of the int8 file."""
    model: Any = copy.deepcopy(load_source(str(_path(folder, name))).model)
    plain = _path(folder, name).with_suffix(".tflite")
    small = plain.with_name(f"{plain.stem}-int8.tflite")
    torch_to_tflite(model, plain, SHAPE, batch=BATCH)
    to_int8(plain, small, Int8(files.load("train").images, samples=samples))
    built_in, half = Engine("built-in"), nmpack_engine(options={"precision": "f16"})
    return [accuracy(plain, built_in), accuracy(plain, half), accuracy(small, built_in)]


def accuracy(path: Path, engine: Engine) -> float:
    """Return the percentage of the test images whose largest output is their label's."""
    test = files.load("test")
    (logits,) = run(path, test.images, engine=engine).outputs.values()
    return 100.0 * float((logits.argmax(axis=1) == test.labels).mean())


def _print(shares: dict[str, list[list[float]]]) -> None:
    """Print means over the seeds, and the mean and the worst difference from float32."""
    console().print(f"| network | {' | '.join(COLUMNS)} | f16, worst | int8, worst |")
    console().print("| --- | --- | --- | --- | --- | --- |")
    for name, rows in shares.items():
        means = [f"{statistics.mean(column):.2f}" for column in zip(*rows, strict=True)]
        worst = [f"{min(row[i] - row[0] for row in rows):+.2f}" for i in (1, 2)]
        console().print(f"| {name} | {' | '.join([*means, *worst])} |")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NmpackError as error:
        print(f"precision_table: error: {error}", file=sys.stderr)
        sys.exit(1)
