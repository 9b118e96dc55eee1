# SPDX-License-Identifier: BSD-3-Clause
"""Seconds to spend over layers, those that matter most first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from nmpack.errors import NmpackError


class Budget:
    """Seconds, of which each layer gets its share; what one leaves is for those behind it.

    Args:
        seconds: to spend.
        shares: of the layers' time in the network, in any unit, in the order they are tuned in.
    """

    def __init__(
        self, seconds: float, shares: Sequence[float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the clock.

        Raises:
            NmpackError: there are no seconds.
        """
        if not seconds > 0.0:
            raise NmpackError(f"a budget is of more than 0 seconds, got {seconds:g}")
        self._clock, self._shares, self._next = clock, list(shares), 0
        self._end = clock() + seconds
        self._until = self._end

    @property
    def left(self) -> float:
        """Seconds, of all layers together; never below 0."""
        return max(0.0, self._end - self._clock())

    @property
    def spent(self) -> bool:
        """Whether the present layer's time is over."""
        return self._clock() >= self._until

    def begin(self) -> None:
        """Begin the next layer."""
        # Of the square roots: a layer of a hundredth of the time still is to be told apart.
        roots = [value**0.5 for value in self._shares[self._next :]]
        share = roots[0] / sum(roots) if sum(roots) > 0.0 else 1.0
        self._until = self._clock() + self.left * share
        self._next += 1
