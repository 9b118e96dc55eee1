# SPDX-License-Identifier: BSD-3-Clause
"""What :mod:`nmpack.measure.profile` finds: a row for each operator, and the rest of the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nmpack.element_types import F32
from nmpack.measure.stats import Summary
from nmpack.runtime.child import Signature
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.sizes import shapes_of


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One operator of the delegate, in the order in which they run.

    Attributes:
        subgraph, partition, nodes: where it is in the file: the subgraph, the partition of all that
            ran, and the operators of the file that it computes, ``file_operators`` by name.
        name: readable name of what it writes; ``tensor`` is the full one.
        operator: what it does, as ``Convolution``.
        kernel: its micro-kernel, as ``nmconv 6x16 fma3``, or what else XNNPACK calls it;
            ``symbol`` is the name of the micro-kernel's function, None when unknown.
        element_type: of what it computes with, as ``f32`` or ``qs8``; empty where neither XNNPACK
            nor the file says.
        layout: of its images, empty where it has none.
        density: weights that it computes with out of all; None without weights.
        multiplications: by weights for one call, if none were zero; ``computed`` are those done.
        seconds: of a call; ``first`` is that of the first one that was kept.
        calls: in one inference; below or above one where a model branches or loops.
    """

    subgraph: int
    partition: int
    nodes: tuple[int, ...]
    file_operators: tuple[str, ...]
    name: str
    tensor: str
    operator: str
    kernel: str
    symbol: str | None
    element_type: str
    layout: str
    density: float | None
    multiplications: int
    seconds: Summary
    first: float
    calls: float

    @property
    def computed(self) -> float:
        """Multiplications by weights of a call that are left when zeros are skipped."""
        return self.multiplications * (1.0 if self.density is None else self.density)

    @property
    def per_inference(self) -> float:
        """Seconds in one inference: the median, for each call."""
        return self.seconds.median * self.calls

    @property
    def dense_gflops(self) -> float:
        """Billions of operations a second as if all weights counted, two operations each."""
        return 2e-9 * self.multiplications / max(self.seconds.median, 1e-9)

    @property
    def gflops(self) -> float:
        """Billions of operations a second that are computed."""
        return 2e-9 * self.computed / max(self.seconds.median, 1e-9)


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """A model's operators, and what else the time went to.

    Attributes:
        model, engine: of what, and how.
        rows: the delegate's operators.
        profiled, plain: seconds of an inference while it was profiled, and while not.
        within: seconds of an inference in the delegate's partitions but in none of their operators.
        outside: seconds of an inference outside of the delegate.
        left: how many of the file's operators ran outside of them.
        peaks: billions of operations a second that the threads can do at most, measured, by
            element type; without those where it was not.
        threads: that ran.
        inputs: of the sizes that it ran with.
    """

    model: str
    engine: Engine
    rows: tuple[OperatorRow, ...]
    profiled: Summary
    plain: Summary
    within: float
    outside: float
    left: int
    peaks: Mapping[str, float]
    threads: int
    versions: dict[str, str]
    machine: dict[str, Any]
    inputs: tuple[Signature, ...]

    @property
    def total(self) -> float:
        """Seconds that shares are of: the medians of all operators, and what is in none of them.

        On a busy machine it is less than the median of an inference, which is late somewhere.
        """
        return sum(row.per_inference for row in self.rows) + self.within + self.outside

    def share_of_peak(self, row: OperatorRow) -> float | None:
        """Return how much of what its element type can do a row does; None if that is unknown."""
        peak = self.peaks.get(row.element_type)
        return row.gflops / peak if peak and row.multiplications else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, times in seconds; ``schema`` is 1."""
        rows = [
            asdict(row)
            | {
                "seconds": row.seconds.to_dict(),
                "computed": row.computed,
                "share": row.per_inference / self.total,
                "dense_gflops": row.dense_gflops,
                "gflops": row.gflops,
                "share_of_peak": self.share_of_peak(row),
            }
            for row in self.rows
        ]
        return {
            "schema": 1,
            "model": self.model,
            "engine": self.engine.to_dict(),
            "threads": self.threads,
            "peak_gflops": self.peaks.get(F32.name),
            "peaks": dict(self.peaks),
            "inference_profiled": self.profiled.to_dict(),
            "inference_plain": self.plain.to_dict(),
            "within_seconds": self.within,
            "outside_seconds": self.outside,
            "operators_left": self.left,
            "operators": rows,
            "versions": self.versions,
            "machine": self.machine,
            "inputs": shapes_of(self.inputs),
        }


def by_operator(report: ProfileReport) -> Mapping[tuple[str, str], tuple[int, float, float]]:
    """Sum up: by operator and kernel how many, their calls and seconds in one inference.

    The longest comes first.
    """
    sums: dict[tuple[str, str], tuple[int, float, float]] = {}
    for row in report.rows:
        key = (row.operator, row.kernel)
        count, calls, seconds = sums.get(key, (0, 0.0, 0.0))
        sums[key] = (count + 1, calls + row.calls, seconds + row.per_inference)
    return dict(sorted(sums.items(), key=lambda item: -item[1][2]))
