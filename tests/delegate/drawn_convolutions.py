# SPDX-License-Identifier: BSD-3-Clause
"""Draws convolutions: what TFLite calls CONV_2D and DEPTHWISE_CONV_2D, in every geometry.

Half of them hold small integers as weights and images. Sums of their products are exact in float32
whatever the order, so there one lost or doubled tap shows, and nothing may differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

KINDS = (
    "convolution",
    "grouped",
    "depthwise",
    "padded",
    "stretched",  # large kernels, strides and dilations on long images
    "wide",  # more weights than a task's share of the cache
    "packed",  # weights of 8 or 16 bits, unpacked by a node of their own
    "int8",
)
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")
WEIGHTS = ("dense", "pruned", "pruned", "pruned", "zero-tile", "dense-tile", "scattered", "zero")
#: Multiply-adds of one model: what the reference kernels do in some 10 ms.
MAX_WORK = 1_500_000
#: The same for the seldom drawn kind whose point is its size.
MAX_WIDE_WORK = 20_000_000

Pair = tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """A drawn convolution. Pairs are (height, width)."""

    kind: str
    seed: tuple[int, ...]
    batch: int
    image: Pair
    groups: int
    group_inputs: int
    group_outputs: int
    kernel: Pair
    stride: Pair
    dilation: Pair
    same: bool
    activation: str
    bias: bool  # TFLite wants one always; converters write zeros where there is none
    weights: str
    tile: int
    kept: float
    integers: bool
    depthwise: bool = False
    stored: str = "float32"  # "packed": what the model holds the weights as, to be unpacked first
    padding: tuple[tuple[int, int], ...] = ((0, 0),) * 4
    padding_value: float = 0.0

    @property
    def columns(self) -> int:
        """Products that are summed to one output."""
        return self.kernel[0] * self.kernel[1] * self.group_inputs

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.batch, *self.image, self.groups * self.group_inputs)

    @property
    def padded_shape(self) -> tuple[int, ...]:
        return tuple(
            size + sum(pads) for size, pads in zip(self.input_shape, self.padding, strict=True)
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """What TFLite computes; not positive where the image is smaller than the kernel."""
        batch, height, width, _ = self.padded_shape
        sizes = []
        for size, kernel, stride, dilation in zip(
            (height, width), self.kernel, self.stride, self.dilation, strict=True
        ):
            covered = 0 if self.same else (kernel - 1) * dilation
            sizes.append((size - covered + stride - 1) // stride)
        return (batch, *sizes, self.groups * self.group_outputs)

    @property
    def work(self) -> int:
        return int(np.prod(self.output_shape)) * self.columns

    @property
    def legal(self) -> bool:
        """Whether there is an output at all."""
        return min(self.output_shape) > 0

    @property
    def delegable(self) -> bool:
        """Whether the delegate has to take it; what it may leave is the interpreter's."""
        return self.legal and self.activation != "TANH"

    @property
    def sparse_when_forced(self) -> bool:
        """Whether nm=force has to choose the N:M operator."""
        return self.delegable and not self.depthwise


def draw(kind: str, seed: tuple[int, ...]) -> Convolution:
    """Draw a convolution; ``seed`` decides everything."""
    rng = np.random.default_rng([KINDS.index(kind), *seed])

    def pair(low: int, high: int) -> Pair:
        """Return a square one three times out of four."""
        first, second = (int(value) for value in rng.integers(low, high + 1, size=2))
        return (first, first) if rng.random() < 0.75 else (first, second)

    def either(often: Any, seldom: Any, share: float) -> Any:
        return often if rng.random() < share else seldom

    def sizes(low: int, high: int, count: int = 2) -> tuple[int, ...]:
        return tuple(int(value) for value in rng.integers(low, high + 1, size=count))

    grouped = kind == "grouped" or (kind in ("padded", "packed") and rng.random() < 0.2)
    groups = int(rng.integers(2, 7)) if grouped else 1
    inputs = int(rng.integers(1, 41 if groups == 1 else 13))
    outputs = int(rng.integers(1, 101 if groups == 1 else 41))
    depthwise = kind == "depthwise" or (kind == "padded" and rng.random() < 0.3)
    if depthwise:
        groups, inputs = int(rng.integers(1, 41)), 1
        outputs = int(either(1, rng.integers(2, 5), 0.6))
    dilation = either((1, 1), pair(1, 3), 0.6)
    result = Convolution(
        kind=kind,
        seed=seed,
        batch=int(rng.integers(1, 4)),
        image=(int(rng.integers(1, 25)), int(rng.integers(1, 25))),
        groups=groups,
        group_inputs=inputs,
        group_outputs=outputs,
        kernel=pair(1, 7),
        stride=either(pair(1, 2), pair(1, 4), 0.6),
        dilation=dilation,
        same=bool(rng.random() < (0.2 if kind == "padded" else 0.6)),
        activation=str(rng.choice(ACTIVATIONS, p=(0.35, 0.3, 0.15, 0.15, 0.05))),
        bias=bool(rng.random() < 0.75),
        weights=str(rng.choice(WEIGHTS)),
        tile=int(rng.choice((8, 16, 32))),
        kept=float(rng.choice((0.25, 0.5))),
        integers=bool(rng.random() < 0.5),
        depthwise=depthwise,
    )
    if kind == "packed":
        result = replace(result, stored=str(rng.choice(("float16", "int8", "int8-by-channel"))))
    if kind == "padded":
        batches, height, width = (sizes(0, 3) for _ in range(3))
        result = replace(
            result,
            padding=(either((0, 0), batches, 0.9), height, width, (0, 0)),
            padding_value=float(either(0.0, 2.0, 0.8)),
        )
    if kind == "stretched":
        result = replace(
            result,
            image=(sizes(1, 60, 1) + sizes(1, 9, 1))[:: either(1, -1, 0.5)],
            group_inputs=sizes(1, 8, 1)[0],
            kernel=sizes(1, 13),
            stride=sizes(1, 11),
            dilation=sizes(1, 6),
        )
    if kind == "wide":
        result = replace(
            result,
            image=sizes(1, 7),
            group_inputs=sizes(200, 600, 1)[0],
            group_outputs=sizes(100, 600, 1)[0],
            kernel=pair(1, 3),
        )
    return _affordable(result, even_illegal=bool(rng.random() < 0.25))


def _affordable(result: Convolution, even_illegal: bool) -> Convolution:
    """Return a draw that does not take long; mostly one that has an output."""
    limit = MAX_WIDE_WORK if result.kind == "wide" else MAX_WORK
    if not result.legal and not even_illegal:
        result = replace(result, same=True)
    while result.legal and result.work > limit:
        if result.batch > 1:
            result = replace(result, batch=1)
        elif max(result.image) > 6:
            result = replace(result, image=(min(result.image[0], 6), min(result.image[1], 6)))
            if not result.legal:
                result = replace(result, same=True)
        else:
            result = replace(result, group_outputs=(result.group_outputs + 1) // 2)
    return result
