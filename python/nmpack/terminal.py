# SPDX-License-Identifier: BSD-3-Clause
"""Tables and text on a terminal: rich's, or plain ones with the same names where rich is absent."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TextIO

#: Whether rich is installed here.
RICH = find_spec("rich") is not None


class PlainTable:
    """Columns of text under their headers; what of :class:`rich.table.Table` is used here."""

    def __init__(self, *headers: str, title: str = "", **_style: object) -> None:
        """Start a table with these columns, and perhaps others that are added."""
        self.title = title
        self.caption: str | None = None
        self._headers: list[str] = []
        self._right: list[bool] = []
        self._rows: list[tuple[str, ...]] = []
        for header in headers:
            self.add_column(header)

    def add_column(self, header: str, *, justify: str = "left", **_style: object) -> None:
        """Add a column; ``justify`` is ``left`` or ``right``."""
        self._headers.append(header)
        self._right.append(justify == "right")

    def add_row(self, *cells: str) -> None:
        """Add a row: a text for each column, the last ones of which may be missing."""
        missing = [""] * (len(self._headers) - len(cells))
        self._rows.append((*(" ".join(cell.split()) for cell in cells), *missing))

    def __str__(self) -> str:
        """Return all of it, no line ending in blanks."""
        rows = [tuple(self._headers), *self._rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [self._line(row, widths) for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*filter(None, [self.title]), *lines, *filter(None, [self.caption])])

    def _line(self, row: tuple[str, ...], widths: list[int]) -> str:
        cells = zip(row, widths, self._right, strict=True)
        return "  ".join(
            cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells
        ).rstrip()


class PlainConsole:
    """Prints text as it is; what of :class:`rich.console.Console` is used here."""

    def __init__(self, *, file: TextIO | None = None, **_style: object) -> None:
        """Print to ``file``, standard output by default."""
        self._file = file
        self.width = shutil.get_terminal_size().columns

    @property
    def is_terminal(self) -> bool:
        """Whether someone watches."""
        return (self._file or sys.stdout).isatty()

    def print(self, text: object = "", **_style: object) -> None:
        """Print a text or a table."""
        print(text, file=self._file or sys.stdout, flush=True)


class PlainProgress:
    """Draws no bar."""

    disable = True

    def update(self, _task: object, **_state: Any) -> None:
        """Take note of nothing."""

    def advance(self, _task: object, _by: float = 1) -> None:
        """Take note of nothing."""


if TYPE_CHECKING:
    from rich.console import Console as Console
    from rich.table import Table as Table
elif RICH:
    from rich.console import Console
    from rich.table import Table
else:
    Console, Table = PlainConsole, PlainTable
