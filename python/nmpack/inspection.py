# SPDX-License-Identifier: BSD-3-Clause
"""Explain a model: what each convolution's weights look like, and what the delegate does with it.

The weights are read from the file by :mod:`nmpack.tflite_file`; the operator and the reason come
from the report that the delegate writes when it prepares the model in a process of its own.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nmpack.detection import FittingPattern, detect_pattern
from nmpack.errors import InterpreterError, ModelError, NmpackError
from nmpack.interpreter import Engine, nmpack_engine
from nmpack.names import short_names
from nmpack.process import EngineProcess
from nmpack.tflite_file import ConvolutionInfo, TFLiteFile


@dataclass(frozen=True, slots=True)
class ConvolutionReport:
    """One convolution.

    Attributes:
        name: readable name; ``tensor`` is the full name of its output tensor.
        shape: OHWI of the weights (``1HWO`` when depthwise).
        groups, stride, dtype, depthwise: as the file states them; dtype is the stored weights'.
        fit: the pattern that the stored weights obey, or None when they cannot be read.
        operator: ``nm``, ``dense`` or ``interpreter`` (not taken by the delegate); None when no
            delegate was asked.
        reason: the delegate's reason, or why the weights could not be read.
        layout: the order of its images in memory, ``NHWC`` or ``CNHW``; None without the delegate.
        fused_addition: whether it adds a residual, too, which was a node of its own in the file.
        tile_height: output channels per tile of the delegate's kernel, 0 when unknown.
        column_density: kept (tile, column) pairs / all at that height, None when unknown.
        predicted_speedup: of N:M over dense, by the delegate's cost rule; None when unknown.
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    groups: int
    stride: tuple[int, int]
    depthwise: bool
    dtype: str
    fit: FittingPattern | None
    operator: str | None
    reason: str
    layout: str | None
    fused_addition: bool
    tile_height: int
    column_density: float | None
    predicted_speedup: float | None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A whole model; what the delegate does is None when it was not asked.

    Attributes:
        path, operators: of the file.
        convolutions: a row for each, in the file's order.
        partitions, delegated: graphs that the delegate runs, and operators in them.
        conversions: images that it brings from one layout to the other, in all partitions.
    """

    path: str
    operators: int
    convolutions: tuple[ConvolutionReport, ...]
    partitions: int | None
    delegated: int | None
    conversions: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``schema`` is 1."""
        rows = []
        for row in self.convolutions:
            pattern = str(row.fit) if row.fit else None
            rows.append(asdict(row) | {"pattern": pattern})
        return asdict(self) | {"schema": 1, "convolutions": rows}


def inspect(
    model: str | Path, *, delegate: bool = True, engine: Engine | None = None
) -> ModelReport:
    """Explain every convolution of a ``.tflite`` file.

    Args:
        model: path of the file; untrusted, it may be damaged.
        delegate: ask our delegate which operator it chooses; False reads the file alone.
        engine: the delegate and interpreter to ask, :func:`nmpack_engine` by default.

    Raises:
        ModelError: the file is not a usable model.
        MissingError: the delegate is not built or the interpreter not installed.
        InterpreterError: the interpreter or the delegate refuses the model, or crashes on it.
    """
    file = TFLiteFile(model)
    answer = _ask(file.path, engine or nmpack_engine(alone=True)) if delegate else None
    names = short_names([item.name for item in file.convolutions])
    chosen = _by_name(answer) if answer is not None else {}
    rows = tuple(
        _row(file, item, name, chosen, asked=delegate)
        for item, name in zip(file.convolutions, names, strict=True)
    )
    if answer is None:
        return ModelReport(str(file.path), file.operators, rows, None, None, None)
    nodes = sum(int(part["nodes"]) for part in answer)
    conversions = sum(int(part["layout_conversions"]) for part in answer)
    return ModelReport(str(file.path), file.operators, rows, len(answer), nodes, conversions)


def _row(
    file: TFLiteFile,
    item: ConvolutionInfo,
    name: str,
    chosen: dict[str, list[Mapping[str, Any]]],
    *,
    asked: bool,
) -> ConvolutionReport:
    fit, reason, dtype = None, "", "computed"
    if item.weights is None:
        reason = "weights are computed, not stored"
    else:
        dtype = file.tensors[item.weights].dtype
        try:
            # A depthwise filter is 1HWO: its output channels are the last axis.
            weights = file.array(item.weights)
            weights = weights.transpose(3, 1, 2, 0) if item.depthwise else weights
            fit = detect_pattern(weights, groups=item.groups if not item.depthwise else 1)
        except ModelError as error:
            reason = str(error)
    operator: str | None = None
    found: Mapping[str, Any] = {}
    if asked:
        queue = chosen.get(item.name, [])
        found = queue.pop(0) if queue else {}
        if found:
            operator, reason = str(found["operator"]), str(found["reason"])
        elif item.depthwise:
            operator, reason = "dense", "depthwise"
        else:
            operator, reason = "interpreter", reason or "not taken by the delegate"
    density, speedup = found.get("column_density"), found.get("predicted_speedup")
    return ConvolutionReport(
        name,
        item.name,
        item.shape,
        item.groups,
        item.stride,
        item.depthwise,
        dtype,
        fit,
        operator,
        reason,
        str(found["layout"]) if "layout" in found else None,
        bool(found.get("fused_addition", False)),
        int(found.get("tile_height", 0)),
        None if density is None else float(density),
        None if speedup is None else float(speedup),
    )


def _by_name(partitions: list[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    table: dict[str, list[Mapping[str, Any]]] = {}
    for part in partitions:
        for row in part["convolutions"]:
            table.setdefault(str(row["name"]), []).append(row)
    return table


def _ask(model: Path, engine: Engine) -> list[Mapping[str, Any]]:
    """Prepare the model and return the partitions of the delegate's report."""
    with tempfile.TemporaryDirectory(prefix="nmpack-") as folder:
        path = Path(folder) / "report.json"
        options = dict(engine.options) | {"report": str(path)}
        asking = Engine(
            engine.name,
            engine.interpreter,
            engine.library,
            options,
            engine.resolver,
            engine.threads,
        )
        with EngineProcess(model, asking, timeout=120.0):
            pass
        return read_report(path)


def read_report(path: Path) -> list[Mapping[str, Any]]:
    """Read a delegate's report; an absent file means that it took nothing.

    Raises:
        InterpreterError: the file is not a report of schema 1.
    """
    if not path.exists():
        return []
    try:
        report = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        if report["schema"] != 1:
            raise InterpreterError(f"expected a delegate report of schema 1, got {report!r:.80}")
        parts: list[Mapping[str, Any]] = report["partitions"]
        for part in parts:
            int(part["nodes"]) + int(part["layout_conversions"])
            for row in part["convolutions"]:
                str(row["name"] + row["operator"] + row["reason"])
    except NmpackError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise InterpreterError(f"the delegate's report cannot be read: {error!r}") from error
    return parts
