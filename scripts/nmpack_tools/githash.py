# SPDX-License-Identifier: BSD-3-Clause
"""Git's content hashes in pure Python, so that a source can be verified without git."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def file_blob_id(path: Path) -> str:
    """The blob id of a regular file, or of a symbolic link's target."""
    if path.is_symlink():
        return blob_id(os.fsencode(path.readlink()))
    return blob_id(path.read_bytes())


def tree_id(folder: Path) -> str:
    """The id git would give this folder's tree: contents, names, executable bits, symbolic links.

    Empty folders do not count, as in git. A ``.git`` folder at the top is left out.
    """
    return _tree(folder, top=True) or _hash_tree(b"")


def _hash_tree(body: bytes) -> str:
    return hashlib.sha1(b"tree %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def _tree(folder: Path, top: bool = False) -> str | None:
    rows: list[tuple[bytes, bytes, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if top and entry.name == ".git":
                continue
            name = os.fsencode(entry.name)
            path = Path(entry.path)
            if entry.is_symlink():
                rows.append((name, b"120000", file_blob_id(path)))
            elif entry.is_dir():
                inner = _tree(path)
                if inner is not None:
                    # Git sorts a folder as if its name ended in a slash.
                    rows.append((name + b"/", b"40000", inner))
            else:
                executable = entry.stat().st_mode & stat.S_IXUSR
                rows.append((name, b"100755" if executable else b"100644", file_blob_id(path)))
    if not rows:
        return None
    rows.sort()
    body = b"".join(
        mode + b" " + name.rstrip(b"/") + b"\0" + bytes.fromhex(oid) for name, mode, oid in rows
    )
    return _hash_tree(body)


def fingerprint(folder: Path) -> str:
    """A quick look at every file's name, size, mode and times, without reading the contents."""
    digest = hashlib.sha256()
    stack = [folder]
    while stack:
        with os.scandir(stack.pop()) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != ".git":
                    stack.append(Path(entry.path))
                continue
            info = entry.stat(follow_symlinks=False)
            path = os.path.relpath(entry.path, folder)
            row = f"{path}\0{info.st_size}\0{info.st_mode}\0{info.st_mtime_ns}\n"
            digest.update(os.fsencode(row))
    return digest.hexdigest()
