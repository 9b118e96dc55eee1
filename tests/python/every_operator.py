# SPDX-License-Identifier: BSD-3-Clause
"""A model that holds every built-in operator and every table of options, drawn at random."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import flatbuffers

from nmpack.tflite.schema import Field, fields

# Numbers of an enumeration that is as long as none: what a newer schema may write.
_NEW = 101


def every_operator(schema: ModuleType, seed: int) -> bytes:
    """Return a file: one operator for each table of options or built-in code, whichever are more.

    Args:
        schema: the module that flatc made.
        seed: of all values, of tensors' quantization too.
    """
    draw = random.Random(seed)
    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    graph = schema.SubGraphT()
    graph.name = "every operator"
    graph.tensors = [tensor(schema, draw, place) for place in range(24)]
    graph.inputs, graph.outputs = [0, 1], [23]
    graph.operators = []
    unions = [
        ("builtinOptions", schema.BuiltinOptions),
        ("builtinOptions2", schema.BuiltinOptions2),
    ]
    options = [
        (union, number, name)
        for union, kinds in unions
        for name, number in vars(kinds).items()
        if not name.startswith("_") and isinstance(number, int)
    ]
    names = [name for name in vars(schema.BuiltinOperator) if not name.startswith("_")]
    for place, name in enumerate(names):
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = draw.randint(1, 9)
        code.customCode = f"custom {place}" if name == "CUSTOM" else None
        model.operatorCodes.append(code)
        union, number, kind = options[place % len(options)]
        graph.operators.append(operator(schema, draw, place, union, number, kind))
    model.subgraphs = [graph]
    model.signatureDefs = [_signature(schema)]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator(
    schema: ModuleType, draw: random.Random, code: int, union: str, number: int, kind: str
) -> Any:
    """Return an operator with drawn options; as a convolution it has what one needs."""
    item = schema.OperatorT()
    item.opcodeIndex = code
    item.inputs, item.outputs = [draw.randint(0, 11), 2, -1], [draw.randint(12, 22)]
    setattr(item, f"{union}Type", number)
    if number:
        setattr(item, union, options(schema, draw, kind))
    if draw.random() < 0.2:
        item.customOptions = [draw.randint(0, 255) for _ in range(draw.randint(0, 20))]
        item.intermediates = [draw.randint(-1, 23) for _ in range(5)]
        item.mutatingVariableInputs = [draw.random() < 0.5 for _ in item.inputs]
    return item


def options(schema: ModuleType, draw: random.Random, kind: str) -> Any:
    """Return flatc's object of a table, each field drawn or, sometimes, left as it is."""
    table = getattr(schema, f"{kind}T")()
    known = {name.replace("_", ""): field for name, field in fields(kind).items()}
    for name in vars(table):
        if draw.random() < 0.8:
            setattr(table, name, _value(draw, known[name.lower()]))
    return table


def _value(draw: random.Random, field: Field) -> Any:
    if field.many:
        return [_number(draw, field) for _ in range(draw.randint(0, 6))]
    if field.kind == "str":
        return draw.choice(["", "a name", "\N{GREEK SMALL LETTER ALPHA}" * 9])
    return _number(draw, field)


def _number(draw: random.Random, field: Field) -> Any:
    if field.kind == "?":
        return draw.random() < 0.5
    if field.kind == "f":
        return draw.choice([0.0, -1.5, 0.25, float("inf"), float("nan")])
    if field.names:
        return draw.choice([0, 1, _NEW])
    if field.name.startswith(("stride", "dilation")):
        return draw.randint(1, 5)
    bits = {"b": 7, "B": 8, "i": 31, "I": 32, "q": 63, "Q": 64}[field.kind]
    return draw.choice([0, 1, 2, (1 << bits) - 1])


def tensor(schema: ModuleType, draw: random.Random, place: int) -> Any:
    """Return a tensor of drawn type and quantization, big enough as a convolution's filter."""
    item = schema.TensorT()
    item.shape = [4, 3, 3, 2]
    item.name = f"tensor {place}"
    item.type = draw.randrange(max(_numbers(schema.TensorType)) + 1)
    item.isVariable = draw.random() < 0.3
    item.shapeSignature = draw.choice([None, [-1, 3, 3, 2]])
    item.hasRank = True
    kind = draw.choice(["none", "empty", "tensor", "axis", "details"])
    if kind == "none":
        return item
    item.quantization = schema.QuantizationParametersT()
    if kind in ("tensor", "axis"):
        item.quantization.quantizedDimension = draw.randrange(4)
        count = 1 if kind == "tensor" else item.shape[item.quantization.quantizedDimension]
        item.quantization.scale = [draw.random() for _ in range(count)]
        item.quantization.zeroPoint = [draw.randint(-(1 << 40), 1 << 40) for _ in range(count)]
    if kind == "details":
        numbers = _numbers(schema.QuantizationDetails)
        number = draw.choice(sorted(numbers)[1:])
        item.quantization.detailsType = number
        item.quantization.details = options(schema, draw, numbers[number])
    return item


def _numbers(enumeration: type) -> dict[int, str]:
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}


def _signature(schema: ModuleType) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = [], []
    for ends, tensors in ((signature.inputs, (0, 1)), (signature.outputs, (23,))):
        for index in tensors:
            end = schema.TensorMapT()
            end.name, end.tensorIndex = f"end {index}", index
            ends.append(end)
    return signature
