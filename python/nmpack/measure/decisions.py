# SPDX-License-Identifier: BSD-3-Clause
"""What the delegate decided about each operator of a file, found by subgraph and operator."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from nmpack.errors import InterpreterError
from nmpack.runtime.delegate_report import Choice, DelegateReport
from nmpack.tflite.model import Subgraph
from nmpack.tflite.operator_codes import operator_name

#: The delegate's reason where the filter is worth the N:M operator, or ``nm=force`` says so. In
#: CNHW every layer runs on that operator, whatever its reason.
CHOSEN = "chosen"

# The delegate plans what the interpreter prepares: a subgraph that nothing runs it does not.
_UNPLANNED = "the interpreter does not prepare it"
_NOTHING = "the delegate reports nothing"


@dataclass(frozen=True, slots=True)
class LeftReport:
    """An operator (its name in TFLite's schema) that the delegate does not run, and why."""

    subgraph: int
    node: int
    operator: str
    reason: str


class Decisions:
    """A delegate's report about the subgraphs of one file.

    Attributes:
        choices: how it runs layers, by (subgraph, node).
        left: every operator that is in no partition, in the file's order.
        reasons: of those, by (subgraph, node).
        partitions, delegated: how many partitions and operators in them each subgraph has.
    """

    def __init__(self, graphs: tuple[Subgraph, ...], report: DelegateReport) -> None:
        """Check that the report is about these subgraphs.

        Raises:
            InterpreterError: it names what is not there, or one operator twice.
        """
        self._graphs = graphs
        self.choices: dict[tuple[int, int], Choice] = {}
        self.partitions: Counter[int] = Counter()
        self.delegated: Counter[int] = Counter()
        taken: set[tuple[int, int]] = set()
        for part in report.partitions:
            for node in part.nodes:
                self._code(part.subgraph, node)
                if (part.subgraph, node) in taken:
                    raise InterpreterError(
                        f"the delegate's report has operator {node} of subgraph {part.subgraph} "
                        "in two partitions"
                    )
                taken.add((part.subgraph, node))
            nodes = set(part.nodes)
            for choice in part.layers:
                place = (part.subgraph, choice.node)
                if choice.node not in nodes:
                    raise InterpreterError(
                        f"the delegate's report: operator {choice.node} of subgraph "
                        f"{part.subgraph} is not in the partition that describes it"
                    )
                self.choices[place] = choice
            self.partitions[part.subgraph] += 1
            self.delegated[part.subgraph] += len(part.nodes)
        reasons: dict[tuple[int, int], str] = {}
        for item in report.left:
            if self._code(item.subgraph, item.node) != item.operator:
                raise InterpreterError(
                    f"the delegate's report: operator {item.node} of subgraph {item.subgraph} is "
                    f"{operator_name(self._code(item.subgraph, item.node))}, "
                    f"not {operator_name(item.operator)}"
                )
            reasons[item.subgraph, item.node] = item.reason
        silent = _UNPLANNED if report.partitions or report.left else _NOTHING
        self.left = tuple(
            LeftReport(
                graph.index,
                node,
                operator_name(operator.code),
                reasons.get((graph.index, node), silent),
            )
            for graph in graphs
            for node, operator in enumerate(graph.operators)
            if (graph.index, node) not in taken
        )
        self.reasons = {(item.subgraph, item.node): item.reason for item in self.left}

    def _code(self, subgraph: int, node: int) -> int:
        """Return the built-in code of an operator that the report names."""
        if not 0 <= subgraph < len(self._graphs):
            raise InterpreterError(
                f"the delegate's report names subgraph {subgraph}, the file has {len(self._graphs)}"
            )
        operators = self._graphs[subgraph].operators
        if not 0 <= node < len(operators):
            raise InterpreterError(
                f"the delegate's report names operator {node} of subgraph {subgraph}, which has "
                f"{len(operators)}"
            )
        return operators[node].code
