# SPDX-License-Identifier: BSD-3-Clause
"""Predicted cycles of operators without filters are those of CV32E40P's RTL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_integers import TABLED, Model
from tflite_graph import Quantization, options

from nmpack.mcu.compiler import compile_model
from nmpack.mcu.simulate import simulate

#: How far a prediction may be from the RTL.
TOLERANCE = 0.15
TOKENS = [1, 25, 96]
X, Y, Z = (Quantization([0.05], 3), Quantization([0.031], -9), Quantization([0.07], 12))
PRODUCTS = Quantization([0.1], 5)
SHARES = Quantization([1 / 256], -128)


class Plain(Model):
    """A model whose inputs are the network's own."""

    def input(self, shape, steps, **_: bool) -> int:
        self.inputs.append(self.graph.tensor(shape, np.int8, steps))
        return self.inputs[-1]


def _network(path: Path) -> None:
    model = Plain(np.random.default_rng(0))
    x, y, row = model.input(TOKENS, X), model.input(TOKENS, Y), model.input([1, 25, 1], Y)
    one, other = (model.input(TOKENS, steps) for steps in TABLED[:2])
    heads, keys = model.input([2, 25, 24], X), model.input([2, 24, 25], Y)
    softmax, mean = options("SoftmaxOptions", beta=1.0), options("ReducerOptions", keepDims=True)
    matrices = options("BatchMatMulOptions")
    made = [
        *model.add("ADD", [x, y], [(TOKENS, Z)], options("AddOptions")),
        *model.add("ADD", [one, other], [(TOKENS, TABLED[2])], options("AddOptions")),
        *model.add("SUB", [x, row], [(TOKENS, Z)], options("SubOptions")),
        *model.add("MUL", [x, y], [(TOKENS, PRODUCTS)], options("MulOptions")),
        *model.add("MUL", [x, row], [(TOKENS, PRODUCTS)], options("MulOptions")),
        *model.add("TANH", [x], [(TOKENS, Quantization([1 / 128], 0))]),
        *model.add("SOFTMAX", [x], [(TOKENS, SHARES)], softmax),
        *model.add("MEAN", [x, model.list([2])], [([1, 25, 1], X)], mean),
        *model.add("TRANSPOSE", [x, model.list([0, 2, 1])], [([1, 96, 25], X)]),
        *model.add("BATCH_MATMUL", [heads, keys], [([2, 25, 25], PRODUCTS)], matrices),
    ]
    path.write_bytes(model.file(made)[1])


@pytest.mark.parametrize("target", ["rv32imc", "xcv"])
def test_predictions_are_those_of_the_rtl(tmp_path: Path, target: str) -> None:
    path = tmp_path / "operators.tflite"
    _network(path)
    program = compile_model(path, target=target)
    measured = simulate(program, simulator="rtl").layers
    assert len(measured) == len(program.steps) == 10
    far = [
        f"{step.kind} {step.function}: predicted {step.cycles[target]}, measured {cycles}"
        for step, cycles in zip(program.steps, measured, strict=True)
        if step.cycles[target] != pytest.approx(cycles, rel=TOLERANCE)
    ]
    assert not far, "\n".join(far)
