# SPDX-License-Identifier: BSD-3-Clause
"""Accuracy of pruned int8 networks for microcontrollers on Fashion-MNIST, in three steps.

``train`` trains each network, prunes it to each pattern and trains on with the masks held: on a GPU
within ``--minutes``, several networks at once; it needs torch, numpy and nmpack's source alone.
``pack`` writes what came out into few small files, filters as int8, rounded as the quantizer rounds
them. ``finish`` unpacks such files, writes an int8 ``.tflite`` file of each network and measures
it. ``table`` prints the results. Each step goes on where it stopped.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mcu_training import NETWORKS, PATTERNS, Setting, Task, padded, result, train

from nmpack.datasets import fashion
from nmpack.errors import NmpackError
from nmpack.files import write_json, written_whole
from nmpack.models import build

MAIN, SMALL = ("resnet18_32", "vit_tiny28"), ("resnet8", "ds_cnn")
_PART, _ALL = 15 << 20, 62 << 20
_CALIBRATION = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Do one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("train", "pack", "finish", "table"))
    parser.add_argument("--folder", type=Path, default=Path("build/mcu-networks"), metavar="DIR")
    parser.add_argument("--data", type=Path, default=fashion.FOLDER, metavar="DIR")
    parser.add_argument(
        "--packed", type=Path, metavar="DIR", help="where pack writes, or finish reads"
    )
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, help="start nothing that would end later")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once (default 1)")
    parser.add_argument("--images", type=int, default=60_000, help="to train on (default 60000)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies numbers of epochs")
    arguments = parser.parse_args(argv)
    setting = Setting(
        arguments.folder, arguments.data, images=arguments.images, scale=arguments.scale
    )
    if arguments.minutes is not None:
        setting = replace(setting, deadline=time.time() + 60.0 * arguments.minutes)
    tasks = [
        task
        for task in every_task(arguments.seeds)
        if task.model in arguments.models and task.pattern in arguments.patterns
    ]
    failed = False
    if arguments.step == "train":
        failed = not train_all(tasks, setting, arguments.jobs)
    elif arguments.step == "pack":
        pack(tasks, setting, arguments.packed or arguments.folder / "packed")
    elif arguments.step == "finish":
        unpack(setting, arguments.packed)
        for task in tasks:
            finish(task, setting)
    if arguments.step in ("train", "finish", "table"):
        print(table(tasks, setting))
    return int(failed)


def every_task(seeds: Sequence[int]) -> list[Task]:
    """Return every training, the most telling first: small networks once, then the other seeds."""
    first = [(model, seed) for seed in seeds[:1] for model in MAIN + SMALL]
    rest = [(model, seed) for models in (MAIN, SMALL) for seed in seeds[1:] for model in models]
    return [Task(model, name, seed) for model, seed in first + rest for name in PATTERNS]


def train_all(tasks: Sequence[Task], setting: Setting, jobs: int) -> bool:
    """Train what is not there yet, ``jobs`` at once, a dense network before it is pruned.

    Returns:
        Whether no training failed; one that runs out of time has not.
    """
    good = True
    setting.folder.mkdir(parents=True, exist_ok=True)
    waiting = [task for task in tasks if result(task, setting) is None]
    running: dict[Future[dict[str, Any] | None], Task] = {}
    seconds: dict[tuple[str, bool], float] = {}
    with ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (jobs,)) as pool:
        while True:
            for task in list(waiting):
                if len(running) < jobs and _may_start(task, setting, seconds):
                    waiting.remove(task)
                    running[pool.submit(train, task, setting)] = task
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                if (error := future.exception()) is not None:
                    good = False
                    print(f"{task.name}: failed: {error!r}", flush=True)
                    continue
                found = future.result()
                told = "out of time" if found is None else f"{found['float']:.2f} %"
                if found is not None:
                    seconds[task.model, task.pattern == "dense"] = found["seconds"]
                    told += f", {100 * found['kept']:.2f} % kept, {found['seconds']} s"
                print(f"{task.name}: {told}", flush=True)
    if waiting:
        print(f"not started: {', '.join(task.name for task in waiting)}", flush=True)
    return good


def _begin(jobs: int) -> None:
    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))


def _may_start(task: Task, setting: Setting, seconds: dict[tuple[str, bool], float]) -> bool:
    dense = task.pattern == "dense"
    if not dense and not (setting.folder / f"{replace(task, pattern='dense').name}.pt").exists():
        return False
    return time.time() + seconds.get((task.model, dense), 0.0) < setting.deadline


def pack(tasks: Sequence[Task], setting: Setting, target: Path) -> None:
    """Write the networks into tar files of at most 15 MiB, 62 MiB in all, in the tasks' order."""
    target.mkdir(parents=True, exist_ok=True)
    parts: list[list[tuple[str, bytes]]] = []
    sizes: list[int] = []
    for task in tasks:
        if (found := result(task, setting)) is None:
            continue
        state = torch.load(setting.folder / f"{task.name}.pt", weights_only=True)
        content = _packed(state, found)
        if sum(sizes) + len(content) > _ALL:
            print(f"left out, {len(content)} bytes: {task.name}")
            continue
        place = next((i for i, size in enumerate(sizes) if size + len(content) <= _PART), None)
        if place is None:
            place = len(parts)
            parts.append([])
            sizes.append(0)
        parts[place].append((f"{task.name}.npz", content))
        sizes[place] += len(content) + 1024
    for number, files in enumerate(parts):
        with written_whole(target / f"part{number}.tar") as path, tarfile.open(path, "w") as tar:
            for name, content in files:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    print(f"{sum(map(len, parts))} networks in {len(parts)} files, {sum(sizes)} bytes")


def _packed(state: dict[str, torch.Tensor], found: dict[str, Any]) -> bytes:
    """Return an ``.npz``: filters and matrices as int8 values that are not 0, and where they are.

    Scales are those of the quantizer: one for each output channel of a convolution, one for a
    matrix. Batch norm, which it folds in first, scales whole channels and so changes no rounding.
    """
    arrays: dict[str, Any] = {"found": np.array(repr(found))}
    for name, tensor in state.items():
        value = tensor.numpy()
        if value.ndim not in (2, 4):
            arrays[f"plain:{name}"] = value
            continue
        axes = tuple(range(1, 4)) if value.ndim == 4 else None
        scale = np.abs(value).max(axis=axes, keepdims=True) / np.float32(127)
        whole = np.rint(value / np.maximum(scale, 1e-30)).astype(np.int8)
        arrays[f"scale:{name}"] = scale
        arrays[f"values:{name}"] = whole[whole != 0]
        arrays[f"places:{name}"] = np.packbits(whole.reshape(-1) != 0)
        arrays[f"shape:{name}"] = np.array(whole.shape)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def unpack(setting: Setting, packed: Path | None) -> None:
    """Write ``NAME.pt`` and ``NAME.json`` of every network in the tar files below ``packed``."""
    import ast

    setting.folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(packed.glob("*.tar")) if packed is not None else ():
        with tarfile.open(path) as tar:
            for entry in tar:
                name = Path(entry.name).stem
                file = tar.extractfile(entry)
                if file is None or (setting.folder / f"{name}.json").exists():
                    continue
                with np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
                    torch.save(dict(_state(arrays)), setting.folder / f"{name}.pt")
                    found = ast.literal_eval(str(arrays["found"]))
                write_json(setting.folder / f"{name}.json", found)


def _state(arrays: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for key in arrays.files:
        kind, _, name = key.partition(":")
        if kind == "plain":
            yield name, torch.from_numpy(arrays[key])
        elif kind == "shape":
            whole = np.zeros(tuple(arrays[key]), np.int8)
            places = np.unpackbits(arrays[f"places:{name}"], count=whole.size).astype(bool)
            whole.reshape(-1)[places] = arrays[f"values:{name}"]
            yield name, torch.from_numpy(whole * arrays[f"scale:{name}"])


def finish(task: Task, setting: Setting) -> None:
    """Write ``NAME.tflite``, int8 from end to end, and add to ``NAME.json`` how good it is."""
    from nmpack.convert import torch_to_tflite
    from nmpack.quantize import Int8
    from nmpack.runtime.interpreter import Engine
    from nmpack.runtime.runner import run
    from nmpack.tflite.file import TFLiteFile

    found = result(task, setting)
    if found is None or "int8" in found:
        return
    shape = NETWORKS[task.model].shape
    model = build(task.model, num_classes=10, input_shape=shape)
    model.load_state_dict(torch.load(setting.folder / f"{task.name}.pt", weights_only=True))
    samples = padded(fashion.load("train", setting.data).images[:_CALIBRATION], shape)
    path = setting.folder / f"{task.name}.tflite"
    torch_to_tflite(model, path, shape, int8=Int8(samples, io="int8"))
    file = TFLiteFile(path)
    graph = file.subgraphs[0]
    entry = graph.tensors[graph.inputs[0]].quantization
    assert entry is not None
    test = fashion.load("test", setting.data)
    scaled = padded(test.images, shape) / entry.scale[0] + entry.zero_point[0]
    images = np.clip(np.rint(scaled), -128, 127).astype(np.int8)
    (logits,) = run(path, images, engine=Engine("built-in")).outputs.values()
    filters = [t for t in graph.tensors if t.dtype == "int8" and file.span(t)[1] and t.name]
    found["int8"] = 100.0 * float((logits.argmax(axis=1) == test.labels).mean())
    found["weights"] = sum(file.array(tensor).size for tensor in filters)
    found["nonzero"] = sum(int(np.count_nonzero(file.array(tensor))) for tensor in filters)
    found["bytes"] = path.stat().st_size
    write_json(setting.folder / f"{task.name}.json", found)
    print(f"{task.name}: float {found['float']:.2f} %, int8 {found['int8']:.2f} %", flush=True)


def table(tasks: Sequence[Task], setting: Setting) -> str:
    """Return means over the seeds, and the loss against the dense network of the same seed."""
    lines = [
        "| network | pattern | seeds | kept | float | int8 | loss, float | loss, int8 | non-zero |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model, name in dict.fromkeys((task.model, task.pattern) for task in tasks):
        own = [task for task in tasks if (task.model, task.pattern) == (model, name)]
        rows = [(row, result(replace(task, pattern="dense"), setting)) for task in own
                if (row := result(task, setting))]  # fmt: skip
        if not rows:
            continue
        cells = [model, name, str(len(rows)), f"{100 * rows[0][0]['kept']:.2f} %"]
        for kind in ("float", "int8"):
            cells.append(_mean([row[kind] for row, _ in rows if kind in row], ".2f"))
        for kind in ("float", "int8"):
            gaps = [row[kind] - dense[kind] for row, dense in rows
                    if dense is not None and kind in row and kind in dense]  # fmt: skip
            cells.append(_mean(gaps, "+.2f"))
        cells.append(_mean([row["nonzero"] for row, _ in rows if "nonzero" in row], ".0f"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: Sequence[float], form: str) -> str:
    if not values:
        return ""
    mean = statistics.mean(values)
    spread = max(abs(value - mean) for value in values)
    return f"{mean:{form}}" + (f" ± {spread:.2f}" if len(values) > 1 and form != ".0f" else "")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NmpackError as error:
        print(f"mcu_networks: error: {error}", file=sys.stderr)
        sys.exit(1)
