# SPDX-License-Identifier: BSD-3-Clause
"""The inputs and outputs of a ``.tflite`` file: their names, and the signature with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nmpack.tflite.builder import aligned_builder

#: The signature that every converter writes, and interpreters look for.
DEFAULT = "serving_default"


def path_name(steps: Iterable[object], start: str = "") -> str:
    """Join the steps of a leaf's path in a nested structure, as ``heads_0_boxes``."""
    return "_".join([*([start] if start else []), *map(str, steps)])


def distinct(names: Sequence[str]) -> list[str]:
    """Return the names, repeated ones numbered: joined paths may meet, as a.b and a_b do."""
    found: list[str] = []
    for name in names:
        unique, count = name, 1
        while unique in found or (count > 1 and unique in names):
            count += 1
            unique = f"{name}_{count}"
        found.append(unique)
    return found


def name_ends(
    schema: Any, flatbuffers: Any, content: bytes, inputs: Sequence[str], outputs: Sequence[str]
) -> bytes:
    """Name the inputs and outputs of a file's graph, in its order, and add the signature.

    Args:
        schema: the module that the schema's compiler made.
        flatbuffers: the module.
        content: a whole file of one graph.
        inputs: a name for each input of the graph.
        outputs: likewise; a tensor that is an output twice, or an input too, has its first name.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = DEFAULT, 0
    signature.inputs = _maps(schema, graph.inputs, inputs)
    signature.outputs = _maps(schema, graph.outputs, outputs)
    named: set[int] = set()
    for item in (*signature.inputs, *signature.outputs):
        if item.tensorIndex not in named:
            graph.tensors[item.tensorIndex].name = item.name
            named.add(item.tensorIndex)
    model.signatureDefs = [signature]
    builder = aligned_builder(flatbuffers)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _maps(schema: Any, tensors: Sequence[int], names: Sequence[str]) -> list[Any]:
    found = []
    for index, name in zip(tensors, names, strict=True):
        item = schema.TensorMapT()
        item.name, item.tensorIndex = name, int(index)
        found.append(item)
    return found
