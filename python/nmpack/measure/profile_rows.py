# SPDX-License-Identifier: BSD-3-Clause
"""Rows of a profile: what the delegate timed, with the names that the file and the kernels have."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nmpack.element_types import QS8, type_of
from nmpack.errors import InterpreterError
from nmpack.measure.profile_report import OperatorRow
from nmpack.measure.stats import summarise
from nmpack.runtime.delegate_profile import DelegateProfile, ProfiledOperator, ProfiledPartition
from nmpack.runtime.elf import read_functions
from nmpack.tflite.model import Subgraph
from nmpack.tflite.names import short_names
from nmpack.tflite.operator_codes import operator_name

_KERNEL = re.compile(
    r"_(gemm|igemm|dwconv|nmconv|nmspmm|spmm|vmulcaddc)_\w*?ukernel_([0-9a-z]+)__([0-9a-z]+)"
)
_LAYOUT = re.compile(r"\b(NHWC|CNHW|NCHW)\b")
# The first is that of images: filters follow.
_ELEMENTS = re.compile(r"\b(F16|F32|QC8|QD8|QS8|QU8)\b")
# Images are of one scale, whatever filters have.
_ALIASES = {"QC8": QS8.name}


def calls_of(part: ProfiledPartition, runs: int, warmup: int) -> float:
    """Return how often a partition runs in one inference: in loops and branches not once."""
    return part.runs / (runs + warmup)


def kept_of(
    part: ProfiledPartition, times: Sequence[int], runs: int, warmup: int
) -> Sequence[float]:
    """Return the seconds of what ran after the warm-up."""
    count = min(len(times), max(1, round(calls_of(part, runs, warmup) * runs)))
    return [value / 1e9 for value in times[len(times) - count :]]


def rows_of(
    found: DelegateProfile, graphs: tuple[Subgraph, ...], library: str, runs: int, warmup: int
) -> tuple[OperatorRow, ...]:
    """Return a row for each operator of each partition, in the order in which they run.

    Raises:
        InterpreterError: the profile names operators that the file has not.
    """
    functions = read_functions(library)
    every = [(part, one) for part in found.partitions for one in part.operators]
    tensors = list(dict.fromkeys(one.name for _, one in every))
    names = dict(zip(tensors, short_names(tensors), strict=True))
    places = {id(part): place for place, part in enumerate(found.partitions)}
    rows = []
    for part, one in every:
        symbol = functions.at(one.kernel) if one.kernel else None
        file_operators = _file_operators(graphs, part.subgraph, one.nodes)
        seconds = kept_of(part, one.nanoseconds, runs, warmup)
        rows.append(
            OperatorRow(
                part.subgraph,
                places[id(part)],
                one.nodes,
                file_operators,
                names[one.name],
                one.name,
                _operator(one, file_operators),
                _kernel(one, symbol),
                symbol,
                _element_type(one, graphs[part.subgraph]),
                _layout(one),
                _density(one),
                one.multiplications,
                summarise(seconds),
                seconds[0],
                calls_of(part, runs, warmup),
            )
        )
    return tuple(rows)


def _file_operators(
    graphs: tuple[Subgraph, ...], subgraph: int, nodes: tuple[int, ...]
) -> tuple[str, ...]:
    if not 0 <= subgraph < len(graphs):
        raise InterpreterError(f"the delegate's profile names subgraph {subgraph}: not in the file")
    operators = graphs[subgraph].operators
    if not all(0 <= node < len(operators) for node in nodes):
        raise InterpreterError(
            f"the delegate's profile names operators {list(nodes)} of subgraph {subgraph}, which "
            f"has {len(operators)}"
        )
    return tuple(operator_name(operators[node].code) for node in nodes)


def _operator(one: ProfiledOperator, file_operators: tuple[str, ...]) -> str:
    if one.conversion:
        return "Layout conversion"
    fused = " + add" if one.choice is not None and one.choice.fused_addition else ""
    # The N:M operator is a convolution's.
    linear = one.choice is not None and "FULLY_CONNECTED" in file_operators
    return ("Fully Connected" if linear else one.type.partition(" (")[0]) + fused


def _kernel(one: ProfiledOperator, symbol: str | None) -> str:
    """Return the micro-kernel's family, tile and instruction set, as its name has them."""
    match = _KERNEL.search(symbol or "")
    if match is None:
        return one.kind.lower()
    family, tile, isa = match.groups()
    # Blocks of rows are of any height up to that of the tallest.
    return f"{family} {'up to ' if family == 'nmspmm' else ''}{tile} {isa}"


def _element_type(one: ProfiledOperator, graph: Subgraph) -> str:
    """Return what XNNPACK's name says, as ``Convolution (NHWC, QC8)``, else what the file does."""
    match = _ELEMENTS.search(one.type)
    if match is not None:
        return _ALIASES.get(match[0], match[0].lower())
    written = [index for node in one.nodes[-1:] for index in graph.operators[node].outputs]
    dtype = graph.tensors[written[0]].dtype if written else ""
    kind = type_of(dtype)
    return dtype if kind is None else kind.name


def _layout(one: ProfiledOperator) -> str:
    if one.choice is not None:
        return one.choice.layout
    match = _LAYOUT.search(one.type)
    return match[0] if match else ""


def _density(one: ProfiledOperator) -> float | None:
    """Dense operators compute with every weight, also with those that are zero."""
    if one.multiplications == 0:
        return None
    choice = one.choice
    if choice is None or choice.operator != "nm" or choice.column_density is None:
        return 1.0
    return choice.column_density
