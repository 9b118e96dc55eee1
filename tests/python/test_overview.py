# SPDX-License-Identifier: BSD-3-Clause
"""docs/overview: the drawing is what its script makes, the page quotes it, the delegate agrees."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import draw_overview
import overview_layer as layer
import pytest

from nmpack.measure.drawn_layers import Layer, layer_file
from nmpack.measure.inspection import LayerRow, inspect
from nmpack.runtime.interpreter import nmpack_engine
from nmpack.tflite.block_rows import block_rows
from nmpack.tflite.file import TFLiteFile

PAGE = layer.ROOT / "docs" / "overview.md"


def test_the_drawing_is_what_the_script_makes() -> None:
    made = draw_overview.make()
    assert draw_overview.TARGET.read_text(encoding="utf-8") == made, (
        "run experiments/draw_overview.py"
    )


def test_the_page_quotes_what_the_script_computes() -> None:
    weights, mask = layer.drawn_filter()
    nonzero = mask.reshape(layer.OUTPUTS, -1)
    direct, packed = layer.nhwc(nonzero), layer.cnhw(nonzero)
    nhwc, cnhw = min(direct, key=lambda x: x.cost), min(packed, key=lambda x: x.cost)
    alone = cnhw.cost + layer.predict_conversions()
    assert cnhw.cost < nhwc.cost < alone, "the page says that the neighbours decide"
    assert set(cnhw.heights) == {layer.PATTERN.tile}
    tasks, blocks = layer.cnhw_tasks(cnhw), -(-layer.PIXELS // nhwc.mr)
    assert tasks.row_tasks == layer.THREADS == 2, "the page says that they share by halves"
    task_blocks = layer.nhwc_task_blocks(nhwc)
    steps = cnhw.packed.reshape(layer.TAPS, -1).sum(axis=1)
    sparse = block_rows(weights * mask)
    assert sparse is not None
    stored = sum(part.nbytes for part in (sparse.segments, sparse.channels, sparse.values))
    kept = int(mask.sum())
    scratch = tasks.task_strips * int(cnhw.packed.sum()) * cnhw.nr * layer.FLOAT
    phrases = [
        f"{layer.OUTPUTS} rows and {layer.COLUMNS} columns",
        f"{kept} of {mask.size} weights",
        f"{mask.size * layer.FLOAT:,} bytes",
        f"{stored:,} bytes",
        f"| dense | {layer.DENSE_TILE[0]}x{layer.DENSE_TILE[1]} | {layer.COLUMNS} | "
        f"{layer.predict_dense():.0f} |",
        *(f"| {x.mr}x{x.nr} | {_list(x.used.sum(axis=1))} | {x.cost:.0f} |" for x in direct),
        *(f"| strips of {x.nr} pixels | {_blocks(x)} | {x.cost:.0f} |" for x in packed),
        f"{len(cnhw.heights)} blocks of {layer.PATTERN.tile} rows",
        f"{cnhw.packed.sum()} packed columns",
        f"{layer.predict_dense() / nhwc.cost:.2f} times as fast",
        f"conversions take {layer.predict_conversions():.0f}",
        f"CNHW would take {alone:.0f} and NHWC takes {nhwc.cost:.0f}",
        f"{nhwc.weights_size:,} bytes of weights and biases in NHWC",
        f"{cnhw.weights_size:,} bytes in CNHW",
        f"{blocks} blocks of {nhwc.mr} pixels, {task_blocks} blocks a task",
        f"{-(-blocks // task_blocks)} tasks",
        f"{tasks.strips} strips, {tasks.task_strips} strips a task",
        f"{tasks.thread_tasks} tasks a thread",
        f"both threads share the {tasks.shared} strips that are left",
        f"{len(steps)} steps of {steps.min()} to {steps.max()} channels",
        f"{scratch // 1024} KiB",
        f"{nhwc.nr * int(nhwc.used.sum())} multiply-adds a pixel in NHWC",
    ]
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert [phrase for phrase in phrases if phrase not in text] == []


def _list(numbers: Iterable[int]) -> str:
    return " and ".join(map(str, numbers))


def _blocks(x: layer.Cnhw) -> str:
    return f"{len(x.heights)} blocks of {_list(set(x.used.sum(axis=1)))}"


def _isa() -> str:
    """The costs that the delegate predicts with here."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    return "avx512f" if "avx512f" in flags else "fma3"


def _ask(path: Path, layout: str) -> LayerRow:
    options = {"nm": "force", "layout": layout}
    return inspect(path, engine=nmpack_engine(alone=True, options=options)).layers[0]


@pytest.mark.delegate
@pytest.mark.parametrize("tile", [4, 8, 32])
def test_the_delegate_predicts_the_same(delegate: Path, tmp_path: Path, tile: int) -> None:
    del delegate
    drawn = Layer(layer.SIDE, layer.INPUTS, layer.OUTPUTS, layer.KERNEL, 1, 0.25, tile)
    path = tmp_path / "layer.tflite"
    path.write_bytes(layer_file(drawn, seed=tile))
    file = TFLiteFile(path)
    nonzero = file.array(file.convolutions[0].weights).reshape(layer.OUTPUTS, -1) != 0
    direct = min(layer.nhwc(nonzero, _isa()), key=lambda x: x.cost)
    packed = min(layer.cnhw(nonzero, _isa()), key=lambda x: x.cost)
    kept = sum(h * int(k) for h, k in zip(packed.heights, packed.used.sum(axis=1), strict=True))
    nhwc, cnhw = _ask(path, "nhwc"), _ask(path, "cnhw")
    assert nhwc.column_density == pytest.approx(direct.used.mean())
    assert cnhw.column_density == pytest.approx(kept / nonzero.size)
    assert nhwc.predicted_speedup is not None
    assert cnhw.predicted_speedup is not None
    # The dense operator's time depends on the processor; it is in both.
    ratio = nhwc.predicted_speedup / cnhw.predicted_speedup
    assert ratio == pytest.approx(packed.cost / direct.cost, rel=1e-4)
