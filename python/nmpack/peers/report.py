# SPDX-License-Identifier: BSD-3-Clause
"""What a comparison with peers found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nmpack.measure.stats import Summary, milliseconds, paired_ratios, summarise
from nmpack.peers.contenders import Contender

#: Cores above the number of threads that are still no sign of further threads.
_CORE_SLACK = 0.1


@dataclass(frozen=True, slots=True)
class PeerTiming:
    """One contender: its times, or why there are none.

    Attributes:
        rounds: seconds of each measured run, one tuple a round.
        peak_memory, memory_before: resident bytes of its process, at its peak and before it opened
            the network.
        difference: of its output from the interpreter's, out of the largest magnitude.
        cores_used: processor time of all its threads over the time passed, while measured.
        settings: what it says of its threads, precision and layout.
        reason: why it was not timed, in one sentence.
    """

    contender: Contender
    rounds: tuple[tuple[float, ...], ...] = ()
    peak_memory: int = 0
    memory_before: int = 0
    difference: float | None = None
    cores_used: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def seconds(self) -> Summary | None:
        """Summary over all runs, in seconds; None without any."""
        values = [value for row in self.rounds for value in row]
        return summarise(values) if values else None

    @property
    def processor_seconds(self) -> float | None:
        """Processor time of a run in all threads, on average; a busy machine does not add to it."""
        values = [value for row in self.rounds for value in row]
        return self.cores_used * sum(values) / len(values) if values else None

    def used_more_cores(self, threads: int) -> bool:
        """Whether it kept more cores busy than it was given threads: its times do not compare."""
        return self.cores_used > threads + _CORE_SLACK

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; times are in milliseconds, None without any."""
        seconds, processor = self.seconds, self.processor_seconds
        return {
            "engine": self.contender.to_dict() | {"settings": dict(self.settings)},
            "milliseconds": None if seconds is None else seconds.milliseconds(),
            "rounds_ms": milliseconds(self.rounds),
            "peak_memory_bytes": self.peak_memory,
            "memory_before_bytes": self.memory_before,
            "difference": self.difference,
            "cores_used": self.cores_used,
            "processor_ms": None if processor is None else 1e3 * processor,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class PeerReport:
    """The timings in order, the interpreter's first and ours second."""

    timings: tuple[PeerTiming, ...]
    model: str
    threads: int
    seed: int
    versions: dict[str, str]
    machine: dict[str, Any]

    def speedup(self, contender: Contender, baseline: Contender) -> Summary | None:
        """Return how much faster one is than another, over the rounds; None where one has none."""
        rows = {item.contender: item.rounds for item in self.timings}
        slow, fast = rows.get(baseline, ()), rows.get(contender, ())
        return paired_ratios(slow, fast) if slow and fast else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``schema`` is 1, as for a benchmark without peers."""
        built_in, *others = (item.contender for item in self.timings)
        pairs = [(who, built_in) for who in others]
        pairs += [(others[0], who) for who in others[1:]]
        ratios = [
            {
                "contender": f"{self.model}/{one.name}",
                "baseline": f"{self.model}/{base.name}",
                "speedup": speedup.to_dict(),
            }
            for one, base in pairs
            if (speedup := self.speedup(one, base)) is not None
        ]
        return {
            "schema": 1,
            "model": self.model,
            "threads": self.threads,
            "seed": self.seed,
            "machine": self.machine,
            "versions": self.versions,
            "timings": [{"model": self.model} | item.to_dict() for item in self.timings],
            "ratios": ratios,
        }
