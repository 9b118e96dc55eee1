# SPDX-License-Identifier: BSD-3-Clause
"""What is tuned: a convolution or fully connected layer with its pattern, and how it is timed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from nmpack.element_types import F32, NAMES
from nmpack.errors import NmpackError

LARGEST = 2**31 - 1
_MAY_BE_ZERO = ("padding_top", "padding_right", "padding_bottom", "padding_left")


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, or a fully connected layer as one of 1x1 on a column of pixels, its rows.

    The names are those of nmpack-measure.

    Attributes:
        density: share of the columns that each tile of ``tile`` output channels keeps, in runs of
            ``block`` consecutive input channels; 1 where nothing is pruned.
        dtype: name of the type of its elements, of :mod:`nmpack.element_types`.
    """

    batch: int
    input_height: int
    input_width: int
    groups: int
    group_input_channels: int
    group_output_channels: int
    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    dilation_height: int
    dilation_width: int
    padding_top: int
    padding_right: int
    padding_bottom: int
    padding_left: int
    density: float = 1.0
    tile: int = 1
    block: int = 1
    dtype: str = F32.name

    def __post_init__(self) -> None:
        """Check every number, and that there is an output.

        Raises:
            NmpackError: one is out of its range.
        """
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "dtype":
                if value not in NAMES:
                    raise NmpackError(
                        f"a layer's dtype is one of {', '.join(NAMES)}, got {value!r:.80}"
                    )
                continue
            if item.name == "density":
                if not isinstance(value, float) or not 0.0 < value <= 1.0:
                    raise NmpackError(f"a layer's density is above 0 and at most 1, got {value!r}")
                continue
            least = 0 if item.name in _MAY_BE_ZERO else 1
            if type(value) is not int or not least <= value <= LARGEST:
                raise NmpackError(
                    f"a layer's {item.name} is a whole number from {least} to {LARGEST}, "
                    f"got {value!r}"
                )
        if min(self.output_height, self.output_width) < 1:
            raise NmpackError(f"the kernel is larger than the padded image of {self.label}")

    @property
    def output_height(self) -> int:
        """Rows of the output image."""
        return _windows(
            self.input_height + self.padding_top + self.padding_bottom,
            self.kernel_height, self.dilation_height, self.stride_height,
        )  # fmt: skip

    @property
    def output_width(self) -> int:
        """Pixels of a row of the output image."""
        return _windows(
            self.input_width + self.padding_left + self.padding_right,
            self.kernel_width, self.dilation_width, self.stride_width,
        )  # fmt: skip

    @property
    def macs(self) -> int:
        """Multiply-adds of the unpruned convolution."""
        filters = self.kernel_height * self.kernel_width * self.group_input_channels
        outputs = self.output_height * self.output_width * self.groups * self.group_output_channels
        return self.batch * filters * outputs

    @property
    def label(self) -> str:
        """What it computes, for tables: ``3x3 /2, 64 to 64, 56x56`` or ``197 rows, 384 to 64``."""
        if self.is_linear:
            rows = self.input_height
            channels = f"{self.group_input_channels} to {self.group_output_channels}"
            return f"{rows} row{'s' * (rows > 1)}, {channels}"
        strided = f" /{self.stride_height}" if self.stride_height > 1 else ""
        grouped = f" in {self.groups} groups" if self.groups > 1 else ""
        return (
            f"{self.kernel_height}x{self.kernel_width}{strided}, "
            f"{self.groups * self.group_input_channels} to "
            f"{self.groups * self.group_output_channels}{grouped}, "
            f"{self.input_height}x{self.input_width}"
        )

    @property
    def is_linear(self) -> bool:
        """Whether it is the same as a fully connected layer: each pixel of a column by itself."""
        ones = (
            self.batch, self.input_width, self.groups, self.kernel_height, self.kernel_width,
            self.stride_height, self.stride_width,
        )  # fmt: skip
        padding = sum(getattr(self, name) for name in _MAY_BE_ZERO)
        return set(ones) == {1} and padding == 0

    @property
    def pattern(self) -> str:
        """What is kept, for tables."""
        if self.density == 1.0:
            return "unpruned"
        runs = f", runs of {self.block}" if self.block > 1 else ""
        return f"{self.density:.3g} in {self.tile}{runs}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Setting:
    """How a layer is timed.

    Attributes:
        threads: that share its work.
        evict: bytes of other memory that are walked through before each run.
        seed: of the filter's numbers and of its pattern.
    """

    threads: int = 1
    evict: int = 0
    seed: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def linear_layer(rows: int, inputs: int, outputs: int, dtype: str = F32.name) -> Layer:
    """Return a fully connected layer of so many rows, unpruned."""
    return Layer(1, rows, 1, 1, inputs, outputs, *(1,) * 6, *(0,) * 4, dtype=dtype)


def _windows(size: int, kernel: int, dilation: int, stride: int) -> int:
    return (size - (kernel - 1) * dilation - 1) // stride + 1
