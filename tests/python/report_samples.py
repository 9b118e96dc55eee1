# SPDX-License-Identifier: BSD-3-Clause
"""Small residual networks, pruned and not, whose tensors have names that would break a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from subgraph_files import convolve, filters
from tflite_graph import Graph, activation, options

NAMES = (
    "</title></svg><script>document.title='broken'</script>",
    "<img src=https://example.invalid/x.png onerror=alert(1)>",
    "\"><b onmouseover='alert(1)'>&amp;&#60;\x1b[31m\x00\u202e",
    '=HYPERLINK("x")',
)
FILE = "<script src='x'>&\"quoted\".tflite"


def network(*, pruned: bool, dynamic: bool = False, size: int = 14) -> bytes:
    """Return four convolutions and an addition, on images of ``size`` by ``size`` by 32."""
    graph = Graph()
    image = graph.tensor((1, size, size, 32))
    outputs = []
    x = image
    for seed in range(4):
        x = convolve(graph, x, graph.constant(filters(seed, pruned=pruned)), size)
        outputs.append(x)
        if seed == 2:
            setting = options("AddOptions", fusedActivationFunction=activation("NONE"))
            x = graph.add("ADD", [x, outputs[0]], graph.tensor((1, size, size, 32)), setting)
    for tensor, name in zip(outputs, NAMES, strict=True):
        graph.tensors[tensor].name = name
    if dynamic:
        for tensor in graph.tensors:
            if tensor.shape[0] == 1:
                tensor.shapeSignature = [-1, *tensor.shape[1:]]
    return graph.model([image], [x])


def written(folder: Path) -> tuple[Path, Path]:
    """Write the pruned network under a hostile name, and the dense one."""
    model, baseline = folder / FILE, folder / "dense.tflite"
    model.write_bytes(network(pruned=True))
    baseline.write_bytes(network(pruned=False))
    return model, baseline


def bytes_by_hand(size: int, kept: float) -> float:
    """Return the least bytes of one of the convolutions: its images, filter and bias."""
    return 4.0 * (2 * size * size * 32 + kept * np.prod((32, 3, 3, 32)) + 32)
