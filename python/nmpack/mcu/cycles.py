# SPDX-License-Identifier: BSD-3-Clause
"""Predicted cycles of kernels for filters on CV32E40P, from costs measured on its RTL.

A kernel works through pixels in *passes*: as many groups of as many pixels as it can, then what is
left in smaller groups. A group multiplies its pixels with every tile of channels, and a tile takes
*steps*, of four kept columns or of a word of eight nibbles. So

    cycles = call + output * channels * pixels + sum over passes of
             groups * (group + tile * tiles + step * steps of all tiles + rest)

where ``rest`` is of a last tile that is not full, and the numbers are those of
``mcu/kernels/costs.toml``, which ``experiments/mcu_costs.py`` fits.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmpack import locations
from nmpack.errors import NmpackError

#: Targets that have costs of their own, and what others take theirs from.
MEASURED = ("rv32imc", "xcv", "xcv-nm")
_LIKE = {"host": "rv32imc", "zve32x": "rv32imc"}
#: Beside the kernels.
FILE = "costs.toml"


class CostError(NmpackError, ValueError):
    """There is no cost of a kernel, or the file of costs is damaged."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Cycles of a group of pixels.

    Attributes:
        pixels: of a group.
        group: cycles of a group by itself.
        tile: of each tile of channels.
        step: of each step of each tile.
        rest: of a last tile that has fewer channels.
    """

    pixels: int
    group: float
    tile: float
    step: float
    rest: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Cycles of a kernel's parts on one target.

    Attributes:
        call: of a call by itself.
        output: of each output byte.
        passes: largest groups first; the last takes what is left, full or not.
        tile: channels of a tile.
        unit: kept columns of a step.
        half: tiles that a last one counts for where half its channels or fewer are left.
        error: largest relative error over what was measured.
    """

    call: float
    output: float
    passes: tuple[Pass, ...]
    tile: int
    unit: int
    half: float
    error: float

    def cycles(self, steps: Sequence[int], channels: int, pixels: int) -> float:
        """Return the cycles of a call: ``steps`` of each tile, N channels, pixels."""
        total = self.call + self.output * channels * pixels
        rest = channels % self.tile != 0
        tiles, whole = self.effective(steps, channels)
        for groups, one in zip(
            groups_of([one.pixels for one in self.passes], pixels), self.passes, strict=True
        ):
            total += groups * (one.group + one.tile * tiles + one.step * whole + one.rest * rest)
        return total

    def effective(self, steps: Sequence[int], channels: int) -> tuple[float, float]:
        """Return how many tiles and steps count, of the last tile ``half``."""
        saved = 1.0 - self.half if 0 < channels % self.tile <= self.tile // 2 else 0.0
        return len(steps) - saved, sum(steps) - saved * steps[-1]


def groups_of(sizes: Sequence[int], pixels: int) -> list[int]:
    """Return how many groups each pass makes of ``pixels``; its groups are of ``sizes`` pixels."""
    groups = []
    for place, size in enumerate(sizes):
        last = place == len(sizes) - 1
        groups.append(-(-pixels // size) if last else pixels // size)
        pixels -= min(pixels, groups[-1] * size)
    return groups


def predict(
    kernel: str, *, columns: int, channels: int, pixels: int, kept: int | None, target: str
) -> float:
    """Return the predicted cycles of a filter whose tiles all keep as many columns.

    Args:
        kernel: a name of :data:`nmpack.mcu.filters.KERNELS`.
        columns: K.
        channels: N.
        pixels: rows that are multiplied; gathering them is not counted.
        kept: columns of each tile that are kept; None for all of them.
        target: one of ``TARGETS``; those without measurements take the costs of ``rv32imc``.

    Raises:
        CostError: there are no costs of this kernel.
    """
    cost = cost_of(kernel, target)
    steps = -(-(columns if kept is None else kept) // cost.unit)
    return cost.cycles([steps] * -(-channels // cost.tile), channels, pixels)


def kernel_cycles(
    kernel: str, steps: Sequence[int], channels: int, pixels: int, target: str
) -> float:
    """Return the predicted cycles of a packed filter, without the gathering of its pixels.

    Args:
        kernel: a name of :data:`nmpack.mcu.filters.KERNELS`.
        steps: of each tile of channels.
        channels: N.
        pixels: how many.
        target: as in :func:`predict`.

    Raises:
        CostError: there are no costs of this kernel.
    """
    return cost_of(kernel, target).cycles(steps, channels, pixels)


def cost_of(kernel: str, target: str) -> Cost:
    """Return the costs of a kernel on a target.

    Raises:
        CostError: there are none.
    """
    measured = _LIKE.get(target, target)
    kernels = locations.named("NMPACK_MCU_KERNELS") or locations.ROOT / "mcu/kernels"
    found = load_costs(kernels / FILE).get((kernel, measured))
    if found is None:
        raise CostError(f"{FILE} has no costs of {kernel} on {measured}: fit them")
    return found


@functools.cache
def load_costs(path: Path) -> dict[tuple[str, str], Cost]:
    """Read costs: by name of the kernel and target.

    Raises:
        CostError: the file is missing or damaged.
    """
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))["kernel"]
        return {(row["name"], row["target"]): _cost(row) for row in rows}
    except OSError as error:
        raise CostError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CostError(
            f"{path}: expected a [[kernel]] with name, target, tile, unit, call, output, error and "
            f"passes each, got otherwise: {error}"
        ) from error


def _cost(row: dict[str, Any]) -> Cost:
    parts = ("group", "tile", "step", "rest")
    passes = tuple(
        Pass(int(one["pixels"]), *(float(one[part]) for part in parts)) for one in row["passes"]
    )
    if not passes or any(one.pixels < 1 for one in passes):
        raise ValueError("a kernel without passes of 1 pixel or more")
    if min(int(row["tile"]), int(row["unit"])) < 1:
        raise ValueError("a kernel without channels in a tile, or columns in a step")
    return Cost(
        float(row["call"]),
        float(row["output"]),
        passes,
        int(row["tile"]),
        int(row["unit"]),
        float(row.get("half", 1.0)),
        float(row["error"]),
    )
