# SPDX-License-Identifier: BSD-3-Clause
"""The accuracy table on Fashion-MNIST: ``python experiments/accuracy_table.py``.

Every training has a folder of its own below ``--folder``; interrupted, the same command goes on. A
row is the mean over seeds and the largest distance from it; each seed has its own dense model.
``--jobs`` trains several rows at once: a small network gains little from a second thread.
``--quick`` does the same with few images in minutes, for continuous integration.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from nmpack.cli.progress import console, counter, progress
from nmpack.errors import MismatchError, NmpackError
from nmpack.files import write_json, written_whole
from nmpack.quiet import import_module
from nmpack.training.data import TensorImages, fashion
from nmpack.training.loop import Outcome, fine_tune
from nmpack.training.recipe import PRECISIONS, Recipe

NETWORK = "fashion_resnet"
DENSE = Recipe(pattern=None, epochs=12, rate=0.1)
TUNE = Recipe(epochs=3, rate=0.03, reestimate=8)
#: The row that has to stay near the dense model, and by how many points.
PROMISE, POINTS = "25% T32 long", 1.0

_PRECISION = {"no": "float32", "bf16": "bfloat16 mixed", "fp16": "float16 mixed"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a name, the recipe that gives it, and how many times its epochs."""

    name: str
    recipe: Recipe
    about: str
    times: int = 1


def rows() -> list[Row]:
    """Return every line: column-wise patterns, baselines, and one change at a time to them."""
    found = [Row("dense", replace(TUNE, pattern=None), "trained on without a mask")]
    for share, group in (("50%", "2:4"), ("25%", "1:4")):
        for tile in (8, 32):
            for what in (share, group):
                recipe = replace(TUNE, pattern=what, tile=tile)
                kind = "whole row" if what == share else "groups of 4"
                found.append(Row(f"{what} T{tile}", recipe, f"column-wise, {kind}"))
                ordered = replace(recipe, permute=True)
                found.append(Row(f"{what} T{tile} permuted", ordered, f"column-wise, {kind}"))
        found.append(Row(f"{group} rows", replace(TUNE, pattern=group, tile=1), "row-wise N:M"))
        loose = replace(TUNE, pattern=f"unstructured:{share}")
        found.append(Row(f"{share} loose", loose, "unstructured"))
    for tile in (8, 32):
        base = replace(TUNE, pattern="25%", tile=tile)
        learnt = replace(base, distill=0.5)
        found += [
            Row(f"25% T{tile} distilled", learnt, "column-wise, whole row"),
            Row(
                f"25% T{tile} feedback", replace(base, schedule="dynamic"), "column-wise, whole row"
            ),
            Row(
                f"25% T{tile} all",
                replace(learnt, schedule="dynamic", permute=True, ema=0.99),
                "permuted, distilled, feedback, averaged",
            ),
        ]
        if tile == 32:
            about = "column-wise, whole row, distilled; 4 times the epochs"
            found.append(Row(PROMISE, learnt, about, 4))
    return found


QUICK = ("dense", "25% T32", "25% loose", PROMISE)


@dataclass(frozen=True, slots=True)
class Setting:
    """How much is done, and how: images, seeds, passes over the images and precision."""

    train: TensorImages
    test: TensorImages
    seeds: tuple[int, ...]
    dense_epochs: int
    tune_epochs: int
    precision: str = "no"


def main(argv: Sequence[str] | None = None) -> int:
    """Make the table; returns 1 when the promise is not kept or something fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", default="build/accuracy", metavar="DIR", help="of the trainings"
    )
    parser.add_argument("--quick", action="store_true", help="few images, one seed, some rows")
    parser.add_argument("--seeds", default="0,1,2", metavar="N,N", help="default 0,1,2")
    parser.add_argument("--only", action="append", metavar="ROW", help="these rows; repeatable")
    parser.add_argument("--list", action="store_true", help="print the rows' names and leave")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="trainings at once, each with its share of the processors (default 1)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="no",
        help="of training: no (float32, the default) or mixed; accuracies are always float32's",
    )
    parser.add_argument(
        "--points",
        type=float,
        help=f"allowed loss of {PROMISE} (default {POINTS})".replace("%", "%%"),
    )
    arguments = parser.parse_args(argv)
    if arguments.list:
        print("\n".join(row.name for row in rows()))
        return 0
    try:
        wanted = _wanted(arguments.only or (QUICK if arguments.quick else None))
        if arguments.jobs < 1:
            raise NmpackError(f"--jobs takes a number of at least 1, got {arguments.jobs}")
        setting = _setting(arguments.quick, arguments.seeds, arguments.precision)
        folder = Path(arguments.folder) / ("quick" if arguments.quick else "full")
        if arguments.jobs > 1:
            train_at_once(wanted, setting, folder, arguments.jobs)
        found = make(wanted, setting, folder)
        text = markdown(found, setting)
        with written_whole(folder / "table.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
        write_json(folder / "table.json", {"schema": 1, "rows": found})
        print(text)
        allowed = arguments.points or (6.0 if arguments.quick else POINTS)
        require_promise(found, allowed)
    except NmpackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


def make(wanted: Sequence[Row], setting: Setting, folder: Path) -> dict[str, dict[str, Any]]:
    """Train what is missing below ``folder``; returns numbers by row, accuracies in percent."""
    found: dict[str, dict[str, Any]] = {}
    for seed in setting.seeds:
        dense, state = _dense(setting, folder, seed)
        for row in wanted:
            outcome = _tuned(setting, folder, seed, row, state)
            entry = found.setdefault(
                row.name,
                {"about": row.about, "dense": [], "pruned": [], "tuned": [], "density": []},
            )
            entry["dense"].append(100.0 * dense.tuned)
            entry["pruned"].append(100.0 * outcome.pruned)
            entry["tuned"].append(100.0 * outcome.tuned)
            entry["density"].append(outcome.density)
    return found


def train_at_once(wanted: Sequence[Row], setting: Setting, folder: Path, jobs: int) -> None:
    """Train what is missing below ``folder`` in ``jobs`` processes: each seed's dense model first.

    Raises:
        NmpackError: a training says so; those under way go on from where they are next time.
    """
    threads = max((os.cpu_count() or 1) // jobs, 1)
    pool = ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=_begin_worker, initargs=(setting, folder, threads)
    )
    waiting: dict[Future[None], tuple[int, Row | None]] = {
        pool.submit(_work, seed, None): (seed, None) for seed in setting.seeds
    }
    try:
        with progress("trainings", len(setting.seeds) * (1 + len(wanted))) as (shown, task):
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    seed, row = waiting.pop(future)
                    future.result()
                    shown.advance(task)
                    if row is None:
                        waiting |= {pool.submit(_work, seed, each): (seed, each) for each in wanted}
    finally:
        pool.shutdown(cancel_futures=True)


_worker: list[tuple[Setting, Path]] = []


def _begin_worker(setting: Setting, folder: Path, threads: int) -> None:
    import_module("torch", "torch").set_num_threads(threads)
    _worker[:] = [(setting, folder)]


def _work(seed: int, row: Row | None) -> None:
    [(setting, folder)] = _worker
    _, state = _dense(setting, folder, seed)
    if row is not None:
        _tuned(setting, folder, seed, row, state)


def _dense(setting: Setting, folder: Path, seed: int) -> tuple[Outcome, dict[str, Any]]:
    recipe = replace(DENSE, seed=seed, epochs=setting.dense_epochs, precision=setting.precision)
    return _train(recipe, setting, folder / f"seed{seed}" / "dense-start", "dense", None)


def _tuned(setting: Setting, folder: Path, seed: int, row: Row, state: dict[str, Any]) -> Outcome:
    recipe = replace(
        row.recipe, seed=seed, epochs=setting.tune_epochs * row.times, precision=setting.precision
    )
    name = row.name.replace(" ", "-").replace(":", "of").replace("%", "")
    where = folder / f"seed{seed}" / name
    return _train(recipe, setting, where, f"{row.name}, seed {seed}", state)[0]


def _train(
    recipe: Recipe, setting: Setting, folder: Path, title: str, state: dict[str, Any] | None
) -> tuple[Outcome, dict[str, Any]]:
    torch = import_module("torch", "torch")
    from nmpack.models import build

    torch.manual_seed(recipe.seed)
    model = build(NETWORK)
    if state is not None:
        model.load_state_dict(state)
    missing = not (folder / "final.pt").exists()
    with counter(title) as progress:
        outcome = fine_tune(model, setting.train, setting.test, recipe, folder, progress=progress)
    assert outcome is not None
    if missing:
        console(stderr=True).print(f"{folder}: {100 * outcome.tuned:.2f} %")
    return outcome, {name: value.clone() for name, value in model.state_dict().items()}


def markdown(found: dict[str, dict[str, Any]], setting: Setting) -> str:
    """Return the table as Markdown."""
    lines = [
        f"{NETWORK} on Fashion-MNIST: {len(setting.train)} training and {len(setting.test)} test "
        f"images, {len(setting.seeds)} seed(s), {setting.dense_epochs} epochs dense, then "
        f"{setting.tune_epochs} of fine-tuning ({_PRECISION[setting.precision]}). Top-1 in "
        "percent: mean ± the largest distance from it; the last column is the mean of each seed's "
        "difference from its own dense model.",
        "",
        "| kept | pattern | convolution density | before tuning | after | against dense |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in found.items():
        change = [after - before for after, before in zip(row["tuned"], row["dense"], strict=True)]
        lines.append(
            f"| {name} | {row['about']} | {100 * statistics.mean(row['density']):.1f} % | "
            f"{_spread(row['pruned'])} | {_spread(row['tuned'])} | {statistics.mean(change):+.2f} |"
        )
    return "\n".join(lines) + "\n"


def require_promise(found: dict[str, dict[str, Any]], allowed: float) -> None:
    """Check the row that the project promises.

    Raises:
        MismatchError: its mean is more than ``allowed`` points below dense.
    """
    row = found.get(PROMISE)
    if row is None:
        return
    loss = statistics.mean(row["dense"]) - statistics.mean(row["tuned"])
    if loss > allowed:
        raise MismatchError(
            f"{PROMISE}: expected at most {allowed} points below dense, got {loss:.2f}"
        )


def _spread(values: Sequence[float]) -> str:
    mean = statistics.mean(values)
    return f"{mean:.2f} ± {max(abs(value - mean) for value in values):.2f}"


def _wanted(names: Sequence[str] | None) -> list[Row]:
    known = {row.name: row for row in rows()}
    for name in names or ():
        if name not in known:
            raise NmpackError(f"expected rows that --list prints, got {name!r}")
    return [row for row in known.values() if names is None or row.name in names]


def _setting(quick: bool, seeds: str, precision: str) -> Setting:
    parts = seeds.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise NmpackError(f"--seeds takes whole numbers such as 0,1,2, got {seeds!r}")
    train, test = fashion("train"), fashion("test")
    if quick:
        return Setting(train.head(3840), test.head(2000), (0,), 4, 3, precision)
    numbers = tuple(int(part) for part in parts)
    return Setting(train, test, numbers, DENSE.epochs, TUNE.epochs, precision)


if __name__ == "__main__":
    sys.exit(main())
