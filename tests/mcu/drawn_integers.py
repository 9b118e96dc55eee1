# SPDX-License-Identifier: BSD-3-Clause
"""Drawn operators of every family as small models: odd shapes, scales that tie, constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_graph import TYPES, Graph, Quantization, activation, options

from nmpack.tflite.builder import packed

Generator = np.random.Generator
ACTIVATIONS = ("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")
UNARY = (
    "ABS", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "NEG", "RELU", "RELU6",
    "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SQRT", "TANH", "QUANTIZE",
)  # fmt: skip
#: Scales of a trained network's sum that no two factors and one shift give.
TABLED = (
    Quantization([0.019674813374876976], 2),
    Quantization([0.007012478541582823], 4),
    Quantization([0.019739581272006035], -5),
)
TYPES[np.dtype(np.int64)] = schema.TensorType.INT64


class Model:
    """A model in the making, whose int8 inputs go through an operator of their own half the time.

    That way they lie in the arena, where outputs may share their memory.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.graph = Graph()
        self.inputs: list[int] = []
        self.about: list[str] = []
        self.version = 1

    def input(
        self, shape: Sequence[int], steps: Quantization | None, *, positive: bool = False
    ) -> int:
        """Add an input; ``positive``: none of its values is below its zero point."""
        dtype = np.float32 if steps is None else np.int8
        if steps is None or not (positive or self.generator.random() < 0.5):
            self.inputs.append(self.graph.tensor(shape, dtype, steps))
            return self.inputs[-1]
        before = steps if positive else Quantization([steps.scale[0] * 1.7], -3)
        self.inputs.append(self.graph.tensor(shape, dtype, before))
        name = "RELU" if positive else "QUANTIZE"
        return self.add(name, [self.inputs[-1]], [(shape, steps)])[0]

    def operand(
        self, shape: Sequence[int], steps: Quantization, *, constant: bool | None = None
    ) -> int:
        """Add an input, or a constant; at random unless it is said."""
        if constant is None:
            constant = bool(self.generator.random() < 0.3)
        if not constant:
            return self.input(shape, steps)
        return self.graph.constant(values(self.generator, shape), steps)

    def list(self, numbers: Any, dtype: Any = np.int32) -> int:
        """Add a constant list."""
        return self.graph.constant(np.asarray(numbers, dtype))

    def add(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[tuple[Sequence[int], Any]],
        table: Any = None,
    ) -> list[int]:
        """Add an operator; an output is its shape and quantization, or its shape and type."""
        made = [
            self.graph.tensor(shape, np.int8, steps)
            if isinstance(steps, Quantization)
            else self.graph.tensor(shape, steps)
            for shape, steps in outputs
        ]
        self.graph.add(name, inputs, made[0], table)
        self.graph.operators[-1].outputs = made
        shapes = [list(self.graph.tensors[index].shape) for index in inputs]
        self.about.append(f"{name} of {shapes} to {[list(shape) for shape, _ in outputs]}")
        return made

    def file(self, outputs: Sequence[int]) -> tuple[str, bytes]:
        """Return what it is and its bytes."""
        content = self.graph.model(self.inputs, outputs)
        if self.version > 1:
            model = schema.ModelT.InitFromPackedBuf(content, 0)
            for code in model.operatorCodes:
                code.version = self.version
            content = packed(model)
        return ", ".join(self.about), content


def values(generator: Generator, shape: Sequence[int]) -> np.ndarray:
    """Draw int8 values; sometimes all are one."""
    drawn = generator.integers(-128, 128, shape)
    return (np.full(shape, drawn.flat[0]) if generator.random() < 0.2 else drawn).astype(np.int8)


def shape_of(generator: Generator, low: int = 1, high: int = 5, most: int = 600) -> list[int]:
    """Draw a shape of ``low`` to ``high`` axes and at most ``most`` values."""
    shape = [int(size) for size in generator.integers(1, 9, generator.integers(low, high + 1))]
    while np.prod(shape) > most:
        shape[int(np.argmax(shape))] //= 2
    return shape


def zero_point(generator: Generator) -> int:
    """Draw a zero point, often an end."""
    return int(generator.choice([-128, 0, 127, *generator.integers(-128, 128, 5)]))


def steps_of(generator: Generator, scale: float | None = None) -> Quantization:
    """Draw a scale, or take one; some are powers of two, whose sums lie between results."""
    if scale is None:
        scale = float(np.exp(generator.uniform(-6, 1)))
    if generator.random() < 0.15:
        scale = float(2.0 ** np.round(np.log2(scale)))
    return Quantization([float(np.float32(scale))], zero_point(generator))


def _pair(generator: Generator) -> tuple[list[int], list[int], list[int]]:
    """Draw two shapes that are repeated to a third."""
    output = shape_of(generator)
    if generator.random() < 0.5:
        return output, output, output
    one, other = list(output), list(output)
    for axis in range(len(output)):
        side = generator.integers(0, 4)
        if side < 2:
            (one, other)[int(side)][axis] = 1
    if generator.random() < 0.3:
        other = other[int(generator.integers(0, len(other))) :]
    if generator.random() < 0.2:
        other = [output[-1]]
    output = [int(size) for size in np.broadcast_shapes(tuple(one), tuple(other))]
    return (one, other, output) if generator.random() < 0.7 else (other, one, output)


def sums(generator: Generator) -> tuple[str, bytes]:
    """ADD and SUB."""
    model = Model(generator)
    one, other, output = _pair(generator)
    x = steps_of(generator)
    y = steps_of(generator, None if generator.random() < 0.3 else x.scale[0] * spread(generator))
    if generator.random() < 0.2:
        y = Quantization(x.scale, y.zero_point)
    z = steps_of(generator, max(x.scale[0], y.scale[0]) * spread(generator))
    name = str(generator.choice(["ADD", "SUB"]))
    if generator.random() < 0.15:
        x, y, z = TABLED
    return _binary(model, name, (one, other, output), (x, y, z))


def spread(generator: Generator) -> float:
    """Draw a factor between scales."""
    return float(np.exp(generator.uniform(-1.5, 1.5)))


def products(generator: Generator) -> tuple[str, bytes]:
    """MUL."""
    model = Model(generator)
    x, y = steps_of(generator), steps_of(generator)
    far = float(np.exp(generator.uniform(-13.5, 16))) if generator.random() < 0.15 else None
    z = steps_of(generator, x.scale[0] * y.scale[0] * 100 * (far or spread(generator)))
    return _binary(model, "MUL", _pair(generator), (x, y, z))


def squares(generator: Generator) -> tuple[str, bytes]:
    """SQUARED_DIFFERENCE."""
    model = Model(generator)
    x = steps_of(generator)
    y = steps_of(generator, x.scale[0] * spread(generator))
    z = steps_of(generator, max(x.scale[0], y.scale[0]) ** 2 * 100 * spread(generator))
    return _binary(model, "SQUARED_DIFFERENCE", _pair(generator), (x, y, z))


def extremes(generator: Generator) -> tuple[str, bytes]:
    """MAXIMUM and MINIMUM."""
    model, steps = Model(generator), steps_of(generator)
    name = str(generator.choice(["MAXIMUM", "MINIMUM"]))
    return _binary(model, name, _pair(generator), (steps,) * 3)


def slopes(generator: Generator) -> tuple[str, bytes]:
    """PRELU."""
    model, shape = Model(generator), shape_of(generator, 2, 4)
    alpha = [1] * (len(shape) - 2) + shape[-1:] if generator.random() < 0.7 else shape
    x, y = steps_of(generator), steps_of(generator, 0.01)
    z = steps_of(generator, x.scale[0] * spread(generator))
    operands = [model.input(shape, x), model.operand(alpha, y, constant=True)]
    return model.file(model.add("PRELU", operands, [(shape, z)]))


def _binary(
    model: Model, name: str, shapes: Sequence[Sequence[int]], steps: Sequence[Quantization]
) -> tuple[str, bytes]:
    generator = model.generator
    constant = int(generator.choice([0, 1, 2, 2]))
    if generator.random() < 0.1 and steps[0] == steps[1] and shapes[0] == shapes[1]:
        operands = [model.input(shapes[0], steps[0])] * 2
    else:
        operands = [
            model.operand(shapes[place], steps[place], constant=place == constant)
            for place in range(2)
        ]
    fields: dict[str, Any] = {}
    kind = {"SQUARED_DIFFERENCE": "SquaredDifferenceOptions"}.get(name, f"{name.title()}Options")
    if name in ("MAXIMUM", "MINIMUM"):
        kind = "MaximumMinimumOptions"
    if name in ("ADD", "SUB", "MUL"):
        fields["fusedActivationFunction"] = activation(str(generator.choice(ACTIVATIONS)))
    made = model.add(name, operands, [(shapes[2], steps[2])], options(kind, **fields))
    return model.file(made)


def unary(generator: Generator) -> tuple[str, bytes]:
    """What a table of 256 bytes does."""
    model, name = Model(generator), str(generator.choice(UNARY))
    shape, x = shape_of(generator), steps_of(generator)
    y = steps_of(generator, x.scale[0] * spread(generator))
    table = None
    if name in ("LOGISTIC", "TANH"):
        y = Quantization([1 / 256], -128) if name == "LOGISTIC" else Quantization([1 / 128], 0)
    elif name == "LEAKY_RELU":
        table = options("LeakyReluOptions", alpha=float(generator.uniform(-0.5, 1.5)))
    elif name == "GELU":
        table = options("GeluOptions", approximate=bool(generator.random() < 0.5))
    elif name in ("EXP", "LOG", "RSQRT", "SQRT"):
        y = steps_of(generator, 0.02)
    positive = name in ("LOG", "RSQRT", "SQRT")
    source = model.input(shape, x, positive=positive)
    return model.file(model.add(name, [source], [(shape, y)], table))


def pools(generator: Generator) -> tuple[str, bytes]:
    """MAX_POOL_2D and AVERAGE_POOL_2D."""
    model, steps = Model(generator), steps_of(generator)
    batch, channels = int(generator.integers(1, 3)), int(generator.choice([1, 2, 3, 4, 7, 8, 16]))
    window, stride = generator.integers(1, 6, 2), generator.integers(1, 4, 2)
    valid = bool(generator.random() < 0.5)
    image = window * valid + generator.integers(1, 9, 2) - valid
    out = (image - window + stride) // stride if valid else -(-image // stride)
    table = options(
        "Pool2DOptions",
        padding=schema.Padding.VALID if valid else schema.Padding.SAME,
        strideH=int(stride[0]), strideW=int(stride[1]),
        filterHeight=int(window[0]), filterWidth=int(window[1]),
        fusedActivationFunction=activation(str(generator.choice(ACTIVATIONS))),
    )  # fmt: skip
    name = str(generator.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
    source = model.input([batch, *image, channels], steps)
    model.about.append(f"window {window.tolist()} stride {stride.tolist()} valid {valid}")
    return model.file(
        model.add(name, [source], [([batch, *map(int, out), channels], steps)], table)
    )


def reductions(generator: Generator) -> tuple[str, bytes]:
    """MEAN, REDUCE_MAX, REDUCE_MIN, ARG_MAX and ARG_MIN."""
    model, shape, x = Model(generator), shape_of(generator, 1, 6), steps_of(generator)
    source = model.input(shape, x)
    rank = len(shape)
    names = ("MEAN", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "ARG_MAX", "ARG_MIN")
    name = str(generator.choice(names))
    if name.startswith("ARG"):
        axis = int(generator.integers(-rank, rank))
        dtype = [np.int32, np.int64][int(generator.integers(0, 2))]
        kind = "ArgMaxOptions" if name == "ARG_MAX" else "ArgMinOptions"
        table = options(kind, outputType=TYPES[np.dtype(dtype)])
        rest = [size for place, size in enumerate(shape) if place != axis % rank]
        return model.file(model.add(name, [source, model.list([axis])], [(rest, dtype)], table))
    count = int(generator.integers(1, rank + 1))
    axes = [int(axis) for axis in generator.permutation(rank)[:count]]
    axes = [axis - rank if generator.random() < 0.3 else axis for axis in axes]
    keep = bool(generator.random() < 0.5)
    gone = {axis % rank for axis in axes}
    rest = [1 if place in gone else size for place, size in enumerate(shape)]
    if not keep:
        rest = [size for place, size in enumerate(shape) if place not in gone]
    y = x
    if name == "MEAN":
        y = steps_of(generator, x.scale[0] * spread(generator))
    table = options("ReducerOptions", keepDims=keep)
    return model.file(model.add(name, [source, model.list(axes)], [(rest, y)], table))


def softmaxes(generator: Generator) -> tuple[str, bytes]:
    """SOFTMAX."""
    model, shape = Model(generator), shape_of(generator, 1, 4)
    if generator.random() < 0.3:
        shape = [*shape[:1], int(generator.integers(1, 300))]
    x = steps_of(generator, float(np.exp(generator.uniform(-7, 1.5))))
    table = options("SoftmaxOptions", beta=float(generator.choice([1.0, 1.0, 0.5, 2.0])))
    y = Quantization([1 / 256], -128)
    return model.file(model.add("SOFTMAX", [model.input(shape, x)], [(shape, y)], table))


def matrices(generator: Generator) -> tuple[str, bytes]:
    """BATCH_MATMUL."""
    model = Model(generator)
    rows, columns, depth = (int(v) for v in generator.integers(1, 18, 3))
    batch = [int(v) for v in generator.integers(1, 4, generator.integers(0, 4))]
    one, other = list(batch), list(batch)
    for axis in range(len(batch)):
        side = int(generator.integers(0, 6))
        if side < 2:
            (one, other)[side][axis] = 1
    output = [max(pair) for pair in zip(one, other, strict=True)]
    if generator.random() < 0.2:
        other = other[:0]
        output = one
    adj_x, adj_y = (bool(v) for v in generator.random(2) < 0.5)
    x, y = steps_of(generator), steps_of(generator)
    # Some outputs are finer than sums, or far coarser.
    far = float(np.exp(generator.uniform(-5.5, 14))) if generator.random() < 0.15 else 1.0
    z = steps_of(generator, x.scale[0] * y.scale[0] * 60 * far * depth**0.5 * spread(generator))
    operands = [
        model.input([*one, *((depth, rows) if adj_x else (rows, depth))], x),
        model.operand([*other, *((columns, depth) if adj_y else (depth, columns))], y),
    ]
    table = options("BatchMatMulOptions", adjX=adj_x, adjY=adj_y)
    model.about.append(f"adj {adj_x} {adj_y}")
    return model.file(model.add("BATCH_MATMUL", operands, [([*output, rows, columns], z)], table))


def ends(generator: Generator) -> tuple[str, bytes]:
    """QUANTIZE from float32, DEQUANTIZE, or both."""
    model, shape, steps = Model(generator), shape_of(generator), steps_of(generator, 0.02)
    kind = int(generator.integers(0, 3))
    at = model.input(shape, steps if kind == 1 else None)
    if kind != 1:
        at = model.add("QUANTIZE", [at], [(shape, steps)])[0]
    if kind != 0:
        at = model.add("DEQUANTIZE", [at], [(shape, np.float32)])[0]
    return model.file([at])


FAMILIES: dict[str, Callable[[Generator], tuple[str, bytes]]] = {
    "sums": sums,
    "products": products,
    "squares": squares,
    "extremes": extremes,
    "slopes": slopes,
    "unary": unary,
    "pools": pools,
    "reductions": reductions,
    "softmaxes": softmaxes,
    "matrices": matrices,
    "ends": ends,
}
