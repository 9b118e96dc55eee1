#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Installs nmpack in a riscv64 Debian as on a board, and runs a pruned model there under QEMU.

  test_board.py                          the system, the riscv64 wheel in dist/, all checks
  test_board.py --wheel FILE.whl         that wheel instead
  test_board.py --transcript FILE        also write what was typed and printed there

The system is Debian trixie with its own Python and numpy, and sid's libtensorflow-lite, which
trixie does not have, pinned below everything else. It is made once, in 3 to 9 minutes, in
$XDG_CACHE_HOME/nmpack/board/riscv64 (~/.cache when unset), or in --root FOLDER; delete the folder
to make it anew.

This needs root, mmdebstrap, qemu-user-static and binfmt-support (all in Debian), and what
scripts/setup.sh builds. Nothing of this machine is changed but that folder.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from nmpack_tools import distribution
from nmpack_tools.cache import cache_folder
from nmpack_tools.console import ToolError, exclusive, run_main, say

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"
SUITE, LATER = "trixie", "sid"
PACKAGE = "libtensorflow-lite2.14.1"
INCLUDED = ("ca-certificates", "python3-numpy", "python3-pip", "python3-pytest", "python3-venv")
STAMP = "etc/nmpack-board"
BINFMT = Path("/proc/sys/fs/binfmt_misc/qemu-riscv64")
#: Mounts of the new system are of this command alone.
ENTER = (
    "unshare", "--mount", "--fork", "sh", "-c",
    'mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"',
)  # fmt: skip
MODEL = "pruned.tflite"
#: Of tests/board: what pytest runs in the system.
CHECKS = ("interpreter_checks.py", "interpreter_lifetimes.py")


class Board:
    """The system in ``root``; what runs there may be written to a transcript."""

    def __init__(self, root: Path, vlen: int) -> None:
        self._root = root
        self._environment = {
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "PATH": "/root/nm/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "QEMU_CPU": f"rv64,v=true,vext_spec=v1.0,vlen={vlen},elen=64",
        }
        self.transcript: list[str] = []

    def run(
        self, command: str, *, shown: bool = False, timeout: int = 1800, **variables: str
    ) -> str:
        """Run a command line in the home folder there; its output, or a ToolError with it."""
        try:
            done = subprocess.run(
                [*ENTER, str(self._root), "/bin/sh", "-c", f"cd /root && {command}"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                env=self._environment | variables, timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ToolError(f"'{command}' did not end within {timeout} s in the board") from None
        if shown:
            say(f"$ {command}\n{done.stdout}")
            self.transcript.append(f"$ {command}\n{done.stdout}")
        if done.returncode != 0:
            tail = "" if shown else ":\n" + "\n".join(done.stdout.splitlines()[-40:])
            raise ToolError(f"'{command}' ended with status {done.returncode} there{tail}")
        return done.stdout

    def take(self, path: Path, name: str = "") -> None:
        """Copy a file or folder into the home folder there."""
        target = self._root / "root" / (name or path.name)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, target)

    def file(self, name: str) -> Path:
        """A file of the home folder there."""
        return self._root / "root" / name


def make_system(root: Path, mirror: str | None) -> None:
    """Make the system, unless it is whole already."""
    if (root / STAMP).is_file():
        return
    for tool in ("mmdebstrap", "unshare", "chroot"):
        if shutil.which(tool) is None:
            raise ToolError(f"expected the program {tool}, found none; apt-get install {tool}")
    if root.exists() and any(root.iterdir()):
        raise ToolError(f"{root} is there and no whole system of this script's: delete it")
    found = distribution.mirrors((SUITE,))
    base = mirror or next((item for item in found if item.startswith("http")), None)
    if base is None:
        raise ToolError("this machine's apt sources name no mirror over HTTP; name one: --mirror")
    say(f"making a riscv64 Debian {SUITE} in {root}")
    root.mkdir(parents=True, exist_ok=True)
    # Where this machine accepts a mirror of an older day, so does that one.
    dumped = subprocess.run(["apt-config", "dump", "Acquire::Check-Valid-Until"],
                            capture_output=True, text=True, check=False).stdout  # fmt: skip
    settings = [line.rstrip(";") for line in dumped.splitlines() if "Valid-Until" in line]
    command = [
        "mmdebstrap", "--architectures=riscv64", "--variant=minbase", "--quiet",
        f"--include={','.join(INCLUDED)}", *(f"--aptopt={line}" for line in settings),
        SUITE, str(root), base,
    ]  # fmt: skip
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(root, ignore_errors=True)
        raise ToolError(f"mmdebstrap failed: {' '.join(done.stderr.splitlines()[-3:])}")
    apt = root / "etc/apt"
    (apt / f"sources.list.d/{LATER}.list").write_text(f"deb {base} {LATER} main\n")
    pin = f"Package: *\nPin: release n={LATER}\nPin-Priority: 100\n"
    (apt / f"preferences.d/{LATER}").write_text(pin)
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    board = Board(root, 256)
    say(f"installing {PACKAGE} of {LATER}")
    board.run("apt-get update -q")
    install = f"apt-get install -y -q --no-install-recommends {PACKAGE}"
    board.run(install, DEBIAN_FRONTEND="noninteractive")
    (root / STAMP).write_text(f"{SUITE} {LATER} {PACKAGE}\n")


def on_host(*arguments: str | Path) -> None:
    """Run this tree's Python."""
    if not PYTHON.is_file():
        raise ToolError(f"expected {PYTHON}, found none; run scripts/setup.sh first")
    paths = ":".join(str(ROOT / "tests" / name) for name in ("board", "delegate"))
    done = subprocess.run(
        [str(PYTHON), *map(str, arguments)], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    if done.returncode != 0:
        words = shlex.join(map(str, arguments))
        raise ToolError(f"'{words}' failed here: {' '.join(done.stderr.splitlines()[-3:])}")


def check(board: Board, folder: Path, wheel: Path) -> None:
    """Install the wheel and run everything."""
    say("making models, and what this machine computes with them")
    on_host(ROOT / "tests/board/check_models.py", folder / "models")
    model = folder / "models" / MODEL
    on_host("-m", "nmpack", "prune", "fashion_resnet", "--sparsity", "0.75", "--tile", "32",
            "-o", folder / "pruned.pt")  # fmt: skip
    on_host("-m", "nmpack", "convert", folder / "pruned.pt", "-o", model)
    on_host("-m", "nmpack", "run", model, "--output", folder / "host.npy")
    board.take(folder / "models", "models")
    board.take(model)
    board.take(wheel)
    board.run("rm -rf nm .cache .local pruned.tuning board.npy")
    for command in (
        "uname -m; python3 --version",
        "python3 -m venv --system-site-packages nm",
        f"nm/bin/pip install --no-index --no-deps {wheel.name}",
        f"nmpack run {MODEL} --compare --output board.npy",
        f"nmpack bench {MODEL} --rounds 3 --repeat 1",
        f"nmpack inspect {MODEL}",
        f"nmpack profile {MODEL} --runs 3 --warmup 1",
        f"nmpack tune {MODEL} --budget 60s --output pruned.tuning",
        f"nmpack run {MODEL} --option tuning=pruned.tuning --compare",
    ):
        board.run(command, shown=True)
    on_host("-c", COMPARE, folder / "host.npy", board.file("board.npy"))
    say("its outputs are this machine's to 1e-5 of the largest")


COMPARE = """if True:
    import sys
    import numpy as np
    host, board = (np.load(path) for path in sys.argv[1:])
    gap = float(np.abs(host - board).max() / np.abs(host).max())
    if not gap <= 1e-5:
        sys.exit(f"outputs differ by {gap} of the largest value, expected at most 1e-5")
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="the system's folder")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="of nmpack for riscv64")
    parser.add_argument("--mirror", metavar="URL", help="of Debian, with trixie and sid")
    parser.add_argument("--vlen", type=int, default=256, choices=(128, 256, 512, 1024))
    parser.add_argument("--transcript", type=Path, metavar="FILE", help="written at the end")
    parser.add_argument("--no-checks", action="store_true", help="without tests/board there")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise ToolError("expected root, who may make a system and enter it; run it with sudo")
    if os.uname().machine != "riscv64" and not BINFMT.exists():
        raise ToolError(
            f"expected {BINFMT}, found none: apt-get install qemu-user-static binfmt-support, and "
            "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc where it is not mounted"
        )
    found = sorted((ROOT / "dist").glob("nmpack-*_riscv64.whl"))
    wheel = arguments.wheel or (found[-1] if found else ROOT / "dist/nmpack-*_riscv64.whl")
    if not wheel.is_file():
        raise ToolError(f"expected {wheel}, found none; run scripts/build_wheels.py riscv64")
    root = arguments.root or cache_folder() / "board/riscv64"
    with exclusive(root.parent / ".board.lock", "run of test_board.py"):
        make_system(root.resolve(), arguments.mirror)
        board = Board(root.resolve(), arguments.vlen)
        with tempfile.TemporaryDirectory(prefix="nmpack-board-") as name:
            folder = Path(name)
            try:
                check(board, folder, wheel)
            finally:
                if arguments.transcript:
                    text = "\n".join(board.transcript)
                    arguments.transcript.write_text(text, encoding="utf-8")
        if not arguments.no_checks:
            say(f"running {' and '.join(CHECKS)} of tests/board there")
            for name in (*CHECKS, "interpreter_details.py"):
                board.take(ROOT / "tests/board" / name)
            options = "-c /dev/null --noconftest -p no:cacheprovider -q"
            tested = board.run(
                f"nm/bin/python -m pytest {options} {' '.join(CHECKS)}",
                NMPACK_CHECK_MODELS="/root/models", timeout=3600,
            )  # fmt: skip
            say(tested.splitlines()[-1])
    return 0


if __name__ == "__main__":
    run_main(main)
