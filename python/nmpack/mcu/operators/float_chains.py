# SPDX-License-Identifier: BSD-3-Clause
"""float32 between int8 and int8: where a converter had no int8 form of an operator.

TensorFlow's converter leaves ``DEQUANTIZE, NEG, QUANTIZE`` in layer norms. Of one value at a time,
such a chain is a table of 256 bytes like any other operator of one value, and none of its tensors
is ever in memory.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nmpack.mcu.graph import Graph, Node, Tensor
from nmpack.mcu.operators.reference import reference_outputs
from nmpack.mcu.step import Int8

#: Operators of one value that chains are followed through.
UNARY = (
    "ABS", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "NEG", "RELU",
    "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SQRT", "TANH",
)  # fmt: skip
_MOST_OPERATORS = 8
_Uses = tuple[dict[int, Node], dict[int, list[Node]]]
# Of the graph that was asked about last: who writes a tensor, and who reads it.
_LAST: list[tuple[Graph, _Uses]] = []


def _uses(graph: Graph) -> _Uses:
    if not _LAST or _LAST[0][0] is not graph:
        writers = {tensor.index: node for node in graph.operators for tensor in node.outputs}
        readers: dict[int, list[Node]] = {}
        for node in graph.operators:
            for tensor in node.inputs:
                if tensor is not None:
                    readers.setdefault(tensor.index, []).append(node)
        _LAST[:] = [(graph, (writers, readers))]
    return _LAST[0][1]


def chain_to(node: Node, graph: Graph) -> list[Node] | None:
    """Return the operators from a DEQUANTIZE to ``node``, a QUANTIZE; None where it is no chain."""
    writers, _ = _uses(graph)
    chain = [node]
    while len(chain) <= _MOST_OPERATORS:
        source = chain[0].inputs[0] if len(chain[0].inputs) == 1 else None
        writer = writers.get(source.index) if source is not None else None
        if writer is None or len(writer.outputs) != 1 or len(writer.inputs) != 1:
            return None
        chain.insert(0, writer)
        first = writer.inputs[0]
        if first is None or first.shape != node.outputs[0].shape:
            return None
        if writer.name == "DEQUANTIZE":
            known = first.dtype == "int8" and first.scale is not None and len(first.scale) == 1
            return chain if known and first.data is None else None
        if writer.name not in UNARY or first.dtype != "float32":
            return None
    return None


def ends_in_int8(tensor: Tensor, graph: Graph, most: int = _MOST_OPERATORS) -> bool:
    """Return whether a float32 tensor is read by such chains only, so that it need not exist."""
    if most == 0 or tensor.dtype != "float32" or any(tensor is out for out in graph.outputs):
        return False
    readers = _uses(graph)[1].get(tensor.index, [])
    return bool(readers) and all(
        chain_to(reader, graph) is not None
        if reader.name == "QUANTIZE"
        else reader.name in UNARY and ends_in_int8(reader.outputs[0], graph, most - 1)
        for reader in readers
    )


def chain_table(chain: list[Node]) -> Int8:
    """Return what a chain makes of all 256 values, of -128 first.

    Raises:
        ModelError: TFLite's reference kernels do not take one of its operators.
    """
    values = np.arange(-128, 128, dtype=np.int8)
    for node in chain:
        source = node.inputs[0]
        assert source is not None
        inputs = (replace(source, index=0, shape=(256,)),)
        outputs = (replace(node.outputs[0], index=1, shape=(256,)),)
        alone = replace(node, inputs=inputs, outputs=outputs)
        values = reference_outputs(alone, [values])[0]
    return values
