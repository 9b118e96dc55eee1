# SPDX-License-Identifier: BSD-3-Clause
"""Reads the subgraphs of a ``.tflite`` file, within one budget for the whole file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from nmpack.errors import ModelError
from nmpack.tflite.model import (
    Axis,
    LayerInfo,
    Operator,
    Options,
    Quantization,
    Sparsity,
    Subgraph,
    TensorInfo,
)
from nmpack.tflite.records import Budget, Record
from nmpack.tflite.schema import fields, names_of
from nmpack.tflite.weighted_layers import layer_of

# Costs beside those of lists: what is made of these takes more than what the file has of them, and
# layers are looked at afterwards, too.
_SUBGRAPH, _TENSOR, _OPERATOR, _LAYER = 32, 8, 24, 64


class SubgraphReader:
    """Reads subgraphs of one file, one after the other."""

    def __init__(
        self,
        codes: Sequence[tuple[int, int, str]],
        buffers: int,
        stored: Callable[[int], bool],
        budget: Budget,
    ) -> None:
        """Keep what the subgraphs refer to.

        Args:
            codes: built-in code, version and custom name, which operators name by index.
            buffers: how many the file has.
            stored: whether the buffer of an index holds anything.
            budget: of the whole file.
        """
        self._codes, self._buffers, self._stored = codes, buffers, stored
        self._budget = budget

    def read(self, index: int, record: Record, signatures: tuple[str, ...]) -> Subgraph:
        """Return one subgraph.

        Raises:
            ModelError: it contradicts itself or refers to what is not there.
        """
        self._budget.spend(_SUBGRAPH)
        tensors = tuple(self._tensor(place, item) for place, item in enumerate(record["tensors"]))
        inputs = _indices(record["inputs"], len(tensors), "a graph input")
        outputs = _indices(record["outputs"], len(tensors), "a graph output")
        operators: list[Operator] = []
        producers: dict[int, Operator] = {}
        found: list[LayerInfo] = []
        for item in record["operators"]:
            operator = self._operator(item, len(tensors))
            producers.update(dict.fromkeys(operator.outputs, operator))
            place = (index, len(operators))
            layer = layer_of(place, operator, tensors, producers, self._stored)
            if layer is not None:
                self._budget.spend(_LAYER)
                found.append(layer)
            operators.append(operator)
        return Subgraph(
            index, record["name"], signatures, tensors, inputs, outputs, tuple(operators),
            tuple(found),
        )  # fmt: skip

    def _tensor(self, index: int, record: Record) -> TensorInfo:
        self._budget.spend(_TENSOR)
        buffer, shape = record["buffer"], record["shape"]
        if buffer >= self._buffers:
            raise ModelError(f"a tensor uses buffer {buffer} of {self._buffers}")
        if len(shape) > 16 or any(size < -1 for size in shape):
            raise ModelError(f"a tensor has the impossible shape {list(shape)[:17]}")
        quantization = record["quantization"]
        return TensorInfo(
            index,
            record["name"],
            shape,
            record["type"].lower(),
            buffer,
            _sparsity(record["sparsity"]),
            None if quantization is None else _quantization(quantization, shape),
            None if quantization is None else _chosen(quantization, "details"),
            record["is_variable"],
            record["shape_signature"],
        )

    def _operator(self, record: Record, tensors: int) -> Operator:
        self._budget.spend(_OPERATOR)
        index = record["opcode_index"]
        if index >= len(self._codes):
            raise ModelError(f"an operator uses code {index} of {len(self._codes)}")
        code, version, custom = self._codes[index]
        inputs, outputs = record["inputs"], record["outputs"]
        intermediates = record["intermediates"]
        _indices([i for i in inputs if i != -1], tensors, "an operator input")
        _indices(outputs, tensors, "an operator output")
        _indices([i for i in intermediates if i != -1], tensors, "an operator's intermediate")
        options, others = _chosen(record, "builtin_options"), _chosen(record, "builtin_options_2")
        if options is not None and others is not None:
            raise ModelError(
                f"expected one kind of options of an operator, got {options.kind} and {others.kind}"
            )
        return Operator(
            code,
            inputs,
            outputs,
            options or others,
            version,
            custom,
            _custom_options(record),
            intermediates,
            record["mutating_variable_inputs"],
        )


def _chosen(record: Record, name: str) -> Options | None:
    """Return the table of a union; one that is too new to be known has no fields."""
    kind, chosen = record[f"{name}_type"], record[name]
    if chosen is not None:
        return Options(kind, chosen.values())
    return None if kind in names_of(fields(record.kind)[name].names) else Options(kind)


def _custom_options(record: Record) -> memoryview:
    """Return them as a view: inside of the flatbuffer, or beside it in a file of over 2 GiB."""
    data = record.table.data
    offset, length = record.span("custom_options")
    if record["large_custom_options_offset"] > 1:
        offset, length = record["large_custom_options_offset"], record["large_custom_options_size"]
        if offset + length > len(data):
            raise ModelError(f"custom options at byte {offset} lie outside of the file")
    return data[offset : offset + length]


def _quantization(record: Record, shape: tuple[int, ...]) -> Quantization | None:
    """Return scales and zero points, checked as an interpreter checks them."""
    scale, zero_point = record.numbers("scale"), record.numbers("zero_point")
    if not len(scale):
        return None
    dimension = record["quantized_dimension"]
    if len(zero_point) != len(scale):
        raise ModelError(
            f"a tensor has {len(scale)} scales, expected as many zero points, got {len(zero_point)}"
        )
    if shape and not 0 <= dimension < len(shape):
        raise ModelError(f"a tensor of shape {list(shape)} is quantized along axis {dimension}")
    if shape and len(scale) not in (1, shape[dimension]):
        raise ModelError(
            f"expected 1 or {shape[dimension]} scales along axis {dimension}, got {len(scale)}"
        )
    return Quantization(scale, zero_point, dimension)


def _sparsity(record: Record | None) -> Sparsity | None:
    if record is None:
        return None
    axes = tuple(
        Axis(
            axis["format"],
            axis["dense_size"],
            _list_of(axis["array_segments"]),
            _list_of(axis["array_indices"]),
        )
        for axis in record["dim_metadata"]
    )
    return Sparsity(record.table.position, record["traversal_order"], record["block_map"], axes)


def _list_of(record: Record | None) -> npt.NDArray[Any] | None:
    return None if record is None else record.numbers("values")


def _indices(values: Sequence[int], tensors: int, what: str) -> tuple[int, ...]:
    for value in values:
        if not 0 <= value < tensors:
            raise ModelError(f"{what} is tensor {value} of {tensors}")
    return tuple(values)
