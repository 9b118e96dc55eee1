# SPDX-License-Identifier: BSD-3-Clause
"""Terminals: a console for results, and bars for long work on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nmpack.terminal import RICH, Console, PlainProgress


def console(*, stderr: bool = False) -> Console:
    """Return a console: the terminal's width, or 200 columns in a file.

    Names of files and layers are printed as they are: brackets in them are no markup.
    """
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 200
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[tuple[Any, Any]]:
    """Show a bar (or a spinner without ``total``) on stderr; yields it and its task.

    Where nobody watches, or rich is not installed, nothing is shown.
    """
    terminal = console(stderr=True)
    if not (RICH and terminal.is_terminal):
        yield PlainProgress(), None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    bar = [BarColumn(), MofNCompleteColumn()] if total is not None else []
    with Progress(*columns, *bar, TimeElapsedColumn(), console=terminal, transient=True) as shown:
        yield shown, shown.add_task(what, total=total)


@contextmanager
def counter(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar; yields what to call with (done, total), as the library's functions do."""
    with progress(what, 1) as (shown, task):
        yield lambda done, total: shown.update(task, completed=done, total=total)
