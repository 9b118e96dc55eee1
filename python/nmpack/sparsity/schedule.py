# SPDX-License-Identifier: BSD-3-Clause
"""When masks are computed, and how far pruned they are by then: one rule for every framework.

Steps are optimizer steps, counted from 0; a mask that is due at step s is computed after s steps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nmpack.errors import PatternError


@dataclass(frozen=True, slots=True)
class OneShot:
    """One mask, computed at step 0 and held."""

    @property
    def feedback(self) -> bool:
        """No gradient reaches pruned weights."""
        return False

    @property
    def decay(self) -> float:
        """Pruned weights need none."""
        return 0.0

    def progress(self, _step: int) -> float:
        """Return 1: all of the way at once."""
        return 1.0

    def due(self, step: int) -> bool:
        """Tell whether a mask is computed after ``step`` steps."""
        return step == 0


@dataclass(frozen=True, slots=True)
class Gradual:
    """From dense to the pattern by a cubic (Zhu & Gupta 2017), a mask every ``every`` steps.

    The pruned share is ``1 - (1 - t) ** 3`` of the final one at the fraction t of the way from step
    ``begin`` to ``end``: fast while weights are redundant, slow at the end. Columns never return.

    Raises:
        PatternError: not ``0 <= begin < end``, or ``every`` is below 1.
    """

    end: int
    begin: int = 0
    every: int = 100

    def __post_init__(self) -> None:
        """Check the range."""
        _require_steps(self.begin, self.end, self.every)

    @property
    def feedback(self) -> bool:
        """No gradient reaches pruned weights."""
        return False

    @property
    def decay(self) -> float:
        """Pruned weights need none."""
        return 0.0

    def progress(self, step: int) -> float:
        """Return the share of the final pruning that is reached after ``step`` steps."""
        t = min(max((step - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return 1.0 - (1.0 - t) ** 3

    def due(self, step: int) -> bool:
        """Tell whether a mask is computed after ``step`` steps."""
        inside = self.begin <= step <= self.end
        return step == 0 or (inside and ((step - self.begin) % self.every == 0 or step == self.end))


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Pruning with feedback (Lin et al. 2020): the mask is computed anew every ``every`` steps.

    All weights go on learning through a straight-through gradient, pruned ones with the additional
    decay of SR-STE (Zhou et al. 2021): the gradient of ``decay / 2 * w ** 2``. After step ``end``
    the mask is held and gradients reach kept weights alone, so that the rest of the training tunes
    what will be executed. With ``warm_up`` steps the way to the pattern is cubic as in
    :class:`Gradual`.

    Raises:
        PatternError: not ``0 <= warm_up <= end``, ``every`` below 1, or a negative ``decay``.
    """

    end: int
    every: int = 16
    decay: float = 2e-4
    warm_up: int = 0

    def __post_init__(self) -> None:
        """Check the range."""
        _require_steps(0, self.end, self.every)
        if not 0 <= self.warm_up <= self.end:
            raise PatternError(
                f"warm_up must be at least 0 and at most end={self.end}, got {self.warm_up}"
            )
        if self.decay < 0.0:
            raise PatternError(f"decay must be at least 0, got {self.decay!r}")

    @property
    def feedback(self) -> bool:
        """Pruned weights go on learning."""
        return True

    def progress(self, step: int) -> float:
        """Return the share of the final pruning that is reached after ``step`` steps."""
        if step >= self.warm_up:
            return 1.0
        return 1.0 - (1.0 - step / self.warm_up) ** 3

    def due(self, step: int) -> bool:
        """Tell whether a mask is computed after ``step`` steps."""
        return step <= self.end and (step % self.every == 0 or step in (self.end, self.warm_up))


#: What decides when masks are computed.
Schedule = OneShot | Gradual | Dynamic


def to_dict(schedule: Schedule) -> dict[str, Any]:
    """Return plain values, to compare and to keep."""
    return {"kind": type(schedule).__name__.lower(), **asdict(schedule)}


def _require_steps(begin: int, end: int, every: int) -> None:
    if not 0 <= begin < end:
        raise PatternError(f"a schedule needs 0 <= begin < end, got begin={begin}, end={end}")
    if every < 1:
        raise PatternError(f"masks are computed every 1 or more steps, got every={every}")
