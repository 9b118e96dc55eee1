# SPDX-License-Identifier: BSD-3-Clause
"""Operators of one int8 value at a time, as tables of 256 bytes.

Most of them are calculated in floating point by TFLite's reference kernels, through the C library
of the machine that runs them. So the table is what that kernel itself gives for all 256 values:
equal by construction, and no second definition of fourteen functions to keep in step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.boundary import quantize_from_float
from nmpack.mcu.operators.context import Context, input_of, output_of, per_tensor, refuse
from nmpack.mcu.operators.costs import cycles, units
from nmpack.mcu.operators.float_chains import UNARY, chain_table, chain_to, ends_in_int8
from nmpack.mcu.operators.reference import one_operator_model, reference_outputs
from nmpack.mcu.operators.walks import initializer
from nmpack.mcu.step import Constant, Int8, Step

_TABLES: dict[bytes, Int8] = {}
_MOST_TABLES = 1024
_SCALES = (2.0**-30, 2.0**20)
# What fails for values below the zero point; their entries are those of the zero point.
_NOT_NEGATIVE = ("LOG", "RSQRT", "SQRT")


def lookup_step(node: Node, source: Tensor, output: Tensor, table: Int8) -> Step:
    """Return a step that looks every value of ``source`` up.

    Args:
        node: the operator.
        source, output: int8, of one size.
        table: 256 results, of -128 first.
    """
    return Step(
        node.index, node.name, "nm_lookup_s8", ("lookup_s8.c",), "struct nm_lookup_s8",
        initializer({"table": "{table}", "count": output.elements}),
        (Constant("table", np.roll(table, 128).astype(np.int8)),),
        (source.index,), (output.index,),
        in_place=0, layer=node.label, kernel="table",
        cycles=cycles(units("lookup", output=output.elements)),
    )  # fmt: skip


def _require_usual(node: Node, tensor: Tensor, what: str) -> None:
    scale, _ = per_tensor(node, tensor, what)
    if not _SCALES[0] <= scale <= _SCALES[1]:
        refuse(node, f"expected a scale from {_SCALES[0]} to {_SCALES[1]}, got {scale:.3g}")


def _operands(node: Node) -> tuple[Tensor, Tensor]:
    """Return input and output of scales with which no kernel ends the interpreter's process."""
    source, output = input_of(node, 0), output_of(node)
    if len(node.inputs) != 1:
        refuse(node, f"expected one input, got {len(node.inputs)}")
    for tensor, what in ((source, "input"), (output, "output")):
        _require_usual(node, tensor, what)
    options = node.options_of("LeakyReluOptions")
    if options is not None and not abs(float(options.alpha)) <= _SCALES[1]:
        refuse(node, f"expected a slope of at most {_SCALES[1]}, got {options.alpha}")
    if source.shape != output.shape:
        refuse(node, f"expected an output of {list(source.shape)}, got {list(output.shape)}")
    return source, output


def _unary(node: Node, context: Context) -> list[Step]:
    if ends_in_int8(node.outputs[0], context.graph):
        return []
    source, output = _operands(node)
    return [lookup_step(node, source, output, _table(node, source, output))]


def _fold(node: Node, _: Context) -> list[Int8] | None:
    """Return the output of an int8 constant."""
    if any(
        tensor is None or tensor.data is None or tensor.dtype != "int8" for tensor in node.inputs
    ):
        return None
    source, output = _operands(node)
    assert source.data is not None
    return [_table(node, source, output)[source.data.astype(np.int64) + 128]]


def _table(node: Node, source: Tensor, output: Tensor) -> Int8:
    """Return 256 results, of -128 first."""
    inputs, outputs = (
        [Tensor(place, "", (256,), "int8", tensor.scale, tensor.zero_point, 0)]
        for place, tensor in enumerate((source, output))
    )
    alone = replace(node, inputs=tuple(inputs), outputs=tuple(outputs))
    key = one_operator_model(node.name, node.version, node.options, inputs, outputs)
    if key not in _TABLES:
        values: npt.NDArray[np.int8] = np.arange(-128, 128, dtype=np.int8)
        if node.name in _NOT_NEGATIVE:
            assert source.zero_point is not None
            values = np.maximum(values, source.zero_point[0]).astype(np.int8)
        if len(_TABLES) >= _MOST_TABLES:
            _TABLES.clear()
        _TABLES[key] = reference_outputs(alone, [values])[0]
    return _TABLES[key]


def _quantize(node: Node, context: Context) -> list[Step]:
    """QUANTIZE of what is int8 already; of float32 it is at a network's ends."""
    source = input_of(node, 0, "input", node.inputs[0].dtype if node.inputs[0] else "int8")
    if source.dtype == "int8":
        return _unary(node, context)
    chain = chain_to(node, context.graph)
    if chain is None:
        return quantize_from_float(node)
    first = chain[0].inputs[0]
    assert first is not None
    output = output_of(node)
    for tensor, what in ((first, "input"), (output, "output")):
        _require_usual(node, tensor, what)
    return [lookup_step(node, first, output, chain_table(chain))]


LOWERINGS = dict.fromkeys(UNARY, _unary) | {"QUANTIZE": _quantize}
FOLDINGS = dict.fromkeys((*UNARY, "QUANTIZE"), _fold)
