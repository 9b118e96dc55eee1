# SPDX-License-Identifier: BSD-3-Clause
"""Drawn layers on Spike: every target's kernels are bit for bit the reference's.

``NMPACK_DRAWN_LAYERS`` says of how many layers on all targets together.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from host_programs import reference
from target_programs import wrong_on_spike
from test_drawn_layers import drawn_program

from nmpack.mcu.filters import KERNELS
from nmpack.mcu.operators.context import TARGETS

LAYERS = int(os.environ.get("NMPACK_DRAWN_LAYERS", "240"))
SEED = int(os.environ.get("NMPACK_DRAWN_SEED", "0"))
BATCH = 60
SIMULATED = [target for target in TARGETS if target != "host"]


@pytest.mark.parametrize("target", SIMULATED)
@pytest.mark.parametrize("batch", range(-(-LAYERS // (BATCH * len(SIMULATED)))))
def test_drawn_layers_are_those_of_the_reference_on_every_target(
    tmp_path: Path, target: str, batch: int
) -> None:
    seed = SEED + 10_000 + batch
    generator = np.random.default_rng(seed)
    names = sorted(KERNELS)
    programs, about = [], []
    for index in range(BATCH):
        kernel = names[index // 2 % len(names)] if index % 2 else None
        path = tmp_path / f"layer_{index}.tflite"
        program, drawn = drawn_program(generator, path, target, kernel)
        programs.append(program)
        about.append(f"seed {seed}, layer {index}: {drawn}")
    vectors = [
        (index, *reference(program, generator, extreme=turn == 0))
        for index, program in enumerate(programs)
        for turn in range(2)
    ]
    wrong = [about[vectors[number][0]] for number in wrong_on_spike(
        tmp_path, programs, vectors, target
    )]  # fmt: skip
    assert not wrong, "\n".join(wrong[:20])
