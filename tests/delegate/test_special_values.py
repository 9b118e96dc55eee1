# SPDX-License-Identifier: BSD-3-Clause
"""Numbers and shapes at the edges of what operators are defined for, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from parity import Session
from tflite_graph import Graph

pytestmark = pytest.mark.delegate

SPECIAL = np.array([0.0, np.inf, 1.0, 4.0, 1e-30, 1e30, 2.5, 7.0], np.float32)


@pytest.mark.parametrize("name", ["SQRT", "RSQRT"])
def test_roots_of_zero_and_infinity(name: str) -> None:
    graph = Graph()
    value = graph.tensor((1, len(SPECIAL)))
    output = graph.tensor((1, len(SPECIAL)))
    graph.add(name, [value], output)
    model = graph.model([value], [output])
    (expected,) = Session(model).run([SPECIAL[None]])
    (found,) = Session(model, nm="auto").run([SPECIAL[None]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_slice_of_an_axis_that_changes() -> None:
    """Interpreters give it a shape when it runs, so the delegate leaves it."""
    graph = Graph()
    value, part, output = graph.tensor((1, 8)), graph.tensor((1, 3)), graph.tensor((1, 3))
    graph.tensors[value].shapeSignature = [-1, 8]
    graph.tensors[part].shapeSignature = [-1, 3]
    start = graph.constant(np.array([0, 1], np.int32))
    size = graph.constant(np.array([1, 3], np.int32))
    graph.add("SLICE", [value, start, size], part)
    graph.add("ADD", [part, graph.constant(np.ones(3, np.float32))], output)
    model = graph.model([value], [output])
    for batch in (1, 3):
        x = np.arange(8 * batch, dtype=np.float32).reshape(batch, 8)
        results = []
        for session in (Session(model), Session(model, nm="auto")):
            session.resize((batch, 8))
            results.append(session.run([x]))
        np.testing.assert_array_equal(results[1][0], results[0][0])
