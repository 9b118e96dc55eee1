# SPDX-License-Identifier: BSD-3-Clause
"""Predicted cycles of kernels for filters on CV32E40P, from costs measured on its RTL.

A kernel works through pixels in *passes*: as many groups of as many pixels as it can, then what is
left in smaller groups. A group multiplies its pixels with every tile of channels, and a tile takes
*steps*, of four kept columns or of a word of eight nibbles. So

    cycles = call + output * channels * pixels + sum over passes of
             groups * (group + tile * tiles + step * steps of all tiles + rest)

where ``rest`` is of a last tile that is not full. Sums that are rounded once have numbers of their
own. A convolution gathers its pixels before, which :class:`GatherCost` is for. The numbers are
those of ``mcu/kernels/costs.toml``, which ``experiments/mcu_costs.py`` and
``experiments/mcu_gather_costs.py`` fit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nmpack import locations
from nmpack.errors import NmpackError
from nmpack.files import load_toml

#: Targets that have costs of their own, and what others take theirs from.
MEASURED = ("rv32imc", "xcv", "xcv-nm")
_LIKE = {"host": "rv32imc", "zve32x": "rv32imc", "xcv-nm": "xcv"}
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


@dataclass(frozen=True, slots=True)
class Gathered:
    """How much a convolution gathers; nothing where its pixels are rows of the input.

    Attributes:
        images: that pixels are gathered of.
        groups: of pixels, each of which a kernel is called with.
        rows: of the kernel, of a pixel or of four interleaved ones.
        runs: of bytes that are taken together: one a row, and more at borders of the image.
        bytes: that are written.
        moves: of rows of a window that are used again; fills of interleaved ones off the image.
        moved: bytes of them.
    """

    images: int = 0
    groups: int = 0
    rows: int = 0
    runs: int = 0
    bytes: int = 0
    moves: int = 0
    moved: int = 0


@dataclass(frozen=True, slots=True)
class GatherCost:
    """Cycles of gathering pixels on one target, each of what :class:`Gathered` counts.

    Attributes:
        call: of a convolution by itself.
        image: see there.
        group: see there.
        row: see there.
        run: see there.
        byte: where pixels of the input are whole words.
        odd: a byte where they are not.
        move: see there.
        moved: a byte.
        error: largest relative error over what was measured.
    """

    call: float
    image: float
    group: float
    row: float
    run: float
    byte: float
    odd: float
    move: float
    moved: float
    error: float

    def cycles(self, gathered: Gathered, *, aligned: bool) -> float:
        """Return the cycles of a convolution without those of its kernel."""
        return (
            self.call
            + self.image * gathered.images
            + self.group * gathered.groups
            + self.row * gathered.rows
            + self.run * gathered.runs
            + (self.byte if aligned else self.odd) * gathered.bytes
            + self.move * gathered.moves
            + self.moved * gathered.moved
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """What the file of costs holds.

    Attributes:
        kernels: by kernel, target and whether sums are rounded once.
        gathers: by layout and target.
    """

    kernels: dict[tuple[str, str, bool], Cost]
    gathers: dict[tuple[str, str], GatherCost]


def groups_of(sizes: Sequence[int], pixels: int) -> list[int]:
    """Return how many groups each pass makes of ``pixels``; its groups are of ``sizes`` pixels."""
    groups = []
    for place, size in enumerate(sizes):
        last = place == len(sizes) - 1
        groups.append(-(-pixels // size) if last else pixels // size)
        pixels -= min(pixels, groups[-1] * size)
    return groups


def cost_of(kernel: str, target: str, *, once: bool = False) -> Cost:
    """Return the costs of a kernel on a target.

    Args:
        kernel: a name of :data:`nmpack.mcu.filters.KERNELS`.
        target: one of ``TARGETS``.
        once: whether sums are rounded once.

    Raises:
        CostError: there are none.
    """
    kernels = _costs().kernels
    for one in (target, _LIKE.get(target, target)):
        if (kernel, one, once) in kernels:
            return kernels[kernel, one, once]
    raise CostError(f"{FILE} has no costs of {kernel} on {target}: fit them")


def gather_cost_of(layout: str, target: str) -> GatherCost:
    """Return the costs of gathering pixels of a layout, ``rows`` or ``interleaved``.

    Raises:
        CostError: there are none.
    """
    gathers = _costs().gathers
    for one in (target, _LIKE.get(target, target)):
        if (layout, one) in gathers:
            return gathers[layout, one]
    raise CostError(f"{FILE} has no costs of gathering {layout} on {target}: fit them")


def _costs() -> Costs:
    return load_costs(locations.mcu_kernels() / FILE)


@functools.cache
def load_costs(path: Path) -> Costs:
    """Read a file of costs.

    Raises:
        CostError: the file is missing or damaged.
    """
    try:
        tables = load_toml(path)
        return Costs(
            {
                (row["name"], row["target"], row["rounded"] == "once"): _cost(row)
                for row in tables["kernel"]
            },
            {(row["layout"], row["target"]): _gather(row) for row in tables["gather"]},
        )
    except OSError as error:
        raise CostError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CostError(
            f"{path}: expected a [[kernel]] with name, target, rounded, tile, unit, call, "
            f"output, error and passes each, and a [[gather]] with layout, target and cycles, got "
            f"otherwise: {error}"
        ) from error


def _gather(row: dict[str, Any]) -> GatherCost:
    return GatherCost(**{one.name: float(row[one.name]) for one in fields(GatherCost)})


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
