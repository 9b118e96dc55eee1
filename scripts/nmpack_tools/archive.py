# SPDX-License-Identifier: BSD-3-Clause
"""Unpacks a source archive that nobody has vouched for yet."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePath, PurePosixPath

from .console import ToolError

_DAMAGE: tuple[type[Exception], ...] = (tarfile.TarError, zlib.error, EOFError, OSError)
try:
    import lzma

    _DAMAGE += (lzma.LZMAError,)
except ImportError:  # a Python built without it; tarfile says so when an archive needs it
    pass


class ArchiveError(ToolError):
    """The archive itself is at fault: damaged, or not fit to be unpacked."""


# Far above any source pinned here: a stop for archives made to fill the disk.
_MAX_BYTES = 4 << 30
_MAX_MEMBERS = 500_000


def unpack(archive: Path, target: Path, only: Collection[str] | None = None) -> None:
    """Unpacks ``archive`` into the new folder ``target``, without its top folder if it has one.

    Only regular files, folders and symbolic links are accepted, and nothing may lead out of
    ``target``. With ``only``, just those paths (relative to the top folder) are written.
    """
    target.mkdir(parents=True)
    staging = target / "unpacked"
    staging.mkdir()
    try:
        with tarfile.open(archive, "r|*") as tar:
            links = _extract(tar, archive.name, staging, only)
    except tarfile.CompressionError as error:
        raise ToolError(f"this Python cannot unpack {archive.name}: {error}") from None
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the archive's
        raise ArchiveError(f"{archive.name} is truncated or damaged ({error})") from None
    root = staging
    entries = list(staging.iterdir())
    one_folder = len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink()
    if one_folder and not any((staging / name).is_file() for name in only or ()):
        root = entries[0]
    for link in links:
        if not _stays_inside(link.relative_to(root), PurePosixPath(link.readlink())):
            raise ArchiveError(
                f"{archive.name} holds the link {link.relative_to(root)} to {link.readlink()}, "
                "which leads outside: refused"
            )
    for entry in list(root.iterdir()):
        entry.rename(target / f".moving-{entry.name}")
    shutil.rmtree(staging)
    for entry in list(target.iterdir()):
        entry.rename(target / entry.name.removeprefix(".moving-"))


def _extract(
    tar: tarfile.TarFile, label: str, folder: Path, only: Collection[str] | None
) -> list[Path]:
    """Writes the members; returns the symbolic links among them."""
    links: list[tuple[Path, str]] = []
    total = 0
    for count, member in enumerate(tar, 1):
        name = _safe_name(label, member)
        total += member.size
        if total > _MAX_BYTES or count > _MAX_MEMBERS:
            raise ArchiveError(f"{label} unpacks to more than {_MAX_BYTES >> 30} GiB: refused")
        if name is None or member.isdir():
            continue
        inner = str(PurePosixPath(*name.parts[1:]))
        if only is not None and str(name) not in only and inner not in only:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise ArchiveError(f"{label} holds {name} twice: refused")
        if member.issym():
            links.append((path, member.linkname))
            continue
        source = tar.extractfile(member)
        assert source is not None
        with path.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
        if path.stat().st_size != member.size:
            raise ArchiveError(f"{label} is truncated or damaged (inside {name})")
        path.chmod(0o755 if member.mode & 0o100 else 0o644)
    # Links come last, so that no file is ever written through one.
    for path, link in links:
        if path.exists():
            raise ArchiveError(f"{label} holds {path.name} twice: refused")
        path.symlink_to(link)
    return [path for path, _ in links]


def _stays_inside(link: PurePath, target: PurePosixPath) -> bool:
    """Whether a link at this place of the tree leads to a place of the tree."""
    if target.is_absolute():
        return False
    depth = len(link.parts) - 1
    for part in target.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return False
    return True


def _safe_name(label: str, member: tarfile.TarInfo) -> PurePosixPath | None:
    """The member's path if it is of an accepted kind and stays inside; None for the root."""
    if not (member.isreg() or member.isdir() or member.issym()):
        raise ArchiveError(f"{label} holds {member.name!r}, neither file, folder nor symbolic link")
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise ArchiveError(f"{label} holds the path {member.name!r}, which leads outside: refused")
    return name if name.parts else None
