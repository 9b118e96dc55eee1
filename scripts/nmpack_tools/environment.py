# SPDX-License-Identifier: BSD-3-Clause
"""Virtual environments beside .venv that hold exactly what a lock file lists."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .console import ToolError, say

#: What the lock files are for.
VERSION = "3.11"
STAMP = "nmpack-lock.sha256"
_PIP = "-m pip --disable-pip-version-check --no-input install -q --progress-bar off --no-compile"


def make_environment(
    folder: Path, lock: Path, run: Callable[[list[str], str], str], options: Sequence[str] = ()
) -> Path:
    """Installs ``lock`` into ``folder``, unless it has been; returns its Python.

    ``run`` runs a command that is then called by its second argument, and raises ToolError;
    ``options`` are more of pip's.
    """
    python = os.environ.get("NMPACK_PYTHON", sys.executable)
    version = run([python, "-c", "import sys; print(sys.base_prefix, sys.version)"], "Python")
    if f" {VERSION}." not in version:
        raise ToolError(
            f"expected Python {VERSION}, which requirements/{lock.name} is for, "
            f"got {version.strip()}; name one with NMPACK_PYTHON"
        )
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    key = hashlib.sha256("\0".join([str(folder), version, *lines]).encode()).hexdigest()
    stamp, inner = folder / STAMP, folder / "bin/python"
    if not (stamp.is_file() and stamp.read_text() == key and inner.exists()):
        say(f"  installing requirements/{lock.name} into {folder.name}")
        shutil.rmtree(folder, ignore_errors=True)
        run([python, "-m", "venv", str(folder)], f"making {folder.name}")
        run([str(inner), *_PIP.split(), "--no-deps", *options, "-r", str(lock)], "pip")
        stamp.write_text(key)
    return inner
