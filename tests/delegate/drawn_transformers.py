# SPDX-License-Identifier: BSD-3-Clause
"""Draws the operators of a transformer, of float32 and int8, as models of one operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from drawn_operators import EPSILON, Drawn
from tflite_graph import Graph, Quantization, activation, options


def _shape(rng: np.random.Generator, least: int = 1) -> tuple[int, ...]:
    rank = int(rng.integers(least, 6))
    return (*(int(size) for size in rng.integers(1, 5, rank - 1)), int(rng.integers(1, 60)))


def _steps(values: np.ndarray) -> Quantization:
    """Return steps that hold ``values``."""
    least, most = min(float(values.min()), 0.0), max(float(values.max()), 1e-6)
    scale = (most - least) / 255
    return Quantization([scale], int(np.clip(round(-128 - least / scale), -128, 127)))


def _real(values: np.ndarray, steps: Quantization) -> np.ndarray:
    real: np.ndarray = (values.astype(np.float64) - steps.zero_point) * steps.scale[0]
    return real


class _Model:
    """One operator of tensors that all have one type."""

    def __init__(self, rng: np.random.Generator, integers: bool) -> None:
        self.rng, self.integers, self.graph = rng, integers, Graph()
        self.sources: list[int] = []
        self.inputs: list[np.ndarray] = []
        self.real: list[np.ndarray] = []
        self.steps: list[Quantization | None] = []

    def operand(
        self, shape: Sequence[int], least: float = -1.0, most: float = 1.0, constant: bool = False
    ) -> int:
        """Add an operand of real values between two numbers."""
        if self.integers:
            scale = (most - least) / 255 * float(2 ** self.rng.uniform(-1, 1))
            steps = Quantization([scale], int(np.clip(round(-128 - least / scale), -128, 127)))
            low = int(np.clip(np.ceil(least / scale) + steps.zero_point, -128, 127))
            values = self.rng.integers(low, 128, shape).astype(np.int8)
            self.real.append(_real(values, steps))
        else:
            steps = None
            values = self.rng.uniform(least, most, shape).astype(np.float32)
            self.real.append(values.astype(np.float64))
        self.steps.append(steps)
        if constant:
            return self.graph.constant(values, steps)
        self.sources.append(self.graph.tensor(shape, values.dtype, steps))
        self.inputs.append(values)
        return self.sources[-1]

    def finish(
        self,
        name: str,
        operands: Sequence[int],
        result: np.ndarray,
        table: object,
        tolerance: float,
        steps: Quantization | None = None,
    ) -> Drawn:
        """Return the model; ``result`` is about what it computes, in int8 by ``steps``."""
        kind = np.int8 if self.integers else np.float32
        if self.integers and steps is None:
            steps = _steps(result)
        y = self.graph.tensor(result.shape, kind, steps)
        self.graph.add(name, operands, y, table)
        shapes = [self.graph.tensors[t].shape for t in operands]
        what = (
            f"{name} {shapes} -> {result.shape} int8={self.integers} {vars(table) if table else {}}"
        )
        model = self.graph.model(self.sources, [y])
        return Drawn(model, tuple(self.inputs), 1.0 if self.integers else tolerance, 1, what)


def _model(rng: np.random.Generator) -> _Model:
    return _Model(rng, bool(rng.random() < 0.4))


def batch_matmul(rng: np.random.Generator) -> Drawn:
    """BATCH_MATMUL with any operand adjoint, constant or broadcast."""
    model = _model(rng)
    m, k, n = (int(size) for size in rng.choice((1, 2, 3, 7, 16, 33, 65), 3))
    batch = tuple(int(size) for size in rng.integers(1, 4, int(rng.integers(0, 4))))
    batches = [batch, batch]
    if rng.random() < 0.4:
        which = int(rng.integers(2))
        batches[which] = tuple(1 if rng.random() < 0.5 else size for size in batch)
        batches[which] = batches[which][int(rng.integers(len(batch) + 1)) :]
    constant = int(rng.integers(4))
    adjoint = [bool(rng.random() < 0.3) for _ in range(2)]
    shapes = [(k, m) if adjoint[0] else (m, k), (n, k) if adjoint[1] else (k, n)]
    operands = [model.operand((*batches[i], *shapes[i]), constant=constant == i) for i in range(2)]
    a, b = (np.swapaxes(x, -1, -2) if t else x for x, t in zip(model.real, adjoint, strict=True))
    table = options("BatchMatMulOptions", adjX=adjoint[0], adjY=adjoint[1])
    return model.finish("BATCH_MATMUL", operands, a @ b, table, 8 * EPSILON * k)


def reduction(rng: np.random.Generator) -> Drawn:
    """MEAN or SUM over any axes, in any order, counted from either end."""
    name = str(rng.choice(("MEAN", "SUM")))
    # The reference kernel of an int8 SUM is another function than the optimized ones.
    model = _Model(rng, name == "MEAN" and bool(rng.random() < 0.4))
    shape = _shape(rng)
    keep = bool(rng.random() < 0.5)
    rank = len(shape)
    most = rank if keep else rank - 1
    if most == 0:
        keep, most = True, 1
    axes = rng.permutation(rank)[: int(rng.integers(1, most + 1))]
    signed = np.where(rng.random(axes.size) < 0.5, axes, axes - rank).astype(np.int32)
    x = model.operand(shape)
    function = np.mean if name == "MEAN" else np.sum
    result = function(model.real[0], axis=tuple(int(axis) for axis in axes), keepdims=keep)
    table = options("ReducerOptions", keepDims=keep)
    operands = [x, model.graph.constant(signed)]
    terms = model.real[0].size / result.size
    return model.finish(name, operands, result, table, EPSILON * (8 + terms))


def unary(rng: np.random.Generator) -> Drawn:
    """RSQRT, or GELU in either form."""
    model = _model(rng)
    shape = _shape(rng)
    if rng.random() < 0.4:
        x = model.operand(shape, 0.05, float(2 ** rng.uniform(0, 4)))
        if not model.integers and rng.random() < 0.5:
            model.inputs[0].flat[0] = rng.choice((0.0, np.inf))
        return model.finish("RSQRT", [x], model.real[0] ** -0.5, None, 16 * EPSILON)
    largest = float(2 ** rng.uniform(-2, 4))
    x = model.operand(shape, -largest, largest)
    approximate = bool(rng.random() < 0.5)
    result = model.real[0] / (1 + np.exp(-1.6 * model.real[0]))
    table = options("GeluOptions", approximate=approximate)
    return model.finish("GELU", [x], result, table, 4 * EPSILON * largest)


def difference(rng: np.random.Generator) -> Drawn:
    """SQUARED_DIFFERENCE, ADD or SUB of values of very different sizes, one of them broadcast."""
    model = _model(rng)
    shape = _shape(rng)
    other = tuple(1 if rng.random() < 0.4 else size for size in shape)
    name = str(rng.choice(("SQUARED_DIFFERENCE", "ADD", "SUB")))
    size = float(2 ** rng.uniform(-16, 8)) if name != "SQUARED_DIFFERENCE" else 1.0
    operands = [model.operand(shape), model.operand(other, -size, size)]
    a, b = model.real
    if name == "SQUARED_DIFFERENCE":
        table, result = options("SquaredDifferenceOptions"), (a - b) ** 2
    else:
        table = options(
            name.title() + "Options",
            fusedActivationFunction=activation(str(rng.choice(("NONE", "RELU")))),
        )
        result = a + b if name == "ADD" else a - b
    return model.finish(name, operands, result, table, 4 * EPSILON * (1 + size))


def token(rng: np.random.Generator) -> Drawn:
    """STRIDED_SLICE that drops axes."""
    model = _model(rng)
    shape = _shape(rng, least=2)
    begin, end, dropped = [], [], 0
    index: list[int | slice] = []
    for axis, size in enumerate(shape):
        first = int(rng.integers(size))
        last = int(rng.integers(first + 1, size + 1))
        if rng.random() < 0.5 and len(index) < len(shape) - 1:
            dropped |= 1 << axis
            index.append(first)
            begin.append(first if rng.random() < 0.5 else first - size)
            end.append(int(rng.integers(-2, size + 2)))
        else:
            index.append(slice(first, last))
            begin.append(first)
            end.append(last)
    x = model.operand(shape)
    tables = [model.graph.constant(np.array(v, np.int32)) for v in (begin, end, [1] * len(shape))]
    result = model.real[0][tuple(index)]
    table = options("StridedSliceOptions", shrinkAxisMask=dropped)
    return model.finish("STRIDED_SLICE", [x, *tables], result, table, 0.0, model.steps[0])


def mask(rng: np.random.Generator) -> Drawn:
    """SELECT_V2 between values, infinite ones too, and a number."""
    model = _Model(rng, integers=False)
    shape = _shape(rng)
    other = tuple(1 if rng.random() < 0.4 else size for size in shape)
    other = other[int(rng.integers(len(other))) :]
    condition = rng.random(other) < 0.5
    model.sources.append(model.graph.tensor(other, np.bool_))
    model.inputs.append(condition)
    x = model.operand(shape, -3.0, 3.0)
    model.inputs[-1].flat[0] = rng.choice((0.0, np.inf, -np.inf))
    number = float(rng.choice((0.0, -1e9, np.finfo(np.float32).min, rng.normal())))
    y = model.graph.constant(np.full((1,) * int(rng.integers(2)), number, np.float32))
    operands = [model.sources[0], x, y]
    result = np.where(condition, model.real[0], number)
    return model.finish("SELECT_V2", operands, result, options("SelectV2Options"), 0.0)


def heads(rng: np.random.Generator) -> Drawn:
    """A TRANSPOSE that two SLICEs read, which the delegate slices first, joined by a product."""
    model = _Model(rng, bool(rng.random() < 0.4))
    shape = _shape(rng, least=2)
    x = model.operand(shape)
    order = rng.permutation(len(shape)).astype(np.int32)
    moved = np.transpose(model.real[0], order)
    kind = np.int8 if model.integers else np.float32
    steps = model.steps[0]
    y = model.graph.tensor(moved.shape, kind, steps)
    model.graph.add("TRANSPOSE", [x, model.graph.constant(order)], y, options("TransposeOptions"))
    sizes = rng.integers(1, np.array(moved.shape) + 1).astype(np.int32)
    parts, real = [], []
    for _ in range(2):
        begin = rng.integers(0, np.array(moved.shape) - sizes + 1).astype(np.int32)
        tables = [model.graph.constant(v) for v in (begin, sizes)]
        part = model.graph.tensor(sizes, kind, steps)
        parts.append(model.graph.add("SLICE", [y, *tables], part, options("SliceOptions")))
        real.append(moved[tuple(slice(b, b + n) for b, n in zip(begin, sizes, strict=True))])
    drawn = model.finish("MUL", parts, real[0] * real[1], options("MulOptions"), EPSILON)
    return replace(drawn, nodes=4)


TRANSFORMER_OPERATORS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "batch-matmul": batch_matmul,
    "difference": difference,
    "heads": heads,
    "mask": mask,
    "reduction": reduction,
    "token": token,
    "unary": unary,
}
