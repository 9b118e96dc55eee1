# SPDX-License-Identifier: BSD-3-Clause
"""Add up a profile: instructions by class, bytes, cache misses and modelled cycles, by operator.

Instructions, bytes and misses are sums of what the plugin counted. Modelled cycles are the price of
a trace (:mod:`nmpack.rvv.mca`) times how often it was entered. The hottest traces are priced, until
they hold ``covered`` of all executed instructions; the rest takes the mean cycles per instruction
of the priced traces without vector instructions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from nmpack.runtime.elf import Functions, read_functions
from nmpack.rvv import isa
from nmpack.rvv.profile import Block, Profile, ProfileError
from nmpack.rvv.traces import Trace, find_traces, instruction_counts

COVERED = 0.9995
Prices = Callable[[Sequence[Trace]], list[float]]


@dataclass(slots=True)
class Totals:
    """Sums over some code.

    Attributes:
        instructions, classes: executed, the latter by :data:`nmpack.rvv.isa.CLASSES`.
        loaded, stored: bytes.
        l1_misses, l2_misses: cache lines, in the plugin's model.
        cycles: modelled; None where no core was modelled.
        unpriced: instructions that got the mean price.
        guessed: instructions in traces whose vector type no path tells.
    """

    instructions: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    loaded: int = 0
    stored: int = 0
    l1_misses: int = 0
    l2_misses: int = 0
    cycles: float | None = None
    unpriced: int = 0
    guessed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def __iadd__(self, other: Totals) -> Totals:
        """Add ``other``."""
        self.instructions += other.instructions
        self.classes.update(other.classes)
        self.loaded += other.loaded
        self.stored += other.stored
        self.l1_misses += other.l1_misses
        self.l2_misses += other.l2_misses
        self.unpriced += other.unpriced
        self.guessed += other.guessed
        if other.cycles is not None:
            self.cycles = (self.cycles or 0.0) + other.cycles
        return self


@dataclass(frozen=True, slots=True)
class Operator:
    """What ran from one boundary to the next, in all and by function."""

    ordinal: int
    totals: Totals
    functions: dict[str, Totals]

    @property
    def kernel(self) -> str:
        """The function that takes most of it."""
        return max(
            self.functions, key=lambda name: _weight(self.functions[name]), default="nothing"
        )


def _weight(totals: Totals) -> float:
    return totals.cycles if totals.cycles is not None else totals.instructions


def sum_of(totals: Iterable[Totals]) -> Totals:
    """Return the sum."""
    result = Totals()
    for item in totals:
        result += item
    return result


def account(
    profile: Profile, prices: Prices | None, *, covered: float = COVERED
) -> tuple[Operator, ...]:
    """Add up each segment of ``profile``.

    Args:
        profile: of one marked region that ran once.
        prices: cycles of one pass of each trace; None models no cycles.
        covered: share of the executed instructions whose traces are priced.

    Raises:
        ProfileError: there is no region in it, or more than one.
    """
    if [segment.ordinal for segment in profile.segments] != list(range(len(profile.segments))) or (
        not profile.segments
    ):
        raise ProfileError("expected a profile of one marked region that ran once, got another")
    names = _function_names(profile)
    each = {number: _per_execution(block) for number, block in profile.blocks.items()}
    if prices is not None:
        _price(profile, each, prices, covered)
    operators = []
    for segment in profile.segments:
        functions: defaultdict[str, Totals] = defaultdict(Totals)
        for number, run in segment.runs.items():
            one, times = each[number], run.executions
            totals = Totals(
                one.instructions * times,
                Counter({name: count * times for name, count in one.classes.items()}),
                run.loaded, run.stored, run.l1_misses, run.l2_misses,
                None if one.cycles is None else one.cycles * times,
                one.unpriced * times, one.guessed * times,
            )  # fmt: skip
            functions[names[number]] += totals
        operators.append(Operator(segment.ordinal, sum_of(functions.values()), dict(functions)))
    return tuple(operators)


def _function_names(profile: Profile) -> dict[int, str]:
    tables: dict[int, Functions] = {}
    names = {}
    for number, block in profile.blocks.items():
        path = profile.modules[block.module]
        if block.module not in tables:
            tables[block.module] = read_functions(path) if path else Functions((), (), ())
        file = path.rpartition("/")[2] or "no file"
        names[number] = tables[block.module].at(block.offset) or f"({file})"
    return names


def _per_execution(block: Block) -> Totals:
    classes = Counter(isa.class_of(item.word, item.size) for item in block.instructions)
    return Totals(len(block.instructions), classes)


def _price(profile: Profile, each: dict[int, Totals], prices: Prices, covered: float) -> None:
    """Fill in the cycles of one execution of each block: of the traces that start in it."""
    executions: Counter[int] = Counter()
    for segment in profile.segments:
        for number, run in segment.runs.items():
            executions[number] += run.executions
    modules: dict[int, list[int]] = defaultdict(list)
    for number in executions:
        modules[profile.blocks[number].module].append(number)
    found: list[tuple[int, Trace]] = []
    for module, numbers in modules.items():
        code, counts = instruction_counts((profile.blocks[n], executions[n]) for n in numbers)
        found += [(module, trace) for trace in find_traces(code, counts)]
    hot, cold = split_hot([trace for _, trace in found], covered)
    cycles = {id(trace): price for trace, price in zip(hot, prices(hot), strict=True)}
    mean = scalar_cpi([(trace, cycles[id(trace)]) for trace in hot])
    cycles |= {id(trace): mean * len(trace.instructions) for trace in cold}
    unpriced = {id(trace) for trace in cold}
    starts = {(module, trace.start): trace for module, trace in found}
    for number in executions:
        block, one = profile.blocks[number], each[number]
        one.cycles = 0.0
        for item in block.instructions:
            trace = starts.get((block.module, item.address))
            if trace is not None:
                one.cycles += cycles[id(trace)]
                one.unpriced += len(trace.instructions) * (id(trace) in unpriced)
                one.guessed += len(trace.instructions) * trace.guessed


def split_hot(traces: Sequence[Trace], covered: float) -> tuple[list[Trace], list[Trace]]:
    """Return the fewest traces that hold ``covered`` of all executed instructions, and the rest."""
    ordered = sorted(traces, key=lambda trace: -trace.executed)
    wanted, held = covered * sum(trace.executed for trace in traces), 0
    for index, trace in enumerate(ordered):
        if held >= wanted:
            return ordered[:index], ordered[index:]
        held += trace.executed
    return ordered, []


def scalar_cpi(priced: Iterable[tuple[Trace, float]]) -> float:
    """Return cycles per instruction of the traces without vector instructions (1 without any)."""
    cycles = instructions = 0.0
    for trace, price in priced:
        if not any(isa.class_of(i.word, i.size).startswith("vector") for i in trace.instructions):
            cycles += price * trace.executions
            instructions += trace.executed
    return cycles / instructions if instructions else 1.0
