# SPDX-License-Identifier: BSD-3-Clause
"""Cut executed code into traces: runs of instructions that are entered at the top only.

A trace ends where control may go elsewhere. Two pieces are joined where the first always goes on to
the second, because its branch was never taken or is a jump, and nothing else leads there: so the
body of a loop with side exits that were never taken is one trace, and a loop if it jumps to its own
top. Code that was not executed plays no part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from nmpack.rvv import isa
from nmpack.rvv.isa import Instruction, VectorType
from nmpack.rvv.profile import Block

_DEFAULT = VectorType(32, "m1")


@dataclass(frozen=True, slots=True)
class Trace:
    """A run of instructions.

    Attributes:
        instructions: in the order they execute.
        executions: how often it was entered.
        loop: whether it jumps to its own top.
        vector_type: what is set on entry; None when nothing in it depends on that.
        guessed: whether no path says what ``vector_type`` is, so that it is a default.
    """

    instructions: tuple[Instruction, ...]
    executions: int
    loop: bool
    vector_type: VectorType | None = None
    guessed: bool = False

    @property
    def start(self) -> int:
        """Address of the first instruction."""
        return self.instructions[0].address

    @property
    def executed(self) -> int:
        """Executed instructions."""
        return self.executions * len(self.instructions)


def instruction_counts(
    blocks: Iterable[tuple[Block, int]],
) -> tuple[dict[int, Instruction], Counter[int]]:
    """Spread executions of blocks, which may overlap, over their instructions, by address."""
    code: dict[int, Instruction] = {}
    counts: Counter[int] = Counter()
    for block, executions in blocks:
        for instruction in block.instructions:
            code[instruction.address] = instruction
            counts[instruction.address] += executions
    return code, counts


def find_traces(code: Mapping[int, Instruction], counts: Mapping[int, int]) -> tuple[Trace, ...]:
    """Cut ``code`` (instructions by address) into traces; ``counts`` says how often each ran."""
    pieces = _pieces(code, counts)
    return _with_vector_types(_join(pieces, counts), code)


def _pieces(
    code: Mapping[int, Instruction], counts: Mapping[int, int]
) -> dict[int, list[Instruction]]:
    targets = {isa.target(item) for item in code.values()}
    pieces: dict[int, list[Instruction]] = {}
    current: list[Instruction] = []
    for address in sorted(code):
        last = current[-1] if current else None
        if (
            last is None
            or last.end != address
            or address in targets
            or isa.ends_block(last.word, last.size)
            or counts[address] != counts[last.address]
        ):
            current = pieces.setdefault(address, [])
        current.append(code[address])
    return pieces


def _join(pieces: dict[int, list[Instruction]], counts: Mapping[int, int]) -> list[Trace]:
    leads = Counter(
        goal for piece in pieces.values() if (goal := isa.target(piece[-1])) is not None
    )
    joined: set[int] = set()
    follows: dict[int, int] = {}
    for start, piece in pieces.items():
        last = piece[-1]
        goal, after = isa.target(last), last.end
        if isa.is_call(last.word, last.size):
            continue
        if not isa.ends_block(last.word, last.size) or isa.is_conditional(last.word, last.size):
            # Falls through; a branch that is in the middle of a trace must never be taken.
            following, others = after, leads[after]
        elif goal is not None:
            below = [item for item in pieces if pieces[item][-1].end == goal]
            following = goal
            others = leads[goal] - 1 + sum(_falls_through(pieces[item][-1]) for item in below)
        else:
            continue
        alone = others == 0 and following in pieces and following != start
        if alone and counts[following] == counts[start] and following not in joined:
            follows[start] = following
            joined.add(following)
    traces = []
    for start in sorted(set(pieces) - joined):
        body, at = list(pieces[start]), start
        while at in follows:
            at = follows[at]
            body += pieces[at]
        traces.append(Trace(tuple(body), counts[start], isa.target(body[-1]) == start))
    return traces


def _falls_through(last: Instruction) -> bool:
    conditional = isa.is_conditional(last.word, last.size)
    return conditional or not isa.ends_block(last.word, last.size)


def _with_vector_types(traces: list[Trace], code: Mapping[int, Instruction]) -> tuple[Trace, ...]:
    """Carry the vector type along the edges; where several arrive, the busiest one wins."""
    at_start = {trace.start: trace for trace in traces}
    edges: dict[int, list[Trace]] = {}
    for trace in traces:
        last = trace.instructions[-1]
        goals = [isa.target(last)]
        if isa.is_call(last.word, last.size):
            goals = []  # the callee leaves any type behind
        elif _falls_through(last):
            goals.append(last.end)
        for goal in goals:
            if goal in at_start:
                edges.setdefault(goal, []).append(trace)
    entry: dict[int, VectorType | None] = {}
    for _ in range(len(traces)):
        before = dict(entry)
        for trace in traces:
            weights: Counter[VectorType] = Counter()
            for source in edges.get(trace.start, []):
                kind = _type_after(source, entry.get(source.start))
                if kind is not None:
                    weights[kind] += source.executions
            entry[trace.start] = max(weights, key=lambda kind: weights[kind], default=None)
        if entry == before:
            break
    return tuple(_typed(trace, entry[trace.start], code) for trace in traces)


def _type_after(trace: Trace, before: VectorType | None) -> VectorType | None:
    kind = before
    for item in trace.instructions:
        if isa.sets_type(item.word, item.size):
            kind = isa.type_set(item.word, item.size)
    return kind


def _typed(trace: Trace, kind: VectorType | None, code: Mapping[int, Instruction]) -> Trace:
    for item in trace.instructions:
        if isa.sets_type(item.word, item.size):
            return trace
        if isa.is_vector(item.word, item.size):
            break
    else:
        return trace
    if kind is not None:
        return replace(trace, vector_type=kind)
    # No edge tells, as after a jump through a register: what the code before it says last.
    earlier = (address for address in sorted(code, reverse=True) if address < trace.start)
    for address in earlier:
        if trace.start - address > 4096:
            break
        found = isa.type_set(code[address].word, code[address].size)
        if found is not None:
            return replace(trace, vector_type=found, guessed=True)
    return replace(trace, vector_type=_DEFAULT, guessed=True)
