# SPDX-License-Identifier: BSD-3-Clause
"""Where a network goes from float32 to int8 and back; the only floating point of generated C."""

from __future__ import annotations

import numpy as np

from nmpack.mcu.graph import Node, Tensor
from nmpack.mcu.operators.context import Context, input_of, output_of, per_tensor, refuse
from nmpack.mcu.operators.walks import cycles, initializer
from nmpack.mcu.step import Step


def quantize_from_float(node: Node) -> list[Step]:
    """Return the step of a QUANTIZE from float32 to int8."""
    source, output = input_of(node, 0, "input", "float32"), output_of(node)
    return [_step(node, source, output, "nm_quantize_f32_s8", output, "quantize")]


def _dequantize(node: Node, _: Context) -> list[Step]:
    source, output = input_of(node, 0), output_of(node, "float32")
    return [_step(node, source, output, "nm_dequantize_s8_f32", source, "dequantize")]


def _step(
    node: Node, source: Tensor, output: Tensor, function: str, stored: Tensor, kernel: str
) -> Step:
    scale, zero_point = per_tensor(node, stored, "int8 tensor")
    if source.shape != output.shape:
        refuse(node, f"expected an output of {list(source.shape)}, got {list(output.shape)}")
    values = {
        "count": output.elements,
        "scale": f"{np.float32(scale).item().hex()}f",
        "zero_point": zero_point,
    }
    return Step(
        node.index, node.name, function, (f"{function.removeprefix('nm_')}.c",),
        "struct nm_affine_f32", initializer(values), (), (source.index,), (output.index,),
        layer=node.label, kernel=kernel, cycles=cycles(120.0, output.elements),
    )  # fmt: skip


LOWERINGS = {"DEQUANTIZE": _dequantize}
