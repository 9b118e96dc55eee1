# SPDX-License-Identifier: BSD-3-Clause
"""Drawn layers against TFLite for Microcontrollers, where its kernels are LiteRT's reference ones.

They are not in two operators: FULLY_CONNECTED, which it rounds twice, so that an output may be one
step away; and RELU6 between different scales, which it does not rescale.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_integers import FAMILIES
from drawn_layers import draw_layer
from host_programs import HostPrograms

from nmpack.locations import ROOT
from nmpack.mcu.compiler import compile_model
from nmpack.mcu.golden import draw, joined

LAYERS = 40
SEED = int(os.environ.get("NMPACK_DRAWN_SEED", "0"))
Drawn = Callable[[np.random.Generator], tuple[str, bytes]]


def layers(kind: str) -> Drawn:
    """Return what draws layers of a kind."""

    def drawn(generator: np.random.Generator) -> tuple[str, bytes]:
        layer = draw_layer(generator, kind)
        return layer.about, layer.content

    return drawn


#: What is drawn, and how far an output may be away, in steps.
CASES: dict[str, tuple[Drawn, int]] = {
    "CONV_2D": (layers("CONV_2D"), 0),
    "DEPTHWISE_CONV_2D": (layers("DEPTHWISE_CONV_2D"), 0),
    "FULLY_CONNECTED": (layers("FULLY_CONNECTED"), 1),
    **{
        name: (FAMILIES[name], 0)
        for name in ("sums", "products", "pools", "reductions", "softmaxes")
    },
}


@pytest.mark.parametrize("case", CASES)
def test_answers_are_those_of_tflite_micro(tmp_path: Path, case: str) -> None:
    make, steps = CASES[case]
    generator = np.random.default_rng([SEED, *case.encode()])
    programs, about, inputs = [], [], []
    for index in range(LAYERS):
        text, content = make(generator)
        path = tmp_path / f"m{index:03}.tflite"
        path.write_bytes(content)
        program = compile_model(path)
        values = [draw(tensor, generator) for tensor in program.graph.inputs]
        np.savez(path.with_suffix(".npz"), *values)
        programs.append(program)
        about.append(f"seed {SEED}, {case} {index}: {text}")
        fed = joined(values, program.plan.input_offsets, program.plan.input_bytes)
        inputs.append((index, fed.tobytes()))
    worker = [ROOT / ".venv-mcu/bin/python", Path(__file__).with_name("tflm_worker.py"), tmp_path]
    done = subprocess.run(worker, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    ran = 0
    for (index, _), got in zip(inputs, HostPrograms(tmp_path, programs).run(inputs), strict=True):
        answer = tmp_path / f"m{index:03}.out.npz"
        if not answer.exists() or len(programs[index].graph.outputs) > 1:
            continue
        with np.load(answer) as arrays:
            wanted = arrays["arr_0"].reshape(-1)
        found = np.frombuffer(got, wanted.dtype)
        apart = np.abs(found.astype(np.int64) - wanted.astype(np.int64))
        assert apart.max(initial=0) <= steps, f"{about[index]}: {apart.max()} steps"
        # Where two roundings are one, few outputs are near enough to a half to notice.
        assert np.count_nonzero(apart) <= max(3, len(apart) // 20), about[index]
        ran += 1
    assert ran >= LAYERS // 2, f"TFLite for Microcontrollers ran {ran} of {LAYERS}"
