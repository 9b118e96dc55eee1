# SPDX-License-Identifier: BSD-3-Clause
"""What drawn layers took on their candidates: measured, kept in a file, read again.

A file of samples, which may be packed by gzip, begins with a line of JSON with the costs that had
cut the rows into blocks. Then follows one line for each layer, ``{"sample": 1, "subject": …, "ns":
…}``: what it was measured on, and by candidate the median of its rounds and how many there were.
Where cycles of a SpacemiT X60 were modelled, ``x60-cycles`` stands in place of ``ns``.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cost_terms import Costs

from nmpack.checks import FormatError, number, parse_object, require_keys, shown, whole
from nmpack.errors import ModelError
from nmpack.files import written_whole
from nmpack.measure import drawn_layers
from nmpack.tune.budget import Budget
from nmpack.tune.counting import CYCLES
from nmpack.tune.entries import Subject, read_subject
from nmpack.tune.layers import same_padding
from nmpack.tune.measuring import Race, Rig
from nmpack.tune.protocol import RefusedError
from nmpack.tune.records import Database
from nmpack.tune.rounds import decide
from nmpack.tune.shapes import Layer, Setting
from nmpack.tune.store import Store
from nmpack.tune.targets import Target
from nmpack.tune.tuner import TIME, evicted_bytes

#: What samples may be in.
UNITS = (TIME, CYCLES)
_LARGEST = 1 << 26


@dataclass(frozen=True, slots=True)
class Sample:
    """A layer, and by candidate what it took and how many rounds that is the median of."""

    subject: Subject
    levels: Mapping[str, tuple[float, int]]
    unit: str = TIME

    @property
    def times(self) -> dict[str, float]:
        """What it took by candidate, in the unit."""
        return {name: value for name, (value, _) in self.levels.items()}


def measure(
    database: Path, target: Target, layers: Sequence[Layer], seconds: float,
    tell: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Time layers on a target, each for its share of the time, into a database.

    What the database has of a layer already counts. Where instructions are counted, none is begun
    when the time is over.
    """
    store = Store(database, tell, "drawn layers")
    clock = Budget(seconds, [1.0] * len(layers))
    counter = target.counter()
    with Rig(target) as rig:
        setting = Setting(evict=evicted_bytes(rig.machine) if target.timed else 0)
        for done, layer in enumerate(layers, 1):
            clock.begin()
            known = store.find(rig.machine, layer, setting).trials
            if counter is not None and (known or clock.spent):
                continue
            try:
                definition = rig.define(layer, setting)
                subject = Subject(rig.machine, layer, setting, definition)
                add = partial(store.add, subject)
                if counter is None:
                    Race(rig, layer, setting, definition, known, add, clock).run()
                else:
                    for trial in counter.count(layer, setting, definition):
                        add(trial)
            except RefusedError as error:
                tell(f"{layer.label}: {error}")
            tell(f"{done} of {len(layers)}: {layer.label}, {clock.left:.0f} s left")
    store.close()


def as_layer(item: drawn_layers.Layer) -> Layer:
    """Return a drawn layer as the tuner has it."""
    strides = (item.stride, item.stride)
    padding = same_padding((item.size, item.size), (item.kernel,) * 2, strides, (1, 1))
    tile = item.tile if item.density < 1.0 else 1
    return Layer(
        1, item.size, item.size, 1, item.inputs, item.outputs, item.kernel, item.kernel,
        *strides, 1, 1, *padding, item.density, tile, dtype=item.dtype,
    )  # fmt: skip


def from_database(path: Path) -> list[Sample]:
    """Return what a database has of layers that were timed, or whose cycles were modelled."""
    found = []
    with Database(path) as database:
        for subject, trials in database.subjects():
            for unit in UNITS:
                timed = [trial for trial in trials if trial.unit == unit]
                levels = decide(subject.definition, timed).levels
                if levels:
                    rows = {name: (level.median, level.n) for name, level in levels.items()}
                    found.append(Sample(subject, rows, unit))
    return found


def save(path: Path, samples: Sequence[Sample], cut_by: Costs) -> None:
    """Write samples, packed, whole or not at all."""
    rows: list[dict[str, Any]] = [{"costs": cut_by}]
    rows += [
        {"sample": 1, "subject": item.subject.to_dict(), item.unit: dict(item.levels)}
        for item in samples
    ]
    text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    with written_whole(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))


def load(path: Path) -> tuple[list[Sample], Costs | None]:
    """Read a database or a file of samples; returns the latter's costs, too.

    Raises:
        ModelError: it is neither, or a line is damaged.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if data.startswith(b"SQLite format 3"):
            return from_database(path), None
        if data.startswith(b"\x1f\x8b"):
            with gzip.open(path) as packed:
                data = packed.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    if len(data) > _LARGEST:
        raise ModelError(f"{path}: expected up to {_LARGEST} bytes of samples, got more")
    first, *rest = data.decode("utf-8", "replace").splitlines() or [""]
    try:
        costs = _costs(parse_object(first))
    except FormatError as error:
        raise ModelError(f"{path}, line 1: expected costs: {error}") from error
    found = []
    for line, text in enumerate(rest, 2):
        try:
            found.append(_sample(parse_object(text)))
        except FormatError as error:
            raise ModelError(f"{path}, line {line}: expected a sample: {error}") from error
    return found, costs


#: What older files do not state: costs that were not known, and FMA3's dense micro-kernel.
_SINCE = {
    "weight_byte": 0.0, "dense_output": 0.0, "dense_run": 1.0, "unit_weights": 80.0, "image": 1.0,
    "run": 1.0, "cnhw_run": 1.0, "size": 0.0, "nhwc_size": 0.0, "cnhw_size": 0.0,
}  # fmt: skip


def _costs(row: dict[str, Any]) -> Costs:
    require_keys(row, ("costs",))
    if not isinstance(row["costs"], dict):
        raise FormatError(f"'costs' is to be an object, got {shown(row['costs'])}")
    stated = {name: number(value, shown(name), above=-1.0) for name, value in row["costs"].items()}
    return _SINCE | stated


def _sample(row: dict[str, Any]) -> Sample:
    unit = next((unit for unit in UNITS if unit in row), TIME)
    require_keys(row, ("sample", "subject", unit))
    whole(row, "sample", 1, 1)
    subject = read_subject(row["subject"])
    names = {item.name for item in subject.definition.candidates}
    levels = row[unit]
    if not isinstance(levels, dict) or not levels or not levels.keys() <= names:
        raise FormatError(f"{unit!r} is to have times of its candidates, got {shown(levels)}")
    found = {}
    for name, pair in levels.items():
        if not isinstance(pair, list) or len(pair) != 2:
            raise FormatError(f"{shown(name)} is to be a time and a number, got {shown(pair)}")
        rounds = whole({"rounds": pair[1]}, "rounds", 1)
        found[name] = (number(pair[0], shown(name)), rounds)
    return Sample(subject, found, unit)
