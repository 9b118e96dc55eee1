# SPDX-License-Identifier: BSD-3-Clause
"""Drawn convolutions give what TFLite's reference kernels give.

``NMPACK_DRAW_SEED`` draws others, ``NMPACK_DRAW_COUNT`` more or fewer of each kind; a test's name
holds its seed, so that it can be run again: ``NMPACK_DRAW_SEED=7 pytest -k 'seed7-padded-12'``.
"""

from __future__ import annotations

from pathlib import Path

import conv_models
import drawn_convolutions
import parity
import pytest

pytestmark = pytest.mark.delegate
SLOW_COUNT = 1000


def _draws() -> list[object]:
    """Return the default draws of every kind and, marked as slow, many more of another seed."""
    return [
        pytest.param(
            kind,
            (parity.SEED + slow, number),
            id=f"seed{parity.SEED}-{'slow-' * slow}{kind}-{number}",
            marks=[pytest.mark.slow] * slow,
        )
        for slow, count in ((False, parity.COUNT), (True, SLOW_COUNT))
        for kind in drawn_convolutions.KINDS
        for number in range(count // 6 if kind == "wide" else count)
    ]


@pytest.mark.parametrize(("kind", "seed"), _draws())
def test_drawn_convolution_equals_the_reference(
    kind: str, seed: tuple[int, int], tmp_path: Path
) -> None:
    convolution = drawn_convolutions.draw(kind, seed)
    model, inputs = conv_models.model(convolution), [conv_models.input_image(convolution)]
    reference = parity.attempt(model, inputs)
    for nm, threads in parity.SETTINGS:
        what = f"nm={nm}, {threads} threads, {convolution}"
        ours = parity.attempt(
            model, inputs, nm=nm, threads=threads, report=tmp_path / "report.json"
        )
        assert (ours is None) == (reference is None), f"only one of them runs it: {what}"
        if ours is None or reference is None:
            assert not convolution.legal, f"nobody runs it: {what}"
            continue
        session, outputs = ours
        taken = [c for p in session.partitions() for c in p["layers"]]
        assert len(taken) == convolution.delegable, f"taken: {taken}, {what}"
        if nm == "force" and convolution.sparse_when_forced:
            assert [c["operator"] for c in taken] == ["nm"], f"not N:M: {taken}, {what}"
        worse = parity.difference(outputs, reference[1], conv_models.tolerance(convolution))
        assert not worse, f"{worse}: {what}"
