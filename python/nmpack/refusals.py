# SPDX-License-Identifier: BSD-3-Clause
"""What other programs and libraries say when they fail, in one line or sentence for a user."""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_PLACE = re.compile(r"^(?:loc\(.*?\)\)*: )?(?:\S+\.py:\d+:\d+: )?(?:error: )?")
_NO_OPERATOR = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")
#: Lines that say no more than that a traceback follows.
_EMPTY = re.compile(r"Exception encountered when calling .*|Failed to run converter passes:?")

#: What a message means that is a riddle by itself.
_MEANINGS = (
    (re.compile(r"complex(?:64|128)"), "it computes with complex numbers"),
    (
        re.compile(r"GuardOnDataDependent|data-dependent expression"),
        "what it computes depends on the values of its input, as a branch on a sum does",
    ),
    (
        re.compile(r"ConcretizationTypeError|Abstract tracer value"),
        "a size in it depends on the values of its input",
    ),
    (
        re.compile(r"Lowering not found: (aten\.\w+)"),
        r"it has the operator \1, which has no counterpart in TFLite",
    ),
    (re.compile(r"'tf\.TensorListReserve' op requires"), "a recurrent layer needs a fixed batch"),
    (
        re.compile(r"incompatible with expected resource"),
        "a layer in it keeps values from call to call, which a file with fixed weights cannot",
    ),
)


def one_line(error: BaseException | str, lines: int | None = None) -> str:
    """Join the first ``lines`` of a message that are not empty, or all; at most 400 characters."""
    parts = [part.strip() for part in str(error).splitlines() if part.strip()]
    return "; ".join(parts[:lines]).replace(":; ", ": ")[:400] or type(error).__name__


def said(error: BaseException) -> str:
    """Return what ``error`` says, at most 300 characters: the first line that says anything."""
    text = _ESCAPES.sub("", str(error))
    if operators := sorted(set(_NO_OPERATOR.findall(text))):
        return f"TFLite has no operator for {', '.join(operators)} on what it is given"
    for meaning, sentence in _MEANINGS:
        if match := meaning.search(f"{type(error).__name__}: {text.strip()}"):
            return match.expand(sentence)
    lines = [_PLACE.sub("", line.strip()) for line in text.splitlines()]
    told = [line for line in lines if line and not _EMPTY.fullmatch(line)]
    kind = type(error).__name__
    return f"{kind}: {told[0][:300]}" if told else f"{kind}, without a message"
