# SPDX-License-Identifier: BSD-3-Clause
"""Explain a model: what each layer's weights look like, and what the delegate does with it.

The weights are read from the file by :mod:`nmpack.tflite.file`; the operator and the reason come
from the report that the delegate writes when it prepares the model in a process of its own. Both
number subgraphs and their operators as the file does, which is how they are brought together:
names may repeat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nmpack.errors import ModelError, NmpackError
from nmpack.measure.asking import ask
from nmpack.measure.decisions import Decisions, LeftReport
from nmpack.runtime.child import Signature
from nmpack.runtime.delegate_report import DelegateReport
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.sizes import Shapes, shapes_of
from nmpack.sparsity.detection import FittingPattern, detect_pattern
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import LayerInfo, Subgraph, TensorInfo
from nmpack.tflite.names import short_names
from nmpack.tflite.weights import nonzero

# Zeros cost a sparsely stored filter nothing, and a filter may be stated in many shapes: so many
# weights are looked at beside those that fill the file.
_MOST_WEIGHTS = 1 << 28
_FEW_STEPS = ("int8", "uint8")


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One convolution or fully connected layer.

    Attributes:
        subgraph, node: index of its subgraph, and its own among that subgraph's operators.
        name: readable name, of no other in the subgraph; ``tensor`` is the full name of its output.
        shape: OHWI of the weights (``1HWO`` when depthwise); fully connected is 1x1.
        groups, stride, dtype, depthwise: as the file states them; dtype is the stored weights'.
        fit: the pattern that the stored weights obey, or None when they cannot be read.
        operator: ``nm``, ``dense`` or ``interpreter`` (not taken by the delegate); None when no
            delegate was asked. In CNHW always ``nm``.
        reason: the delegate's reason, ``chosen`` where the filter is worth the N:M operator; or why
            the weights could not be read.
        layout: the order of its images in memory, ``NHWC`` or ``CNHW``; None without the delegate.
        fused_addition: whether it adds a residual, too, which was a node of its own in the file.
        tile_height: output channels per tile of the delegate's kernel, 0 when unknown.
        column_density: kept (tile, column) pairs / all at that height, None when unknown.
        predicted_speedup: of N:M over dense, by the delegate's cost rule; None when unknown.
        linear: whether it is fully connected; ``rows``: then, how many rows it computes, None when
            that is not fixed.
    """

    subgraph: int
    node: int
    name: str
    tensor: str
    shape: tuple[int, ...]
    groups: int
    stride: tuple[int, int]
    depthwise: bool
    dtype: str
    fit: FittingPattern | None
    operator: str | None = None
    reason: str = ""
    layout: str | None = None
    fused_addition: bool = False
    tile_height: int = 0
    column_density: float | None = None
    predicted_speedup: float | None = None
    linear: bool = False
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class SubgraphReport:
    """One subgraph: its place and name in the file, the signatures that run it, its operators.

    ``partitions`` and ``delegated`` are as in :class:`ModelReport`, of this subgraph alone.
    """

    index: int
    name: str
    signatures: tuple[str, ...]
    operators: int
    partitions: int | None = None
    delegated: int | None = None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A whole model; what the delegate does is None when it was not asked.

    Attributes:
        path: of the file.
        operators: of all subgraphs.
        subgraphs, layers: a row for each, in the file's order.
        partitions, delegated: graphs that the delegate runs, and operators in them.
        conversions: images that it brings from one layout to the other, in all partitions.
        left: every operator that is in no partition.
        inputs: of the first subgraph, of the sizes that the delegate was asked about.
    """

    path: str
    operators: int
    subgraphs: tuple[SubgraphReport, ...]
    layers: tuple[LayerRow, ...]
    partitions: int | None = None
    delegated: int | None = None
    conversions: int | None = None
    left: tuple[LeftReport, ...] | None = None
    inputs: tuple[Signature, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``schema`` is 3."""
        rows = []
        for row in self.layers:
            pattern = str(row.fit) if row.fit else None
            rows.append(asdict(row) | {"pattern": pattern})
        inputs = shapes_of(self.inputs) if self.inputs is not None else None
        return asdict(self) | {"schema": 3, "layers": rows, "inputs": inputs}


def inspect(
    model: str | Path,
    *,
    delegate: bool = True,
    engine: Engine | None = None,
    shapes: Shapes | None = None,
) -> ModelReport:
    """Explain every convolution and fully connected layer of a ``.tflite`` file, in all subgraphs.

    Args:
        model: path of the file; untrusted, it may be damaged.
        delegate: ask our delegate which operator it chooses; False reads the file alone.
        engine: the delegate and interpreter to ask, :func:`nmpack_engine` by default.
        shapes: of inputs of the first subgraph whose sizes the file leaves open.

    Raises:
        NmpackError: a shape does not fit, or nobody is asked about it.
        ModelError: the file is not a usable model.
        MissingError: the delegate is not built or the interpreter not installed.
        InterpreterError: the interpreter or the delegate refuses the model, or crashes on it.
    """
    file = TFLiteFile(model)
    if not delegate:
        if shapes is not None:
            raise NmpackError("shapes are for the delegate: expected none where it is not asked")
        return explain(file, None)
    asked = ask(file, engine or nmpack_engine(alone=True), shapes)
    return replace(explain(file, asked.report, asked.graphs(file)), inputs=asked.inputs)


def explain(
    file: TFLiteFile, answer: DelegateReport | None, graphs: Sequence[Subgraph] | None = None
) -> ModelReport:
    """Bring a file and the delegate's report about it together; None if it was not asked.

    Args:
        file: whose weights are looked at.
        answer: the report.
        graphs: the file's subgraphs at other sizes; None takes them as they are stored.

    Raises:
        InterpreterError: the report is about another file.
    """
    decided = Decisions(file.subgraphs, answer) if answer is not None else None
    weights = _Weights(file)
    rows: list[LayerRow] = []
    found: list[SubgraphReport] = []
    for graph in graphs or file.subgraphs:
        names = short_names([item.name for item in graph.layers])
        for item, name in zip(graph.layers, names, strict=True):
            rows.append(_row(item, name, weights, decided))
        row = SubgraphReport(graph.index, graph.name, graph.signatures, len(graph.operators))
        if decided is not None:
            partitions, delegated = decided.partitions[graph.index], decided.delegated[graph.index]
            row = replace(row, partitions=partitions, delegated=delegated)
        found.append(row)
    total = sum(graph.operators for graph in found)
    report = ModelReport(str(file.path), total, tuple(found), tuple(rows))
    if answer is None or decided is None:
        return report
    return replace(
        report,
        partitions=len(answer.partitions),
        delegated=decided.delegated.total(),
        conversions=sum(part.layout_conversions for part in answer.partitions),
        left=decided.left,
    )


class _Weights:
    """The patterns of a file's filters, each looked at once: subgraphs share them."""

    def __init__(self, file: TFLiteFile) -> None:
        self._file = file
        self._left = _MOST_WEIGHTS + file.path.stat().st_size
        self._known: dict[tuple[object, ...], tuple[FittingPattern | None, str]] = {}

    def fit(self, item: LayerInfo) -> tuple[FittingPattern | None, str]:
        """Return the pattern, or None and why there is none."""
        tensor = item.weights
        if tensor is None:
            return None, "weights are computed, not stored"
        groups = 1 if item.depthwise else item.groups
        encoding = tensor.encoding.position if tensor.encoding is not None else None
        zeros = tensor.quantization.zero_point.tobytes() if tensor.quantization else b""
        key = (tensor.buffer, encoding, tensor.dtype, item.shape, item.depthwise, groups, zeros)
        if key not in self._known:
            self._known[key] = self._look(item, tensor, groups)
        return self._known[key]

    def _look(
        self, item: LayerInfo, tensor: TensorInfo, groups: int
    ) -> tuple[FittingPattern | None, str]:
        self._left -= math.prod(item.shape)
        if self._left < 0:
            return None, "not looked at: filters in front of it have more weights than any model"
        try:
            # A depthwise filter is 1HWO: its output channels are the last axis.
            kept = nonzero(self._file, tensor)
            kept = kept.reshape(item.shape) if item.linear else kept
            kept = kept.transpose(3, 1, 2, 0) if item.depthwise else kept
            # Small weights become zeros when they are rounded to few steps.
            rounded = tensor.dtype in _FEW_STEPS
            return detect_pattern(kept, groups=groups, rounded=rounded), ""
        except ModelError as error:
            return None, str(error)


def _row(item: LayerInfo, name: str, weights: _Weights, decided: Decisions | None) -> LayerRow:
    fit, reason = weights.fit(item)
    row = LayerRow(
        subgraph=item.subgraph,
        node=item.node,
        name=name,
        tensor=item.name,
        shape=item.shape,
        groups=item.groups,
        stride=item.stride,
        depthwise=item.depthwise,
        dtype=item.weights.dtype if item.weights is not None else "computed",
        fit=fit,
        reason=reason,
        linear=item.linear,
        rows=item.rows,
    )
    if decided is None:
        return row
    place = (item.subgraph, item.node)
    if (choice := decided.choices.get(place)) is not None:
        return replace(
            row,
            operator=choice.operator,
            reason=choice.reason,
            layout=choice.layout,
            fused_addition=choice.fused_addition,
            tile_height=choice.tile_height,
            column_density=choice.column_density,
            predicted_speedup=choice.predicted_speedup,
        )
    if (left := decided.reasons.get(place)) is not None:
        return replace(row, operator="interpreter", reason=left)
    # The delegate says nothing about layers that have no N:M operator.
    return replace(row, operator="dense", reason="depthwise" if item.depthwise else "not N:M")
