# SPDX-License-Identifier: BSD-3-Clause
"""What a report knows, as values; :mod:`nmpack.report.building` measures them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nmpack.element_types import F32
from nmpack.measure.bandwidth import Bandwidth
from nmpack.measure.inspection import LayerRow
from nmpack.measure.profile_report import OperatorRow, ProfileReport
from nmpack.report.accuracy import Accuracy

UPSTREAM, OWN, SPARSE = "upstream dense", "own dense", "sparse"
BOUND = "bound"


@dataclass(frozen=True, slots=True)
class Layer:
    """Operators that compute the same in each way of running the model, with weights among them.

    That is one convolution with what is joined to it in one of the ways, as an addition; two where
    the ways join different ones to the same addition.

    Attributes:
        rows: the sparse run's operators, in the order in which they run.
        choices: what the file and the delegate say about the convolutions among them.
        seconds: in one inference, by way of running; without those that have no time for it.
        traffic: least bytes that the sparse run reads and writes: images once, weights that are
            kept once; ``dense_traffic`` with all weights. None where shapes are not fixed.
        peak: billions of operations of its element type that the machine does at most in a second;
            None where it was not measured.
    """

    rows: tuple[OperatorRow, ...]
    choices: tuple[LayerRow, ...]
    seconds: Mapping[str, float]
    traffic: float | None
    dense_traffic: float | None
    peak: float | None

    @property
    def name(self) -> str:
        """Readable; of the weighted operators."""
        return " + ".join(row.name for row in self.rows if row.multiplications)

    @property
    def element_type(self) -> str:
        """Of the weighted operators' arithmetic."""
        return next(row.element_type for row in self.rows if row.multiplications)

    @property
    def multiplications(self) -> float:
        """By weights in one inference, if none were zero."""
        return sum(row.multiplications * row.calls for row in self.rows)

    @property
    def computed(self) -> float:
        """Multiplications by weights in one inference that the sparse run does."""
        return sum(row.computed * row.calls for row in self.rows)

    @property
    def bound(self) -> float | None:
        """Seconds that these multiply-adds take at the machine's peak."""
        return 2e-9 * self.computed / self.peak if self.peak else None

    @property
    def speedup(self) -> float | None:
        """The upstream dense kernels' time over the sparse run's."""
        upstream = self.seconds.get(UPSTREAM)
        sparse = self.seconds[SPARSE]
        return upstream / sparse if upstream is not None and sparse > 0 else None

    def record(self) -> dict[str, Any]:
        """Return what tables have of it, flat, in the order of their columns; times in ms."""
        first = next(row for row in self.rows if row.multiplications)
        choice = self.choices[0] if self.choices else None
        return {
            "layer": self.name,
            "element_type": self.element_type,
            "weights": "x".join(map(str, choice.shape)) if choice else None,
            "pattern": str(choice.fit) if choice and choice.fit else None,
            "kept": self.computed / self.multiplications,
            "layout": first.layout or None,
            "kernel": first.kernel or None,
            "predicted_speedup": choice.predicted_speedup if choice else None,
            "reason": (choice.reason or None) if choice else None,
            "upstream_dense_ms": _ms(self.seconds.get(UPSTREAM)),
            "own_dense_ms": _ms(self.seconds.get(OWN)),
            "sparse_ms": _ms(self.seconds[SPARSE]),
            "bound_ms": _ms(self.bound),
            "speedup": self.speedup,
            "multiplications": self.multiplications,
            "computed": self.computed,
            "traffic_bytes": self.traffic,
        }


def highest(profiles: Mapping[str, ProfileReport]) -> dict[str, float]:
    """Return the highest of the profiles' peaks by element type."""
    found: dict[str, float] = {}
    for one in profiles.values():
        for name, peak in one.peaks.items():
            found[name] = max(peak, found.get(name, 0.0))
    return found


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


@dataclass(frozen=True, slots=True)
class Report:
    """A model, run in several ways.

    Attributes:
        model, baseline: names of the files; the baseline's is None where there was none.
        profiles: by way of running.
        layers: in the order in which they run.
        conversions: how many images are brought from one layout to the other.
        graphs: of each subgraph of the file its name in Model Explorer, and the names of the
            tensors that its operators write first.
        bandwidth: of the machine's memory.
        gaps: a sentence for each thing that is left out.
    """

    model: str
    baseline: str | None
    profiles: Mapping[str, ProfileReport]
    layers: tuple[Layer, ...]
    conversions: int
    graphs: tuple[tuple[str, tuple[str, ...]], ...]
    bandwidth: Bandwidth
    accuracy: Accuracy | None
    gaps: tuple[str, ...]

    @property
    def sparse(self) -> ProfileReport:
        """The run that the report is about."""
        return self.profiles[SPARSE]

    @property
    def peaks(self) -> dict[str, float]:
        """The most billions of operations a second measured in any of the runs, by element type."""
        return highest(self.profiles)

    @property
    def bound(self) -> float | None:
        """Seconds of all multiply-adds that are left, at the peak."""
        bounds = [layer.bound for layer in self.layers]
        known = [bound for bound in bounds if bound is not None]
        return sum(known) if known and len(known) == len(bounds) else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``schema`` is 1."""
        return {
            "schema": 1,
            "model": self.model,
            "baseline": self.baseline,
            "threads": self.sparse.threads,
            "peak_gflops": self.peaks.get(F32.name),
            "peaks": self.peaks,
            "bandwidth": asdict(self.bandwidth),
            "layout_conversions": self.conversions,
            "layers": [layer.record() for layer in self.layers],
            "accuracy": asdict(self.accuracy) if self.accuracy else None,
            "gaps": list(self.gaps),
            "profiles": {way: one.to_dict() for way, one in self.profiles.items()},
            "versions": self.sparse.versions,
            "machine": self.sparse.machine,
        }
