# SPDX-License-Identifier: BSD-3-Clause
"""What a sequence of a soak is, and how it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from soak_models import Model, Shape


@dataclass(frozen=True)
class Step:
    """One operation. ``on`` is the number of an interpreter, or of a delegate to let go of."""

    name: str
    on: int | None = None
    model: int | None = None
    delegates: tuple[int, ...] = ()
    resolver: str = ""
    threads: int = 1
    key: str = ""
    shape: Shape | None = None
    image: int | None = None
    how: str = ""
    branches: tuple[tuple[Step, ...], ...] = ()

    def lines(self, margin: str = "") -> Iterator[str]:
        """Yield the step as text, what children and threads do indented."""
        words = [self.name]
        for one in fields(self)[1:-1]:
            value = getattr(self, one.name)
            if value != one.default:
                words.append(f"{one.name}={value}".replace(" ", ""))
        yield margin + " ".join(words)
        for number, steps in enumerate(self.branches):
            if len(self.branches) > 1:
                yield f"{margin}  thread {number}"
            for step in steps:
                yield from step.lines(margin + "    ")


@dataclass(frozen=True)
class Sequence:
    seed: int
    models: tuple[Model, ...]
    options: tuple[dict[str, str], ...]  # of the delegates; a report is named when it is made
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        lines = [f"sequence {self.seed}"]
        for number, model in enumerate(self.models):
            for index, part in enumerate(model.parts):
                lines.append(f"  model {number}, subgraph {index} {part.key!r}: {part.text}")
                lines.append(f"    shapes {', '.join(map(str, part.shapes))}")
        lines += [f"  delegate {n}: {options}" for n, options in enumerate(self.options)]
        for number, step in enumerate(self.steps):
            first, *rest = step.lines()
            lines += [f"  {number:3} {first}", *(f"      {line}" for line in rest)]
        return "\n".join(lines)
