#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Draws docs/overview.svg from the numbers of overview_layer.py, which it computes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import overview_layer as layer
from overview_layer import Bools, Cnhw, Nhwc

from nmpack.sparsity.mask import used_columns

TARGET = layer.ROOT / "docs" / "overview.svg"
WIDTH, LEFT, CELL, ROW = 940, 70, 9, 4
DARK, LIGHT, GREY, INK = "#1b5e9c", "#a9cbe8", "#ececec", "#222222"
THREADS = ("#d9822b", "#3a8f5c")
SHARED = "#8a6bb0"


class Drawing:
    """Shapes and texts, one below the other."""

    def __init__(self) -> None:
        """Start at the top."""
        self.shapes: list[str] = []
        self.y = 0.0

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, line: str = "none"
    ) -> None:
        """Add a rectangle."""
        self.shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" '
            f'stroke="{line}"/>'
        )

    def boxes(self, places: Iterable[tuple[float, float, float]], width: float, fill: str) -> None:
        """Add rectangles, each given as left, top and height, as one shape."""
        steps = "".join(f"M{x:g} {y:g}h{width:g}v{h:g}h{-width:g}z" for x, y, h in places)
        self.shapes.append(f'<path d="{steps}" fill="{fill}"/>')

    def text(self, x: float, y: float, words: str, where: str = "start", size: int = 12) -> None:
        """Add a line of text; ``y`` is where its letters stand."""
        weight = ' font-weight="bold"' if size > 12 else ""
        self.shapes.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{where}" font-size="{size}"{weight}>'
            f"{words}</text>"
        )

    def title(self, words: str, lines: Iterable[str] = ()) -> None:
        """Begin a part of the drawing."""
        self.y += 34
        self.text(10, self.y, words, size=14)
        for line in lines:
            self.y += 17
            self.text(10, self.y, line)
        self.y += 10

    def svg(self) -> str:
        """Return the file."""
        height = self.y + 16
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
            f'font-family="sans-serif" fill="{INK}">'
        )
        paper = f'<rect width="{WIDTH}" height="{height:g}" fill="#ffffff"/>'
        note = "<!-- Made by experiments/draw_overview.py. Do not edit. -->"
        return "\n".join([head, note, paper, *self.shapes, "</svg>", ""])


def find_runs(nonzero: Bools) -> Iterable[tuple[int, int, int]]:
    """Return the column, first row and length of each run of non-zeros in a column."""
    for column, kept in enumerate(nonzero.T.tolist()):
        first = 0
        for keeps, run in itertools.groupby(kept):
            length = len(list(run))
            if keeps:
                yield column, first, length
            first += length


def draw_matrix(
    d: Drawing, nonzero: Bools, used: Bools, heights: Iterable[int], names: Iterable[str]
) -> None:
    """Draw the filter, tile by tile: non-zeros dark, zeros that a tile computes with light."""
    top = 0
    for keeps, height, name in zip(used, heights, names, strict=True):
        d.box(LEFT, d.y, layer.COLUMNS * CELL, height * ROW, GREY)
        kept = [LEFT + int(column) * CELL for column in keeps.nonzero()[0]]
        d.boxes(((x, d.y, height * ROW) for x in kept), CELL - 1, LIGHT)
        runs = find_runs(nonzero[top : top + height])
        places = ((LEFT + k * CELL, d.y + r * ROW, n * ROW) for k, r, n in runs)
        d.boxes(places, CELL - 1, DARK)
        d.text(LEFT - 6, d.y + height * ROW / 2 + 4, f"{height} rows", "end", 11)
        d.text(LEFT + layer.COLUMNS * CELL + 8, d.y + height * ROW / 2 + 4, name, size=11)
        d.y += height * ROW + 3
        top += height


def draw_taps(d: Drawing) -> None:
    """Draw the names of the taps over the columns."""
    width = layer.INPUTS * CELL
    d.y += 12
    for tap in range(layer.TAPS):
        x = LEFT + tap * width
        name = f"tap ({tap // layer.KERNEL}, {tap % layer.KERNEL})"
        d.text(x + width / 2, d.y, name, "middle", 10)
        d.box(x, d.y + 3, width - 2, 1, INK)
    d.y += 8


def draw_packed(d: Drawing, best: Cnhw) -> None:
    """Draw which columns are packed, in a step for each tap."""
    width = layer.INPUTS * CELL
    d.y += 4
    d.box(LEFT, d.y, layer.COLUMNS * CELL, 10, GREY)
    packed = best.packed.nonzero()[0]
    d.boxes(((LEFT + int(column) * CELL, d.y, 10) for column in packed), CELL - 1, DARK)
    d.text(LEFT - 6, d.y + 9, "packed", "end", 11)
    count = f"{best.packed.sum()} packed columns"
    d.text(LEFT + layer.COLUMNS * CELL + 8, d.y + 9, count, size=11)
    d.y += 24
    d.text(LEFT - 6, d.y, "steps", "end", 11)
    for tap, kept in enumerate(best.packed.reshape(layer.TAPS, -1).sum(axis=1)):
        d.text(LEFT + (tap + 0.5) * width, d.y, f"{kept} channels", "middle", 10)


def draw_pixels(d: Drawing, best: Cnhw) -> None:
    """Draw the axis of pixels: strips, tasks and bands."""
    tasks = layer.cnhw_tasks(best)
    scale = (WIDTH - LEFT - 150) / (tasks.strips * best.nr)
    whole = tasks.thread_tasks * layer.THREADS
    for strip in range(tasks.strips):
        task = strip // tasks.task_strips
        fill = THREADS[task // tasks.thread_tasks] if task < whole else SHARED
        width = min(best.nr, layer.PIXELS - strip * best.nr) * scale
        d.box(LEFT + strip * best.nr * scale, d.y, width, 16, fill, "#ffffff")
    d.text(LEFT - 6, d.y + 12, "strips", "end", 11)
    d.text(WIDTH - 145, d.y + 12, f"{tasks.strips} of {best.nr} pixels", size=11)
    d.y += 20
    for task in range(math.ceil(tasks.strips / tasks.task_strips)):
        size = min(tasks.task_strips, tasks.strips - task * tasks.task_strips) * best.nr
        start = task * tasks.task_strips * best.nr
        width = min(size, layer.PIXELS - start) * scale
        fill = THREADS[task // tasks.thread_tasks] if task < whole else SHARED
        d.box(LEFT + start * scale, d.y, width, 16, fill, "#ffffff")
    d.text(LEFT - 6, d.y + 12, "tasks", "end", 11)
    d.text(WIDTH - 145, d.y + 12, f"of {tasks.task_strips} strips", size=11)
    d.y += 20
    band = layer.PIXELS // layer.THREADS
    for thread, fill in enumerate(THREADS):
        d.box(LEFT + thread * band * scale, d.y, band * scale, 16, fill, "#ffffff")
    d.text(LEFT - 6, d.y + 12, "bands", "end", 11)
    d.text(WIDTH - 145, d.y + 12, f"of {band} pixels", size=11)
    d.y += 20


def draw_output(d: Drawing, x: float, mr: int, nr: int, rows: str, columns: str) -> None:
    """Draw what a micro-kernel computes at once."""
    width, height = nr * 6, mr * 8
    top = d.y + 18
    cells = ((x + column * 6, top + row * 8, 7) for row in range(mr) for column in range(nr))
    d.boxes(cells, 5, DARK)
    d.text(x + width / 2, d.y + 12, f"N: NR = {nr} {columns}, together in memory", "middle", 11)
    d.text(x - 8, d.y + 18 + height / 2 - 2, f"M: MR = {mr}", "end", 11)
    d.text(x - 8, d.y + 18 + height / 2 + 12, rows, "end", 11)


def draw_parts(d: Drawing, nr: int) -> None:
    """Draw the parts and segments of a larger layer."""
    columns = layer.TAPS * 512
    most = int(layer.costs()["strips_size"]) // (nr * layer.FLOAT)
    parts, blocks = math.ceil(columns / most), 3
    scale = (WIDTH - LEFT - 150) / columns
    for part in range(parts):
        x, width = LEFT + part * most * scale, min(most, columns - part * most) * scale
        for block in range(blocks):
            d.box(x, d.y + 14 + block * 18, width - 3, 15, LIGHT, DARK)
            d.text(x + width / 2, d.y + 25 + block * 18, "segment", "middle", 10)
        last = f"part of {min(most, columns - part * most)} columns"
        d.text(x + width / 2, d.y + 10, last, "middle", 10)
    for block in range(blocks):
        d.text(LEFT - 6, d.y + 25 + block * 18, "block", "end", 11)
    d.y += 14 + blocks * 18


def draw(dense: float, direct: list[Nhwc], packed: list[Cnhw], nonzero: Bools) -> str:
    """Return the drawing."""
    d = Drawing()
    nhwc, cnhw = min(direct, key=lambda x: x.cost), min(packed, key=lambda x: x.cost)
    kernel = f"{layer.KERNEL} x {layer.KERNEL}"
    tiles, _ = used_columns(nonzero, layer.PATTERN.tile, 1)
    d.title(
        f"1. The filter: {layer.OUTPUTS} rows (output channels) of {layer.COLUMNS} columns",
        [f"{kernel} taps of {layer.INPUTS} input channels. Pattern: {layer.PATTERN}. "
         "Dark: kept. Grey: pruned."],
    )  # fmt: skip
    draw_taps(d)
    heights = [layer.PATTERN.tile] * len(tiles)
    draw_matrix(d, nonzero, tiles, heights, (f"{k} kept columns" for k in tiles.sum(axis=1)))
    d.title(
        f"2. NHWC, micro-kernel {nhwc.mr}x{nhwc.nr}: tiles of {nhwc.nr} channels",
        ["A column is kept where any row of the tile keeps it. Light: zeros that are computed "
         f"with. Predicted {nhwc.cost:.0f} a pixel, dense {dense:.0f}."],
    )  # fmt: skip
    heights = [nhwc.nr] * len(nhwc.used)
    kept = nhwc.used.sum(axis=1)
    draw_matrix(d, nonzero, nhwc.used, heights, (f"{k} kept columns" for k in kept))
    d.title(
        f"3. CNHW, strips of {cnhw.nr} pixels: blocks of rows, as cutting costs least",
        ["Blocks end where columns change, so nothing is lost; but columns are packed. "
         f"Predicted {cnhw.cost:.0f} a pixel."],
    )  # fmt: skip
    kept = cnhw.used.sum(axis=1)
    draw_matrix(d, nonzero, cnhw.used, cnhw.heights, (f"{k} kept columns" for k in kept))
    draw_packed(d, cnhw)
    d.title(
        f"4. CNHW, {layer.PIXELS} pixels on {layer.THREADS} threads",
        ["One colour a thread; violet: shared by rows. Bands replace this division where a value "
         "lies in them."],
    )  # fmt: skip
    draw_pixels(d, cnhw)
    sizes = f"{nhwc.mr}x{nhwc.nr} in NHWC, {cnhw.heights[0]}x{cnhw.nr} in CNHW"
    d.title(f"5. What a micro-kernel computes at once, MR x NR: {sizes}")
    draw_output(d, 100, nhwc.mr, nhwc.nr, "pixels", "channels")
    draw_output(d, 480, cnhw.heights[0], cnhw.nr, "channels", "pixels")
    d.y += 18 + 8 * max(nhwc.mr, cnhw.heights[0])
    d.title("6. CNHW, where all columns of a strip exceed 256 KiB: parts, and their segments",
            [f"Three blocks of a layer with {kernel} taps of 512 input channels: "
             f"{layer.TAPS * 512} columns."])  # fmt: skip
    draw_parts(d, cnhw.nr)
    return d.svg()


def main() -> None:
    """Write the drawing."""
    TARGET.write_text(make(), encoding="utf-8")


def make() -> str:
    """Return what the committed drawing should be."""
    _, mask = layer.drawn_filter()
    nonzero = mask.reshape(layer.OUTPUTS, -1)
    return draw(layer.predict_dense(), layer.nhwc(nonzero), layer.cnhw(nonzero), nonzero)


if __name__ == "__main__":
    main()
