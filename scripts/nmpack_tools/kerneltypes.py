# SPDX-License-Identifier: BSD-3-Clause
"""The element types that micro-kernels of ours have, and how each is named in XNNPACK's way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class ElementType:
    """An element type: its families of micro-kernels, and its sections of kernels.toml.

    dense: micro-kernels for CNHW images come in a second variant for filters without zeros.
    options: what a row of nmspmm may say beside what all may; pixel_options: what one of nmconv may
    say. Where that is nothing, there is no section of it.
    """

    name: str
    size: int
    nmconv: str
    nmspmm: str
    packim2col: str
    pooling: Mapping[str, str]
    costs: str
    variant: str
    dense: bool
    options: tuple[str, ...] = ()
    pixel_options: tuple[str, ...] = ()

    @property
    def pixels(self) -> str | None:
        """The section of how micro-kernels for NHWC images read them, where they differ in it."""
        return self.nmconv if self.pixel_options else None

    @property
    def sections(self) -> tuple[str, ...]:
        pixels = () if self.pixels is None else (self.pixels,)
        return self.packim2col, *pixels, self.nmspmm, self.costs


F32 = ElementType(
    name="f32",
    size=4,
    nmconv="f32-nmconv",
    nmspmm="f32-nmspmm",
    packim2col="x32-packim2col",
    pooling={"COPY": "x32-packim2col", "MAX": "f32-maxpool-cnhw", "ADD": "f32-avgpool-cnhw"},
    costs="costs",
    variant="minmax",
    dense=True,
)
F16 = ElementType(
    name="f16",
    size=2,
    nmconv="f16-nmconv",
    nmspmm="f16-nmspmm",
    packim2col="x16-packim2col",
    pooling={"COPY": "x16-packim2col", "MAX": "f16-maxpool-cnhw"},
    costs="f16-costs",
    variant="minmax",
    dense=True,
    options=("f32_sums",),
    pixel_options=("image_bytes", "f32_sums", "template"),
)
QS8 = ElementType(
    name="qs8",
    size=1,
    nmconv="qs8-qc8w-nmconv",
    nmspmm="qs8-qc8w-nmspmm",
    packim2col="x8-packim2col",
    pooling={"COPY": "x8-packim2col", "MAX": "s8-maxpool-cnhw"},
    costs="qs8-costs",
    variant="minmax-fp32",
    dense=False,
    options=("columns", "weight_bytes", "input_offset"),
    pixel_options=("columns", "weight_bytes", "image_bytes", "input_offset"),
)
TYPES = (F32, F16, QS8)
