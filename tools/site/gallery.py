#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measures the models of the gallery on this machine: a report's page for each, and a list.

It runs the nmpack command as a user would, in the folder that it fills; what a command made before
is made again. scripts/build_site.py --gallery calls it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nmpack


@dataclass(frozen=True)
class Entry:
    """A report: its title, and the commands that make its model and it, without ``nmpack``."""

    title: str
    name: str
    commands: tuple[str, ...]
    baseline: str = ""

    def all_commands(self) -> Iterator[str]:
        """Yield them with the last, the report."""
        yield from self.commands
        beside = f" --baseline {self.baseline}" if self.baseline else ""
        yield f"report {self.name}.tflite{beside} -o {self.name}.html --json {self.name}.json"


PRUNE = "--sparsity 0.75 --tile 32"
ENTRIES = (
    Entry("ResNet-18, all weights", "r18", ("convert resnet18 -o r18.tflite",)),
    Entry(
        "ResNet-18, 25 % kept, T = 32",
        "r18-25",
        (f"prune resnet18 {PRUNE} -o r18-25.pt", "convert r18-25.pt -o r18-25.tflite"),
        "r18.tflite",
    ),
    Entry(
        "ResNet-18, 25 % kept, T = 32, int8",
        "r18-25-int8",
        ("convert r18-25.pt --int8 --calibrate images.npy -o r18-25-int8.tflite",),
    ),
    Entry(
        "DeiT-tiny, 25 % kept, T = 32",
        "deit-25",
        (
            "convert deit_tiny -o deit.tflite",
            f"prune deit_tiny {PRUNE} -o deit-25.pt",
            "convert deit-25.pt -o deit-25.tflite",
        ),
        "deit.tflite",
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Ranges of random images are as good as any for times.
    images = np.random.default_rng(0).normal(size=(4, 224, 224, 3)).astype(np.float32)
    np.save(folder / "images.npy", images)
    reports = []
    for entry in ENTRIES:
        print(f"  measuring {entry.title}", flush=True)
        for command in entry.all_commands():
            done = subprocess.run(
                [sys.executable, "-m", "nmpack", *command.split()],
                cwd=folder, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode != 0:
                print(done.stdout + done.stderr, file=sys.stderr)
                print(f"gallery.py: nmpack {command} failed", file=sys.stderr)
                return 1
        found = json.loads((folder / f"{entry.name}.json").read_text(encoding="utf-8"))
        reports.append(
            {
                "title": entry.title,
                "page": f"{entry.name}.html",
                "commands": [f"nmpack {command}" for command in entry.all_commands()],
                "results": results(found),
            }
        )
    listing = {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": nmpack.__version__,
        "machine": processor(),
        "reports": reports,
    }
    (folder / "gallery.json").write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")
    return 0


def results(report: dict[str, Any]) -> dict[str, str]:
    """Return what the page of the gallery says of a report: medians of whole inferences."""
    ways = {
        way: f"{1e3 * profile['inference_plain']['median']:.3g} ms"
        for way, profile in report["profiles"].items()
    }
    layers = report["layers"]
    chosen = sum(layer["reason"] == "chosen" for layer in layers)
    load = report["machine"]["load_average"]
    return {
        **ways,
        "layers on N:M operators": f"{chosen} of {len(layers)}",
        "load of the machine before": f"{load:.1f}",
    }


def processor() -> str:
    """Return what Linux calls this processor, as far as it has a name for it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} processors ({names[0]})" if names else "an unnamed processor"


if __name__ == "__main__":
    sys.exit(main())
