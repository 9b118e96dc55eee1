# SPDX-License-Identifier: BSD-3-Clause
"""The file of costs as text, and the least squares that fit it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nmpack.mcu import filters
from nmpack.mcu.cycles import Costs


def nonnegative(
    matrix: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return least squares without negative coefficients: the most negative one is left out."""
    kept = list(range(matrix.shape[1]))
    while True:
        # A little of each coefficient, so that those which data do not tell apart are small.
        ridge = 1e-4 * np.diag(np.linalg.norm(matrix[:, kept], axis=0))
        system = np.vstack([matrix[:, kept], ridge])
        found = np.linalg.lstsq(system, np.concatenate([values, np.zeros(len(kept))]), rcond=None)
        if (found[0] >= 0).all():
            result = np.zeros(matrix.shape[1])
            result[kept] = found[0]
            return result
        del kept[int(found[0].argmin())]


def write(path: Path, costs: Costs) -> None:
    """Write a file of costs."""
    lines = [
        "# SPDX-License-Identifier: BSD-3-Clause",
        "# Cycles of the kernels for filters on CV32E40P, and of gathering their pixels, as",
        "# experiments/mcu_costs.py and experiments/mcu_gather_costs.py measured and fitted them;",
        "# nmpack.mcu.cycles says what each number is for.",
    ]
    order = list(filters.KERNELS)
    for (name, target, once), cost in sorted(
        costs.kernels.items(), key=lambda item: (order.index(item[0][0]), *item[0][1:])
    ):
        passes = ", ".join(
            f"{{ pixels = {one.pixels}, group = {one.group}, tile = {one.tile}, step = {one.step}, "
            f"rest = {one.rest} }}"
            for one in cost.passes
        )
        lines += [
            "",
            "[[kernel]]",
            f'name = "{name}"',
            f'target = "{target}"',
            f'rounded = "{"once" if once else "twice"}"',
            f"tile = {cost.tile}",
            f"unit = {cost.unit}",
            f"call = {cost.call}",
            f"output = {cost.output}",
            f"passes = [{passes}]",
            *([f"half = {cost.half}"] if cost.half != 1.0 else []),
            f"error = {cost.error}",
        ]
    for (layout, target), gather in sorted(costs.gathers.items()):
        lines += ["", "[[gather]]", f'layout = "{layout}"', f'target = "{target}"']
        lines += [f"{name} = {value}" for name, value in asdict(gather).items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
