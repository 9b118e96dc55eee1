# SPDX-License-Identifier: BSD-3-Clause
"""The distinct layers of a ``.tflite`` file, as XNNPACK sees them, and their patterns.

A fully connected layer is a 1x1 convolution on an image of one column, whose pixels are its rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.element_types import DTYPES, F32, QS8, ElementType, type_of
from nmpack.errors import ModelError, NmpackError
from nmpack.measure.asking import ask
from nmpack.runtime.child import Signature
from nmpack.runtime.interpreter import nmpack_engine
from nmpack.runtime.sizes import Shapes
from nmpack.sparsity.detection import detect_pattern
from nmpack.sparsity.mask import column_density
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import LayerInfo, Operator, Subgraph, TensorInfo
from nmpack.tflite.names import short_names
from nmpack.tflite.operator_codes import operator_code
from nmpack.tune.shapes import Layer, linear_layer

_PADS = (operator_code("PAD"), operator_code("PADV2"))
_NO_PADDING = (0, 0, 0, 0)
# A hostile file states one filter for many convolutions, or a sparse one of any size.
_MOST_WEIGHTS = 1 << 28


@dataclass(frozen=True, slots=True)
class ModelLayer:
    """A layer that occurs in a model.

    Attributes:
        layer: its shape and pattern.
        names: readable names of all its occurrences, at least one.
        densities: of the first one's weights: of the elements, of the columns in tiles of 8, and
            of 32 output channels.
    """

    layer: Layer
    names: tuple[str, ...]
    densities: tuple[float, float, float]

    @property
    def share(self) -> float:
        """Multiply-adds of all occurrences that the pattern leaves: roughly their time."""
        return len(self.names) * self.layer.macs * self.layer.density


@dataclass(frozen=True, slots=True)
class ModelLayers:
    """What a model has to tune.

    Attributes:
        layers: the distinct ones.
        skipped: says of other layers why not, by name.
        inputs: of the first subgraph, where the file leaves sizes of them open: of those sizes
            that layers follow from.
    """

    layers: tuple[ModelLayer, ...]
    skipped: Mapping[str, str]
    inputs: tuple[Signature, ...] = ()


def layers_of(model: str | Path, *, shapes: Shapes | None = None) -> ModelLayers:
    """List the distinct layers of all subgraphs; depthwise ones have nothing to tune.

    Where the file leaves sizes of the first subgraph's inputs open, the delegate is asked which its
    layers have then. (The interpreter's own kernels refuse images that XNNPACK takes.)

    Args:
        model: path of a ``.tflite`` file.
        shapes: of such inputs.

    Raises:
        ModelError: the file is not a usable model.
        NmpackError: a shape does not fit.
        MissingError, InterpreterError: sizes are open, and the delegate or interpreter is absent or
            refuses the model.
    """
    file = TFLiteFile(model)
    graphs = file.subgraphs
    inputs: tuple[Signature, ...] = ()
    if shapes is not None or file.primary.is_open:
        first, inputs = _resized(file, shapes)
        graphs = (first, *graphs[1:])
    left = _MOST_WEIGHTS
    names: dict[Layer, list[str]] = {}
    densities: dict[Layer, tuple[float, float, float]] = {}
    skipped = {}
    for graph in graphs:
        wanted = [item for item in graph.layers if not item.depthwise]
        pads = _paddings(file, graph)
        for item, name in zip(wanted, short_names([item.name for item in wanted]), strict=True):
            try:
                left -= math.prod(item.shape)
                if left < 0:
                    raise ModelError("filters in front of it have more weights than any model")
                layer, found = _layer(file, graph, item, pads)
            except NmpackError as error:
                skipped[name] = str(error)
                continue
            names.setdefault(layer, []).append(name)
            densities.setdefault(layer, found)
    rows = (ModelLayer(layer, tuple(names[layer]), densities[layer]) for layer in names)
    return ModelLayers(tuple(rows), skipped, inputs)


def _resized(file: TFLiteFile, shapes: Shapes | None) -> tuple[Subgraph, tuple[Signature, ...]]:
    """Return the first subgraph as it is at these shapes, and its inputs."""
    asked = ask(file, nmpack_engine(alone=True), shapes)
    if asked.failure is not None:
        raise asked.failure
    return asked.graphs(file)[0], asked.inputs


def _layer(
    file: TFLiteFile,
    graph: Subgraph,
    item: LayerInfo,
    pads: Mapping[int, tuple[int, tuple[int, int, int, int]]],
) -> tuple[Layer, tuple[float, float, float]]:
    """Return a layer's shape with its pattern, and its densities."""
    operator = graph.operators[item.node]
    kind = _type(graph, item, operator)
    if item.linear:
        return _linear(file, item, kind)
    source, padding = operator.inputs[0], _NO_PADDING
    options = operator.options_of("Conv2DOptions")
    same = options is None or options.padding == "SAME"
    if not same and source in pads:
        source, padding = pads[source]
    shape = graph.tensors[source].shape
    if len(shape) != 4 or min(shape) < 1 or graph.tensors[source].shape_signature:
        raise ModelError("the size of its images is not fixed")
    if same:
        padding = same_padding(shape[1:3], item.shape[1:3], item.stride, item.dilation)
    assert item.weights is not None
    weights = file.array(item.weights)
    density, tile, block = _pattern(weights, item.groups, rounded=kind is not F32)
    sizes = (
        *shape[:3], item.groups, item.shape[3], item.shape[0] // item.groups, *item.shape[1:3],
        *item.stride, *item.dilation, *padding,
    )  # fmt: skip
    layer = Layer(*sizes, density, tile, block, kind.name)  # type: ignore[arg-type,call-arg]
    if item.output.shape[1:3] != (layer.output_height, layer.output_width):
        raise ModelError(f"its images of {item.output.shape} do not follow from its padding")
    return layer, _densities(weights, item.groups)


def _linear(
    file: TFLiteFile, item: LayerInfo, kind: ElementType
) -> tuple[Layer, tuple[float, float, float]]:
    """Return the shape of a fully connected layer with its pattern, and its densities."""
    if item.rows is None:
        raise ModelError("the number of its rows is not fixed")
    assert item.weights is not None
    weights = file.array(item.weights).reshape(item.shape)
    density, tile, block = _pattern(weights, 1, rounded=kind is not F32)
    layer = linear_layer(item.rows, item.shape[3], item.shape[0], kind.name)
    return replace(layer, density=density, tile=tile, block=block), _densities(weights, 1)


def _densities(weights: npt.NDArray[Any], groups: int) -> tuple[float, float, float]:
    elements = float(np.count_nonzero(weights)) / weights.size
    by_8, by_32 = (column_density(weights, size, groups=groups) for size in (8, 32))
    return elements, by_8, by_32


def _type(graph: Subgraph, item: LayerInfo, operator: Operator) -> ElementType:
    """Return the type of a layer that N:M operators support.

    Raises:
        ModelError: they do not.
    """
    weights = item.weights
    kind = type_of(weights.dtype) if weights is not None else None
    images = {graph.tensors[index].dtype for index in (operator.inputs[0], operator.outputs[0])}
    if weights is None or kind is None or images != {kind.dtype}:
        raise ModelError(
            f"only stored weights of {' or '.join(DTYPES)} on images of the same type are tuned"
        )
    if kind is QS8 and not _is_symmetric(weights, item):
        raise ModelError("only int8 weights without zero points are tuned")
    return kind


def _is_symmetric(weights: TensorInfo, item: LayerInfo) -> bool:
    """Return whether a filter has a scale for each output channel or all, and no zero points."""
    found = weights.quantization
    if found is None or found.zero_point.any():
        return False
    if not found.per_axis:
        return True
    return len(found.scale) == item.shape[0] and found.dimension == 0


def same_padding(
    sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, int, int, int]:
    """Return TFLite's SAME padding of an image (height, width): top, right, bottom, left."""
    sides = []
    for size, reach, step, spread in zip(sizes, kernel, stride, dilation, strict=True):
        total = max((-(-size // step) - 1) * step + (reach - 1) * spread + 1 - size, 0)
        sides.append((total // 2, total - total // 2))
    (top, bottom), (left, right) = sides
    return top, right, bottom, left


def _paddings(
    file: TFLiteFile, graph: Subgraph
) -> dict[int, tuple[int, tuple[int, int, int, int]]]:
    """Return what XNNPACK fuses into the convolution behind it: by output, input and padding."""
    users: dict[int, int] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            users[index] = users.get(index, 0) + 1
    found = {}
    for operator in graph.operators:
        if operator.code not in _PADS or len(operator.inputs) < 2 or len(operator.outputs) != 1:
            continue
        if users.get(operator.outputs[0]) != 1 or operator.outputs[0] in graph.outputs:
            continue
        if (sides := _zeros_around(file, graph, operator)) is not None:
            found[operator.outputs[0]] = operator.inputs[0], sides
    return found


def _zeros_around(
    file: TFLiteFile, graph: Subgraph, operator: Operator
) -> tuple[int, int, int, int] | None:
    """Return the padding of an image with zeros, None where an operator does something else."""
    padded = graph.tensors[operator.outputs[0]]
    # What is quantized is padded with its zero point where no other value is given.
    if padded.dtype != F32.dtype and operator.code != _PADS[0]:
        return None
    constants: list[npt.NDArray[Any]] = []
    # Whatever else is no such padding, and may be large.
    shapes = [graph.tensors[index].shape for index in operator.inputs[1:] if index >= 0]
    if not shapes or shapes[0] != (4, 2) or any(math.prod(shape) > 1 for shape in shapes[1:]):
        return None
    for index in operator.inputs[1:]:
        try:
            constants.append(file.array(graph.tensors[index]) if index >= 0 else np.zeros(1))
        except ModelError:
            return None
    sides = constants[0]
    if sides.shape != (4, 2) or sides.min() < 0 or sides[0].any() or sides[3].any():
        return None
    if any(value.any() for value in constants[1:]):
        return None
    (top, bottom), (left, right) = sides[1:3].tolist()
    return top, right, bottom, left


def _pattern(
    weights: npt.NDArray[Any], groups: int, *, rounded: bool = False
) -> tuple[float, int, int]:
    """Return density, tile and block of a filter; scattered zeros count for each row alone.

    ``rounded`` weights have some zeros that are no part of a pattern.
    """
    fit = detect_pattern(weights, groups=groups, rounded=rounded)
    if fit.tile == 0:
        density = 1.0 if fit.element_density > 0.95 else round(fit.element_density, 3)
        return max(density, 0.001), 1, 1
    return max(round(fit.column_density, 3), 0.001), fit.tile, fit.block
