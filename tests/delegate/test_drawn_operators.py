# SPDX-License-Identifier: BSD-3-Clause
"""The other operators of a residual network give what TFLite's reference kernels give, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import parity
import pytest
from drawn_operators import OPERATORS
from drawn_transformers import TRANSFORMER_OPERATORS

pytestmark = pytest.mark.delegate
SLOW_FACTOR = 20
DRAWN = OPERATORS | TRANSFORMER_OPERATORS


def _draws() -> list[object]:
    return [
        pytest.param(
            name,
            [parity.SEED + slow, number],
            id=f"seed{parity.SEED}-{'slow-' * slow}{name}-{number}",
            marks=[pytest.mark.slow] * slow,
        )
        for slow in (False, True)
        for name in DRAWN
        for number in range(parity.COUNT // 4 * (SLOW_FACTOR if slow else 1))
    ]


@pytest.mark.parametrize(("name", "seed"), _draws())
def test_drawn_operator_equals_the_reference(name: str, seed: list[int], tmp_path: Path) -> None:
    drawn = DRAWN[name](np.random.default_rng(seed))
    expected = parity.Session(drawn.model).run(drawn.inputs)
    for threads in (1, 2):
        session = parity.Session(
            drawn.model, nm="auto", threads=threads, report=tmp_path / "report.json"
        )
        worse = parity.difference(session.run(drawn.inputs), expected, drawn.tolerance)
        assert not worse, f"{worse}: {drawn.what}"
        taken = sum(len(partition["nodes"]) for partition in session.partitions())
        assert taken == drawn.nodes, f"nodes taken: {taken}, not {drawn.nodes}: {drawn.what}"
