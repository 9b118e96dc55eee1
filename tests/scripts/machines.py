# SPDX-License-Identifier: BSD-3-Clause
"""A machine to set up: a folder with the shell scripts, and a PATH of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from script_process import ROOT, Result

LOCK = "requirements/main.lock"
# Python, in an environment and outside, and what is installed there. Each environment remembers
# its last lock and torch, calls.txt every call that changes something and where that reads from.
PYTHON = rf"""
words=$*
environment=$(dirname "$(dirname "$0")")
case "${{0##*/}} $words" in
  *-m\ venv\ *)
    mkdir -p "$3/bin"
    for name in python python3 meson ninja; do cp "$0" "$3/bin/$name"; done
    ;;
  *metadata*) exec cat "$environment/torch.txt" ;;
  *\ install\ *)
    cp {LOCK} "$environment/lock.txt"
    case $words in *\ torch==*) echo "${{words##*torch==}}" >"$environment/torch.txt" ;; esac
    ;;
  *nmpack.demo*) ;;
  meson\ --version) exec cat meson-version.txt ;;
  meson\ setup\ --reconfigure*) [ ! -e meson-fails ] || exit 1 ;;
  meson\ setup*) mkdir -p "$2" && touch "$2/build.ninja" ;;
  *) exit 0 ;;
esac
echo "${{0##*/}} $words <$(readlink /proc/self/fd/0)" >>calls.txt
"""


def program(folder: Path, name: str, body: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def make_machine(base: Path, path: str) -> Path:
    """The set-up alone, and in ``bin`` every program of this machine but apt."""
    (base / "scripts").mkdir()
    for name in ("setup.sh", "demo.sh", "packages.txt", "demo_plan.txt"):
        target = base / "scripts" / name
        target.write_bytes((ROOT / "scripts" / name).read_bytes())
        target.chmod(0o755)
    programs = base / "bin"
    programs.mkdir()
    for folder in reversed(path.split(os.pathsep)):
        for found in Path(folder).glob("*"):
            link = programs / found.name
            link.unlink(missing_ok=True)
            link.symlink_to(found)
    program(programs, "apt-get", "echo 'no such archive' >&2; exit 100")
    program(programs, "id", "echo 0")
    program(programs, "sudo", "echo 'sudo: a password is required' >&2; exit 1")
    return base


def pretend(machine: Path) -> None:
    """Lets set-up and demo pass in no time: Python, pip, Meson and Ninja only note what they do."""
    program(machine / "bin", "python3.11", PYTHON)
    (machine / "requirements").mkdir()
    lock(machine, "torch==1.0", "package==1")
    (machine / "requirements/tflite-runtime.lock").write_text("tflite-runtime==1\n")
    (machine / "requirements/peers.lock").write_text("torch==3.0\nonnxruntime==1\n")
    (machine / "pyproject.toml").write_text("")
    (machine / "meson-version.txt").write_text("1\n")


def lock(machine: Path, *lines: str) -> None:
    (machine / LOCK).write_text("".join(f"{line}\n" for line in lines))


def calls(machine: Path) -> list[str]:
    """What has changed something since the last time that somebody asked."""
    path = machine / "calls.txt"
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text.splitlines()


def start(script: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        # A job in the background ignores SIGINT, and so would what it starts.
        ["env", "--default-signal=INT", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def end(process: subprocess.Popen[str]) -> Result:
    out, err = process.communicate(timeout=60)
    return Result(subprocess.CompletedProcess(process.args, process.returncode, out, err))
