# SPDX-License-Identifier: BSD-3-Clause
"""What must end with the block that uses it."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import Self


def signal_name(number: int) -> str:
    """Return the name of a signal; real-time ones have none."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


class Ended(ABC):
    """A context around a child process: closed at its end, killed first if an error leaves it."""

    @abstractmethod
    def kill(self) -> None:
        """End the child by force."""

    @abstractmethod
    def close(self) -> None:
        """End the child and give back what it held."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child."""
        if error is not None:
            self.kill()
        self.close()
