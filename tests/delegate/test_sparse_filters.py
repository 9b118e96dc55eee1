# SPDX-License-Identifier: BSD-3-Clause
"""Filters in sparse storage, whoever reads them, give what TFLite's reference kernels give.

``NMPACK_DRAW_SEED`` and ``NMPACK_DRAW_COUNT`` as for the drawn convolutions.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import parity
import pytest
from sound_models import SAME, VALID, stored_filter
from tflite_graph import Graph, options

pytestmark = pytest.mark.delegate

#: Who reads the unpacked filter beside a convolution.
READERS = ("nobody", "convolution", "addition", "output")


def _convolve(graph: Graph, image: int, weights: int, stride: int, padding: int) -> int:
    batch, height, width, _ = graph.tensors[image].shape
    outputs, *kernel, _ = graph.tensors[weights].shape
    sizes = [
        -(-size // stride) if padding == SAME else (size - tap) // stride + 1
        for size, tap in zip((height, width), kernel, strict=True)
    ]
    bias = graph.constant(np.linspace(-1, 1, outputs, dtype=np.float32))
    fields = {"padding": padding, "strideH": stride, "strideW": stride, "dilationHFactor": 1}
    fields |= {"dilationWFactor": 1, "fusedActivationFunction": 0}
    return graph.add(
        "CONV_2D", [image, weights, bias], graph.tensor((batch, *sizes, outputs)),
        options("Conv2DOptions", **fields),
    )  # fmt: skip


def _model(reader: str, seed: int) -> tuple[bytes, parity.Array, str]:
    draw = random.Random(f"sparse {reader} {seed}")
    tile = draw.choice((1, 1, 2, 8, 16, 32))
    groups = draw.choice((1, 1, 1, 2))
    outputs = tile * groups * draw.randint(1, max(1, 48 // tile))
    channels = draw.choice((1, 3, 8, 17, 40))
    kernel = draw.choice(((1, 1), (3, 3), (2, 1)))
    keep = draw.choice((0.0, 0.1, 0.25, 0.25, 0.5, 1.0))
    stride, padding = draw.choice((1, 1, 2)), draw.choice((SAME, VALID))
    size = (draw.randint(1, 2), draw.randint(3, 9), draw.randint(3, 9), groups * channels)
    generator = np.random.default_rng(seed)
    kept = generator.random((outputs // tile, 1, *kernel, channels)) < keep
    values = generator.normal(size=(outputs // tile, tile, *kernel, channels)) * kept
    what = f"{reader}, tile {tile}, {groups} groups, {values.shape}, keep {keep}, image {size}"

    graph = Graph()
    image = graph.tensor(size)
    shape = (outputs, *kernel, channels)
    weights = stored_filter(graph, values.astype(np.float32).reshape(shape), tile)
    found = [_convolve(graph, image, weights, stride, padding)]
    if reader == "convolution":
        found.append(_convolve(graph, image, weights, 3 - stride, padding))
    elif reader == "addition":
        more = graph.constant(generator.normal(size=shape).astype(np.float32))
        found.append(graph.add("ADD", [weights, more], graph.tensor(shape), options("AddOptions")))
    elif reader == "output":
        found.append(weights)
    return graph.model([image], found), generator.normal(size=size).astype(np.float32), what


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("seed", range(parity.SEED * 1000, parity.SEED * 1000 + parity.COUNT // 4))
def test_a_stored_filter_equals_the_reference(reader: str, seed: int, tmp_path: Path) -> None:
    model, image, what = _model(reader, seed)
    reference = parity.attempt(model, [image])
    assert reference is not None, what
    for nm, layout in (("off", "auto"), ("auto", "auto"), ("force", "nhwc"), ("force", "cnhw")):
        report = tmp_path / "report.json"
        ours = parity.attempt(model, [image], nm=nm, layout=layout, report=report)
        assert ours is not None, what
        session, outputs = ours
        taken = [c for p in session.partitions() for c in p["layers"]]
        # A filter that the model hands out is unpacked by the interpreter.
        assert bool(taken) == (reader != "output"), f"nm={nm}: delegated {taken}: {what}"
        assert all(c["operator"] == "nm" for c in taken) or nm != "force", what
        worse = parity.difference(outputs, reference[1], 1e-4)
        assert not worse, f"{worse}: nm={nm}, layout={layout}, {what}"
