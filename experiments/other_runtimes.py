#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs a pruned ResNet-18 in ExecuTorch and ONNX Runtime: what docs/other-runtimes.md tells.

  other_runtimes.py export FOLDER           write pruned, dense and sigmoid, .pte and .onnx
  other_runtimes.py run FILE --threads 2    run one, compare with PyTorch, print a line of JSON
  other_runtimes.py time 'NAME: COMMAND' …  run such commands in turns, print the table

`export` takes torch and nmpack (PYTHONPATH=python), and executorch or onnx for its files; what is
not installed is left out. `run` takes numpy and the runtime, `time` nothing. A command of `time`
is a `run` with what it needs before it, such as `env LD_PRELOAD=preload.so python3`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEED = 0
TILE = 32
XNNPACK = "XnnpackExecutionProvider"


def export(folder: Path) -> None:
    """Write the networks, with random weights, an image and what PyTorch makes of it."""
    import numpy as np
    import torch

    from nmpack import NMPattern
    from nmpack.models import resnet18
    from nmpack.torch import finalize_, prune_

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    image = torch.randn(1, 3, 224, 224)
    np.save(folder / "image.npy", image.numpy())
    dense = resnet18().eval()
    pruned = resnet18().eval()
    pruned.load_state_dict(dense.state_dict())
    prune_(pruned, NMPattern.from_sparsity(0.75, tile=TILE))
    finalize_(pruned)
    networks = {
        "dense": dense,
        "pruned": pruned,
        "sigmoid": torch.nn.Sequential(pruned, torch.nn.Sigmoid()),
    }
    for name, network in networks.items():
        with torch.no_grad():
            np.save(folder / f"{name}.npy", network(image).numpy())
        if importlib.util.find_spec("executorch"):
            _write_pte(network, image, folder / f"{name}.pte")
        if importlib.util.find_spec("onnx"):
            torch.onnx.export(
                network, (image,), folder / f"{name}.onnx", dynamo=False, opset_version=17
            )


def _write_pte(network: Any, image: Any, path: Path) -> None:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = to_edge_transform_and_lower(
        torch.export.export(network, (image,)), partitioner=[XnnpackPartitioner()]
    )
    path.write_bytes(program.to_executorch().buffer)


def executorch(path: Path, image: Any, threads: int) -> Callable[[], Any]:
    """Load a .pte file; returns what runs it once."""
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(path).load_method("forward")
    inputs = (torch.from_numpy(image),)
    return lambda: method.execute(inputs)[0].numpy()


def onnxruntime(path: Path, image: Any, threads: int, provider: str) -> Callable[[], Any]:
    """Load an .onnx file; returns what runs it once.

    As its documentation advises, XNNPACK's threads are the only ones beside XNNPACK's provider.
    """
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = threads if provider == "cpu" else 1
    wanted: list[Any] = ["CPUExecutionProvider"]
    if provider == "xnnpack":
        wanted.insert(0, (XNNPACK, {"intra_op_num_threads": str(threads)}))
        if XNNPACK not in runtime.get_available_providers():
            raise SystemExit(f"expected an ONNX Runtime with {XNNPACK}, found one without")
    session = runtime.InferenceSession(str(path), options, providers=wanted)
    inputs = {session.get_inputs()[0].name: image}
    return lambda: session.run(None, inputs)[0]


def run(path: Path, threads: int, provider: str, runs: int, output: Path | None) -> None:
    """Run a network; print the largest error and quartiles of milliseconds."""
    import numpy as np

    image = np.load(path.parent / "image.npy")
    expected = np.load(path.with_suffix(".npy"))
    if path.suffix == ".pte":
        once = executorch(path, image, threads)
    else:
        once = onnxruntime(path, image, threads, provider)
    for _ in range(3):
        got = once()
    samples = []
    for _ in range(runs):
        start = time.perf_counter()
        got = once()
        samples.append(1e3 * (time.perf_counter() - start))
    if output is not None:
        np.save(output, got)
    error = float(np.abs(got - expected).max())
    largest = float(np.abs(expected).max())
    print(json.dumps({"error": error, "largest": largest, "ms": statistics.median(samples)}))


def measure(commands: list[str], rounds: int) -> None:
    """Run commands in turns; print quartiles of their medians."""
    names = [command.partition(": ")[0] for command in commands]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    load = [os.getloadavg()[0]]
    for _ in range(rounds):
        for name, command in zip(names, commands, strict=True):
            words = shlex.split(command.partition(": ")[2])
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
            if done.returncode != 0 or not lines:
                raise SystemExit(f"'{name}' failed: {done.stderr[-600:]}")
            found[name].append(json.loads(lines[-1]))
        load.append(os.getloadavg()[0])
    print(f"{rounds} processes each, in turns; load {min(load):.1f} to {max(load):.1f}")
    print("| | largest error | ms: quartiles of the processes' medians |\n| --- | --- | --- |")
    for name, results in found.items():
        error = max(item["error"] for item in results)
        low, middle, high = statistics.quantiles([item["ms"] for item in results], n=4)
        print(f"| {name} | {error:.1e} | {low:.1f}, **{middle:.1f}**, {high:.1f} |")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("export").add_argument("folder", type=Path)
    one = verbs.add_parser("run")
    one.add_argument("file", type=Path, help=".pte or .onnx, beside it what export wrote")
    one.add_argument("--threads", type=int, choices=range(1, 257), metavar="N", default=1)
    one.add_argument("--provider", choices=("xnnpack", "cpu"), default="xnnpack")
    one.add_argument("--runs", type=int, choices=range(1, 10001), metavar="N", default=20)
    one.add_argument("--output", type=Path, metavar="FILE.npy", help="what the network gave")
    many = verbs.add_parser("time")
    many.add_argument("commands", nargs="+", metavar="'NAME: COMMAND'")
    many.add_argument("--rounds", type=int, choices=range(2, 1001), metavar="N", default=7)
    arguments = parser.parse_args()
    if arguments.verb == "export":
        export(arguments.folder)
    elif arguments.verb == "run":
        run(arguments.file, arguments.threads, arguments.provider, arguments.runs, arguments.output)
    else:
        measure(arguments.commands, arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
