# SPDX-License-Identifier: BSD-3-Clause
"""Does the steps of a soak, each with our delegate and on the stock interpreter.

Every output is compared with the stock interpreter's, in child processes and threads as well.
"""

from __future__ import annotations

import gc
import json
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate
from parity import difference
from soak_models import Model, Part, image
from soak_processes import Difference, in_child, in_threads
from soak_sequence import Sequence, Step

from nmpack.runtime.interpreter import find_delegate

PLAIN = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
RESOLVERS = {"plain": PLAIN, "auto": OpResolverType.AUTO}
FORKS = 3  # while another thread runs


@dataclass
class Counts:
    """What was done in this process, children left out."""

    sequences: int = 0
    steps: int = 0
    invokes: int = 0
    delegated: int = 0  # invokes of subgraphs of which a delegate has taken nodes
    reported: int = 0  # invokes of which a report speaks, of one interpreter alone
    pruned: int = 0  # of these, those that ran N:M convolutions
    forks: int = 0


@dataclass
class Pair:
    """An interpreter with our delegate, and the stock one."""

    model: Model
    delegates: tuple[int, ...]
    both: tuple[Any, Any]
    runners: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    # Made once: a handle that is there when tensors move.
    handles: list[Callable[[], Any]] = field(default_factory=list)

    def wrappers(self) -> tuple[Any, Any]:
        """Return what is below Python's methods, which refuse while a runner exists."""
        one, other = (interpreter._interpreter for interpreter in self.both)
        return one, other

    def runner(self, key: str) -> tuple[Any, Any]:
        """Return the signature's runners, made when they are first asked for."""
        if key not in self.runners:
            one, other = (interpreter.get_signature_runner(key) for interpreter in self.both)
            self.runners[key] = (one, other)
        return self.runners[key]


class World:
    """All that exists at a point of a sequence."""

    def __init__(self, sequence: Sequence, folder: str, counts: Counts, *, stock: bool) -> None:
        """Load the delegates, or none where the stock interpreter is compared with itself."""
        self.sequence, self.counts, self.stock = sequence, counts, stock
        self.pairs: dict[int, Pair] = {}
        self.reports: dict[int, Path] = {}
        self.delegates: dict[int, Any] = {}
        for number, chosen in enumerate(sequence.options):
            values = dict(chosen)
            if "report" in values:
                self.reports[number] = Path(folder) / f"{number}.json"
                values["report"] = str(self.reports[number])
            if not stock:
                self.delegates[number] = load_delegate(str(find_delegate()), values)

    def do(self, step: Step) -> None:
        """Do one step."""
        getattr(self, "_" + step.name)(step)

    def _load(self, step: Step) -> None:
        model = self.sequence.models[step.model]
        delegates = [] if self.stock else [self.delegates[number] for number in step.delegates]
        ours = Interpreter(
            model_content=model.content,
            experimental_op_resolver_type=RESOLVERS[step.resolver],
            experimental_delegates=delegates,
            num_threads=step.threads,
        )
        theirs = Interpreter(model_content=model.content, experimental_op_resolver_type=PLAIN)
        handles = [ours.tensor(detail["index"]) for detail in ours.get_output_details()]
        self.pairs[step.on] = Pair(model, step.delegates, (ours, theirs), handles=handles)

    def _allocate(self, step: Step) -> None:
        for wrapper in self.pairs[step.on].wrappers():
            wrapper.AllocateTensors()

    def _resize(self, step: Step) -> None:
        pair = self.pairs[step.on]
        (detail,) = pair.both[1].get_input_details()
        for wrapper in pair.wrappers():
            wrapper.ResizeInputTensor(detail["index"], np.array(step.shape, np.int32), False)

    def _invoke(self, step: Step) -> None:
        pair = self.pairs[step.on]
        for interpreter in pair.both:
            (detail,) = interpreter.get_input_details()
            part = pair.model.parts[0]
            values = image(part, tuple(detail["shape"]), step.image)
            interpreter.set_tensor(detail["index"], values)
        self._again(step)

    def _again(self, step: Step) -> None:
        pair = self.pairs[step.on]
        ours, theirs = pair.both
        for wrapper in pair.wrappers():
            wrapper.Invoke()
        indices = [detail["index"] for detail in theirs.get_output_details()]
        expected = [theirs.get_tensor(index) for index in indices]
        got = [
            np.array(handle()) if value.size else ours.get_tensor(index)
            for handle, index, value in zip(pair.handles, indices, expected, strict=True)
        ]
        self._check(pair, 0, got, expected)

    def _runner(self, step: Step) -> None:
        self.pairs[step.on].runners.pop(step.key, None)
        self.pairs[step.on].runner(step.key)

    def _call(self, step: Step) -> None:
        pair = self.pairs[step.on]
        index, part = _part(pair.model, step.key)
        values = image(part, step.shape, step.image)
        got, expected = (list(runner(x=values).values()) for runner in pair.runner(step.key))
        self._check(pair, index, got, expected)

    def _check(self, pair: Pair, subgraph: int, got: list[Any], expected: list[Any]) -> None:
        self.counts.invokes += 1
        worse = difference(got, expected, 0.0)
        if worse:
            raise Difference(f"subgraph {subgraph}: {worse}")
        self._count(pair, subgraph)

    def _count(self, pair: Pair, subgraph: int) -> None:
        """Count what ran, where a report says so."""
        users = [
            one for one in list(self.pairs.values()) if set(one.delegates) & set(pair.delegates)
        ]
        report = self.reports.get(pair.delegates[0])
        if self.stock or len(users) > 1 or len(pair.delegates) > 1 or report is None:
            return
        self.counts.reported += 1
        partitions = json.loads(report.read_text())["partitions"]
        layers = [p["layers"] for p in partitions if p["subgraph"] == subgraph]
        self.counts.delegated += bool(layers)
        self.counts.pruned += any(one["operator"] == "nm" for some in layers for one in some)

    def _delete(self, step: Step) -> None:
        del self.pairs[step.on]

    def _collect(self, _: Step) -> None:
        gc.collect()

    def _forget(self, step: Step) -> None:
        self.delegates.pop(step.on, None)

    def _destroy(self, step: Step) -> None:
        delegate = self.delegates.pop(step.on, None)
        if delegate is not None:
            delegate.__del__()

    def _fork(self, step: Step) -> None:
        if step.how == "here":
            self._child(step)
        elif step.how == "thread":
            in_threads([lambda: self._child(step)])
        else:
            stop = threading.Event()
            ours, _ = self.pairs[step.on].wrappers()

            def run() -> None:
                while not stop.is_set():
                    ours.Invoke()

            def fork() -> None:
                try:
                    for _ in range(FORKS):
                        self._child(step)
                finally:
                    stop.set()

            in_threads([run], fork)
            self._again(step)

    def _child(self, step: Step) -> None:
        self.counts.forks += 1
        in_child([(next(one.lines()), partial(self.do, one)) for one in step.branches[0]])

    def _together(self, step: Step) -> None:
        def work(steps: tuple[Step, ...]) -> Callable[[], None]:
            return lambda: [self.do(one) for one in steps] and None

        in_threads([work(steps) for steps in step.branches])


def _part(model: Model, key: str) -> tuple[int, Part]:
    for index, part in enumerate(model.parts):
        if part.key == key:
            return index, part
    raise KeyError(f"expected one of the model's signatures, got {key!r}")


def perform(
    sequence: Sequence, counts: Counts, tell: Callable[[int, int], None], *, stock: bool = False
) -> None:
    """Do a sequence from beginning to end; ``tell`` hears of each step before it is done."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(sequence, folder, counts, stock=stock)
        for number, step in enumerate(sequence.steps):
            tell(sequence.seed, number)
            world.do(step)
            counts.steps += 1
        # Interpreters go before delegates or after them, by their number.
        if sequence.seed % 2:
            world.delegates.clear()
        world.pairs.clear()
    counts.sequences += 1
