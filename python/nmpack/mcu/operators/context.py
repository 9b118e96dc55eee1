# SPDX-License-Identifier: BSD-3-Clause
"""What operators share while they become steps: the graph, the target, TFLite's arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError
from nmpack.mcu.graph import Graph, Node, Tensor

#: What generated directories build for.
TARGETS = ("host", "rv32imc", "xcv", "xcv-nm", "zve32x")
# ResNet-152 has 60 million weights and 75,000 channels.
_MOST_CHANNELS, _MOST_WEIGHTS = 100_000, 80_000_000
_INT32 = (-(1 << 31), (1 << 31) - 1)


@dataclass(slots=True)
class Context:
    """What a lowering may look at.

    Attributes:
        graph: the network.
        target: one of :data:`TARGETS`; what kernels are chosen for.
        kernel: name of the kernel that filters are to have where it fits; None to choose the best.
        aliases: tensors that are the same memory as another, of the same number of bytes.
        channels, weights: of the filters so far, as :meth:`spend` counts them.
    """

    graph: Graph
    target: str = "host"
    kernel: str | None = None
    aliases: dict[int, int] = field(default_factory=dict)
    channels: int = 0
    weights: int = 0

    def spend(self, node: Node, channels: int, weights: int) -> None:
        """Count a filter: operators of a hostile file share a large one.

        Raises:
            ModelError: all together are more than any microcontroller's network has.
        """
        self.channels += channels
        self.weights += weights
        for what, most, got in (
            ("channels", _MOST_CHANNELS, self.channels),
            ("weights", _MOST_WEIGHTS, self.weights),
        ):
            if got > most:
                refuse(node, f"expected at most {most} {what} in all layers together, got {got}")

    def alias(self, output: Tensor, source: Tensor) -> None:
        """Say that ``output`` is the memory of ``source``, which is not constant.

        The same bytes in the same order: what a RESHAPE does.
        """
        assert output.nbytes == source.nbytes
        assert not source.constant
        self.aliases[output.index] = source.index


def refuse(node: Node, what: str) -> NoReturn:
    """Say why an operator cannot be compiled.

    Raises:
        ModelError: always; names the operator and its index.
    """
    raise ModelError(f"operator {node.index} {node.name} ({node.label}): {what}")


def input_of(node: Node, place: int, what: str = "input", dtype: str = "int8") -> Tensor:
    """Return an input that has to be there, of ``dtype``.

    Raises:
        ModelError: it is left out, or of another type.
    """
    tensor = node.inputs[place] if place < len(node.inputs) else None
    if tensor is None:
        refuse(node, f"expected its {what} as operand {place}, got none")
    return typed(node, tensor, what, dtype)


def output_of(node: Node, dtype: str = "int8") -> Tensor:
    """Return the only output, of ``dtype``.

    Raises:
        ModelError: there are several, or it is of another type.
    """
    if len(node.outputs) != 1:
        refuse(node, f"expected one output, got {len(node.outputs)}")
    return typed(node, node.outputs[0], "output", dtype)


def typed(node: Node, tensor: Tensor, what: str, dtype: str) -> Tensor:
    """Return ``tensor`` if it is of ``dtype``.

    Raises:
        ModelError: it is of another type.
    """
    if tensor.dtype != dtype:
        floats = (dtype, tensor.dtype) == ("int8", "float32")
        hint = ": convert the network with --int8" if floats else ""
        refuse(node, f"expected {what} of {dtype}, got {tensor.dtype}{hint}")
    return tensor


def constant_of(node: Node, place: int, what: str, dtype: str) -> npt.NDArray[Any]:
    """Return the values of a constant input.

    Raises:
        ModelError: it is left out, computed, or of another type.
    """
    data = input_of(node, place, what, dtype).data
    if data is None:
        refuse(node, f"expected a constant as {what}, got one that is computed")
    return data


def per_tensor(node: Node, tensor: Tensor, what: str) -> tuple[float, int]:
    """Return ``(scale, zero_point)`` of a tensor that has one of each; scale is a float32.

    Raises:
        ModelError: it has none, or several.
    """
    if tensor.scale is None or tensor.zero_point is None or len(tensor.scale) != 1:
        count = 0 if tensor.scale is None else len(tensor.scale)
        refuse(node, f"expected one scale of its {what}, got {count}")
    return float(tensor.scale[0]), int(tensor.zero_point[0])


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return ``(q, shift)`` with ``real = q / 2^31 * 2^shift``, as TFLite's QuantizeMultiplier.

    Args:
        real: not negative, as double arithmetic gives it.

    Returns:
        q: 0, or from 2^30 to 2^31 - 1. 0 as well where the shift would be below -31.
        shift: to the left where positive.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    q = math.floor(fraction * (1 << 31) + 0.5)
    if q == 1 << 31:
        q, shift = q // 2, shift + 1
    return (q, shift) if shift >= -31 else (0, 0)


def activation_range(node: Node, activation: str, output: Tensor) -> tuple[int, int]:
    """Return the smallest and the largest stored value, as TFLite calculates them for int8.

    Args:
        node: for errors.
        activation: the schema's name, as ``RELU6``.
        output: has one scale.

    Raises:
        ModelError: another activation than NONE, RELU, RELU6 and RELU_N1_TO_1.
    """
    scale, zero_point = per_tensor(node, output, "output")
    ranges: dict[str, tuple[float | None, float | None]] = {
        "NONE": (None, None),
        "RELU": (0.0, None),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }
    if activation not in ranges:
        refuse(node, f"the activation {activation} is not supported")

    def stored(real: float) -> int:
        steps = float(np.float32(real) / np.float32(scale))
        rounded = math.copysign(math.floor(abs(steps) + 0.5), steps) if steps < 1e30 else steps
        if not _INT32[0] <= rounded <= _INT32[1]:
            refuse(node, f"{activation} does not fit into a scale of {scale}")
        return zero_point + int(rounded)

    low, high = ranges[activation]
    return (
        -128 if low is None else max(-128, stored(low)),
        127 if high is None else min(127, stored(high)),
    )
