# SPDX-License-Identifier: BSD-3-Clause
"""Drawn convolutions on riscv64 under QEMU give what the host's reference kernels give."""

from __future__ import annotations

import json
from pathlib import Path

import conv_models
import drawn_convolutions
import parity
import pytest

from nmpack.runtime.qemu import VLENS, run_riscv64

pytestmark = pytest.mark.riscv64
SLOW_FACTOR = 40


def _draws() -> list[object]:
    return [
        pytest.param(
            kind,
            (parity.SEED + slow, number),
            id=f"seed{parity.SEED}-{'slow-' * slow}{kind}-{number}",
            marks=[pytest.mark.slow] * slow,
        )
        for slow in (False, True)
        for kind in drawn_convolutions.KINDS
        for number in range(parity.COUNT // 30 * (SLOW_FACTOR if slow else 1))
        if drawn_convolutions.draw(kind, (parity.SEED + slow, number)).delegable
    ]


@pytest.mark.parametrize(("kind", "seed"), _draws())
def test_drawn_convolution_on_riscv64_equals_the_reference(
    kind: str, seed: tuple[int, int], tmp_path: Path
) -> None:
    convolution = drawn_convolutions.draw(kind, seed)
    inputs = [conv_models.input_image(convolution)]
    path, report = tmp_path / "model.tflite", tmp_path / "report.json"
    path.write_bytes(conv_models.model(convolution))
    expected = parity.Session(path.read_bytes()).run(inputs)
    modes = ("auto", "force") if seed[1] % 2 == 0 else ("force", "auto")
    for nm, vlen, threads in zip(modes * 2, VLENS, (1, 1, 2, 2), strict=True):
        what = f"nm={nm}, VLEN {vlen}, {threads} threads, {convolution}"
        options = {"nm": nm, "report": str(report)}
        outputs = run_riscv64(path, inputs, vlen=vlen, threads=threads, options=options)
        worse = parity.difference(
            list(outputs.values()), expected, conv_models.tolerance(convolution)
        )
        assert not worse, f"{worse}: {what}"
        (partition,) = json.loads(report.read_text())["partitions"]
        operators = [c["operator"] for c in partition["layers"]]
        assert len(operators) == 1, what
        assert nm != "force" or (operators == ["nm"]) == convolution.sparse_when_forced, what
