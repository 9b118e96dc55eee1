# SPDX-License-Identifier: BSD-3-Clause
"""The charts of a report as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nmpack.report.data import BOUND, OWN, SPARSE, UPSTREAM
from nmpack.report.markup import Markup, element

#: What draws a bar: its class in the style.
CLASSES = {UPSTREAM: "upstream", OWN: "own", SPARSE: "sparse", BOUND: "bound"}
_WIDTH, _LABEL, _VALUE, _ROW = 320, 96, 66, 17


def milliseconds(seconds: float) -> str:
    """Return a time with three digits that matter, as ``0.123 ms`` or ``123 ms``."""
    value = 1e3 * seconds
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{min(max(digits, 0), 4)}f} ms"


def bars(name: str, seconds: Mapping[str, float], longest: float) -> Markup:
    """Return a bar for each way, as long as its share of ``longest`` seconds."""
    shown = []
    room = _WIDTH - _LABEL - _VALUE
    for place, (way, value) in enumerate(seconds.items()):
        top = place * _ROW
        width = max(room * value / longest, 1.0) if longest > 0 else 1.0
        shown += [
            element("text", way, x=0, y=top + 12),
            element(
                "rect", x=_LABEL, y=top + 3, width=width, height=_ROW - 5, rx=2,
                class_=f"bar {CLASSES[way]}",
            ),
            element("text", milliseconds(value), x=_LABEL + width + 5, y=top + 12),
        ]  # fmt: skip
    said = ", ".join(f"{way} {milliseconds(value)}" for way, value in seconds.items())
    return element(
        "svg", element("title", f"{name}: {said}"), *shown,
        viewBox=f"0 0 {_WIDTH} {len(seconds) * _ROW}", role="img",
    )  # fmt: skip


def mark(way: str) -> Markup:
    """Return what stands for a way of running: a square for dense kernels, a disc for sparse."""
    return element(
        "svg", _point(6, 6, way, 5), viewBox="0 0 12 12", aria_hidden="true", class_="mark"
    )


def _point(x: float, y: float, way: str, size: float, *content: str) -> Markup:
    if way == SPARSE:
        return element("circle", *content, cx=x, cy=y, r=size, class_=CLASSES[way])
    side = 2 * size - 1
    return element(
        "rect", *content, x=x - side / 2, y=y - side / 2, width=side, height=side,
        class_=CLASSES[way],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """A layer in a roofline: operations for each byte, and billions a second that it reaches."""

    name: str
    way: str
    intensity: float
    gflops: float


@dataclass(frozen=True, slots=True)
class _Scale:
    """A logarithmic axis from ``low`` to ``high``, powers of two, onto positions."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = math.log2(value / self.low) / math.log2(self.high / self.low)
        return self.start + (self.end - self.start) * share

    def ticks(self) -> Iterator[float]:
        """Yield at most seven powers of two, the ends among them where steps allow."""
        steps = round(math.log2(self.high / self.low))
        for step in range(0, steps + 1, math.ceil(steps / 6)):
            yield self.low * 2.0**step


def _scale(values: Sequence[float], start: float, end: float) -> _Scale:
    low, high = math.floor(math.log2(min(values))), math.ceil(math.log2(max(values)))
    return _Scale(2.0**low, 2.0 ** max(high, low + 1), start, end)


def roofline(points: Sequence[Point], peak: float, bandwidth: float, unit: str) -> Markup:
    """Return what layers reach below what the machine could.

    Args:
        points: at least one, of positive numbers.
        peak: billions of operations a second.
        bandwidth: bytes a second.
        unit: of these operations, as ``GFLOP/s``.
    """
    width, height = 400, 300
    knee = peak / (1e-9 * bandwidth)
    across = _scale([*(point.intensity for point in points), knee / 2, knee * 2], 38, width - 12)
    up = _scale([*(point.gflops for point in points), peak, peak / 2], height - 36, 22)
    left = max(across.low, up.low / (1e-9 * bandwidth))
    corners = [(left, 1e-9 * bandwidth * left), (knee, peak), (across.high, peak)]
    roof = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in corners)
    dots = [
        _point(
            across(point.intensity), up(point.gflops), point.way, 3.5,
            element(
                "title",
                f"{point.name}, {point.way}: {point.gflops:.1f} {unit} at {point.intensity:.1f} "
                "operations per byte",
            ),
        )
        for point in points
    ]  # fmt: skip
    title = (
        f"Roofline: {len(points)} points; peak {peak:.0f} {unit}, memory "
        f"{1e-9 * bandwidth:.1f} GB/s"
    )
    return element(
        "svg", element("title", title), *_axes(across, up, width, height, unit),
        element("polyline", points=roof, class_="roof"), *dots,
        viewBox=f"0 0 {width} {height}", role="img",
    )  # fmt: skip


def _axes(across: _Scale, up: _Scale, width: float, height: float, unit: str) -> Iterator[Markup]:
    bottom = height - 36
    for value in across.ticks():
        x = across(value)
        yield element("line", x1=x, y1=22, x2=x, y2=bottom, class_="line")
        yield element("text", f"{value:g}", x=x, y=bottom + 14, text_anchor="middle", class_="soft")
    for value in up.ticks():
        y = up(value)
        yield element("line", x1=38, y1=y, x2=width - 12, y2=y, class_="line")
        yield element("text", f"{value:g}", x=33, y=y + 4, text_anchor="end", class_="soft")
    yield element("text", unit, x=0, y=12)
    yield element("text", "operations per byte", x=width - 12, y=height - 6, text_anchor="end")
