# SPDX-License-Identifier: BSD-3-Clause
"""Programs that run many convolutions on their data, compare outputs and count cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nmpack import locations
from nmpack.mcu import toolchain
from nmpack.mcu.filters_conv2d import Conv2d, Geometry, Requantization
from nmpack.mcu.filters_depthwise import Depthwise
from nmpack.mcu.step import Constant, Int8

KERNELS = locations.ROOT / "mcu/kernels"
_BOTH = (
    "conv2d_s8.c",
    "depthwise_s8.c",
    "depthwise_row_s8.c",
    "depthwise_any_row_s8.c",
    "im2col_s8.c",
)
C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One call of ``nm_conv2d_s8`` or ``nm_depthwise_s8``.

    Attributes:
        name: for messages.
        function: ``nm_conv2d_s8`` or ``nm_depthwise_s8``; the struct has the same name.
        parameters: the struct's initializer, without its braces.
        constants: what it names.
        sources: files below ``mcu/kernels``.
        scratch_bytes: of the call; 0 where it takes none.
        inputs: int8, as C reads it.
        expected: int8, as C writes it.
    """

    name: str
    function: str
    parameters: str
    constants: tuple[Constant, ...]
    sources: tuple[str, ...]
    scratch_bytes: int
    inputs: Int8
    expected: Int8


def conv2d_case(name: str, lowered: Conv2d, inputs: Int8, expected: Int8) -> Case:
    """Return the case of a lowered convolution."""
    return Case(
        name,
        "nm_conv2d_s8",
        lowered.parameters,
        lowered.constants,
        lowered.sources,
        lowered.scratch_bytes,
        inputs,
        expected,
    )


def depthwise_case(name: str, lowered: Depthwise, inputs: Int8, expected: Int8) -> Case:
    """Return the case of a lowered depthwise convolution."""
    return Case(
        name,
        "nm_depthwise_s8",
        lowered.parameters,
        lowered.constants,
        lowered.sources,
        lowered.scratch_bytes,
        inputs,
        expected,
    )


def source_files(names: Sequence[str], target: str) -> list[Path]:
    """Return the files of kernels for a target: its own form where there is one."""
    folders = {"xcv": ("xcv",), "xcv-nm": ("xcv-nm", "xcv"), "zve32x": ("zve32x",)}
    found: list[Path] = []
    for name in dict.fromkeys(names):
        stem = name.removesuffix(".c")
        own = [
            KERNELS / folder / f"{stem}{ending}"
            for folder in folders.get(target, ())
            for ending in (".S", ".c")
        ]
        found.append(next((path for path in own if path.is_file()), KERNELS / name))
    return found


_MAIN = Path(__file__).with_name("mcu_kernel_main.c")


def build(
    cases: Sequence[Case], folder: Path, *, target: str, flags: Sequence[str] = ("-O2",)
) -> Path:
    """Return a program that runs every case; its status is 0 if all agree.

    Region ``i + 1`` is case ``i``.

    Args:
        cases: at least one.
        folder: an empty one for what is generated.
        target: of the program.
        flags: of the compiler.
    """
    folder.mkdir(parents=True, exist_ok=True)
    declarations: list[str] = []
    assembly: list[str] = ['.section .rodata,"a"']
    blob = bytearray()

    def place(symbol: str, ctype: str, values: npt.NDArray[np.generic]) -> None:
        data = values.tobytes()
        blob.extend(bytes(-len(blob) % 16))
        assembly.append(
            f'.balign 16\n.globl {symbol}\n{symbol}: .incbin "{folder}/data.bin", {len(blob)}, '
            f"{len(data)}"
        )
        declarations.append(f"extern const {ctype} {symbol}[{len(values)}];")
        blob.extend(data)

    table: list[str] = []
    for number, case in enumerate(cases):
        prefix = f"case{number}_"
        for constant in case.constants:
            place(prefix + constant.name, C_TYPES[str(constant.values.dtype)], constant.values)
        place(prefix + "input", "int8_t", case.inputs.ravel())
        place(prefix + "expected", "int8_t", case.expected.ravel())
        text = case.parameters
        for constant in case.constants:
            text = text.replace("{" + constant.name + "}", prefix + constant.name)
        declarations.append(f"static const struct {case.function} {prefix}p = {{{text}}};")
        depthwise = int(case.function == "nm_depthwise_s8")
        table.append(
            f"  {{{depthwise}, &{prefix}p, {prefix}input, {prefix}expected, {case.inputs.size}, "
            f"{case.expected.size}, {case.scratch_bytes}}},\n"
        )
    text = _MAIN.read_text().replace("@declarations@", "\n".join(declarations))
    text = text.replace("@table@", "".join(table))
    text = text.replace("@output@", str(max(case.expected.size for case in cases)))
    text = text.replace("@scratch@", str(max(case.scratch_bytes for case in cases)))
    (folder / "main.c").write_text(text)
    (folder / "data.S").write_text("\n".join(assembly) + "\n")
    (folder / "data.bin").write_bytes(blob)
    names = [*_BOTH, *(name for case in cases for name in case.sources)]
    sources = source_files(names, target)
    return toolchain.build(
        [folder / "main.c", folder / "data.S", *sources],
        folder / "program",
        target=target,
        include=[KERNELS],
        defines={"NM_HOST": 1} if target == "host" else {},
        flags=flags,
    )


def requantized(sums: npt.NDArray[np.int64], r: Requantization) -> Int8:
    """Return the outputs of sums (…, N): by gemmlowp's two roundings or by one, then the clamp."""
    if r.rounding != "TWICE":
        once = _rescaled_once(sums.astype(np.int32), r) + r.output_zero_point
        clipped: Int8 = np.clip(once, r.output_min, r.output_max).astype(np.int8)
        return clipped
    left = np.maximum(-r.shift, 0)
    right = np.maximum(r.shift, 0)
    product = sums.astype(np.int32).astype(np.int64) << left
    product = product.astype(np.int32).astype(np.int64) * r.multiplier
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(nudged >= 0, nudged // (1 << 31), -(-nudged // (1 << 31)))
    mask = (np.int64(1) << right) - 1
    result = (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))
    outputs: Int8 = np.clip(result + r.output_zero_point, r.output_min, r.output_max).astype(
        np.int8
    )
    return outputs


def convolved_depthwise(
    weights: Int8, depth_multiplier: int, g: Geometry, r: Requantization, inputs: Int8
) -> Int8:
    """Return the outputs of a depthwise convolution by its definition; weights (KH, KW, N)."""
    patches = np.repeat(gathered(g, r.input_zero_point, inputs), depth_multiplier, axis=5)
    return requantized((patches * weights.astype(np.int64)).sum(axis=(3, 4)) + r.bias, r)


def _rescaled_once(sums: npt.NDArray[np.int32], r: Requantization) -> npt.NDArray[np.object_]:
    bits = [int(shift) + (32 if r.rounding == "ONCE" else 64) for shift in r.shift]
    half = np.array([1 << (count - 1) for count in bits], object)
    scaled = sums.astype(object) * np.array([int(value) for value in r.multiplier], object)
    rescaled: npt.NDArray[np.object_] = (scaled + half) >> np.array(bits, object)
    return rescaled


def convolved(weights: Int8, g: Geometry, r: Requantization, inputs: Int8) -> Int8:
    """Return the outputs (batches, height, width, N) of a convolution by its definition."""
    patches = gathered(g, r.input_zero_point, inputs)
    sums = patches.reshape(g.batches, g.output_height, g.output_width, -1) @ weights.T.astype(
        np.int64
    )
    return requantized(sums + r.bias, r)


def gathered(g: Geometry, zero_point: int, inputs: Int8) -> npt.NDArray[np.int64]:
    """Return what each pixel is made of, less the zero point: (B, H, W, KH, KW, channels)."""
    reach_y = (
        (g.output_height - 1) * g.stride_height + (g.kernel_height - 1) * g.dilation_height + 1
    )
    reach_x = (g.output_width - 1) * g.stride_width + (g.kernel_width - 1) * g.dilation_width + 1
    shape = (g.batches, max(reach_y, g.pad_top + g.input_height), 0, g.input_channels)
    padded = np.zeros(
        (shape[0], shape[1], max(reach_x, g.pad_left + g.input_width), shape[3]), np.int64
    )
    image = inputs.reshape(g.batches, g.input_height, g.input_width, g.input_channels)
    padded[:, g.pad_top : g.pad_top + g.input_height, g.pad_left : g.pad_left + g.input_width] = (
        image.astype(np.int64) - zero_point
    )
    y = np.arange(g.output_height)[:, None] * g.stride_height
    y = y + np.arange(g.kernel_height) * g.dilation_height
    x = np.arange(g.output_width)[:, None] * g.stride_width
    x = x + np.arange(g.kernel_width) * g.dilation_width
    return padded[:, y[:, None, :, None], x[None, :, None, :]]
