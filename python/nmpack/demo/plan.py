# SPDX-License-Identifier: BSD-3-Clause
"""How long each stage of the demo takes, set-up included, and so how much is left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Plan:
    """Seconds of each stage, in the demo's order, and how fast this machine is against them."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        """Expect ``seconds``; without any, nothing is said of time."""
        self._seconds = dict(seconds)
        self._expected = self._taken = 0.0

    def took(self, name: str, seconds: float) -> None:
        """Learn from a stage that was done."""
        self._expected += self._seconds.get(name, 0.0)
        self._taken += seconds

    def expects(self, name: str) -> float:
        """Return the seconds that the stage ``name`` will take here, 0 where it is not planned."""
        scale = self._taken / self._expected if self._expected and self._taken else 1.0
        return self._seconds.get(name, 0.0) * scale

    def after(self, name: str) -> float:
        """Return the seconds from the end of the stage ``name`` to the end of the demo."""
        names = list(self._seconds)
        later = names[names.index(name) + 1 :] if name in names else []
        return sum(self.expects(item) for item in later)

    def announce(self, name: str) -> str:
        """Say how long the stage will take and how much is left, or nothing where it is unknown."""
        seconds = self.expects(name)
        if not seconds:
            return ""
        return f": about {duration(seconds)}, {duration(seconds + self.after(name))} to the end"


def read_plan(path: Path) -> Plan:
    """Read stages and seconds from ``scripts/demo_plan.txt``; no file is a plan of nothing."""
    if not path.is_file():
        return Plan({})
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return Plan({row[0]: float(row[1]) for row in rows if row and not row[0].startswith("#")})


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
