# SPDX-License-Identifier: BSD-3-Clause
"""What is around a program's C: the Makefile, the host's program, the self-test, a page to read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nmpack.mcu.compiler import Program

_TEMPLATES = Path(__file__).parent / "templates"
_FIELD = re.compile(r"@(\w+)@")


def filled(template: str, program: Program, **fields: object) -> str:
    """Return the text of a template with ``@field@`` filled in; ``@NAME@`` is in capitals."""
    plan = program.plan
    known: dict[str, object] = {
        "name": program.name,
        "NAME": program.name.upper(),
        "model": "".join(c if c.isprintable() else "?" for c in program.model.name),
        "target": program.target,
        "weights": program.weight_bytes,
        "arena": plan.arena_bytes,
        "alignment": plan.alignment,
        "inputs": plan.input_bytes,
        "outputs": plan.output_bytes,
        **fields,
    }
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    return _FIELD.sub(lambda match: str(known[match[1]]), text)


def makefile(program: Program, kernels: Sequence[str]) -> str:
    """Return the Makefile; ``kernels`` are portable sources without their ending."""
    return filled("Makefile", program, kernels=" ".join(kernels))


def main_text(program: Program) -> str:
    """Return the text of ``main.c``."""
    return filled("main.c", program)


def self_test_text(program: Program) -> str:
    """Return the text of ``self_test.c``."""
    return filled("self_test.c", program)


def readme_text(program: Program) -> str:
    """Return the text of ``README.txt``."""
    with_floats = any(t.dtype == "float32" for t in (*program.graph.inputs, *program.graph.outputs))
    note = ";\ninputs or outputs are float, so some code is as well" if with_floats else ""
    return filled("README.txt", program, float_note=note)
