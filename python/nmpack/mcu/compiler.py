# SPDX-License-Identifier: BSD-3-Clause
"""From a ``.tflite`` file to a program: the calls of kernels, and where their memory lies."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nmpack.errors import ModelError, NmpackError
from nmpack.mcu.arena import Plan, plan_arena
from nmpack.mcu.graph import Graph, Node, Tensor, read_graph
from nmpack.mcu.operators import FOLDINGS, LOWERINGS
from nmpack.mcu.operators.context import TARGETS, Context, refuse
from nmpack.mcu.operators.walks import COPY_SOURCES
from nmpack.mcu.step import Step
from nmpack.progress import Progress, silent
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.names import printable

_MOST_NAMED = 20
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
# Of C99 and C11, what the generated program calls by itself, what its directory and its Makefile
# name, and the headers that a NAME.h would hide.
_RESERVED = frozenset(
    (
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else"),
        *("enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register"),
        *("restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch"),
        *("typedef", "union", "unsigned", "void", "volatile", "while", "main", "self_test"),
        *("golden", "nm", "kernels", "LICENSE", "Makefile", "all", "build", "clean"),
        *("freestanding", "test", "assert", "ctype", "errno", "features", "inttypes"),
        *("limits", "math", "memory", "setjmp", "signal", "stdbool", "stddef", "stdint", "stdio"),
        *("stdlib", "string", "strings", "time"),
    )
)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A network as calls of kernels.

    Attributes:
        name: C identifier that everything generated begins with.
        model: the file that it is made of.
        target: what kernels were chosen for.
        graph: the network; its outputs may be copies of the file's.
        steps: the calls, in order.
        plan: where tensors and scratch lie.
    """

    name: str
    model: Path
    target: str
    graph: Graph
    steps: tuple[Step, ...]
    plan: Plan

    @property
    def weight_bytes(self) -> int:
        """Bytes of flash that constants take."""
        return sum(step.weight_bytes for step in self.steps)


def compile_model(
    model: str | Path,
    *,
    target: str = "host",
    name: str | None = None,
    kernel: str | None = None,
    progress: Progress = silent,
) -> Program:
    """Return the program of a model's first subgraph.

    Args:
        model: path of an int8 ``.tflite`` file; it is not trusted.
        target: one of :data:`~nmpack.mcu.operators.context.TARGETS`, that kernels are chosen for.
        name: C identifier; the file's name unless given.
        kernel: name of the kernel that filters take where it fits; None for the best.
        progress: called with the operators done.

    Raises:
        ModelError: the file is damaged, or not of fixed size; an operator is not supported, all
            such are named; or an operator's tensors do not fit it.
        NmpackError: no such target, or ``name`` is no identifier.
    """
    if target not in TARGETS:
        raise NmpackError(f"expected one of {', '.join(TARGETS)} as target, got {target!r}")
    path = Path(model)
    prefix = identifier(path) if name is None else _checked(name)
    file = TFLiteFile(path)
    _require_supported(file)
    graph = read_graph(file)
    context = Context(graph, target, kernel)
    steps: list[Step] = []
    try:
        for done, node in enumerate(graph.operators):
            progress(done, len(graph.operators))
            if not _fold(node, context):
                steps += _lower(node, context)
        graph = _separate_outputs(graph, context, steps)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    progress(len(graph.operators), len(graph.operators))
    plan = plan_arena(graph, steps, context.aliases)
    return Program(prefix, path, target, graph, tuple(steps), plan)


def identifier(path: Path) -> str:
    """Return a C identifier for a file's name."""
    text = re.sub(r"[^A-Za-z0-9]+", "_", path.stem).strip("_")[:40]
    if not text or text[0].isdigit() or text.startswith("nm_"):
        text = f"net_{text}".rstrip("_")
    return f"{text}_net" if text in _RESERVED else text


def _checked(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name) or name in _RESERVED or name.startswith("nm_"):
        raise NmpackError(
            f"expected a C identifier of at most 60 letters, digits and _ as name, no keyword, "
            f"header or target of make and not beginning with nm_, got {printable(name[:80])!r}"
        )
    return name


def _require_supported(file: TFLiteFile) -> None:
    """Check the names of all operators.

    Raises:
        ModelError: names each that is not supported, with its index.
    """
    wrong = []
    for index, operator in enumerate(file.primary.operators):
        if operator.name not in LOWERINGS and operator.name not in FOLDINGS:
            custom = f" {printable(operator.custom[:40])}" if operator.custom else ""
            wrong.append((operator.name + custom, index))
    if not wrong:
        return
    counts = Counter(name for name, _ in wrong)
    named = [f"operator {index} {name}" for name, index in wrong[:_MOST_NAMED]]
    if len(wrong) > _MOST_NAMED:
        rest = Counter(name for name, _ in wrong[_MOST_NAMED:])
        named.append(", ".join(f"{count} more {name}" for name, count in rest.most_common(5)))
    are = "are" if counts.total() > 1 else "is"
    raise ModelError(f"{file.path}: {', '.join(named)} {are} not supported on microcontrollers")


def _fold(node: Node, context: Context) -> bool:
    """Compute outputs that are known already; returns whether they are."""
    folding = FOLDINGS.get(node.name)
    values = folding(node, context) if folding is not None else None
    if values is None:
        return False
    if len(values) != len(node.outputs):
        refuse(node, f"expected {len(values)} outputs, got {len(node.outputs)}")
    for tensor, array in zip(node.outputs, values, strict=True):
        if array.shape != tensor.shape or array.dtype != np.dtype(tensor.dtype):
            refuse(
                node,
                f"expected an output of shape {list(array.shape)} and {array.dtype}, "
                f"got {list(tensor.shape)} and {tensor.dtype}",
            )
        tensor.data = array
    return True


def _lower(node: Node, context: Context) -> list[Step]:
    lowering = LOWERINGS.get(node.name)
    if lowering is None:
        refuse(node, "expected constant inputs, got computed ones")
    return lowering(node, context)


def _separate_outputs(graph: Graph, context: Context, steps: list[Step]) -> Graph:
    """Return the graph with each output in memory of its own, copying where one is not."""

    def root(index: int) -> int:
        while index in context.aliases:
            index = context.aliases[index]
        return index

    taken = {root(tensor.index) for tensor in graph.inputs}
    outputs: list[Tensor] = []
    tensors = dict(graph.tensors)
    for tensor in graph.outputs:
        if tensor.constant:
            raise ModelError(
                f"tensor {tensor.index} {tensor.name[:60]!r} is an output of the network, "
                "but constant: expected one that depends on the input"
            )
        if root(tensor.index) in taken:
            copy = replace(tensor, index=max(tensors) + 1)
            tensors[copy.index] = copy
            steps.append(_copy(len(graph.operators), tensor, copy))
            tensor = copy
        taken.add(root(tensor.index))
        outputs.append(tensor)
    return Graph(tensors, graph.operators, graph.inputs, tuple(outputs))


def _copy(operator: int, source: Tensor, target: Tensor) -> Step:
    return Step(
        operator,
        "COPY",
        "nm_copy",
        COPY_SOURCES,
        "struct nm_copy",
        f".run = {source.nbytes}u",
        (),
        (source.index,),
        (target.index,),
        layer=f"copy of {source.name[:40]}",
        kernel="copy",
    )
