# SPDX-License-Identifier: BSD-3-Clause
"""What must end with the block that uses it."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

_Itself = TypeVar("_Itself", bound="Ended")


def signal_name(number: int) -> str:
    """Return the name of a signal; real-time ones have none."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


class Ended(ABC):
    """A context around what holds something: closed at its end.

    A child process is killed first if an error leaves the context.
    """

    @abstractmethod
    def kill(self) -> None:
        """End the child by force, if there is one."""

    @abstractmethod
    def close(self) -> None:
        """End the child, if there is one, and give back what was held."""

    def __enter__(self: _Itself) -> _Itself:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        if error is not None:
            self.kill()
        self.close()
