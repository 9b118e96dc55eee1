# SPDX-License-Identifier: BSD-3-Clause
"""JSON that others wrote: read strictly, each value checked where it is taken out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nmpack.errors import NmpackError
from nmpack.tflite.names import printable

LARGEST = 2**62
_LONGEST = 200
_LARGEST_FILE = 1 << 24


class FormatError(NmpackError, ValueError):
    """What somebody else wrote is not what was agreed; the message is the rest of a sentence."""


def parse_object(text: str) -> dict[str, Any]:
    """Read one JSON object: no NaN, no infinity, no key twice.

    Raises:
        FormatError: it is something else.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected JSON, got {shown(text)} ({error})") from error
    if not isinstance(value, dict):
        raise FormatError(f"expected a JSON object, got {shown(text)}")
    return value


def load_object(path: str | Path) -> dict[str, Any]:
    """Read a file of one JSON object, as :func:`parse_object` does.

    Raises:
        FormatError: it is something else, or longer than 16 MiB.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        data = file.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise FormatError(f"it has more than {_LARGEST_FILE} bytes")
    try:
        return parse_object(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError("it is not UTF-8") from error


def shown(value: object) -> str:
    """Return a value as a message may show it: printable and short."""
    text = value if isinstance(value, str) else repr(value)
    return repr(printable(text[:60]) + ("…" if len(text) > 60 else ""))


def require_keys(value: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Check that these keys are there and no other.

    Raises:
        FormatError: one is missing or unknown.
    """
    wanted = set(keys)
    if missing := sorted(wanted - value.keys()):
        raise FormatError(f"it has no {missing[0]!r}")
    if unknown := sorted(value.keys() - wanted):
        raise FormatError(f"it has an unknown {shown(unknown[0])}")


def whole(value: Mapping[str, Any], key: str, least: int = 0, most: int = LARGEST) -> int:
    """Take out a whole number."""
    found = value[key]
    if type(found) is not int or not least <= found <= most:
        raise FormatError(
            f"{key!r} is to be a whole number from {least} to {most}, got {shown(found)}"
        )
    return found


def number(found: object, what: str, *, above: float = 0.0) -> float:
    """Return a finite number above a bound."""
    if type(found) not in (int, float):
        raise FormatError(f"{what} is to be a number, got {shown(found)}")
    try:
        real = float(found)  # type: ignore[arg-type]
    except OverflowError:
        real = math.inf
    if not math.isfinite(real) or real <= above:
        raise FormatError(f"{what} is to be a number above {above:g}, got {shown(found)}")
    return real


def text(value: Mapping[str, Any], key: str, *, empty: bool = False) -> str:
    """Take out a short printable text."""
    found = value[key]
    good = isinstance(found, str) and len(found) <= _LONGEST and found.isprintable()
    if not good or not (found or empty):
        raise FormatError(f"{key!r} is to be a short text, got {shown(found)}")
    return str(found)


def items(value: Mapping[str, Any], key: str, most: int) -> list[Any]:
    """Take out a list of at most so many items."""
    found = value[key]
    if not isinstance(found, list) or len(found) > most:
        raise FormatError(f"{key!r} is to be a list of at most {most}, got {shown(found)}")
    return found


def _no_constant(name: str) -> Any:
    raise FormatError(f"expected numbers, got {name}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise FormatError(f"it has {shown(key)} twice")
        found[key] = value
    return found
