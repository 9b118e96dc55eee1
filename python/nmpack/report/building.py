# SPDX-License-Identifier: BSD-3-Clause
"""Measure a model in all ways that a report shows, by turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nmpack.errors import NmpackError
from nmpack.measure.asking import ask
from nmpack.measure.bandwidth import measure_bandwidth
from nmpack.measure.inspection import LayerRow, explain
from nmpack.measure.profile import profile_in_turns
from nmpack.measure.profile_report import OperatorRow, ProfileReport
from nmpack.progress import Progress, silent
from nmpack.report.accuracy import read_accuracy
from nmpack.report.data import OWN, SPARSE, UPSTREAM, Layer, Report, highest
from nmpack.report.matching import Places, by_group, joined, require_same
from nmpack.report.traffic import Traffic
from nmpack.runtime.interpreter import DEFAULT_INTERPRETER, Engine, nmpack_engine
from nmpack.runtime.sizes import Shapes, assumed_sizes
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import Subgraph


def build(
    model: str | Path,
    *,
    baseline: str | Path | None = None,
    accuracy: str | Path | None = None,
    interpreter: str = DEFAULT_INTERPRETER,
    library: str | Path | None = None,
    options: Mapping[str, str] | None = None,
    threads: int = 1,
    runs: int = 30,
    warmup: int = 3,
    seed: int = 0,
    shapes: Shapes | None = None,
    progress: Progress = silent,
) -> Report:
    """Profile a model, the same file with upstream's dense kernels, and its unpruned baseline.

    Args:
        model: path of a ``.tflite`` file.
        baseline: path of the unpruned one, which runs on our kernels with all weights.
        accuracy: path of a JSON file, see :func:`read_accuracy`.
        interpreter, library, options, threads: as for :func:`nmpack_engine`; ``nm`` is set here.
        runs, warmup, seed, shapes, progress: as for :func:`nmpack.profile`.

    Raises:
        ModelError: a file is not a usable model.
        NmpackError: the baseline has other operators, an argument is out of range, or the accuracy
            cannot be read.
        MissingError, InterpreterError: see :func:`nmpack.profile` and :func:`nmpack.inspect`.
    """
    if "nm" in (options or {}):
        raise NmpackError("a report sets the option nm itself: it runs the model with each value")

    def engine(nm: str, *, alone: bool = False) -> Engine:
        return nmpack_engine(
            interpreter=interpreter, library=library, options=dict(options or {}) | {"nm": nm},
            threads=threads, alone=alone, name=f"nmpack, nm={nm}",
        )  # fmt: skip

    known = read_accuracy(accuracy) if accuracy is not None else None
    file = TFLiteFile(model)
    ways = {UPSTREAM: (file, engine("off")), SPARSE: (file, engine("auto"))}
    if baseline is not None:
        ways[OWN] = (TFLiteFile(baseline), engine("force"))
    places = {way: Places(each) for way, (each, _) in ways.items()}
    if OWN in ways:
        require_same(places[SPARSE], places[OWN])
    asked = ask(file, engine("auto", alone=True), shapes)
    graphs = asked.graphs(file)
    explained = explain(file, asked.report, graphs)
    jobs = [(each.path, how) for each, how in ways.values()]
    found = profile_in_turns(
        jobs, runs=runs, warmup=warmup, seed=seed, shapes=shapes, progress=progress
    )
    profiles = dict(zip(ways, found, strict=True))
    traffic = tuple(map(Traffic, graphs))
    layers = tuple(_Layers(traffic, profiles, places, explained.layers).found())
    return Report(
        model=Path(model).stem,
        baseline=Path(baseline).stem if baseline is not None else None,
        profiles=profiles,
        layers=layers,
        conversions=explained.conversions or 0,
        graphs=tuple((_graph_name(graph), _written(graph)) for graph in file.subgraphs),
        bandwidth=measure_bandwidth(threads),
        accuracy=known,
        gaps=(
            *_gaps(profiles, layers, known is not None),
            *(f"{sentence}." for sentence in assumed_sizes(asked.inputs)),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Layers:
    """The layers of a file, from its profiles and what was said about its convolutions."""

    traffic: tuple[Traffic, ...]
    profiles: Mapping[str, ProfileReport]
    places: Mapping[str, Places]
    choices: tuple[LayerRow, ...]

    def found(self) -> Iterator[Layer]:
        """Yield them in the order in which the sparse run has them."""
        groups = joined(
            self.places[way].of(row) for way, one in self.profiles.items() for row in one.rows
        )
        rows = {
            way: by_group(groups, one.rows, self.places[way]) for way, one in self.profiles.items()
        }
        order = {id(row): place for place, row in enumerate(self.profiles[SPARSE].rows)}
        weighted = [
            group for group in groups if any(row.multiplications for row in rows[SPARSE][group])
        ]
        weighted.sort(key=lambda group: order[id(rows[SPARSE][group][0])])
        for group in weighted:
            yield self._layer({way: each[group] for way, each in rows.items()})

    def _layer(self, rows: Mapping[str, list[OperatorRow]]) -> Layer:
        computes = {
            way: frozenset().union(*map(self.places[way].of, each)) for way, each in rows.items()
        }
        mine = rows[SPARSE]
        taken = {(row.subgraph, node) for row in mine for node in row.nodes}
        kind = next(row.element_type for row in mine if row.multiplications)
        every = sum(row.multiplications for row in mine)
        kept = sum(row.computed for row in mine) / every
        return Layer(
            tuple(mine),
            tuple(one for one in self.choices if (one.subgraph, one.node) in taken),
            {
                way: sum(row.per_inference for row in each)
                for way, each in rows.items()
                if computes[way] == computes[SPARSE]
            },
            self._traffic(mine, kept),
            self._traffic(mine, 1.0),
            highest(self.profiles).get(kind),
        )

    def _traffic(self, rows: list[OperatorRow], density: float) -> float | None:
        """Return the bytes of all calls in one inference."""
        total = 0.0
        for row in rows:
            size = self.traffic[row.subgraph].bytes_of(row.nodes, density)
            if size is None:
                return None
            total += size * row.calls
        return total


def _graph_name(graph: Subgraph) -> str:
    """Return what Model Explorer calls a subgraph."""
    signature = next((key for key in graph.signatures if key), "")
    return graph.name or signature or (f"subgraph_{graph.index}" if graph.index else "main")


def _written(graph: Subgraph) -> tuple[str, ...]:
    return tuple(
        graph.tensors[one.outputs[0]].name if one.outputs else "" for one in graph.operators
    )


def _kept(profile: ProfileReport) -> float:
    """Return the share of multiplications by weights that a run does."""
    every = sum(row.multiplications * row.calls for row in profile.rows)
    return sum(row.computed * row.calls for row in profile.rows) / every if every else 1.0


def _gaps(
    profiles: Mapping[str, ProfileReport], layers: tuple[Layer, ...], accuracy: bool
) -> Iterator[str]:
    if OWN not in profiles:
        yield "Our kernels were not timed with all weights: no unpruned baseline was named."
    elif (kept := _kept(profiles[OWN])) < 0.999:
        yield (
            f"The baseline has zeros of its own: own dense computes with {100 * kept:.1f} % of the "
            "weights."
        )
    for way, one in profiles.items():
        if one.left:
            yield (
                f"Operators without times of their own, outside of the delegate in the {way} run: "
                f"{one.left}."
            )
        without = sum(way not in layer.seconds for layer in layers)
        if without:
            yield f"Layers without a {way} time, not run by the delegate as a whole: {without}."
    unmeasured = {layer.element_type for layer in layers} - highest(profiles).keys()
    if unmeasured:
        yield (
            f"The peak of {', '.join(sorted(unmeasured))} was not measured on this processor, so "
            "there are no bounds and no roofline of its layers."
        )
    unknown = sum(layer.traffic is None for layer in layers)
    if unknown:
        yield f"Layers not in the roofline, for their images have no fixed shape: {unknown}."
    if not accuracy:
        yield "The accuracy is not known: no file with it was named."
