# SPDX-License-Identifier: BSD-3-Clause
"""Costs that the search spends are those that the compiler states of the converted network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nmpack.torch
from nmpack import NMPattern
from nmpack.budget import costs_of, front_of, search
from nmpack.convert import torch_to_tflite
from nmpack.errors import PatternError
from nmpack.mcu.compiler import compile_model
from nmpack.quantize import Int8

PATTERNS = [NMPattern(1, 4, tile=4), NMPattern(1, 8, tile=4), NMPattern(1, 8, tile=1)]
FILTERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, groups=32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 36, 8),
    ).eval()


@pytest.mark.parametrize("target", ["xcv", "xcv-nm"])
def test_cycles_and_flash_are_the_compilers(tmp_path: Path, target: str) -> None:
    model = network()
    sample = torch.randn(2, 3, 12, 12)
    costs = {
        what: costs_of(model, sample, PATTERNS, what=what, target=target)
        for what in ("cycles", "flash")
    }
    assert set(costs["cycles"]["2"]) == {None, *PATTERNS}
    assert costs["flash"]["2"][PATTERNS[1]] < costs["flash"]["2"][None] / 3
    assert costs["cycles"]["2"][PATTERNS[1]] < costs["cycles"]["2"][None]
    assert list(costs["cycles"]["4"]) == [None]
    nmpack.torch.prune_(model, {"2": PATTERNS[1], "6": PATTERNS[2]})
    nmpack.torch.finalize_(model)
    images = np.random.default_rng(0).standard_normal((8, 12, 12, 3)).astype(np.float32)
    path = tmp_path / "model.tflite"
    torch_to_tflite(model, path, (12, 12, 3), int8=Int8(images, io="int8"))
    program = compile_model(path, target=target)
    steps = [step for step in program.steps if step.kind in FILTERS]
    used = {"0": None, "2": PATTERNS[1], "4": None, "6": PATTERNS[2], "9": None}
    assert len(steps) == len(used)
    for step, (name, pattern) in zip(steps, used.items(), strict=True):
        said = f"{name} {step.kind} {step.kernel}"
        assert step.weight_bytes == costs["flash"][name][pattern], said
        # A converter may pad an image in a step of its own, so that windows are never cut.
        assert step.cycles[target] == pytest.approx(costs["cycles"][name][pattern], rel=0.1), said


def test_points_state_flash_beside_cycles() -> None:
    model = network()
    sample = torch.randn(2, 3, 12, 12)
    cycles = costs_of(model, sample, PATTERNS, what="cycles")
    flash = costs_of(model, sample, PATTERNS, what="flash")
    harm = {
        name: {item: 1.0 + (item == PATTERNS[1]) for item in row if item is not None}
        for name, row in cycles.items()
    }
    points = search(model, cycles, harm, [0.85, 0.95], lambda _: 0.5, beside={"flash": flash})
    for point in points:
        patterns = point.plan.patterns
        assert point.beside == {"flash": sum(flash[name][patterns[name]] for name in patterns)}
    assert front_of(points)


def test_a_point_that_is_smaller_stays_in_the_front() -> None:
    from nmpack.budget import Plan, Point

    def point(cost: float, accuracy: float, flash: float) -> Point:
        return Point(Plan({}, cost, 10.0, 0.0), 4, accuracy, {"flash": flash})

    points = [point(3, 0.8, 50), point(4, 0.7, 40), point(4, 0.7, 60), point(5, 0.8, 50)]
    assert [(p.plan.cost, p.beside["flash"]) for p in front_of(points)] == [(3, 50), (4, 40)]


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(PatternError, match="a target out of xcv, xcv-nm, rv32imc, got 'avr'"):
        costs_of(network(), torch.zeros(1, 3, 12, 12), PATTERNS, what="cycles", target="avr")
