# SPDX-License-Identifier: BSD-3-Clause
"""Pooling of images."""

from __future__ import annotations

from typing import Any

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import (
    Context,
    activation_range,
    input_of,
    output_of,
    refuse,
)
from nmpack.mcu.operators.costs import copied, cycles, units
from nmpack.mcu.operators.walks import initializer
from nmpack.mcu.step import Step

_SIDES = ("height", "width")
_KINDS = {"MAX_POOL_2D": "max", "AVERAGE_POOL_2D": "average"}

#: Pixels of a window whose sum fits int32.
_MOST_AVERAGED = (1 << 24) - 1
_ROWS = {"max": ("max_row_s8.c", "im2col_s8.c"), "average": ("add_columns_s8.c",)}


def _pool(node: Node, _: Context) -> list[Step]:
    source, output = input_of(node, 0), output_of(node)
    kind = _KINDS[node.name]
    values = _window(node, source, output)
    covered = [min(values[f"window_{side}"], values[f"input_{side}"]) for side in _SIDES]
    if kind == "average" and covered[0] * covered[1] > _MOST_AVERAGED:
        refuse(node, f"expected windows of at most {_MOST_AVERAGED} pixels to average, "
                     f"got {covered[0]} x {covered[1]}")  # fmt: skip
    function = f"nm_{kind}_pool_s8"
    step = Step(
        node.index,
        node.name,
        function,
        (f"{kind}_pool_s8.c", "each_window_s8.c", *_ROWS[kind]),
        "struct nm_pool_s8",
        initializer(values),
        (),
        (source.index,),
        (output.index,),
        layer=node.label,
        kernel=kind,
        cycles=_cycles(kind, values),
    )  # fmt: skip
    return [step]


def _cycles(kind: str, values: dict[str, Any]) -> dict[str, int]:
    """Return predicted cycles, as if no window were cut off."""
    windows = values["batch"] * values["output_height"] * values["output_width"]
    pixels = windows * values["window_height"] * values["window_width"]
    channels = values["channels"]
    if kind == "max":
        # The first pixel of a window is copied.
        inputs = (pixels - windows) * channels
        spent = units("max", input=inputs, pixel=pixels - windows, window=windows)
        return cycles(spent | copied(channels, windows))
    lines = windows * values["window_height"] * channels
    inputs, outputs = pixels * channels, windows * channels
    return cycles(units("average", input=inputs, output=outputs, window=windows, line=lines))


def _window(node: Node, source: Tensor, output: Tensor) -> dict[str, Any]:
    """Return ``struct nm_pool_s8``."""
    options = node.options_of("Pool2DOptions")
    if options is None:
        refuse(node, "expected options of the kind Pool2DOptions, got none")
    if len(source.shape) != 4 or len(output.shape) != 4:
        refuse(node, f"expected images of four axes, got {list(source.shape)}")
    padding = str(options.padding)
    if padding not in ("SAME", "VALID"):
        refuse(node, f"expected the padding SAME or VALID, got {padding}")
    sizes, pads = [], []
    for axis, name in ((1, "h"), (2, "w")):
        stride = int(options.values[f"stride_{name}"])
        window = int(options.values["filter_height" if name == "h" else "filter_width"])
        if not 1 <= stride < 1 << 16 or not 1 <= window < 1 << 16:
            refuse(node, f"expected strides and windows from 1 to 65535, got {stride}, {window}")
        size = source.shape[axis]
        places = -(-size // stride) if padding == "SAME" else (size - window + stride) // stride
        if places < 1:
            refuse(node, f"a window of {window} does not fit into {size} pixels")
        sizes.append((size, places, window, stride))
        pads.append(max((places - 1) * stride + window - size, 0) // 2)
    shape = (source.shape[0], sizes[0][1], sizes[1][1], source.shape[3])
    if shape != output.shape:
        refuse(node, f"expected an output of {list(shape)}, got {list(output.shape)}")
    low, high = activation_range(node, str(options.fused_activation_function), output)
    names = ("input", "output", "window", "stride")
    values: dict[str, Any] = {"batch": shape[0], "channels": shape[3]}
    for side, of in zip(_SIDES, sizes, strict=True):
        values |= {f"{name}_{side}": size for name, size in zip(names, of, strict=True)}
    return values | {"pad_top": pads[0], "pad_left": pads[1], "min": low, "max": high}


LOWERINGS = dict.fromkeys(_KINDS, _pool)
