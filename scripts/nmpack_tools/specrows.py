# SPDX-License-Identifier: BSD-3-Clause
"""Tables of kernels/kernels.toml, and how their errors are said: where, expected, got."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NoReturn

from .console import ToolError

SPEC = "kernels.toml"


def bad(where: str, expected: str, got: object) -> NoReturn:
    raise ToolError(f"kernels/{SPEC}: {where}: expected {expected}, got {got!r}")


def rows(
    section: str, data: dict[str, Any], isas: Iterable[str] | None = None
) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """The tables of a section: name, where that is, content. Their names are instruction sets."""
    if not isinstance(data[section], dict):
        bad(section, "a table", data[section])
    for name, row in data[section].items():
        where = f"{section}.{name}"
        if isas is not None and name not in isas:
            bad(where, f"an instruction set of [isa] ({', '.join(isas)})", name)
        if not re.match(r"[a-z][a-z0-9]*\Z", name):
            bad(where, "a name of lower-case letters and digits", name)
        if not isinstance(row, dict):
            bad(where, "a table", row)
        yield name, where, row


def check_keys(
    where: str, row: dict[str, Any], required: Iterable[str], optional: Iterable[str]
) -> None:
    for key in required:
        if key not in row:
            bad(where, f"a key '{key}'", list(row))
    for key in row:
        if key not in {*required, *optional}:
            bad(where, f"only the keys {', '.join([*required, *optional])}", key)


def text(where: str, value: object) -> str:
    """A line as it will stand in a header of C, where a backslash at its end takes the next in."""
    if not isinstance(value, str) or not value.strip() or len(value.splitlines()) != 1:
        bad(where, "a line of text", value)
    if value.rstrip().endswith(("\\", "??/")):
        bad(where, "a line of text that does not go on in the next as C reads it", value)
    return value
