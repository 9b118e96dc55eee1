# SPDX-License-Identifier: BSD-3-Clause
"""How fast this machine copies memory that is in no cache: the slope of a roofline."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_LEAST, _MOST = 1 << 26, 1 << 29
_UNITS = {"K": 10, "M": 20, "G": 30}


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """The most bytes a second that ``threads`` threads copied, read and written ones together.

    ``buffer`` is how many bytes were copied from one place to another each time.
    """

    bytes_per_second: float
    threads: int
    buffer: int


def measure_bandwidth(threads: int = 1, *, repeat: int = 8) -> Bandwidth:
    """Copy a buffer four times as large as the largest cache, at most 512 MiB.

    Args:
        threads: that copy a part each, at the same time.
        repeat: copies; the fastest counts.
    """
    size = buffer_size(largest_cache())
    source = np.ones(size // 8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        best = min(_timed(lambda: _copy(pool, parts)) for _ in range(repeat))
    return Bandwidth(2 * source.nbytes / best, threads, source.nbytes)


def _copy(pool: ThreadPoolExecutor, parts: list[tuple[Array, Array]]) -> None:
    # numpy lets other threads run while it copies.
    for _ in pool.map(lambda pair: np.copyto(*pair), parts):
        pass


def _timed(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def buffer_size(cache: int) -> int:
    """Return how many bytes to copy beside a largest cache of so many."""
    return min(max(4 * cache, _LEAST), _MOST)


def largest_cache(folder: Path = _CACHES) -> int:
    """Return the bytes of the largest cache that Linux lists in ``folder``, 0 if it lists none."""
    sizes = [0]
    for path in folder.glob("index*/size"):
        try:
            text = path.read_text(encoding="ascii").strip()
            sizes.append(int(text.rstrip("KMG")) << _UNITS.get(text[-1:], 0))
        except (OSError, ValueError):
            continue
    return max(sizes)
