#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Builds nmpack's source distribution, and from it a wheel for each processor, into dist/.

  build_wheels.py                    the archive and all three wheels
  build_wheels.py x86_64             the archive and one wheel
  build_wheels.py --sdist            the archive alone
  build_wheels.py --twice x86_64     build all of it again and compare, byte for byte

Run scripts/setup.sh --wheels before. A wheel holds no module compiled for one version of Python,
so one serves all of them; its name says which C library it needs at least (a manylinux tag), and
auditwheel checks that this is so. x86_64 and aarch64 are linked with glibc 2.31 of a sysroot and
named down to what they use of it, riscv64 with this distribution's. The network is cut off while a
wheel is built, where this system lets a program do that. Logs are in build/logs.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nmpack_tools.cache import cache_folder
from nmpack_tools.console import ToolError, run_main, say

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv-wheels/bin"
LOGS = ROOT / "build/logs"
#: What Debian calls each processor; riscv64 has no old C library.
ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": None}
#: Wheels hold files of one date: the commit's, as the archive does.
EPOCH = "SOURCE_DATE_EPOCH"

MACHINE_FILE = """\
[binaries]
c = ['clang-19', {words}]
cpp = ['clang++-19', {words}]
ar = 'llvm-ar-19'
strip = 'llvm-strip-19'
c_ld = 'lld-19'
cpp_ld = 'lld-19'
{wrapper}
[built-in options]
c_args = [{arguments}]
cpp_args = [{arguments}]
"""
HOST_MACHINE = """
[host_machine]
system = 'linux'
cpu_family = '{cpu}'
cpu = '{cpu}'
endian = 'little'
"""


def machine_file(folder: Path, cpu: str, sysroot: Path | None, source: Path) -> list[str]:
    """Writes what tells Meson the compiler and the C library; returns the words that name it."""
    cross = cpu != os.uname().machine
    words = [f"--target={cpu}-linux-gnu"]
    arguments = [f"-ffile-prefix-map={source}=."]
    if sysroot is not None:
        words.append(f"--sysroot={sysroot}")
        arguments += ["-include", str(source / "support/old_glibc.h")]
    loader = sysroot or Path(f"/usr/{cpu}-linux-gnu")
    wrapper = f"exe_wrapper = ['qemu-{cpu}', '-L', '{loader}']\n" if cross else ""
    path = folder / f"{cpu}.ini"
    path.write_text(
        MACHINE_FILE.format(
            words=", ".join(map(repr, words)),
            arguments=", ".join(map(repr, arguments)),
            wrapper=wrapper,
        )
        + (HOST_MACHINE.format(cpu=cpu) if cross else ""),
        encoding="utf-8",
    )
    return [f"-Csetup-args=--{'cross' if cross else 'native'}-file={path}"]


def run(name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """Runs a program of the environment; all it printed goes to a log."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PATH": path, "VIRTUAL_ENV": str(BIN.parent), **(environment or {})},
    )
    log.write_text(f"$ {' '.join(command)}\n{done.stdout}", encoding="utf-8")
    if done.returncode != 0:
        print(
            *(f"  | {line}" for line in done.stdout.splitlines()[-15:]), sep="\n", file=sys.stderr
        )
        raise ToolError(f"{name} failed; all it printed is in {log.relative_to(ROOT)}")
    return done.stdout


def offline() -> list[str]:
    """Words that run a command without a network; none where that is not allowed."""
    words = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") is not None:
        done = subprocess.run([*words, "true"], capture_output=True, check=False)
        if done.returncode == 0:
            return words
    say("  the network stays on: this system refuses unshare")
    return []


def commit_time() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ToolError(f"expected a git checkout in {ROOT}, got none: {done.stderr.strip()}")
    return done.stdout.strip()


def build_sdist(output: Path) -> Path:
    """Makes the archive of what is committed, with the patched sources in it."""
    command = [str(BIN / "python"), "-m", "build", "--sdist", "--no-isolation"]
    with tempfile.TemporaryDirectory() as folder:
        run("sdist", [*command, "-o", folder, str(ROOT)], {EPOCH: commit_time()})
        (made,) = Path(folder).glob("*.tar.gz")
        output.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(made, output / made.name))


def sysroot(cpu: str) -> Path | None:
    arch = ARCHES[cpu]
    if arch is None:
        if not Path(f"/usr/{cpu}-linux-gnu/lib").is_dir():
            raise ToolError(f"expected cross libraries in /usr/{cpu}-linux-gnu, found none")
        return None
    folder = cache_folder() / "glibc" / arch
    if not (folder / "usr/lib").is_dir():
        raise ToolError(f"expected an old C library in {folder}, found none; {HINT}")
    return folder


HINT = "run scripts/setup.sh --wheels"


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpacks the archive, which is our own; returns its one folder."""
    shutil.unpack_archive(sdist, folder)
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    return source


def build_wheel(sdist: Path, cpu: str, output: Path) -> Path:
    """Builds one wheel from the archive alone; returns it with its checked tag."""
    found = sysroot(cpu)
    with tempfile.TemporaryDirectory(prefix="nmpack-wheel-") as name:
        folder = Path(name)
        source = unpack(sdist, folder)
        settings = machine_file(folder, cpu, found, source)
        raw = folder / "raw"
        environment = {EPOCH: commit_time(), "_PYTHON_HOST_PLATFORM": f"linux-{cpu}"}
        words = [str(BIN / "python"), "-m", "build", "--wheel", "--no-isolation", *settings]
        run(f"wheel-{cpu}", [*offline(), *words, "-o", str(raw), str(source)], environment)
        (built,) = raw.glob("*.whl")
        tags = ["--remove", "--python-tag=py3", "--abi-tag=none"]
        run(f"tags-{cpu}", [str(BIN / "wheel"), "tags", *tags, str(built)], environment)
        (tagged,) = raw.glob("*.whl")
        repaired = folder / "repaired"
        words = [str(BIN / "auditwheel"), "repair", "--only-plat", "-w", str(repaired), str(tagged)]
        run(f"auditwheel-{cpu}", words, environment)
        (wheel,) = repaired.glob("*.whl")
        output.mkdir(parents=True, exist_ok=True)
        for old in output.glob(f"nmpack-*_{cpu}.whl"):
            old.unlink()
        return Path(shutil.move(wheel, output / wheel.name))


def build(cpus: Sequence[str], output: Path) -> list[Path]:
    made = [build_sdist(output)]
    say(f"{made[0].name}: {made[0].stat().st_size / 1e6:.1f} MB")
    for cpu in cpus:
        wheel = build_wheel(made[0], cpu, output)
        made.append(wheel)
        say(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cpus", nargs="*", metavar="CPU", help=f"of {', '.join(ARCHES)}")
    parser.add_argument("--sdist", action="store_true", help="the archive alone")
    parser.add_argument("--twice", action="store_true", help="build again and compare")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "dist", metavar="FOLDER")
    arguments = parser.parse_args()
    for cpu in arguments.cpus:
        if cpu not in ARCHES:
            parser.error(f"expected a processor of {', '.join(ARCHES)}, got {cpu!r}")
    if not (BIN / "auditwheel").is_file():
        raise ToolError(f"expected the environment {BIN.parent.name}, found none; {HINT}")
    cpus = [] if arguments.sdist else arguments.cpus or list(ARCHES)
    made = build(cpus, arguments.output.resolve())
    if arguments.twice:
        with tempfile.TemporaryDirectory() as folder:
            for first, second in zip(made, build(cpus, Path(folder)), strict=True):
                if first.name != second.name or not filecmp.cmp(first, second, shallow=False):
                    raise ToolError(f"{first.name} differs from the one built a second time")
        say("built twice, the same byte for byte")
    return 0


if __name__ == "__main__":
    run_main(main)
