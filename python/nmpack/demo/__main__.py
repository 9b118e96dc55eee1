# SPDX-License-Identifier: BSD-3-Clause
"""Show the whole path on this machine and end in a table and ``build/demo/report.json``.

Every stage is done once: a second run, or one after an interruption, starts where the last ended.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from nmpack.cli.progress import console, progress
from nmpack.datasets import fashion as data
from nmpack.demo import resnet50
from nmpack.demo.effort import FULL, QUICK, Effort
from nmpack.demo.fashion import Fashion
from nmpack.demo.report import fashion_table, resnet50_table
from nmpack.demo.stages import Result, Stages
from nmpack.errors import NmpackError
from nmpack.files import write_json
from nmpack.locations import PACKAGE, ROOT, python_environment
from nmpack.measure.machine import describe_machine
from nmpack.runtime.interpreter import find_delegate
from nmpack.runtime.qemu import find_target


def main() -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m nmpack.demo",
        description="Train, prune, fine-tune, convert, run on the host and on riscv64, and time.",
        epilog="example: python -m nmpack.demo --output build/demo",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "demo", metavar="FOLDER")
    parser.add_argument("--data", type=Path, default=data.FOLDER, metavar="FOLDER")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="every stage in two minutes, with few images and one round of timing: a check that "
        "all is there, whose accuracies and times say nothing",
    )
    arguments = parser.parse_args()
    # Threads that wait actively starve each other where the cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _demonstrate(arguments.output, arguments.data, QUICK if arguments.quick else FULL)
    except NmpackError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _demonstrate(folder: Path, images: Path, effort: Effort) -> None:
    # Whatever is missing is said before minutes are spent.
    find_delegate()
    find_target()
    data.files(images)
    folder.mkdir(parents=True, exist_ok=True)
    screen = console()
    stages = Stages(folder, screen, 7)
    fashion = Fashion(stages, images, effort)
    result: Result = {"schema": 1, "machine": describe_machine(), "effort": asdict(effort)}
    result["train"] = fashion.train()
    result["prune"] = fashion.prune()
    result["convert"] = fashion.convert(_command)
    result["host"] = fashion.host()
    result["riscv64"] = fashion.riscv64()["rows"]
    resnet50.make(stages, _command)
    result["resnet50"] = resnet50.time(stages, effort)
    result["seconds"] = stages.seconds
    result["from_an_earlier_run"] = stages.cached
    screen.print()
    screen.print(fashion_table(result))
    screen.print(resnet50_table(result))
    write_json(folder / "report.json", result)
    screen.print(f"wrote {folder / 'report.json'}", markup=False)


def _command(*arguments: object) -> None:
    """Run an nmpack command as a user would, and show it."""
    words = [str(argument) for argument in arguments]
    shown = shlex.join(["nmpack", *(os.path.relpath(w) if Path(w).is_absolute() else w
                                    for w in words)])  # fmt: skip
    console().print(f"      $ {shown}", style="dim", markup=False)
    with progress(words[0]):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "nmpack", *words],
            capture_output=True,
            text=True,
            check=False,
            env=python_environment([PACKAGE.parent]),
        )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise NmpackError(f"{shown}: {lines[-1]}")


if __name__ == "__main__":
    sys.exit(main())
