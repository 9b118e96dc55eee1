# SPDX-License-Identifier: BSD-3-Clause
"""One operator as a model of its own, and what TFLite's reference kernel makes of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import refuse
from nmpack.quiet import import_module, silenced
from nmpack.tflite.builder import packed
from nmpack.tflite.model import Options
from nmpack.tflite.schema import fields, names_of

Array = npt.NDArray[Any]


def one_operator_model(
    name: str,
    version: int,
    options: Options | None,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
) -> bytes:
    """Return a ``.tflite`` file of one operator; its inputs that are not constant are the model's.

    Raises:
        MissingError: ai-edge-litert, whose schema is used, is not installed.
    """
    with silenced():
        schema = import_module("ai_edge_litert.schema_py_generated", "interpreter")
    model, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
    model.operatorCodes = [code]
    graph.tensors, graph.operators = [], [operator]
    places: dict[int, int] = {}

    def place(tensor: Tensor | None) -> int:
        if tensor is None:
            return -1
        if id(tensor) not in places:
            places[id(tensor)] = len(graph.tensors)
            graph.tensors.append(_tensor(schema, model, tensor))
        return places[id(tensor)]

    operator.opcodeIndex = 0
    operator.inputs = [place(tensor) for tensor in inputs]
    operator.outputs = [place(tensor) for tensor in outputs]
    if options is not None:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options.kind)
        operator.builtinOptions = _options(schema, options)
    computed = {
        id(tensor): tensor for tensor in inputs if tensor is not None and tensor.data is None
    }
    graph.inputs = [places[key] for key in computed]
    graph.outputs = list(operator.outputs)
    return packed(model)


def reference_outputs(node: Node, values: Sequence[Array], *, inputs: Any = None) -> list[Array]:
    """Return what the reference kernel of an operator makes of ``values``.

    Args:
        node: the operator, of scales and sizes that its kernel takes.
        values: of its inputs that are not constant, in order, each tensor once.
        inputs: tensors in place of the node's.

    Raises:
        ModelError: the interpreter refuses.
        MissingError: ai-edge-litert is not installed.
    """
    with silenced():
        interpreters = import_module("ai_edge_litert.interpreter", "interpreter")
    content = one_operator_model(
        node.name, node.version, node.options, inputs or node.inputs, node.outputs
    )
    try:
        with silenced():
            interpreter = interpreters.Interpreter(
                model_content=content,
                experimental_op_resolver_type=interpreters.OpResolverType.BUILTIN_REF,
            )
            interpreter.allocate_tensors()
            for detail, value in zip(interpreter.get_input_details(), values, strict=True):
                interpreter.set_tensor(detail["index"], value)
            interpreter.invoke()
            details = interpreter.get_output_details()
            return [interpreter.get_tensor(detail["index"]) for detail in details]
    except (RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        refuse(node, f"TFLite's reference kernel does not take it: {why}")


def _tensor(schema: Any, model: Any, tensor: Tensor) -> Any:
    stored = schema.TensorT()
    stored.name, stored.shape = f"t{tensor.index}", list(tensor.shape)
    stored.type = getattr(schema.TensorType, tensor.dtype.upper())
    stored.buffer = 0
    if tensor.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8)
        stored.buffer = len(model.buffers)
        model.buffers.append(buffer)
    if tensor.scale is not None:
        stored.quantization = schema.QuantizationParametersT()
        stored.quantization.scale = tensor.scale
        stored.quantization.zeroPoint = tensor.zero_point
        stored.quantization.quantizedDimension = tensor.dimension
    return stored


def _options(schema: Any, options: Options) -> Any:
    stored = getattr(schema, options.kind + "T")()
    known = fields(options.kind)
    for name, value in options.values.items():
        first, *rest = name.split("_")
        if isinstance(value, str) and known[name].names:
            names = names_of(known[name].names)
            value = names.index(value) if value in names else 0
        elif isinstance(value, tuple):
            value = list(value)
        setattr(stored, first + "".join(map(str.title, rest)), value)
    return stored
