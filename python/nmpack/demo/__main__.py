# SPDX-License-Identifier: BSD-3-Clause
"""Show the whole path on this machine and end in a table and ``build/demo/report.json``.

Every stage is done once: a second run, or one after an interruption, starts where the last ended.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

from nmpack.cli.progress import console
from nmpack.datasets import fashion as data
from nmpack.demo import resnet50
from nmpack.demo.effort import FULL, QUICK, Effort
from nmpack.demo.fashion import Fashion
from nmpack.demo.plan import Plan, read_plan
from nmpack.demo.report import fashion_table, resnet50_table
from nmpack.demo.stages import Result, Stages
from nmpack.errors import NmpackError
from nmpack.files import write_json
from nmpack.locations import ROOT
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
    parser.add_argument(
        "--first",
        action="store_true",
        help="time ResNet-50 and stop: what follows needs torch and the delegate for riscv64",
    )
    arguments = parser.parse_args()
    # Threads that wait actively starve each other where the cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    plan = Plan({}) if arguments.quick else read_plan(ROOT / "scripts" / "demo_plan.txt")
    stages = Stages(arguments.output, console(), 1 if arguments.first else 6, plan)
    effort = QUICK if arguments.quick else FULL
    try:
        data.files(arguments.data)
        if arguments.first:
            _time(stages, effort)
        else:
            _demonstrate(stages, arguments.data, effort)
    except NmpackError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _time(stages: Stages, effort: Effort) -> Result:
    """Show how much faster pruned networks run, before anything is trained."""
    find_delegate()
    stages.folder.mkdir(parents=True, exist_ok=True)
    result = resnet50.time(stages, effort)
    stages.console.print(resnet50_table(result))
    return result


def _demonstrate(stages: Stages, images: Path, effort: Effort) -> None:
    # Whatever is missing is said before minutes are spent.
    find_target()
    fashion = Fashion(stages, images, effort)
    result: Result = {"schema": 1, "machine": describe_machine(), "effort": asdict(effort)}
    result["resnet50"] = _time(stages, effort)
    result["train"] = fashion.train()
    result["prune"] = fashion.prune()
    result["convert"] = fashion.convert()
    result["host"] = fashion.host()
    result["riscv64"] = fashion.riscv64()["rows"]
    result["seconds"] = stages.seconds
    result["from_an_earlier_run"] = stages.cached
    stages.console.print()
    stages.console.print(fashion_table(result))
    path = stages.folder / "report.json"
    write_json(path, result)
    stages.console.print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
