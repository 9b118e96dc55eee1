# SPDX-License-Identifier: BSD-3-Clause
"""Looks after what a soak leaves behind: memory, threads and open files."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path

WARM_UP = 30  # sequences: libraries, kernels' tables and the heap's holes
EVERY = 5
#: Fewer checkpoints than these say nothing about growth.
CHECKPOINTS = 8
MIB = 1 << 20
#: Growth that is no leak: so many MiB and, for each sequence, KiB. The stock interpreter alone
#: grows by 6 MiB and 0.24 MiB in 1,000 sequences.
BOUNDS = {"resident": (16.0, 4.0), "allocated": (1.0, 1.0)}
_LIBC = ctypes.CDLL(None)


class _Heap(ctypes.Structure):
    """glibc's struct mallinfo2, of all its arenas."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


_LIBC.mallinfo2.restype = _Heap


def _folder_size(folder: str) -> int:
    return len(list(Path(folder).iterdir()))


@dataclass
class Memory:
    """Checkpoints between sequences, when no interpreter and no delegate is there.

    What is allocated shows small leaks, and resident memory what did not come from malloc. The
    latter grows a little without any leak, because what stays lies between holes.
    """

    seen: dict[str, list[float]] = field(default_factory=dict)

    def look(self, sequences: int) -> None:
        """Look after so many sequences."""
        if sequences < WARM_UP or sequences % EVERY:
            return
        gc.collect()
        _LIBC.malloc_trim(0)
        heap = _LIBC.mallinfo2()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        for name, value in (
            ("resident", pages * os.sysconf("SC_PAGE_SIZE") / MIB),
            ("allocated", (heap.uordblks + heap.hblkhd) / MIB),
            ("threads", _folder_size("/proc/self/task")),
            ("files", _folder_size("/proc/self/fd")),
        ):
            self.seen.setdefault(name, []).append(value)

    def growth(self, name: str) -> float:
        """Return by how much the last quarter of checkpoints is above the first."""
        seen = self.seen[name]
        quarter = len(seen) // 4
        return statistics.median(seen[-quarter:]) - statistics.median(seen[:quarter])

    def complaints(self) -> list[str]:
        """Say what stayed behind."""
        result = []
        for name in ("threads", "files"):
            counts = self.seen.get(name)
            if counts and counts[-1] > counts[0]:
                result.append(f"expected {counts[0]} {name} between sequences, got {counts[-1]}")
        # A sanitizer keeps freed memory to itself.
        if self._enough() and "asan" not in os.environ.get("LD_PRELOAD", ""):
            for name, (always, each) in BOUNDS.items():
                bound = always + each * EVERY * len(self.seen[name]) / 1024
                if self.growth(name) > bound:
                    result.append(f"expected {name} memory to grow by {bound:.2f} MiB at most, got "
                                  f"{self.growth(name):.2f}")  # fmt: skip
        return result

    def _enough(self) -> bool:
        return len(self.seen.get("resident", ())) >= CHECKPOINTS

    def __str__(self) -> str:
        if not self._enough():
            return "memory was not watched for so few sequences"
        return ", ".join(
            f"{name} memory {self.seen[name][0]:.1f} MiB after {WARM_UP} sequences and "
            f"{self.seen[name][-1]:.1f} at the end, grown by {self.growth(name):.3f}"
            for name in BOUNDS
        )
