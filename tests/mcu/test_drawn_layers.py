# SPDX-License-Identifier: BSD-3-Clause
"""Drawn convolutions, depthwise ones and fully connected layers are bit for bit the reference's.

``NMPACK_DRAWN_LAYERS=5000`` draws so many; ``NMPACK_DRAWN_SEED`` repeats what failed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from drawn_layers import KINDS, Layer, draw_layer, pattern_zeros
from host_programs import require_reference

from nmpack.mcu.compiler import Program, compile_model
from nmpack.mcu.filters import KERNELS
from nmpack.mcu.operators.context import TARGETS

LAYERS = int(os.environ.get("NMPACK_DRAWN_LAYERS", "300"))
SEED = int(os.environ.get("NMPACK_DRAWN_SEED", "0"))
BATCH = 100
INPUTS = 3


def drawn_program(
    generator: np.random.Generator, path: Path, target: str, kernel: str | None
) -> tuple[Program, str]:
    """Draw a layer that ``kernel`` fits, or any; returns its program, and what was drawn."""
    for _ in range(50):
        layer = draw_layer(generator) if kernel is None else layer_for(generator, kernel)
        path.write_bytes(layer.content)
        program = compile_model(path, target=target, kernel=kernel)
        step = program.steps[0]
        if kernel in (None, step.kernel):
            return program, f"{layer.about}, {step.kernel} for {target}"
    raise AssertionError(f"no layer of 50 fits {kernel}")


def layer_for(generator: np.random.Generator, kernel: str) -> Layer:
    """Draw a layer with the zeros that a kernel is made for, or with any where it takes all."""
    kind = str(generator.choice(["CONV_2D", "FULLY_CONNECTED"]))
    ratio = re.fullmatch(r"(?:row|col)nm(\d+)", kernel)
    if ratio is None:
        return draw_layer(generator, kind)
    return draw_layer(generator, kind, pattern_zeros(1, int(ratio[1]), KERNELS[kernel].tile))


@pytest.mark.parametrize("batch", range(-(-LAYERS // BATCH)))
def test_drawn_layers_are_those_of_the_reference(tmp_path: Path, batch: int) -> None:
    seed = SEED + batch
    generator = np.random.default_rng(seed)
    names = sorted(KERNELS)
    programs: list[Program] = []
    about: list[str] = []
    for index in range(min(BATCH, LAYERS - batch * BATCH)):
        # Half of them what the compiler chooses, half of them one kernel after the other.
        kernel = names[index // 2 % len(names)] if index % 2 else None
        path = tmp_path / f"layer_{index}.tflite"
        program, drawn = drawn_program(generator, path, TARGETS[index % len(TARGETS)], kernel)
        programs.append(program)
        about.append(f"seed {seed}, layer {index}: {drawn}")
    require_reference(
        tmp_path, programs, about, generator,
        inputs=INPUTS, compiler=("gcc", "clang-19")[batch % 2],
    )  # fmt: skip
    if len(programs) >= 2 * len(names):
        assert set(names) <= {step.kernel for program in programs for step in program.steps}


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawn_layer_is_what_its_seed_says(kind: str) -> None:
    first, second = (draw_layer(np.random.default_rng(7), kind) for _ in range(2))
    assert first == second
    assert first.kind == kind
