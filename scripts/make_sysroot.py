#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Unpacks a package of the distribution and all it depends on into a folder beside the system.

  make_sysroot.py          the TFLite interpreter for riscv64, third_party/sysroot.toml; programs
                           run there with qemu-riscv64 -L FOLDER PROGRAM
  make_sysroot.py llvm     the LLVM for this machine that knows the SpacemiT X60,
                           third_party/llvm.toml; nmpack rvv-report finds it
  make_sysroot.py sshd     the ssh server for this machine that tests start,
                           third_party/sshd.toml
  make_sysroot.py qemu     the emulator for this machine that knows half precision in vectors,
                           third_party/qemu.toml; tests of such kernels run in it
  make_sysroot.py glibc    the old C library that wheels are linked with, for this machine or
                           --arch arm64, third_party/glibc.toml

The folder is $XDG_CACHE_HOME/nmpack/<sysroot, llvm, ...>/<arch> (~/.cache when
XDG_CACHE_HOME is unset); its path is the last line printed. apt resolves, downloads and verifies
(signed index, SHA-256) with lists and settings of its own under the cache: nothing of this
machine's apt is changed, and root is not needed. The mirror is the one this machine's apt sources
name.

A second run does nothing. An interrupted run leaves the old folder whole, and what it has
downloaded is used by the next.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from nmpack_tools import distribution
from nmpack_tools.cache import cache_folder
from nmpack_tools.console import ToolError, exclusive, run_main, say
from nmpack_tools.githash import fingerprint

ROOT = Path(__file__).resolve().parent.parent
STAMP = "nmpack-sysroot.json"
WHATS = ("sysroot", "llvm", "sshd", "qemu", "glibc")
ARCHES = ("riscv64", "amd64", "arm64")
KEYRINGS = ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")


class PrivateApt:
    """apt for another architecture and suite, with all its files in ``folder``."""

    def __init__(self, folder: Path, arch: str) -> None:
        self._folder = folder
        self._arch = arch
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        self.archives = folder / "cache/archives"

    def update(self, mirror: str, suite: str) -> None:
        source = f"deb [arch={self._arch} signed-by={_keyring()}] {mirror} {suite} main\n"
        (self._folder / "sources.list").write_text(source, encoding="utf-8")
        say(f"  reading the package index of {suite} for {self._arch}")
        try:
            self._run(["apt-get", "update", "-qq", "-o", "APT::Update::Error-Mode=any"])
        except ToolError as error:
            # What apt says of a folder that answers and has no such suite.
            if "does not have a Release file" not in str(error):
                raise
            raise ToolError(
                f"{error} Mirrors drop old releases: name one that has {suite}, such as the "
                "distribution's archive of old releases, with --mirror URL"
            ) from None

    def candidate(self, package: str) -> str | None:
        for line in self._run(["apt-cache", "policy", package]).splitlines():
            key, _, value = line.strip().partition(": ")
            if key == "Candidate" and value != "(none)":
                return value
        return None

    def download(self, package: str) -> list[Path]:
        """The package and everything it depends on, verified by apt."""
        wanted = ["--no-install-recommends", "-y", package]
        # apt names what it would download: all of it only while it finds nothing already there.
        nowhere = ["-o", f"Dir::Cache::archives={self._folder / 'nowhere'}"]
        printed = self._run(["apt-get", *nowhere, "install", "-qq", "--print-uris", *wanted])
        rows = [line.split() for line in printed.splitlines() if line.startswith("'")]
        missing = [row for row in rows if not (self.archives / row[1]).exists()]
        if missing:
            size = sum(int(row[2]) for row in missing) / 1e6
            say(f"  downloading {len(missing)} packages, {size:.1f} MB")
        # With every file in place this only verifies them.
        self._run(["apt-get", "install", "-qq", "--download-only", *wanted])
        # apt names a file as the index does, except that it escapes the colon of an epoch.
        return [self.archives / row[1] for row in rows]

    def _run(self, command: list[str]) -> str:
        folder = self._folder
        settings = {
            "APT::Architecture": self._arch,
            "APT::Architectures::": self._arch,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Dir::Cache": str(folder / "cache"),
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::Etc::sourcelist": str(folder / "sources.list"),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": str(folder),
            "Dir::State::lists": str(folder / "lists"),
            "Dir::State::status": str(folder / "status"),
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        done = subprocess.run(
            [command[0], *options, *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
            reason = (lines or done.stderr.strip().splitlines() or ["no reason given"])[0]
            raise ToolError(f"{' '.join(command[:2])} failed: {reason.removeprefix('E: ')}")
        return done.stdout


def _keyring() -> Path:
    for name in KEYRINGS:
        path = Path("/usr/share/keyrings") / name
        if path.exists():
            return path
    raise ToolError(
        f"expected the archive's keys in /usr/share/keyrings/{KEYRINGS[0]}, found none; "
        "install debian-archive-keyring"
    )


def unpack(packages: list[Path], target: Path) -> None:
    """Unpacks into ``target``, where /lib is /usr/lib as on an installed system."""
    (target / "usr/lib").mkdir(parents=True)
    (target / "lib").symlink_to("usr/lib")
    for package in packages:
        done = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=False
        )
        if done.returncode != 0:
            raise ToolError(f"{package.name} does not unpack: {done.stderr.decode().strip()}")
        # dpkg-deb --extract would replace the link /lib by a folder.
        subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(target)],
            input=done.stdout,
            check=True,
        )
    shutil.rmtree(target / "usr/share", ignore_errors=True)
    # Linkers and emulators follow a link to /lib out of the folder, into this machine's.
    for path in target.rglob("*"):
        if path.is_symlink() and path.readlink().is_absolute():
            inside = target / path.readlink().relative_to("/")
            path.unlink()
            path.symlink_to(os.path.relpath(inside, path.parent.resolve()))


def problem(sysroot: Path, wanted: dict[str, Any]) -> str | None:
    """What keeps ``sysroot`` from being a whole sysroot with the wanted file."""
    try:
        stamp = json.loads((sysroot / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"expected a sysroot in {sysroot}, found none or an incomplete one"
    if stamp["package"] != wanted["package"]:
        return f"expected {wanted['package']} in {sysroot}, found {stamp['package']}"
    if stamp["fingerprint"] != _fingerprint(sysroot):
        return f"files in {sysroot} changed since it was made"
    return None


def _fingerprint(sysroot: Path) -> str:
    return "+".join(
        fingerprint(path)
        for path in sorted(sysroot.iterdir())
        if path.is_dir() and not path.is_symlink()
    )


def make(sysroot: Path, wanted: dict[str, Any], arch: str, mirror: str | None) -> None:
    for tool in ("apt-get", "dpkg-deb", "tar"):
        if shutil.which(tool) is None:
            raise ToolError(f"expected the program {tool}, found none; this needs a Debian system")
    apt = PrivateApt(sysroot.parent / f".apt-{arch}", arch)
    apt.update(distribution.mirror_of(wanted["suite"], mirror), wanted["suite"])
    version = apt.candidate(wanted["package"])
    if version is None:
        raise ToolError(
            f"expected the package {wanted['package']} for {arch} in {wanted['suite']}, "
            "found none: the distribution has moved on; name a mirror of an older day with "
            f"--mirror URL, or change third_party/{wanted['pins']}"
        )
    if version != wanted["version"]:
        say(f"  using version {version}; the one that was tried is {wanted['version']}")
    packages = apt.download(wanted["package"])
    sysroot.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{arch}.", dir=sysroot.parent) as temporary:
        made = Path(temporary) / "root"
        made.mkdir()
        unpack(packages, made)
        if not list(made.glob(f"usr/{wanted['file']}")):
            raise ToolError(
                f"expected {wanted['file']} in {wanted['package']} {version}, found none"
            )
        stamp = {
            "package": wanted["package"],
            "version": version,
            "files": sorted(path.name for path in packages),
            "fingerprint": _fingerprint(made),
        }
        (made / STAMP).write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
        if sysroot.exists():
            sysroot.rename(Path(temporary) / "old")
        made.rename(sysroot)
    say(f"{arch}: {wanted['package']} {version} and {len(packages) - 1} more packages")


def main() -> int:
    cache = cache_folder()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="sysroot", choices=WHATS)
    parser.add_argument(
        "--arch", choices=ARCHES, help="default: riscv64 for the sysroot, this machine's otherwise"
    )
    parser.add_argument("--check", action="store_true", help="only say whether it is whole")
    parser.add_argument("--offline", action="store_true", help="never touch the network")
    parser.add_argument("--force", action="store_true", help="make it again")
    parser.add_argument("--mirror", metavar="URL", help="take packages from this mirror")
    arguments = parser.parse_args()

    what, pins = arguments.what, f"{arguments.what}.toml"
    arch = arguments.arch or ("riscv64" if what == "sysroot" else distribution.OWN)
    wanted = tomllib.loads((ROOT / "third_party" / pins).read_text(encoding="utf-8"))
    folder = cache / what / arch
    again = "scripts/make_sysroot.py" + ("" if what == "sysroot" else f" {what}")
    with exclusive(cache / what / f".{arch}.lock", "make_sysroot.py"):
        wrong = problem(folder, wanted)
        if wrong is not None or arguments.force:
            if arguments.check or arguments.offline:
                raise ToolError(f"{wrong or 'nothing is wrong'}; run {again}")
            make(folder, wanted | {"pins": pins}, arch, arguments.mirror)
        else:
            say(f"{what} for {arch}: up to date")
    say(str(folder))
    return 0


if __name__ == "__main__":
    run_main(main)
