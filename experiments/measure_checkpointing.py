#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measures training steps with and without checkpoints: the tables of docs/checkpointing.md.

  experiments/measure_checkpointing.py resnet50 resnet152 --json checkpointing.json
  experiments/measure_checkpointing.py --chains

Each model of the zoo is traced once; then come, interleaved over the rounds, steps without
checkpoints, with every sqrt(n)-th, with those of the static and the revised objective, and with the
least recomputation in half the memory. Memory comes from a step of its own. --chains times
the O(n) algorithm on random sizes. Run it in the main virtual environment.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from nmpack import checkpointing
from nmpack.measure.machine import describe_machine
from nmpack.models import ZOO, build

METHODS = ("none", "sqrt", "static", "revised")


def measure(name: str, batch: int, rounds: int, seed: int) -> dict[str, Any]:
    """Measure one model; returns rows with bytes and seconds."""
    torch.manual_seed(seed)
    model = build(name)
    height, width, channels = ZOO[name].input_shape
    images = torch.randn(batch, channels, height, width)
    labels = torch.randint(ZOO[name].num_classes, (batch,))

    def loss(logits: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, labels)

    start = time.perf_counter()
    planner = checkpointing.Planner(model, images)
    traced = time.perf_counter() - start
    plans = {method: planner.plan(method) for method in METHODS}
    half = plans["none"].predicted_none // 2
    if half >= plans["revised"].predicted_least:
        plans["budget of half"] = planner.plan(budget=half)
    rows = {}
    for label, plan in plans.items():
        found = checkpointing.report(model, images, plan, loss)
        rows[label] = found.to_dict() | {"seconds": [], "cpu_seconds": []}
        print(f"{name} {label}: {found}", file=sys.stderr, flush=True)
    for _ in range(rounds):
        for label, plan in plans.items():
            checkpointing.apply_(model, plan)
            model.zero_grad(set_to_none=True)
            start, busy = time.perf_counter(), time.process_time()
            loss(model(images)).backward()  # type: ignore[no-untyped-call]
            rows[label]["seconds"].append(time.perf_counter() - start)
            rows[label]["cpu_seconds"].append(time.process_time() - busy)
            checkpointing.remove_(model)
    return {"model": name, "cuts": len(planner.costs) - 1, "trace_seconds": traced, "rows": rows}


def table(result: dict[str, Any], batch: int) -> str:
    """Return a model's rows as a Markdown table."""
    rows = result["rows"]
    none = rows["none"]
    base = statistics.median(none["cpu_seconds"])
    lines = [
        f"{result['model']}, batch {batch}, {result['cuts']} legal cuts, "
        f"traced in {result['trace_seconds']:.1f} s",
        "",
        "| checkpoints | recomputed | predicted MiB | measured MiB | predicted / measured "
        "| of none | CPU s a step (range) | of none | s a step |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for label, row in rows.items():
        seconds = row["cpu_seconds"]
        median = statistics.median(seconds)
        recomputed = sum(segment["recomputed"] for segment in row["segments"])
        lines.append(
            f"| {label} | {recomputed} of {len(row['segments'])} | "
            f"{row['predicted_peak'] / 2**20:.1f} | {row['measured_peak'] / 2**20:.1f} | "
            f"{1 + row['error']:.3f} | {row['measured_peak'] / none['measured_peak']:.1%} | "
            f"{median:.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | {median / base:.2f}x | "
            f"{statistics.median(row['seconds']):.1f} |"
        )
    return "\n".join(lines)


def chains(seed: int) -> str:
    """Time the O(n) algorithm on chains of growing length; returns a Markdown table."""
    draw = random.Random(seed)
    lines = [
        "| layers | random sizes, s | equal sizes, s | ns a layer |",
        "| --- | --- | --- | --- |",
    ]
    for n in (10**3, 10**4, 10**5, 10**6):
        seconds = []
        for sizes in ([draw.randrange(10**6) for _ in range(n)], [1] * n):
            chain = checkpointing.Chain.from_sizes(sizes)
            times = []
            for _ in range(5):
                start = time.perf_counter()
                checkpointing.revised_linear(chain)
                times.append(time.perf_counter() - start)
            seconds.append(statistics.median(times))
        lines.append(f"| {n} | {seconds[0]:.4f} | {seconds[1]:.4f} | {seconds[0] / n * 1e9:.0f} |")
    return "\n".join(lines)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="zoo names")
    parser.add_argument("--chains", action="store_true", help="time the O(n) algorithm")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="images (default 8)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="steps (default 3)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads (default 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if not arguments.models and not arguments.chains:
        parser.error("expected a model of the zoo or --chains, got neither")
    machine = describe_machine()
    if arguments.chains:
        print(chains(arguments.seed), end="\n\n", flush=True)
    results = []
    for name in arguments.models:
        results.append(measure(name, arguments.batch, arguments.rounds, arguments.seed))
        print(table(results[-1], arguments.batch), end="\n\n", flush=True)
    print(
        f"{machine['processor']}, {machine['cores']} cores, {arguments.threads} thread(s), torch "
        f"{torch.__version__}; load average at the start {machine['load_average']}"
    )
    if arguments.json:
        document = {"schema": 1, "machine": machine, "models": results}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
