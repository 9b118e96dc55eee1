# SPDX-License-Identifier: BSD-3-Clause
"""A patch folder: ``series`` is the only order, and lists every patch file once."""

from __future__ import annotations

import email.header
import re
from dataclasses import dataclass
from pathlib import Path

from .console import ToolError

TRAILERS = ("Why-a-patch", "Origin", "Forwarded", "Last-Update")


@dataclass(frozen=True, slots=True)
class Series:
    """The patches of one source, in order."""

    folder: Path
    patches: tuple[Path, ...]

    def contents(self) -> dict[str, bytes]:
        """File name to bytes, in order."""
        return {patch.name: patch.read_bytes() for patch in self.patches}


def label(path: Path) -> str:
    """How a patch or series file is named to the user: the last three parts of its path."""
    return "/".join(path.parts[-3:])


def load_series(folder: Path) -> Series:
    """Reads ``series``; raises ToolError where it and the folder do not list the same files."""
    path = folder / "series"
    if not path.is_file():
        raise ToolError(
            f"{label(path)} is missing: it lists the patches in order (it may be empty)"
        )
    names: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        name = line.split("#", 1)[0].strip()
        if not name:
            continue
        if not re.match(r"[a-z0-9][a-z0-9.-]*\.patch\Z", name):
            raise ToolError(f"{label(path)} names {name!r}, expected kebab-case ending in .patch")
        if name in names:
            raise ToolError(f"{label(path)} names {name} twice")
        if not (folder / name).is_file():
            raise ToolError(f"{label(path)} names {name}, but there is no such file beside it")
        names.append(name)
    on_disk = {item.name for item in folder.iterdir() if item.suffix == ".patch"}
    if extra := on_disk - set(names):
        raise ToolError(f"{label(folder / min(extra))} is not listed in {label(path)}")
    return Series(folder, tuple(folder / name for name in names))


def patch_subject(content: bytes) -> str:
    """The unfolded Subject of a patch in mail form."""
    match = re.search(rb"^Subject: (.*(?:\n[ \t].*)*)", content, re.MULTILINE)
    if match is None:
        return ""
    text = re.sub(r"\r?\n[ \t]+", " ", match[1].decode("utf-8", "replace"))
    return str(email.header.make_header(email.header.decode_header(text))).strip()


def missing_trailers(content: bytes) -> list[str]:
    """Which of the required trailers the patch's message lacks."""
    message = (
        content.split(b"\n---\n", 1)[0].split(b"\ndiff --git ", 1)[0].decode("utf-8", "replace")
    )
    return [name for name in TRAILERS if not re.search(rf"^{name}: *\S", message, re.MULTILINE)]


def file_name(subject: str) -> str:
    """The name a new patch gets: its subject in kebab-case, cut at a word near 60 characters."""
    words = re.findall(r"[a-z0-9]+", subject.lower())
    name = ""
    for word in words:
        if name and len(name) + len(word) + 1 > 60:
            break
        name += f"-{word}" if name else word
    return f"{name or 'patch'}.patch"


def write_series(folder: Path, contents: dict[str, bytes]) -> list[str]:
    """Makes the folder hold exactly these patches in this order; returns what changed.

    Comment lines at the top of ``series`` stay. Files whose bytes are equal are left alone.
    """
    changes = []
    for name, content in contents.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            changes.append(f"{'updated' if path.exists() else 'new'}: {label(path)}")
            _replace(path, content)
    series = folder / "series"
    old = series.read_bytes() if series.exists() else b""
    if _names(old) != list(contents):
        head = []
        for line in old.decode().splitlines():
            if not line.startswith("#"):
                break
            head.append(line)
        _replace(series, "".join(f"{line}\n" for line in [*head, *contents]).encode())
        changes.append(f"updated: {label(series)}")
    for path in sorted(folder.glob("*.patch")):
        if path.name not in contents:
            path.unlink()
            changes.append(f"removed: {label(path)}")
    return changes


def _names(series: bytes) -> list[str]:
    lines = (line.split("#", 1)[0].strip() for line in series.decode().splitlines())
    return [line for line in lines if line]


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".tmp")
    fresh.write_bytes(content)
    fresh.replace(path)
