# SPDX-License-Identifier: BSD-3-Clause
"""Draws what a sequence of a soak does, before any of it is done.

A sequence follows from its seed alone. Only what TFLite allows is drawn, odd as it may be: after a
resize tensors are allocated before a run, and nobody touches an interpreter that another thread
uses.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
from soak_models import Model, Shape, draw_model
from soak_sequence import Sequence, Step

#: How often each step is drawn where it is possible.
CHANCES = {
    "load": 7, "allocate": 6, "resize": 8, "invoke": 20, "again": 5, "runner": 3, "call": 18,
    "delete": 4, "collect": 1, "forget": 2, "destroy": 2, "fork": 5, "together": 3,
}  # fmt: skip
#: What a thread does beside others, with an interpreter of its own.
ALONE = ("load", "allocate", "resize", "invoke", "again", "runner", "call", "delete")
MOST_INTERPRETERS = 4


@dataclass
class _Interpreter:
    """What is known of an interpreter at a point of a sequence."""

    model: Model
    delegates: tuple[int, ...]
    shape: Shape
    ready: bool = False  # to run its first subgraph
    filled: bool = False  # with an input that still counts


@dataclass
class _State:
    interpreters: dict[int, _Interpreter] = field(default_factory=dict)
    delegates: set[int] = field(default_factory=set)  # that may be given to interpreters
    held: set[int] = field(default_factory=set)  # that we still have
    loaded: int = 0


class _Draw:
    """Draws steps one after the other."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng([5, seed])
        self.models = tuple(draw_model(rng) for _ in range(int(rng.integers(1, 4))))
        self.options = tuple(self._options() for _ in range(int(rng.integers(1, 4))))
        numbers = set(range(len(self.options)))
        self.state = _State(delegates=numbers, held=set(numbers))
        # The interpreter's own threads do not survive a fork.
        self.forks = rng.random() < 0.6
        self.depth = 0

    def _options(self) -> dict[str, str]:
        rng = self.rng
        result = {"nm": str(rng.choice(("auto", "force", "off"), p=(0.35, 0.55, 0.1)))}
        result["layout"] = str(rng.choice(("auto", "nhwc", "cnhw")))
        if rng.random() < 0.8:
            result["num_threads"] = str(rng.integers(1, 4))
        if rng.random() < 0.2:
            result["verbose"] = "0"
        if rng.random() < 0.7:
            result["report"] = ""
        return result

    def steps(
        self, count: int, names: tuple[str, ...], ours: list[int] | None = None
    ) -> list[Step]:
        """Draw steps of these names, on these interpreters or any."""
        result: list[Step] = []
        chances = np.array([CHANCES[name] for name in names], float)
        for _ in range(20 * count):
            if len(result) == count:
                break
            name = str(self.rng.choice(names, p=chances / chances.sum()))
            step = getattr(self, "_" + name)(self._known(ours))
            if step is not None:
                result.append(step)
        return result

    def _known(self, ours: list[int] | None) -> list[int]:
        return [n for n in self.state.interpreters if ours is None or n in ours]

    def _pick(self, known: list[int]) -> tuple[int, _Interpreter] | None:
        if not known:
            return None
        number = int(self.rng.choice(known))
        return number, self.state.interpreters[number]

    def _image(self) -> int:
        return int(self.rng.integers(1 << 20))

    def _shape(self, shapes: tuple[Shape, ...]) -> Shape:
        return shapes[int(self.rng.integers(len(shapes)))]

    def _load(self, known: list[int]) -> Step | None:
        state, rng = self.state, self.rng
        if not state.delegates or len(known) >= MOST_INTERPRETERS:
            return None
        model, number = int(rng.integers(len(self.models))), state.loaded
        state.loaded += 1
        count = 2 if len(state.delegates) > 1 and rng.random() < 0.1 else 1
        delegates = tuple(int(n) for n in rng.permutation(sorted(state.delegates))[:count])
        parts = self.models[model].parts
        state.interpreters[number] = _Interpreter(self.models[model], delegates, parts[0].shapes[0])
        # The stock delegate, which "auto" lets take what ours leaves, mistakes empty images.
        empty = any(0 in shape for part in parts for shape in part.shapes)
        return Step("load", number, model=model, delegates=delegates,
                    resolver="auto" if rng.random() < 0.4 and not empty else "plain",
                    threads=1 if self.forks else int(rng.integers(1, 3)))  # fmt: skip

    def _allocate(self, known: list[int]) -> Step | None:
        if (picked := self._pick(known)) is None:
            return None
        number, one = picked
        one.filled = one.filled and one.ready
        one.ready = True
        return Step("allocate", number)

    def _resize(self, known: list[int]) -> Step | None:
        """Resize the first subgraph, perhaps to what it is already."""
        if (picked := self._pick(known)) is None:
            return None
        number, one = picked
        shape = self._shape(one.model.parts[0].shapes)
        # An input without elements has no memory, which the interpreter takes for a change.
        if shape != one.shape or 0 in shape:
            one.ready = one.filled = False
        one.shape = shape
        return Step("resize", number, shape=shape)

    def _invoke(self, known: list[int]) -> Step | None:
        picked = self._pick([n for n in known if self.state.interpreters[n].ready])
        if picked is None:
            return None
        picked[1].filled = True
        return Step("invoke", picked[0], image=self._image())

    def _again(self, known: list[int]) -> Step | None:
        """Run with the input that is there."""
        able = [n for n in known if self.state.interpreters[n].filled]
        picked = self._pick(able)
        return Step("again", picked[0]) if picked else None

    def _runner(self, known: list[int]) -> Step | None:
        return self._signature(known, "runner")

    def _call(self, known: list[int]) -> Step | None:
        return self._signature(known, "call")

    def _signature(self, known: list[int], name: str) -> Step | None:
        picked = self._pick([n for n in known if self.state.interpreters[n].model.parts[0].key])
        if picked is None:
            return None
        number, one = picked
        index = int(self.rng.integers(len(one.model.parts)))
        part = one.model.parts[index]
        if name == "runner":
            return Step(name, number, key=part.key)
        shape = self._shape(part.shapes)
        if index == 0:
            one.shape, one.ready, one.filled = shape, True, True
        return Step(name, number, key=part.key, shape=shape, image=self._image())

    def _delete(self, known: list[int]) -> Step | None:
        if (picked := self._pick(known)) is None:
            return None
        del self.state.interpreters[picked[0]]
        return Step("delete", picked[0])

    def _collect(self, _: list[int]) -> Step:
        return Step("collect")

    def _forget(self, _: list[int]) -> Step | None:
        return self._let_go("forget")

    def _destroy(self, _: list[int]) -> Step | None:
        return self._let_go("destroy")

    def _let_go(self, name: str) -> Step | None:
        """Drop our reference to a delegate, or destroy it while interpreters still use it."""
        if not self.state.held:
            return None
        number = int(self.rng.choice(sorted(self.state.held)))
        self.state.held.discard(number)
        self.state.delegates.discard(number)
        return Step(name, number)

    def _fork(self, known: list[int]) -> Step | None:
        """Fork; the child does something and ends without tidying up."""
        if not self.forks or self.depth > 1 or not known:
            return None
        how, running = str(self.rng.choice(("here", "thread", "run"), p=(0.5, 0.2, 0.3))), None
        if how == "run":
            able = [n for n in known if self.state.interpreters[n].filled]
            if (picked := self._pick(able)) is None:
                return None
            running = picked[0]
        before, self.state = self.state, copy.deepcopy(self.state)
        self.depth += 1
        others = [n for n in known if n != running]
        names = tuple(CHANCES) if how != "run" else ALONE
        steps = self.steps(int(self.rng.integers(1, 6)), names, others if how == "run" else None)
        self.depth -= 1
        self.state = before
        return Step("fork", running, how=how, branches=(tuple(steps),)) if steps else None

    def _together(self, known: list[int]) -> Step | None:
        """Threads, each with an interpreter of its own; perhaps they share the delegate."""
        if len(known) < 2:
            return None
        chosen = [int(n) for n in self.rng.permutation(known)[: int(self.rng.integers(2, 4))]]
        branches = [tuple(self.steps(int(self.rng.integers(1, 5)), ALONE, [n])) for n in chosen]
        return Step("together", branches=tuple(branches))


def draw(seed: int) -> Sequence:
    """Return the sequence of a seed, of 8 to 30 steps after the first load."""
    one = _Draw(seed)
    steps = one.steps(1, ("load",))
    steps += one.steps(int(one.rng.integers(8, 31)), tuple(CHANCES))
    return Sequence(seed, one.models, one.options, tuple(steps))
