# SPDX-License-Identifier: BSD-3-Clause
"""The demo's closing tables."""

from __future__ import annotations

from typing import Any

from nmpack.cli.tables import load_note
from nmpack.demo.resnet50 import SPARSITIES
from nmpack.terminal import Table


def fashion_table(result: dict[str, Any]) -> Table:
    """Tabulate accuracy and agreement."""
    table = Table(title="Fashion-MNIST, small ResNet", title_justify="left", header_style="bold")
    trained, tuned = result["train"], result["prune"]
    for header in ("", "dense", "75 % pruned"):
        table.add_column(header, justify="left" if not header else "right")
    host = [result["host"][name] for name in ("dense", "pruned")]
    table.add_row("test accuracy (10 000 images)", *(f"{100 * h['accuracy']:.2f}%" for h in host))
    before = tuned["accuracy_before_fine_tuning"]
    table.add_row("  before fine-tuning", "", f"{100 * before:.2f}%")
    table.add_row("epochs of training", *(str(trained["epochs"]) for _ in host))
    table.add_row("epochs of fine-tuning", "", str(tuned["epochs"]))
    table.add_row("training images", *(str(item["images"]) for item in (trained, tuned)))
    table.add_row(
        "convolutions on the N:M operator", *(f"{h['sparse_convolutions']} of {h['convolutions']}"
                                     for h in host)
    )  # fmt: skip
    table.add_row("delegate partitions", *(str(h["partitions"]) for h in host))
    table.add_row(
        "largest difference, delegate to stock", *(f"{h['largest_difference']:.2g}" for h in host)
    )
    table.add_row("same top-1", *(f"{100 * h['same_top1']:.2f}%" for h in host))
    rows = result["riscv64"]
    for vlen in sorted({row["vlen"] for row in rows}):
        found = {row["model"]: row for row in rows if row["vlen"] == vlen}
        table.add_row(
            f"largest difference, riscv64 VLEN {vlen} to host",
            *(f"{found[name]['largest_difference']:.2g}" for name in ("dense", "pruned")),
        )
    return table


def resnet50_table(report: dict[str, Any]) -> Table:
    """Tabulate the times of ResNet-50."""
    machine, versions = report["machine"], report["versions"]
    table = Table(
        title="ResNet-50, 224x224, float32, batch 1, one thread (median, quartiles)",
        title_justify="left",
        header_style="bold",
        caption_justify="left",
        caption=f"{machine['processor']} ({', '.join(machine['features'])}); "
        f"ai-edge-litert {versions['ai-edge-litert']}; n = "
        f"{report['timings'][0]['milliseconds']['n']} a cell, rounds interleaved; "
        + load_note(machine),
    )
    for header in ("model", "built-in XNNPACK, ms", "nmpack, ms", "speed-up", "bound"):
        table.add_column(header, justify="left" if header == "model" else "right")
    times = {(t["model"], t["engine"]["name"]): t["milliseconds"] for t in report["timings"]}
    ratios = {(r["contender"], r["baseline"]): r["speedup"] for r in report["ratios"]}
    for name, sparsity in SPARSITIES.items():
        ratio = ratios[(f"{name}/nmpack", f"{name}/built-in")]
        table.add_row(
            name,
            *(_spread(times[(name, engine)], ".1f") for engine in ("built-in", "nmpack")),
            _spread(ratio, ".2f", "x"),
            f"{1 / (1 - sparsity):.0f}x",
        )
    return table


def _spread(summary: dict[str, float], form: str, unit: str = "") -> str:
    median, q1, q3 = (format(summary[key], form) for key in ("median", "q1", "q3"))
    return f"{median}{unit} ({q1} to {q3})"
