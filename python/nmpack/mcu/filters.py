# SPDX-License-Identifier: BSD-3-Clause
"""Kernels for filters: which fit the zeros of weights, how each packs them, what each costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from nmpack.errors import NmpackError
from nmpack.mcu import filters_pack as pack
from nmpack.mcu.cycles import cost_of
from nmpack.mcu.step import Constant, Int8

Layout = Literal["rows", "interleaved"]
_MOST = 65535


class FilterError(NmpackError, ValueError):
    """Weights that no kernel takes, or a kernel that does not fit them."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedFilter:
    """A filter as one kernel reads it.

    Attributes:
        kernel: its name, as ``col4x4``.
        function: C function, a ``nm_matmul_s8``.
        sources: files below ``mcu/kernels`` that it needs.
        constants: arrays ``weights``, and ``index`` unless it is dense.
        channels: N.
        columns: the field of ``struct nm_filter_s8``; K, in some kernels rounded up.
        kept: the field of ``struct nm_filter_s8``.
        pattern: what was found, as ``1:8 in tiles of 4``.
        macs: multiply-adds a pixel, fillers included.
        dense_macs: those of a dense kernel.
        scratch_bytes: the kernel's own.
        pixels: multiplied at a time.
        layout: how pixels lie.
        steps: of each tile of channels, four kept columns or a block each.
    """

    kernel: str
    function: str
    sources: tuple[str, ...]
    constants: tuple[Constant, ...]
    channels: int
    columns: int
    kept: int
    pattern: str
    macs: int
    dense_macs: int
    scratch_bytes: int
    pixels: int
    layout: Layout
    steps: tuple[int, ...]

    @property
    def weight_bytes(self) -> int:
        """Bytes of flash that weights and index take."""
        return int(sum(constant.values.nbytes for constant in self.constants))


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is known of a kernel.

    Attributes:
        name: as ``col4x4``.
        packer: from weights to arrays; None where they do not fit.
        tile: channels that share their columns; 0 in dense kernels.
        block: columns that are kept together.
        pixels: multiplied at a time.
        layout: how pixels lie.
        source: the file that it is in, without its ending.
        scratch: bytes for each step of the longest tile.
    """

    name: str
    packer: Callable[[Int8], pack.Packed | None]
    tile: int
    block: int
    pixels: int
    layout: Layout
    source: str
    scratch: int = 0


def _nm(kind: str, tile: int, m: int) -> Kernel:
    packer = partial(pack.offsets, tile=tile, m=m)
    return Kernel(f"{kind}{m}", packer, tile, 1, 4, "rows", f"matmul_{kind}_s8")


def _indexed(name: str, tile: int, layout: Layout, scratch: int = 0) -> Kernel:
    pitch, pixels = (1, 1) if layout == "rows" else (4, 4)
    packer = partial(pack.indexed, tile=tile, pitch=pitch)
    return Kernel(name, packer, tile, 1, pixels, layout, f"matmul_{name}_s8", scratch)


KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        Kernel("dense4x4", pack.dense_tiles, 0, 1, 4, "rows", "matmul_dense4x4_s8"),
        Kernel("dense4x2", pack.dense_tiles, 0, 1, 2, "rows", "matmul_dense4x2_s8"),
        Kernel(
            "dense1x2", partial(pack.dense_rows, multiple=4), 0, 1, 2, "rows", "matmul_dense1x2_s8"
        ),
        Kernel(
            "portable", partial(pack.dense_rows, multiple=1), 0, 1, 1, "rows", "matmul_portable_s8"
        ),
        Kernel("block4x4", pack.blocks, 4, 4, 4, "rows", "matmul_block4x4_s8"),
        _indexed("row1x1", 1, "rows"),
        _indexed("col4x1", 4, "rows"),
        _indexed("col8x1", 8, "rows"),
        _indexed("row1x4", 1, "interleaved"),
        _indexed("col4x4", 4, "interleaved"),
        _indexed("col8x4", 8, "interleaved", scratch=16),
        *(_nm("rownm", 1, m) for m in (4, 8, 16)),
        *(_nm("colnm", 4, m) for m in (4, 8, 16)),
    )
}

#: Baselines, and what only serves the instruction: not chosen unless named.
_BASELINES = ("dense4x2", "dense1x2", "portable")


def candidates(
    weights: Int8, *, target: str, names: Sequence[str] | None = None
) -> list[PackedFilter]:
    """Return every kernel of a target that fits some weights.

    Args:
        weights: (channels, columns).
        target: one of ``TARGETS``; what the gather instruction serves is for ``xcv-nm`` alone.
        names: kernels to try; None for those that are worth choosing.

    Raises:
        FilterError: the filter is empty, or has more than 65535 channels or columns.
    """
    check(weights)
    if names is None:
        instruction = target == "xcv-nm"
        names = [
            name for name in KERNELS if name not in _BASELINES and ("nm" not in name or instruction)
        ]
    found = (_packed(KERNELS[name], weights) for name in names)
    return [one for one in found if one is not None]


def choose(
    weights: Int8,
    *,
    rows: int,
    target: str,
    kernel: str | None = None,
    cost: Callable[[PackedFilter], float] | None = None,
    exact: bool = True,
) -> PackedFilter:
    """Return the kernel of the fewest predicted cycles; of equals, that of the fewest bytes.

    Args:
        weights: (channels, columns).
        rows: pixels that one call multiplies.
        target: one of ``TARGETS``.
        kernel: name of the one to take if it fits.
        cost: cycles of a kernel with all that belongs to it; None for those of the kernel alone.
        exact: every multiplier is below 1 and no sum is beyond 30 bits; else only ``portable`` is.

    Raises:
        FilterError: no such kernel, or no kernel takes the filter.
    """
    if kernel is not None and kernel not in KERNELS:
        raise FilterError(f"expected one of {', '.join(KERNELS)} as kernel, got {kernel!r}")
    check(weights)
    if not exact:
        return candidates(weights, target=target, names=["portable"])[0]
    if kernel is not None:
        forced = candidates(weights, target=target, names=[kernel])
        if forced:
            return forced[0]
    found = candidates(weights, target=target)
    if not found:
        found = candidates(weights, target=target, names=["portable"])

    def alone(one: PackedFilter) -> float:
        return cost_of(one.kernel, target).cycles(one.steps, one.channels, rows)

    cycles = alone if cost is None else cost
    return min(found, key=lambda one: (cycles(one), one.weight_bytes))


def check(weights: Int8) -> None:
    """Refuse what ``struct nm_filter_s8`` cannot say.

    Raises:
        FilterError: the filter is empty, or has more than 65535 channels or columns.
    """
    if weights.ndim != 2 or weights.dtype != np.int8:
        raise FilterError(f"expected int8 weights (N, K), got {weights.dtype} {weights.shape}")
    for what, size in zip(("channels", "columns"), weights.shape, strict=True):
        if not 1 <= size <= _MOST:
            raise FilterError(f"expected 1 to {_MOST} {what} of a filter, got {size}")


def _packed(kernel: Kernel, weights: Int8) -> PackedFilter | None:
    packed = kernel.packer(weights)
    if packed is None or packed.columns > _MOST:
        return None
    # C has no arrays of nothing.
    values = packed.weights if packed.weights.size else np.zeros(4, np.int8)
    constants = [Constant("weights", values)]
    if packed.index is not None:
        constants.append(Constant("index", packed.index))
    function = f"nm_matmul_{kernel.name}_s8"
    return PackedFilter(
        kernel=kernel.name,
        function=function,
        sources=(f"{kernel.source}.c",),
        constants=tuple(constants),
        channels=weights.shape[0],
        columns=packed.columns,
        kept=packed.kept,
        pattern=describe(weights, kernel.tile, kernel.block),
        macs=packed.multiplied,
        dense_macs=weights.size,
        scratch_bytes=kernel.scratch * max(packed.steps),
        pixels=kernel.pixels,
        layout=kernel.layout,
        steps=packed.steps,
    )


def describe(weights: Int8, tile: int, block: int = 1) -> str:
    """Say which columns tiles of channels keep, as ``1:8 in tiles of 4``.

    Args:
        weights: (channels, columns).
        tile: channels that share their columns; 0 for a dense filter.
        block: consecutive columns that are kept together.
    """
    if tile == 0:
        return "dense"
    padded = pack.pad(weights, tile, block)
    units = np.asarray(padded.reshape(-1, tile, padded.shape[1] // block, block).any(axis=(1, 3)))
    share = f" in tiles of {tile}" if tile > 1 else ""
    share += f" and blocks of {block}" if block > 1 else ""
    best = (1.0, "")
    for m in (2, 4, 8, 16, 32):
        groups = np.pad(units, ((0, 0), (0, -units.shape[1] % m))).reshape(len(units), -1, m)
        n = int(groups.sum(axis=2).max())
        if n and n / m < best[0]:
            best = (n / m, f"{n}:{m}")
    density = float(units.mean())
    if best[1] and best[0] <= 1.25 * density + 1e-9:
        return best[1] + share
    return f"{100 * density:.0f} % of columns{share}" if density < 1 else f"all columns{share}"


__all__ = ["KERNELS", "FilterError", "PackedFilter", "candidates", "choose", "describe"]
