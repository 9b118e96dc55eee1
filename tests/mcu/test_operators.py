# SPDX-License-Identifier: BSD-3-Clause
"""Drawn operators other than convolutions are bit for bit those of the reference kernels.

``NMPACK_DRAWN_LAYERS=5000`` draws so many of each family; ``NMPACK_DRAWN_SEED`` repeats what
failed.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from drawn_integers import FAMILIES
from drawn_moves import MOVES
from host_programs import HostPrograms, require_reference
from tflite_graph import Graph, Quantization, options

from nmpack.mcu.compiler import Program, compile_model

LAYERS = int(os.environ.get("NMPACK_DRAWN_LAYERS", "100"))
SEED = int(os.environ.get("NMPACK_DRAWN_SEED", "0"))
BATCH = 100
INPUTS = 3
ALL = FAMILIES | MOVES


@pytest.mark.parametrize("batch", range(-(-LAYERS // BATCH)))
@pytest.mark.parametrize("family", ALL)
def test_drawn_operators_are_those_of_the_reference(
    tmp_path: Path, family: str, batch: int
) -> None:
    seed = SEED + batch
    generator = np.random.default_rng([seed, *family.encode()])
    programs: list[Program] = []
    about: list[str] = []
    for index in range(min(BATCH, LAYERS - batch * BATCH)):
        text, content = ALL[family](generator)
        path = tmp_path / f"{family}_{index}.tflite"
        path.write_bytes(content)
        about.append(f"seed {seed}, {family} {index}: {text}")
        try:
            programs.append(compile_model(path))
        except Exception as error:
            raise AssertionError(about[-1]) from error
    require_reference(
        tmp_path, programs, about, generator,
        inputs=INPUTS, compiler=("gcc", "clang-19")[batch % 2],
    )  # fmt: skip


@pytest.mark.parametrize("depth", [512, 1000, 4095])
def test_a_softmax_of_many_equal_values_has_no_share(tmp_path: Path, depth: int) -> None:
    """From 512 on the reference kernel aborts: it would shift by more than 31 bits."""
    graph = Graph()
    source = graph.tensor((2, depth), np.int8, Quantization([1.0], 0))
    result = graph.tensor((2, depth), np.int8, Quantization([1 / 256], -128))
    graph.add("SOFTMAX", [source], result, options("SoftmaxOptions", beta=1.0))
    path = tmp_path / "softmax.tflite"
    path.write_bytes(graph.model([source], [result]))
    values = np.full((2, depth), 5, np.int8)
    values[1, 7] = 127
    (got,) = HostPrograms(tmp_path, [compile_model(path)]).run([(0, values.tobytes())])
    expected = np.full((2, depth), -128, np.int8)
    expected[1, 7] = 127
    np.testing.assert_array_equal(np.frombuffer(got, np.int8).reshape(2, depth), expected)
