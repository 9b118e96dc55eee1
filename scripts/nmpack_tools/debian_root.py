# SPDX-License-Identifier: BSD-3-Clause
"""Minimal Debian systems, of any architecture, made by mmdebstrap; and running programs in one.

A system of another architecture runs in QEMU, which binfmt starts. Nothing of this machine is
changed but the file or folder that is made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .console import ToolError
from .distribution import ARCHITECTURES, OWN

#: QEMU's riscv64 processor with vectors of so many bits.
RISCV64 = "rv64,v=true,vext_spec=v1.0,vlen={vlen},elen=64"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
_VALID_UNTIL = "Acquire::Check-Valid-Until"
#: What /proc/cpuinfo says in a system, where there is such a file in it: an emulator may show it
#: this machine's, of another architecture.
CPUINFO = "etc/cpuinfo"
#: Mounts and processes are of one command alone, and end with it, also when it is killed. /sys is
#: what aarch64's libraries count cores by.
_ALONE = ("unshare", "--mount-proc", "--pid", "--fork", "--kill-child")
_ENTER = (
    *_ALONE, "sh", "-c",
    'set -e; mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; '
    'mount --rbind /sys "$0/sys"; '
    f'[ ! -e "$0/{CPUINFO}" ] || mount --bind "$0/{CPUINFO}" "$0/proc/cpuinfo"; '
    'chroot "$0" "$@"; exit $?',
)  # fmt: skip


def require(programs: Sequence[str], arch: str = OWN) -> None:
    """Raise ToolError unless this is root, who has ``programs`` and may run those of ``arch``."""
    if os.geteuid() != 0:
        raise ToolError("expected root, who makes and enters systems, got a user; use sudo")
    for program in programs:
        if shutil.which(program) is None:
            raise ToolError(
                f"expected the program {program}, found none; run: apt-get install {program}"
            )
    machines = {debian: machine for machine, debian in ARCHITECTURES.items()}
    entry = BINFMT / f"qemu-{machines.get(arch, arch)}"
    if arch != OWN and not entry.exists():
        raise ToolError(
            f"expected binfmt to start programs of {arch} in {entry.name}, found no such entry in "
            f"{BINFMT}; run: apt-get install qemu-user-static binfmt-support && update-binfmts "
            f"--enable {entry.name}, after mount -t binfmt_misc none {BINFMT} where that is empty"
        )


def make_root(
    target: Path,
    suite: str,
    arch: str,
    mirror: str,
    include: Sequence[str] = (),
    processor: str | None = None,
) -> None:
    """Make a system of a suite with the packages ``include``; raise ToolError with apt's reason.

    Args:
        target: a folder, or a file that ends in .tar; what is there is removed.
        arch: Debian's name of the architecture.
        mirror: address of the archive, which the system's own sources name, too.
        processor: QEMU's name of the one to emulate, where that is not its default.
    """
    remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [*_ALONE, "mmdebstrap", f"--architectures={arch}", "--variant=minbase"]
    command += [f"--include={','.join(include)}"] if include else []
    command += [f"--aptopt={line}" for line in valid_until()]
    emulated = {} if processor is None else {"QEMU_CPU": processor}
    whole = False
    try:
        done = subprocess.run(
            [*command, suite, str(target), mirror], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            env=os.environ | emulated,
        )  # fmt: skip
        whole = done.returncode == 0
    finally:
        if not whole:
            remove(target)
    if not whole:
        # The first error is the cause: later ones are of the programs around.
        lines = [line for line in done.stdout.splitlines() if line.startswith("E: ")]
        reason = (lines or done.stdout.splitlines()[-1:] or ["no reason given"])[0]
        raise ToolError(
            f"mmdebstrap could not make {suite} for {arch}: {reason.removeprefix('E: ')}"
        )


def remove(target: Path) -> None:
    """Remove a system, in a folder or a file, where there is one."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def valid_until() -> list[str]:
    """Lines of apt's settings here that say whether an index may be old, as a frozen mirror's is.

    What makes or is a system of its own does not read this machine's settings.
    """
    if shutil.which("apt-config") is None:
        return []
    done = subprocess.run(
        ["apt-config", "dump", _VALID_UNTIL], capture_output=True, text=True, check=False
    )
    lines = [line.rstrip(";") for line in done.stdout.splitlines()]
    return [line for line in lines if line.startswith(_VALID_UNTIL) and not line.endswith('""')]


@dataclass(frozen=True, slots=True)
class Root:
    """A system in ``folder`` and all of the environment that its programs see."""

    folder: Path
    environment: Mapping[str, str]

    def run(
        self, command: str, timeout: float, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line in root's home folder there; what it prints is in ``stdout``.

        Raises ToolError when it has not ended within ``timeout`` seconds: it is ended then.
        """
        try:
            return subprocess.run(
                [*_ENTER, str(self.folder), "/bin/sh", "-c", f"cd /root && {command}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, check=False, env={**self.environment, **variables}, timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ToolError(
                f"'{command}' did not end within {timeout:g} s in {self.folder}"
            ) from None

    def home(self, name: str) -> Path:
        """A file of root's home folder there."""
        return self.folder / "root" / name
