# SPDX-License-Identifier: BSD-3-Clause
"""Ask the delegate what it does with a model, in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nmpack.errors import NmpackError
from nmpack.runtime.child import Signature
from nmpack.runtime.delegate_report import DelegateReport, read_report
from nmpack.runtime.inputs import prepare_inputs
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.process import EngineProcess
from nmpack.runtime.sizes import Shapes
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import Subgraph


@dataclass(frozen=True, slots=True)
class Answer:
    """What the delegate says.

    Attributes:
        report: its report, of every signature.
        inputs: of the first subgraph, of the sizes that it was asked about.
        shapes: of that subgraph's tensors by index, where sizes are open and these are known.
        failure: why they are not, where the network had to run for it and did not.
    """

    report: DelegateReport
    inputs: tuple[Signature, ...]
    shapes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    failure: NmpackError | None = None

    def graphs(self, file: TFLiteFile) -> tuple[Subgraph, ...]:
        """Return the file's subgraphs at the sizes that it was asked about."""
        return (file.primary.resized(self.shapes), *file.subgraphs[1:])


def ask(file: TFLiteFile, engine: Engine, shapes: Shapes | None) -> Answer:
    """Prepare a model, every signature of it.

    Behind an operator whose result decides a shape, an interpreter prepares nothing until it has
    run: then the first subgraph runs once, on random inputs.

    Raises:
        NmpackError: a shape does not fit.
        InterpreterError: the interpreter or the delegate refuses the model, or crashes on it.
        MissingError: the interpreter is absent.
    """
    signed = [
        (graph.index, graph.signatures[0])
        for graph in file.subgraphs[1:]
        if graph.signatures and graph.operators
    ]
    with tempfile.TemporaryDirectory(prefix="nmpack-") as folder:
        path = Path(folder) / "report.json"
        asking = replace(engine, options=dict(engine.options) | {"report": str(path)})
        with EngineProcess(file.path, asking, timeout=120.0, shapes=shapes) as child:
            if signed:
                child.prepare(signed)
            failure = None
            if not _is_planned(file.primary, read_report(path)):
                failure = _run(child)
            found: Mapping[int, tuple[int, ...]] = {}
            # Where the interpreter has a delegate of its own, that hides what is within it.
            if failure is None and file.primary.is_open and engine.resolver == "plain":
                found = child.tensor_shapes()
        return Answer(read_report(path), child.inputs, found, failure)


def _is_planned(graph: Subgraph, report: DelegateReport) -> bool:
    """Return whether the report says something of every operator, or nothing at all."""
    told = {item.node for item in report.left if item.subgraph == graph.index}
    for part in report.partitions:
        if part.subgraph == graph.index:
            told.update(part.nodes)
    return not told or len(told) >= len(graph.operators)


def _run(child: EngineProcess) -> NmpackError | None:
    """Run once, and return what fails then: it may be no matter of what was asked."""
    try:
        child.feed(prepare_inputs(child.inputs, 0)[0])
        child.time(1)
    except NmpackError as error:
        return error
    return None
