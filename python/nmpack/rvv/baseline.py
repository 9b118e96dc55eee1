# SPDX-License-Identifier: BSD-3-Clause
"""Compare a report with a committed one: what got slower, row by row.

A baseline holds its own settings, so that comparing and renewing need no others:
``{"schema": 1, "settings": {...}, "rows": {network: {variant: {row: {"instructions", "cycles",
"kernel"}}}}}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nmpack.errors import NmpackError
from nmpack.rvv.report import Report, rows_by_name

TOLERANCE = 0.02
_COUNTS = ("instructions", "cycles")


class RegressionError(NmpackError):
    """A row executes more than its baseline allows."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a report is of: zoo networks, see ``nmpack rvv-report --help``."""

    networks: tuple[str, ...]
    input_size: int | None
    densities: tuple[float, ...]
    tiles: tuple[int, ...]
    vlen: int
    upstream: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One count of one row, before and now; None where the row is missing."""

    row: str
    kernel: str
    count: str
    before: float | None
    now: float | None

    @property
    def growth(self) -> float:
        """Share by which it grew, negative when it shrank."""
        if self.before is None or self.now is None:
            return 0.0
        return self.now / self.before - 1.0 if self.before else float(self.now > 0)

    def __str__(self) -> str:
        """Say what changed, with the numbers."""
        if self.before is None:
            return f"{self.row} is new ({self.kernel})"
        if self.now is None:
            return f"{self.row} is gone ({self.kernel} before)"
        unit = "instructions" if self.count == "instructions" else "modelled cycles"
        return (
            f"{self.row} ({self.kernel}): {self.now:,.0f} {unit}, {self.before:,.0f} before "
            f"({100 * self.growth:+.2f} %)"
        )


def rows_of(report: Report) -> dict[str, Any]:
    """Return the rows of a report as a baseline holds them."""
    return {
        network.name: {
            result.variant.name: {
                name: {
                    "instructions": totals.instructions,
                    "cycles": None if totals.cycles is None else round(totals.cycles),
                    "kernel": kernel,
                }
                for name, (kernel, totals) in rows_by_name(result).items()
            }
            for result in network.results
        }
        for network in report.networks
    }


def to_dict(report: Report, settings: Settings) -> dict[str, Any]:
    """Return a baseline for JSON."""
    return {
        "schema": 1,
        "settings": asdict(settings),
        "model": report.model,
        "rows": rows_of(report),
    }


def read(path: str | Path) -> tuple[Settings, Mapping[str, Any]]:
    """Read a baseline: its settings and its rows.

    Raises:
        NmpackError: it cannot be read, or is none.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NmpackError(f"{path}: the baseline cannot be read: {error}") from error
    try:
        if content["schema"] != 1:
            raise ValueError(f"its schema is {content['schema']}, not 1")
        given = content["settings"]
        settings = Settings(
            tuple(map(str, given["networks"])),
            None if given["input_size"] is None else int(given["input_size"]),
            tuple(map(float, given["densities"])),
            tuple(map(int, given["tiles"])),
            int(given["vlen"]),
            bool(given["upstream"]),
        )
        rows = content["rows"]
        for *_, row in _flat(rows):
            if any(not isinstance(row[count], int | None) for count in _COUNTS):
                raise ValueError("a count is no whole number")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NmpackError(f"{path}: not a usable baseline: {error}") from error
    return settings, rows


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Return every count that differs, in the order of ``now``; rows that are gone come last."""
    old = {tuple(keys): row for *keys, row in _flat(before)}
    new = {tuple(keys): row for *keys, row in _flat(now)}
    found = []
    for keys, row in new.items():
        label, last = ", ".join(keys), old.get(keys)
        if last is None:
            found.append(Change(label, row["kernel"], "instructions", None, row["instructions"]))
            continue
        for count in _COUNTS:
            if row[count] != last[count] and None not in (row[count], last[count]):
                found.append(Change(label, row["kernel"], count, last[count], row[count]))
    for keys, row in old.items():
        if keys not in new:
            count = row["instructions"]
            found.append(Change(", ".join(keys), row["kernel"], "instructions", count, None))
    return found


def require_no_regression(found: list[Change], tolerance: float, renew: str) -> None:
    """Fail where a count grew by more than ``tolerance`` or a row is gone.

    Args:
        found: of :func:`changes`.
        tolerance: a share, such as 0.02.
        renew: the command that writes the baseline again.

    Raises:
        RegressionError: the message has a line for each such row.
    """
    worse = [item for item in found if item.growth > tolerance or item.now is None]
    if worse:
        lines = "\n".join(f"  {item}" for item in worse)
        raise RegressionError(
            f"{len(worse)} counts are gone or over {100 * tolerance:g} % above the baseline:\n"
            f"{lines}\n"
            f"if that is intended, renew it: {renew}"
        )


def _flat(rows: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    for network, variants in rows.items():
        for variant, entries in variants.items():
            for name, row in entries.items():
                yield network, variant, name, row
