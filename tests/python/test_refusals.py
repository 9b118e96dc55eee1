# SPDX-License-Identifier: BSD-3-Clause
"""What is left of other programs' messages in ours."""

from __future__ import annotations

import pytest

from nmpack.refusals import one_line, said


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        ("one", None, "one"),
        ("\n  first \n\n second\n", None, "first; second"),
        ("\n  first \n\n second\n", 1, "first"),
        ("Missing keys:\n\ta, b\n\tc", None, "Missing keys: a, b; c"),
        ("x" * 900, None, "x" * 400),
        ("", None, "ValueError"),
        (" \n", 1, "ValueError"),
    ],
)
def test_a_message_becomes_one_line(text: str, lines: int | None, expected: str) -> None:
    assert one_line(ValueError(text), lines) == expected
    assert "\n" not in said(ValueError(text))
