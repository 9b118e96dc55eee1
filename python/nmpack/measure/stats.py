# SPDX-License-Identifier: BSD-3-Clause
"""Medians with their spread: what a timing table may say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Summary:
    """Median and quartiles of ``n`` values, in the unit of the values."""

    n: int
    median: float
    q1: float
    q3: float
    least: float
    largest: float

    @property
    def iqr(self) -> float:
        """Distance between the quartiles."""
        return self.q3 - self.q1

    def to_dict(self) -> dict[str, float]:
        """Return the fields and the interquartile range."""
        return asdict(self) | {"iqr": self.iqr}

    def milliseconds(self) -> dict[str, float]:
        """Return a summary of seconds as :meth:`to_dict` does, in milliseconds."""
        return {key: x if key == "n" else 1e3 * x for key, x in self.to_dict().items()}


def milliseconds(rounds: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return seconds, by round, in milliseconds."""
    return [[1e3 * value for value in row] for row in rounds]


def summarise(values: Sequence[float]) -> Summary:
    """Summarise at least one value."""
    q1, median, q3 = (float(value) for value in np.percentile(values, [25, 50, 75]))
    return Summary(len(values), median, q1, q3, float(min(values)), float(max(values)))


def paired_ratios(slow: Sequence[Sequence[float]], fast: Sequence[Sequence[float]]) -> Summary:
    """Summarise median(slow) / median(fast), one ratio a round, so that drift cancels."""
    return summarise([float(np.median(a) / np.median(b)) for a, b in zip(slow, fast, strict=True)])
