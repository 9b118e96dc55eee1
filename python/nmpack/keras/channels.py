# SPDX-License-Identifier: BSD-3-Clause
"""The groups of channels of a functional or sequential Keras model, found on its graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nmpack.errors import ModelError
from nmpack.keras.layers import contracted_axes, layers_of, matrix_of
from nmpack.quiet import import_keras
from nmpack.sparsity.channels import Channels, Groups, Layout, Order, strung

#: Layers that treat channels one by one, all alike.
_PASS = (
    "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "SpatialDropout2D", "GaussianDropout",
    "GaussianNoise", "MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D",
    "GlobalAveragePooling2D", "GlobalAveragePooling1D", "ZeroPadding2D", "Cropping2D",
    "UpSampling2D", "Identity", "ActivityRegularization",
)  # fmt: skip
_TIE = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
#: Activations that do the same to every channel; softmax is one, for it only sums over all.
_ACTIVATIONS = frozenset(
    [
        "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "sigmoid", "tanh",
        "hard_sigmoid", "hard_silu", "softplus", "softsign", "mish", "softmax", "exponential",
    ]
)  # fmt: skip


def channels_of(model: Any) -> Channels:
    """Find the groups of ``model``; layers that are called twice stay where they are.

    Raises:
        ModelError: the model is subclassed, so that it has no graph.
    """
    walk = _Walk()
    walk.count(model)
    for tensor in _outputs(model, walk.graph(model, "", {})):
        walk.groups.fix(tensor)
    return walk.groups.result()


def permute_channels_(model: Any, channels: Channels, orders: Mapping[int, Order]) -> None:
    """Put channel ``orders[group][i]`` at place i, in every variable, in place.

    Raises:
        ModelError: an order is not a permutation of its group's channels.
    """
    to_numpy = import_keras().ops.convert_to_numpy
    variables = {variable.path: variable for variable in model.variables}
    matrices = _matrices(model)
    for name, axis, index in channels.moves(orders):
        value = to_numpy(variables[name])
        matrix = value.reshape(matrices.get(name, value.shape))
        variables[name].assign(np.take(matrix, index, axis=axis).reshape(value.shape))


def _matrices(model: Any) -> dict[str, tuple[int, ...]]:
    """Return as what the variables of each EinsumDense are ordered: inputs and outputs."""
    kind = import_keras().layers.EinsumDense
    found: dict[str, tuple[int, ...]] = {}
    for layer in layers_of(model):
        if isinstance(layer.module, kind):
            inputs, outputs = matrix_of(layer.module)
            found[layer.module.kernel.path] = (inputs, outputs)
            if layer.module.bias is not None:
                found[layer.module.bias.path] = (outputs,)
    return found


def _graph(model: Any) -> Any:
    """Return the functional graph behind a model, or None."""
    graph = getattr(model, "_functional", model)
    return graph if hasattr(graph, "_nodes_by_depth") else None


def _nodes(model: Any) -> Iterator[Any]:
    """Yield the calls of a model's graph, each after those that it depends on."""
    graph = _graph(model)
    if graph is None:
        raise ModelError(
            f"{model.name}: channels are found on a graph; expected a functional or a built "
            f"sequential model, got {type(model).__name__}"
        )
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from graph._nodes_by_depth[depth]


def _outputs(model: Any, layouts: Mapping[int, Layout]) -> list[Layout | None]:
    return [layouts.get(id(tensor)) for tensor in _graph(model).outputs]


class _Walk:
    """One pass over the graph, nested models included."""

    def __init__(self) -> None:
        self.groups = Groups()
        self._layers = import_keras().layers
        self._calls: Counter[int] = Counter()

    def count(self, model: Any) -> None:
        """Count the calls of each layer."""
        for node in _nodes(model):
            self._calls[id(node.operation)] += 1
            if _graph(node.operation) is not None:
                self.count(node.operation)

    def graph(
        self, model: Any, prefix: str, given: Mapping[int, Layout | None]
    ) -> dict[int, Layout]:
        """Return the layouts of a graph's tensors by their ``id``; ``given`` are its inputs'."""
        layouts = {key: layout for key, layout in given.items() if layout is not None}
        for node in _nodes(model):
            if node.is_input:
                continue
            sources = [layouts.get(id(tensor)) for tensor in node.input_tensors]
            results = self._through(node, prefix, sources)
            if results is None:
                for source in sources:
                    self.groups.fix(source)
                continue
            for tensor, layout in zip(node.output_tensors, results, strict=True):
                if layout is not None:
                    layouts[id(tensor)] = layout
        return layouts

    def _through(
        self, node: Any, prefix: str, sources: list[Layout | None]
    ) -> list[Layout | None] | None:
        """Return the channels of a call's results; None fixes those of its operands."""
        layer = node.operation
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            return None
        if not isinstance(layer, self._layers.Layer) or self._calls[id(layer)] > 1:
            return None
        if _graph(layer) is not None:
            inputs = _graph(layer).inputs
            if len(inputs) != len(sources):
                return None
            given = {id(tensor): source for tensor, source in zip(inputs, sources, strict=True)}
            return _outputs(layer, self.graph(layer, f"{prefix}{layer.name}/", given))
        result = self._layer(node, prefix + layer.name, sources)
        return None if result is None else [result]

    def _layer(self, node: Any, name: str, sources: list[Layout | None]) -> Layout | None:
        layer, kind = node.operation, type(node.operation).__name__
        shapes = [tuple(tensor.shape) for tensor in node.input_tensors]
        source = sources[0]
        if kind in ("Conv2D", "Dense"):
            return self._maker(layer, name, source)
        if kind == "MultiHeadAttention":
            return self._attention(node, name, sources)
        if None in sources or source is None:
            return None
        if kind in _TIE:
            same = len({len(shape) for shape in shapes}) == 1
            return self.groups.tie(sources) if same else None
        if kind == "Concatenate":
            return strung(sources) if layer.axis in (-1, len(shapes[0]) - 1) else None
        if kind == "DepthwiseConv2D":
            if layer.depth_multiplier != 1 or not _is_alike(layer.activation):
                return None
            self.groups.use(layer.kernel.path, 2, source)
            return self._follow(layer.bias, source)
        if kind == "BatchNormalization":
            axis = layer.axis[0] if isinstance(layer.axis, list | tuple) else layer.axis
            if axis not in (-1, len(shapes[0]) - 1):
                return None
            for variable in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance):
                self._follow(variable, source)
            return source
        if kind == "LayerNormalization":
            if layer.axis not in (-1, len(shapes[0]) - 1, [-1], [len(shapes[0]) - 1]):
                return None
            for variable in (layer.gamma, layer.beta):
                self._follow(variable, source)
            return source
        if kind == "Flatten":
            pixels = int(np.prod(shapes[0][1:-1])) if None not in shapes[0][1:] else 0
            return source * pixels if pixels else None
        if kind == "Reshape":
            return source if node.output_tensors[0].shape[-1] == shapes[0][-1] else None
        if kind == "Activation" and not _is_alike(layer.activation):
            return None
        return source if kind in _PASS else None

    def _attention(self, node: Any, name: str, sources: list[Layout | None]) -> Layout | None:
        """Let queries and keys of a head go together, and values with the projection behind."""
        layer = node.operation
        names = ("query", "key", "value", "output")
        dense: list[Any] = [getattr(layer, f"_{part}_dense", None) for part in names]
        if len(sources) != 2 or len(node.output_tensors) != 1 or None in dense:
            return None
        *parts, out = dense
        split = [contracted_axes(item.equation) for item in (*parts, out)]
        if split != [1, 1, 1, 2] or any(len(item.kernel.shape) != 3 for item in (*parts, out)):
            return None
        made = []
        for item, source in zip(parts, (sources[0], sources[1], sources[1]), strict=True):
            if source is not None:
                self.groups.use(item.kernel.path, 0, source)
            heads, size = map(int, item.kernel.shape[1:])
            own = self.groups.new(heads * size, f"{name}/{item.name}", size)
            self.groups.use(item.kernel.path, 1, own)
            made.append(self._follow(item.bias, own))
        query, key, value = made
        if self.groups.tie([query, key]) is None:
            self.groups.fix(query + key)
        self.groups.use(out.kernel.path, 0, value)
        own = self.groups.new(int(out.kernel.shape[-1]), f"{name}/{out.name}")
        self.groups.use(out.kernel.path, 1, own)
        return self._follow(out.bias, own)

    def _maker(self, layer: Any, name: str, source: Layout | None) -> Layout | None:
        axes = len(layer.kernel.shape)
        if getattr(layer, "groups", 1) != 1:
            return None
        if source is not None:
            self.groups.use(layer.kernel.path, axes - 2, source)
        own = self.groups.new(int(layer.kernel.shape[-1]), name)
        self.groups.use(layer.kernel.path, axes - 1, own)
        if not _is_alike(layer.activation):
            self.groups.fix(own)
        return self._follow(layer.bias, own)

    def _follow(self, variable: Any, layout: Layout) -> Layout:
        if variable is not None:
            self.groups.use(variable.path, 0, layout)
        return layout


def _is_alike(activation: Any) -> bool:
    return getattr(activation, "__name__", "") in _ACTIVATIONS
