#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Installs and builds what microcontrollers are simulated with; a second run does nothing.

  1. .venv-mcu, from requirements/mcu.lock and by its hashes: the RTL of CV32E40P, Spike, TFLite for
     Microcontrollers, Yosys
  2. two simulators of CV32E40P by Verilator, as it is and with the patches of mcu/rtl/patches, each
     alone and as a cluster on banked memory

The simulators go to $XDG_CACHE_HOME/nmpack/mcu/rtl (~/.cache when XDG_CACHE_HOME is unset), into a
folder named after all they are made from; build/mcu.json says which, and nmpack.mcu.rtl reads it.
Debian's packages come first: scripts/packages.txt lists them.

environment:
  NMPACK_PYTHON   the Python 3.11 to make .venv-mcu from (default: the one that runs this)
  NMPACK_JOBS     compile jobs (default: as many as processors)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from nmpack_tools.cache import cache_folder
from nmpack_tools.console import ToolError, exclusive, run_main, say
from nmpack_tools.environment import make_environment

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements/mcu.lock"
VENV = ROOT / ".venv-mcu"
RTL = ROOT / "mcu/rtl"
POINTER = ROOT / "build/mcu.json"
CORES = ("plain", "extended")
TESTBENCHES = ("testbench", "testbench_cluster")
TOP = "cv32e40p_top"
# One driver of each bit, but in separate processes: Verilator cannot tell, and stops without this.
VERILATOR = (
    f"verilator --cc -O3 --x-assign fast --x-initial fast --noassert --top-module {TOP} "
    "-GCOREV_PULP=1 -GFPU=0 -Wno-fatal -Wno-lint -Wno-style -Wno-BLKANDNBLK"
).split()
COMPILER = "clang++-19"
CORE_FLAGS = ("OPT_FAST=-O2", "OPT_SLOW=-O1", "OPT_GLOBAL=-O2")
TESTBENCH_FLAGS = ("-std=c++20", "-O2", "-Wall", "-Wextra")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with exclusive(cache_folder() / "mcu/setup.lock", "setup_mcu.py"):
        make_environment(VENV, LOCK, run, ["--require-hashes"])
        folder = make_simulators()
        POINTER.parent.mkdir(exist_ok=True)
        pointer = {"simulators": str(folder), "inputs": _hashes(_inputs())}
        POINTER.write_text(json.dumps(pointer, indent=2) + "\n", encoding="utf-8")
    say(f"simulators of CV32E40P: {folder}")
    return 0


def make_simulators() -> Path:
    """Builds the simulators, unless they have been; returns their folder."""
    package = VENV / "lib/python3.11/site-packages/pythondata_cpu_cv32e40p/system_verilog"
    pin = [line for line in LOCK.read_text().splitlines() if line.startswith("pythondata-cpu")]
    tools = [run([tool, "--version"], tool) for tool in (VERILATOR[0], COMPILER)]
    settings = [*pin, *tools, *VERILATOR, *CORE_FLAGS, *TESTBENCH_FLAGS]
    files = [f"{name} {digest}" for name, digest in _hashes(_inputs()).items()]
    folder = cache_folder() / "mcu/rtl" / _digest(settings + files)[:16]
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as name:
        for core in CORES:
            say(f"  building a simulator of CV32E40P, {core}")
            _build(package, Path(name) / core, core == "extended")
        Path(name).chmod(0o755)
        Path(name).rename(folder)
        Path(name).mkdir()  # for its removal
    return folder


def sources(folder: Path) -> list[str]:
    """The files of the core below ``folder`` that it is made from, in the package's own order."""
    manifest = (folder / "cv32e40p_manifest.flist").read_text(encoding="utf-8")
    names = [line.strip() for line in manifest.splitlines() if line.startswith("${DESIGN_RTL_DIR}")]
    names = [name.replace("${DESIGN_RTL_DIR}", "rtl") for name in names]
    names = [os.path.normpath(name) for name in names]
    # Without an FPU, and so without what it is made from; nor a testbench of the package's own.
    left_out = ("rtl/vendor/", "rtl/cv32e40p_fp_wrapper.sv", "bhv/include/", "bhv/cv32e40p_tb_")
    return [name for name in names if not name.startswith(left_out)]


def _build(package: Path, folder: Path, extended: bool) -> None:
    shutil.copytree(package / "rtl", folder / "rtl", ignore=shutil.ignore_patterns("vendor"))
    shutil.copytree(package / "bhv", folder / "bhv")
    for name in ("LICENSE", "cv32e40p_manifest.flist"):
        shutil.copy(package / name, folder / name)
    if extended:
        # No repository around the folder is to be found: git would leave out what it ignores.
        around = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
        for patch in _patches():
            run(["git", "apply", str(patch)], f"applying {patch.name}", folder, around)
    files = sources(folder)
    (folder / "sources.txt").write_text("".join(f"{name}\n" for name in files), encoding="utf-8")
    made = folder / "verilated"
    command = [*VERILATOR, "-Irtl/include", "--Mdir", str(made), str(RTL / "signals.vlt")]
    run([*command, *files], "Verilator", folder)
    jobs = os.environ.get("NMPACK_JOBS", str(os.cpu_count() or 1))
    flags = [f"CXX={COMPILER}", f"LINK={COMPILER}", *CORE_FLAGS]
    objects = [f"V{TOP}__ALL.a", "verilated.o", "verilated_threads.o"]
    run(["make", "-j", jobs, "-f", f"V{TOP}.mk", *flags, *objects], "compiling the core", made)
    root = run([VERILATOR[0], "--getenv", "VERILATOR_ROOT"], VERILATOR[0]).strip()
    include = ["-isystem", f"{root}/include", "-isystem", f"{root}/include/vltstd"]
    for testbench in TESTBENCHES:
        inputs = [str(RTL / "machine.cpp"), str(RTL / f"{testbench}.cpp"), *objects]
        command = [COMPILER, *TESTBENCH_FLAGS, "-I.", *include, *inputs]
        run([*command, "-lpthread", "-o", str(folder / testbench)], f"compiling {testbench}", made)
    shutil.rmtree(made)


def _patches() -> list[Path]:
    return sorted((RTL / "patches").glob("*.patch"))


def _inputs() -> list[Path]:
    """What of this source tree the simulators are made from."""
    found = [path for pattern in ("*.cpp", "*.h", "*.vlt") for path in RTL.glob(pattern)]
    return sorted([*found, *_patches()])


def _hashes(paths: list[Path]) -> dict[str, str]:
    return {str(p.relative_to(ROOT)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def run(
    command: list[str], what: str, folder: Path | None = None, env: dict[str, str] | None = None
) -> str:
    """Runs a command; returns what it printed, or raises ToolError with the end of that."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise ToolError(
            f"expected {command[0]}, found none; install the packages of scripts/packages.txt"
        ) from None
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()][-8:]
        raise ToolError("\n  | ".join([f"{what} failed ({command[0]}):", *lines]))
    return done.stdout


if __name__ == "__main__":
    run_main(main)
