#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Installs nmpack in a Debian as on a board, and runs a pruned model there under QEMU.

  test_board.py                          the system, the riscv64 wheel in dist/, all checks
  test_board.py --arch aarch64           that of aarch64, with ai-edge-litert, which pip brings
  test_board.py --wheel FILE.whl         that wheel instead
  test_board.py --transcript FILE        also write what was typed and printed there

The system is Debian trixie with its own Python and numpy, and sid's libtensorflow-lite, which
trixie does not have, pinned below everything else. It is made once, in 3 to 9 minutes, in
$XDG_CACHE_HOME/nmpack/board/ARCH (~/.cache when unset), or in --root FOLDER; delete the folder
to make it anew. What pip brings is downloaded here, as this machine's pip is set up.

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
from dataclasses import dataclass
from pathlib import Path

from nmpack_tools import debian_root, distribution
from nmpack_tools.cache import cache_folder
from nmpack_tools.console import ToolError, exclusive, run_main, say
from nmpack_tools.tomlfile import read_toml

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"
SUITE = "trixie"
INCLUDED = ("ca-certificates", "python3-numpy", "python3-pip", "python3-pytest", "python3-venv")
STAMP = "etc/nmpack-board"
#: Newest glibc of SUITE, as manylinux tags count.
GLIBC_MINOR = 41
MODEL, DOWNLOADS = "pruned.tflite", "wheels"
#: Of tests/board: what pytest runs in the system.
CHECKS = ("interpreter_checks.py", "interpreter_lifetimes.py")
#: An environment with the system's numpy: no package index is asked.
PLAIN = (
    "python3 -m venv --system-site-packages {name}",
    "{name}/bin/pip install --no-index --no-deps {wheel}",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a board of a processor is, which uname and wheels call ``machine``.

    Attributes:
        processor: QEMU's name of it. Its default for aarch64 signs every return address, which
            makes it thirty times as slow.
        cpuinfo: what /proc/cpuinfo says of a core, where QEMU 7.2 shows this machine's and
            ai-edge-litert crashes of that.
        install: what makes the environment ``nm``.
        interpreters: what a model runs in there, the default first.
        checked: the environment in which CHECKS run.
    """

    machine: str
    processor: str
    cpuinfo: str
    install: tuple[str, ...]
    interpreters: tuple[str, ...]
    checked: str


KINDS = {
    "riscv64": Kind(
        "riscv64", debian_root.RISCV64, "", PLAIN,
        ("libtensorflow-lite",), "nm",
    ),
    "aarch64": Kind(
        "aarch64", "cortex-a76",
        "Features\t: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
        "asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\n"
        "CPU part\t: 0xd0b\nCPU revision\t: 1\n",
        (
            "python3 -m venv {name}",
            "{name}/bin/pip install --no-index --find-links " + DOWNLOADS
            + " '{wheel}[interpreter]'",
        ),
        ("ai-edge-litert", "libtensorflow-lite"), "plain",
    ),
}  # fmt: skip


class Board:
    """The system in ``root``; what runs there may be written to a transcript."""

    def __init__(self, root: Path, processor: str) -> None:
        self._root = debian_root.Root(
            root,
            {
                "HOME": "/root",
                "LC_ALL": "C.UTF-8",
                "PATH": "/root/nm/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "QEMU_CPU": processor,
            },
        )
        self.transcript: list[str] = []

    def run(
        self, command: str, *, shown: bool = False, timeout: int = 1800, **variables: str
    ) -> str:
        """Run a command line in the home folder there; its output, or a ToolError with it."""
        done = self._root.run(command, timeout, **variables)
        if shown:
            say(f"$ {command}\n{done.stdout}")
            self.transcript.append(f"$ {command}\n{done.stdout}")
        if done.returncode != 0:
            tail = "" if shown else ":\n" + "\n".join(done.stdout.splitlines()[-40:])
            raise ToolError(f"'{command}' ended with status {done.returncode} there{tail}")
        return done.stdout

    def take(self, path: Path) -> None:
        """Copy a file or folder into the home folder there."""
        if path.is_dir():
            shutil.rmtree(self.file(path.name), ignore_errors=True)
            shutil.copytree(path, self.file(path.name))
        else:
            shutil.copyfile(path, self.file(path.name))

    def file(self, name: str) -> Path:
        """A file of the home folder there."""
        return self._root.home(name)


def make_system(root: Path, kind: Kind, mirror: str | None) -> None:
    """Make the system, unless it is whole already."""
    sysroot = ROOT / "third_party/sysroot.toml"
    wanted = read_toml(sysroot, sysroot.name, "it names the interpreter")
    package, later = wanted["package"], wanted["suite"]
    stamp = f"{SUITE} {later} {package}\n"
    if (root / STAMP).is_file() and (root / STAMP).read_text(encoding="utf-8") == stamp:
        return
    if root.exists() and any(root.iterdir()):
        raise ToolError(f"{root} is there and no whole system with {package}: delete it")
    debian_root.require(("mmdebstrap",))
    mirror = distribution.mirror_of(SUITE, mirror)
    say(f"making a Debian {SUITE} for {kind.machine} in {root}")
    part = root.with_name(f"{root.name}.part")
    arch, processor = distribution.ARCHITECTURES[kind.machine], kind.processor.format(vlen=256)
    debian_root.make_root(part, SUITE, arch, mirror, INCLUDED, processor)
    apt = part / "etc/apt"
    (apt / f"sources.list.d/{later}.list").write_text(f"deb {mirror} {later} main\n")
    pin = f"Package: *\nPin: release n={later}\nPin-Priority: 100\n"
    (apt / f"preferences.d/{later}").write_text(pin)
    shutil.copyfile("/etc/resolv.conf", part / "etc/resolv.conf")
    if kind.cpuinfo and arch != distribution.OWN:
        cores = range(os.cpu_count() or 1)
        text = "".join(f"processor\t: {core}\n{kind.cpuinfo}\n" for core in cores)
        (part / debian_root.CPUINFO).write_text(text, encoding="ascii")
    say(f"installing {package} of {later}")
    board = Board(part, processor)
    board.run("apt-get update -q")
    install = f"apt-get install -y -q --no-install-recommends {package}"
    board.run(install, DEBIAN_FRONTEND="noninteractive")
    (part / STAMP).write_text(stamp, encoding="utf-8")
    part.rename(root)


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


def download(board: Board, kind: Kind, wheel: Path, folder: Path) -> None:
    """Bring what the wheel needs there with ai-edge-litert."""
    version = board.run("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'").strip()
    say(f"downloading ai-edge-litert and numpy for Python {version} on {kind.machine}")
    tags = [f"manylinux_2_{minor}_{kind.machine}" for minor in range(17, GLIBC_MINOR + 1)]
    platforms = [word for tag in tags for word in ("--platform", tag)]
    on_host("-m", "pip", "download", "-q", "--only-binary=:all:", *platforms, "--python-version",
            version, "--dest", folder / DOWNLOADS, f"{wheel}[interpreter]")  # fmt: skip
    board.take(folder / DOWNLOADS)


def check(board: Board, kind: Kind, folder: Path, wheel: Path) -> None:
    """Install the wheel and run everything."""
    say("making models, and what this machine computes with them")
    on_host(ROOT / "tests/board/check_models.py", folder / "models")
    model = folder / "models" / MODEL
    on_host("-m", "nmpack", "prune", "fashion_resnet", "--sparsity", "0.75", "--tile", "32",
            "-o", folder / "pruned.pt")  # fmt: skip
    on_host("-m", "nmpack", "convert", folder / "pruned.pt", "-o", model)
    on_host("-m", "nmpack", "run", model, "--output", folder / "host.npy")
    for path in (folder / "models", model, wheel):
        board.take(path)
    board.run(f"rm -rf nm plain {DOWNLOADS} .cache .local pruned.tuning *.npy")
    default, *others = kind.interpreters
    if default == "ai-edge-litert":
        download(board, kind, wheel, folder)
    for command in (
        "uname -m; python3 --version",
        *(line.format(name="nm", wheel=wheel.name) for line in kind.install),
        f"nmpack run {MODEL} --compare --output board.npy",
        *(f"nmpack run {MODEL} --compare --interpreter {name}" for name in others),
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


def run_checks(board: Board, kind: Kind, wheel: Path) -> None:
    """Run CHECKS there."""
    say(f"running {' and '.join(CHECKS)} of tests/board there")
    for name in (*CHECKS, "interpreter_details.py"):
        board.take(ROOT / "tests/board" / name)
    if kind.checked != "nm":
        for line in PLAIN:
            board.run(line.format(name=kind.checked, wheel=wheel.name))
    options = "-c /dev/null --noconftest -p no:cacheprovider -q"
    tested = board.run(
        f"{kind.checked}/bin/python -m pytest {options} {' '.join(CHECKS)}",
        NMPACK_CHECK_MODELS="/root/models", timeout=3600,
    )  # fmt: skip
    say(tested.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", default="riscv64", choices=tuple(KINDS))
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="the system's folder")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="of nmpack for ARCH")
    parser.add_argument("--mirror", metavar="URL", help="of Debian; it has to have trixie and sid")
    parser.add_argument("--vlen", type=int, default=256, choices=(128, 256, 512, 1024))
    parser.add_argument("--transcript", type=Path, metavar="FILE", help="written at the end")
    parser.add_argument("--no-checks", action="store_true", help="without tests/board there")
    arguments = parser.parse_args()
    kind = KINDS[arguments.arch]
    debian_root.require((), distribution.ARCHITECTURES[kind.machine])
    found = sorted((ROOT / "dist").glob(f"nmpack-*_{kind.machine}.whl"))
    wheel = arguments.wheel or (found[-1] if found else ROOT / f"dist/nmpack-*_{kind.machine}.whl")
    if not wheel.is_file():
        raise ToolError(f"expected {wheel}, found none; run scripts/build_wheels.py {kind.machine}")
    root = (arguments.root or cache_folder() / "board" / kind.machine).resolve()
    with exclusive(root.parent / f".{root.name}.lock", "run of test_board.py"):
        make_system(root, kind, arguments.mirror)
        board = Board(root, kind.processor.format(vlen=arguments.vlen))
        with tempfile.TemporaryDirectory(prefix="nmpack-board-") as name:
            try:
                check(board, kind, Path(name), wheel)
            finally:
                if arguments.transcript:
                    text = "\n".join(board.transcript)
                    arguments.transcript.write_text(text, encoding="utf-8")
        if not arguments.no_checks:
            run_checks(board, kind, wheel)
    return 0


if __name__ == "__main__":
    run_main(main)
