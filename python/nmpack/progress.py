# SPDX-License-Identifier: BSD-3-Clause
"""How long work says how far it is. The library draws nothing; :mod:`nmpack.cli.progress` does."""

from __future__ import annotations

from collections.abc import Callable

#: Called with (done, total) after each step.
Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Say nothing."""
