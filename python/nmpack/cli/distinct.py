# SPDX-License-Identifier: BSD-3-Clause
"""Files that a command reads and those that it writes are different ones."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from nmpack.errors import NmpackError

#: Arguments that name files to read. A test finds those that are in neither tuple.
READ = (
    *("model", "models", "checkpoint", "baseline", "accuracy", "accuracy_model", "plan", "input"),
    *("record", "calibrate", "data", "source", "board", "key", "program", "delegate", "extra"),
)
#: Those that name files to write.
WRITTEN = (
    *("output", "json", "csv", "plot", "overlay", "export", "sensitivity", "database"),
    "write_baseline",
)
#: Options of the delegate that name a file to read, and to write.
_READ_BY_DELEGATE = ("tuning",)
_WRITTEN_BY_DELEGATE = ("report", "profile")


def require_distinct(arguments: argparse.Namespace) -> None:
    """Check that nothing is written over a file that is read, or written twice.

    Raises:
        NmpackError: two arguments name one file, if by other paths, links among them.
    """
    seen: dict[object, str] = {}
    for _, path in (*_named(arguments, READ), *_of_delegate(arguments, _READ_BY_DELEGATE)):
        state = _state(path)
        if state is not None:
            seen[state.st_dev, state.st_ino] = "read"
    written = _of_delegate(arguments, _WRITTEN_BY_DELEGATE)
    for option, path in (*_named(arguments, WRITTEN), *written):
        state = _state(path)
        if state is not None and not stat.S_ISREG(state.st_mode):
            continue
        place = Path(path).absolute() if state is None else (state.st_dev, state.st_ino)
        if place in seen:
            raise NmpackError(
                f"{option}: expected a file of its own to write, got {path}, which is "
                f"{seen[place]} by this command too"
            )
        seen[place] = "written"


def _named(
    arguments: argparse.Namespace, names: tuple[str, ...]
) -> Iterator[tuple[str, str | Path]]:
    """Yield options and the paths that they name."""
    for name in names:
        value = getattr(arguments, name, None)
        for path in value if isinstance(value, list | tuple) else [value]:
            if path:
                given = str(path).partition("=")[2] if name == "extra" else path
                yield f"--{name.replace('_', '-')}", given


def _of_delegate(
    arguments: argparse.Namespace, names: tuple[str, ...]
) -> Iterator[tuple[str, str | Path]]:
    """Yield options of the delegate and the paths that they name."""
    for item in getattr(arguments, "option", None) or ():
        key, _, path = item.partition("=")
        if key in names and path:
            yield f"--option {key}", path


def _state(path: str | Path) -> os.stat_result | None:
    """What the system says of a file, nothing where it cannot be reached."""
    try:
        return Path(path).stat()
    except (OSError, ValueError):
        return None
