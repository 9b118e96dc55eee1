# SPDX-License-Identifier: BSD-3-Clause
"""A report as one HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from nmpack.element_types import named
from nmpack.measure.machine import busy_note
from nmpack.report.charts import Point, bars, mark, milliseconds, roofline
from nmpack.report.data import BOUND, OWN, SPARSE, UPSTREAM, Layer, Report
from nmpack.report.markup import Markup, document, element, escaped
from nmpack.report.style import SCRIPT, STYLE
from nmpack.report.tables import accuracy_table, choices_table, machine_table

_MEANS = {
    UPSTREAM: "the same file on XNNPACK's own kernels, zeros and all (nm=off)",
    OWN: "the unpruned baseline on our kernels (nm=force)",
    SPARSE: "the model as the delegate runs it (nm=auto)",
    BOUND: "the multiply-adds that are left, at the measured peak of the processor",
}


def page(report: Report) -> str:
    """Return the page; what the model's file names is escaped."""
    sections = (
        _section("Whole inference", *_whole(report)),
        _section("Layers", *_layers(report)),
        *_roofline_section(report),
        _section("Layouts along the graph", *_graph(report)),
        _section("What was chosen, and why", *_choices(report)),
        *([_section("Accuracy", *accuracy_table(report.accuracy))] if report.accuracy else ()),
        _section("Machine and versions", machine_table(report)),
        *([_section("Not in this report", _list(report.gaps))] if report.gaps else ()),
    )
    title = f"nmpack report: {report.model}"
    return document(title, STYLE, SCRIPT, element("main", element("h1", title), *sections))


def _section(title: str, *content: str) -> Markup:
    anchor = title.lower().replace(",", "").replace(" ", "-")
    return element("section", element("h2", title, id=anchor), *content, aria_labelledby=anchor)


def _list(sentences: tuple[str, ...]) -> Markup:
    return element("ul", *(element("li", sentence) for sentence in sentences))


def _ways(report: Report) -> list[str]:
    ways = [way for way in (UPSTREAM, OWN, SPARSE) if way in report.profiles]
    return [*ways, BOUND] if any(layer.bound is not None for layer in report.layers) else ways


def _threads(report: Report) -> str:
    count = report.sparse.threads
    return f"{count} thread{'' if count == 1 else 's'}"


def _whole(report: Report) -> Iterator[Markup]:
    sparse, upstream = report.sparse.plain, report.profiles[UPSTREAM].plain
    seconds = {
        way: report.profiles[way].plain.median for way in _ways(report) if way in report.profiles
    }
    if report.bound is not None:
        seconds[BOUND] = report.bound
    yield element(
        "p",
        f"One inference takes {milliseconds(sparse.median)} ({milliseconds(sparse.q1)} to "
        f"{milliseconds(sparse.q3)}, quartiles of {sparse.n}) on {_threads(report)}: "
        f"{upstream.median / sparse.median:.2f} times as fast as with XNNPACK's dense kernels, "
        f"{milliseconds(upstream.median)} ({milliseconds(upstream.q1)} to "
        f"{milliseconds(upstream.q3)}).",
    )
    yield element("figure", bars("Whole inference", seconds, max(seconds.values())), class_="whole")
    yield _legend(report)
    if note := busy_note(report.sparse.machine):
        yield element("p", note)


def _legend(report: Report) -> Markup:
    baseline = f": {report.baseline}" if report.baseline else ""
    means = _MEANS | {OWN: _MEANS[OWN] + baseline}
    return element(
        "ul",
        *(
            element(
"li", mark(way), element("b", way), f", {means[way]}"            )
            for way in _ways(report)
        ),
        class_="legend",
    )  # fmt: skip


def _layers(report: Report) -> Iterator[Markup]:
    yield element(
        "p",
        "Medians of each layer's operators, timed inside the delegate while the ways took turns, "
        "on one scale. A layer is a convolution or a matrix product with the additions that any "
        "of the ways joins to it.",
    )
    times = [
        value for layer in report.layers for value in (*layer.seconds.values(), layer.bound or 0.0)
    ]
    figures = [_layer(layer, _ways(report), max(times, default=0.0)) for layer in report.layers]
    yield element("div", *figures, class_="bars")


def _layer(layer: Layer, ways: list[str], longest: float) -> Markup:
    known = {**layer.seconds} | ({BOUND: layer.bound} if layer.bound is not None else {})
    seconds = {way: known[way] for way in ways if way in known}
    record = layer.record()
    facts = [record[key] for key in ("element_type", "weights", "layout")]
    facts.append(f"{100 * record['kept']:.3g} % kept")
    if layer.speedup is not None:
        facts.append(f"{layer.speedup:.2f}x upstream")
    return element(
        "figure",
        element(
            "figcaption", layer.name, element("small", ", ".join(fact for fact in facts if fact))
        ),
        bars(layer.name, seconds, longest),
    )


def _roofline_section(report: Report) -> Iterator[Markup]:
    points: dict[str, list[Point]] = {name: [] for name in report.peaks}
    for layer in report.layers:
        points.get(layer.element_type, []).extend(_points(layer))
    types = [named(name) for name, found in points.items() if found]
    if not types:
        return
    bandwidth = report.bandwidth
    peaks = ", ".join(f"{report.peaks[x.name]:.1f} {x.operations} of {x.name}" for x in types)
    yield _section(
        "Roofline",
        element(
            "p",
            f"Both lines are measured on this machine with {_threads(report)}: "
            f"{peaks} with multiply-adds that need no memory, and "
            f"{1e-9 * bandwidth.bytes_per_second:.1f} GB/s copying {bandwidth.buffer >> 20} MiB, "
            "which no cache holds. Bytes are the least that a layer needs: each image and each "
            "weight that is kept once; the columns' numbers are not counted. A layer whose images "
            "are still in a cache may lie above the slope.",
        ),
        element(
            "ul",
            *(element("li", mark(way), way) for way in (UPSTREAM, SPARSE)),
            class_="legend",
        ),
        *(
            element(
                "figure",
                roofline(
                    points[x.name], report.peaks[x.name], bandwidth.bytes_per_second, x.operations
                ),
                class_="roofline",
            )
            for x in types
        ),
    )


def _points(layer: Layer) -> Iterator[Point]:
    for way, count, traffic in (
        (UPSTREAM, layer.multiplications, layer.dense_traffic),
        (SPARSE, layer.computed, layer.traffic),
    ):
        seconds = layer.seconds.get(way)
        if traffic and seconds and count:
            yield Point(layer.name, way, 2 * count / traffic, 2e-9 * count / seconds)


def _graph(report: Report) -> Iterator[Markup]:
    count = report.conversions
    yield element(
        "p",
        f"The delegate's operators in the order in which they run, and the layout of their images: "
        f"{count} conversion{'' if count == 1 else 's'} from one to the other.",
    )
    runs = groupby(
        report.sparse.rows, key=lambda row: (row.operator == "Layout conversion", row.layout)
    )
    items = []
    for (between, layout), group in runs:
        rows = list(group)
        seconds = milliseconds(sum(row.per_inference for row in rows))
        names = f"{rows[0].name} to {rows[-1].name}" if len(rows) > 1 else rows[0].name
        operators = f"{len(rows)} operators" if len(rows) > 1 else rows[0].operator
        kind = "between" if between else layout.lower() if layout in ("NHWC", "CNHW") else "other"
        label = "" if between else element("b", f"{layout or 'no layout'} ")
        items.append(element("li", label, escaped(f"{operators}: {names}, {seconds}"), class_=kind))
    yield element("ol", *items, class_="graph")


def _choices(report: Report) -> Iterator[Markup]:
    yield element(
        "p",
        "From the file, the delegate's own report and the times above. Kept are the weights that "
        "are computed with; predicted is the speed of N:M over dense by the delegate's cost rule.",
    )
    yield choices_table(report)
