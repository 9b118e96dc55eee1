#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts the RISC-V instructions of one inference, exactly, under QEMU.

Each model runs in nmpack-run with the delegate; what is executed between its markers, one whole
Invoke after a warm-up, is counted by class. With several models, the last column compares each
with the first:

  scripts/count_instructions.py dense.tflite pruned.tflite --vlen 256

Needs a cross build (meson setup build/riscv64 ...), the sysroot of scripts/make_sysroot.py, and
qemu-riscv64 7 or 8 (Debian: qemu-user). Counts say nothing about time: see docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmpack_tools.console import ToolError, run_main, say

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Setup:
    """How a model is run: programs, sysroot, vector length in bits."""

    qemu: str
    build: Path
    sysroot: Path
    vlen: int

    @property
    def plugin(self) -> Path:
        return self.build / "tools/qemu/libinsncount.so"

    @property
    def program(self) -> Path:
        return self.build / "delegate/nmpack-run"

    @property
    def delegate(self) -> Path:
        return self.build / "delegate/libnmpack_delegate.so"


def check(setup: Setup) -> None:
    for path in (setup.plugin, setup.program, setup.delegate):
        if not path.is_file():
            raise ToolError(f"expected {path}, found none; run: ninja -C {setup.build}")
    if not (setup.sysroot / "lib").is_dir():
        raise ToolError(f"expected a sysroot in {setup.sysroot}; run scripts/make_sysroot.py")


def count(setup: Setup, model: Path, arguments: list[str]) -> dict[str, Any]:
    """Instructions of one Invoke of ``model``: the total and each class."""
    if not model.is_file():
        raise ToolError(f"expected a model, found no file {model}")
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.json"
        command = [setup.qemu, "-plugin", f"{setup.plugin},output={counts}"]
        command += ["-L", str(setup.sysroot), str(setup.program), "--graph", str(model)]
        command += ["--warmup-runs", "1", *arguments]
        cpu = f"rv64,v=true,vext_spec=v1.0,vlen={setup.vlen},elen=64"
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "QEMU_CPU": cpu},
        )
        if done.returncode != 0 or not counts.is_file():
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise ToolError(f"{model} did not run under QEMU: {lines[-1]}")
        regions = json.loads(counts.read_text(encoding="utf-8"))["regions"]
    if len(regions) != 1 or regions[0]["runs"] != 1:
        raise ToolError(f"expected one marked region in one run of {model}, got {regions}")
    return {
        "model": str(model),
        "vlen": setup.vlen,
        "instructions": regions[0]["instructions"],
        "classes": regions[0]["classes"],
    }


def table(results: list[dict[str, Any]]) -> str:
    """Classes down, models across, in thousands; the factor to the first model below."""
    names = [Path(result["model"]).stem for result in results]
    widths = [max(14, len(name) + 2) for name in names]
    lines = [
        "thousands".ljust(22) + "".join(n.rjust(w) for n, w in zip(names, widths, strict=True))
    ]

    def row(label: str, values: list[str]) -> None:
        lines.append(
            label.ljust(22) + "".join(v.rjust(w) for v, w in zip(values, widths, strict=True))
        )

    for name in results[0]["classes"]:
        row(name, [f"{result['classes'][name] / 1000:,.0f}" for result in results])
    row("all instructions", [f"{result['instructions'] / 1000:,.0f}" for result in results])
    first = results[0]["instructions"]
    row("times fewer", [f"{first / result['instructions']:.2f}" for result in results])
    return "\n".join(lines)


def main() -> int:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nmpack"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="+")
    parser.add_argument("--vlen", type=int, default=256, choices=(128, 256, 512, 1024))
    parser.add_argument(
        "--delegate-options", default="", metavar="TEXT", help="such as 'nm:force' (see nmpack-run)"
    )
    parser.add_argument("--no-delegate", action="store_true", help="the interpreter's own kernels")
    parser.add_argument("--build", type=Path, default=ROOT / "build/riscv64")
    parser.add_argument("--sysroot", type=Path, default=cache / "sysroot/riscv64")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts here as well")
    arguments = parser.parse_args()

    qemu = shutil.which("qemu-riscv64")
    if qemu is None:
        raise ToolError("expected the program qemu-riscv64, found none; install qemu-user")
    setup = Setup(qemu, arguments.build.resolve(), arguments.sysroot, arguments.vlen)
    check(setup)
    extra = ["--no-delegate"]
    if not arguments.no_delegate:
        extra = ["--delegate", str(setup.delegate)]
        if arguments.delegate_options:
            extra += ["--delegate-options", arguments.delegate_options]
    results = []
    for model in arguments.model:
        say(f"counting {model} at VLEN {arguments.vlen}")
        results.append(count(setup, model, extra))
    say(table(results))
    if arguments.json is not None:
        temporary = arguments.json.with_name(arguments.json.name + ".tmp")
        temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        temporary.replace(arguments.json)
    return 0


if __name__ == "__main__":
    run_main(main)
