#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Time what a tuning table chose again, against the default, in processes that did not tune.

    nmpack tune r50.tflite --output r50.tuning
    python experiments/verify_tuning.py r50.tflite r50.tuning

The default and the tuned choice take turns in each layer and layout where they differ. Of each pair
the ratio of every round is taken, of all processes: its median, its quartiles, and whether the
interval of 95 % of the median is above 1 (faster), below (slower), or holds it (equal).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmpack.cli.common import positive
from nmpack.cli.progress import console
from nmpack.cli.tables import new_table
from nmpack.errors import NmpackError
from nmpack.measure.stats import Summary, summarise
from nmpack.tune import rounds
from nmpack.tune.layers import ModelLayer, layers_of
from nmpack.tune.measuring import Rig, chunk_size
from nmpack.tune.protocol import Definition
from nmpack.tune.shapes import Setting
from nmpack.tune.table import Table, TableLayer, load_table, table_sizes
from nmpack.tune.targets import native_target
from nmpack.tune.tuner import evicted_bytes

_DENSITY_DIGITS = 4  # that a table has


@dataclass(frozen=True, slots=True)
class Pair:
    """A layer and layout where tuning chose otherwise.

    Attributes:
        default, tuned: candidates.
        seconds: their medians, in that order.
        gain: the default's time out of the tuned one's, over rounds.
        verdict: ``faster``, ``equal`` or ``slower``.
    """

    item: ModelLayer
    layout: str
    default: str
    tuned: str
    seconds: tuple[float, float]
    gain: Summary
    verdict: str


def differing(definition: Definition, known: TableLayer) -> Iterator[tuple[str, str, str]]:
    """Yield layout, default and tuned choice of the layouts where these differ."""
    for layout, items in rounds.by_layout(definition).items():
        timed = [item.name for item in items if item.name in known.times]
        default = rounds.default_of(items).name
        tuned = min(timed, key=lambda name: known.times[name], default=default)
        if tuned != default:
            yield layout, default, tuned


def race(rig: Rig, names: tuple[str, str], count: int) -> list[rounds.Round]:
    """Time two candidates of the rig's layer in turns; returns the rounds."""
    seconds = {name: rig.run(name, 1, 0.0)[0] / 1e9 for name in names}
    found = []
    for index in range(count):
        values = {}
        for name in names[:: -1 if index % 2 else 1]:
            runs = chunk_size(seconds[name])
            values[name] = min(rig.run(name, runs, (runs + 1) * seconds[name]))
        found.append(rounds.Round(values, steady=True))
    return found


def judged(item: ModelLayer, pair: tuple[str, str, str], found: Sequence[rounds.Round]) -> Pair:
    """Say what the rounds of a pair show."""
    layout, default, tuned = pair
    ratios = rounds.ratios(found, default, tuned)
    low, high = rounds.interval(ratios)
    levels = rounds.levels(found)
    return Pair(
        item, layout, default, tuned,
        (levels[default].median / 1e9, levels[tuned].median / 1e9), summarise(ratios),
        "faster" if low > 1.0 else "slower" if high < 1.0 else "equal",
    )  # fmt: skip


def known_layers(model: str, table: Table) -> list[tuple[ModelLayer, TableLayer]]:
    """Return the layers of a model that a table has, each with its row."""
    rows = {(item.sizes, item.densities): item for item in table.layers}
    found = []
    for item in layers_of(model).layers:
        densities = tuple(round(value, _DENSITY_DIGITS) for value in item.densities)
        if row := rows.get((table_sizes(item.layer), densities)):
            found.append((item, row))
    return found


def verify(
    layers: Sequence[tuple[ModelLayer, TableLayer]], table: Table, processes: int, count: int
) -> list[Pair]:
    """Time each pair in so many rounds of each process.

    Raises:
        NmpackError: the table is of another machine or build.
    """
    found: defaultdict[tuple[ModelLayer, tuple[str, str, str]], list[rounds.Round]]
    found = defaultdict(list)
    for _ in range(processes):
        with Rig(native_target()) as rig:
            machine = rig.machine
            for what in ("isa", "vlen", "kernels", "cpu"):
                if (got := getattr(table, what)) != (expected := getattr(machine, what)):
                    raise NmpackError(f"expected a table of the {what} {expected}, got {got}")
            setting = Setting(table.threads, evict=evicted_bytes(machine))
            for item, row in layers:
                for pair in differing(rig.define(item.layer, setting), row):
                    found[item, pair] += race(rig, pair[1:], count)
    return [judged(item, pair, timed) for (item, pair), timed in found.items()]


def main(argv: Sequence[str] | None = None) -> int:
    """Verify a table, print; 1 where a choice is slower than the default."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", help="that was tuned")
    parser.add_argument("table", type=Path, help="that nmpack tune --output wrote")
    parser.add_argument(
        "--processes", type=positive, default=3, metavar="N", help="that time it (default 3)"
    )
    parser.add_argument(
        "--rounds", type=positive, default=8, metavar="N",
        help=f"of a pair in each (default 8); with fewer than {rounds.LEAST_ROUNDS} all are equal",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    table = load_table(arguments.table)
    layers = known_layers(arguments.model, table)
    pairs = verify(layers, table, arguments.processes, arguments.rounds)
    shown = new_table(
        "layer", "pattern", "layout", "default", ">ms", "tuned", ">ms", ">gain", ">quartiles", ""
    )
    for pair in pairs:
        default, tuned = (f"{1e3 * value:.4g}" for value in pair.seconds)
        gain = pair.gain
        shown.add_row(
            pair.item.layer.label, pair.item.layer.pattern, pair.layout, pair.default, default,
            pair.tuned, tuned, f"{gain.median:.3f}x", f"{gain.q1:.3f} to {gain.q3:.3f}",
            pair.verdict,
        )  # fmt: skip
    counts = Counter(pair.verdict for pair in pairs)
    shown.caption = (
        f"{len(layers)} layers in two layouts; choices that differ from the default: {len(pairs)}, "
        + ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("faster", "equal", "slower"))
    )
    console().print(shown)
    return 1 if counts["slower"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NmpackError as error:
        print(f"verify_tuning: error: {error}", file=sys.stderr)
        sys.exit(1)
