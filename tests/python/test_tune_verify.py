# SPDX-License-Identifier: BSD-3-Clause
"""A tuning that is verified: choices of a table are timed again, and those of others refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import verify_tuning

from nmpack.errors import NmpackError
from nmpack.measure.drawn_layers import Layer, layer_file
from nmpack.tune import rounds
from nmpack.tune.layers import layers_of
from nmpack.tune.measuring import Rig
from nmpack.tune.protocol import Definition
from nmpack.tune.shapes import Setting
from nmpack.tune.table import Table, TableLayer, save_table, table_sizes
from nmpack.tune.targets import native_target

LAYER = Layer(28, 64, 64, 3, 1, 0.25, 16)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one convolution."""
    path = tmp_path_factory.mktemp("verify") / "model.tflite"
    path.write_bytes(layer_file(LAYER, 1))
    return path


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(native_target()) as rig:
        yield rig


def table_for(rig: Rig, model: Path, favourites: dict[str, str]) -> tuple[Table, Definition]:
    """A table in which one candidate of each layout is the fastest: by name, or the default."""
    (item,) = layers_of(model).layers
    definition = rig.define(item.layer, Setting())
    times = {}
    for layout, items in rounds.by_layout(definition).items():
        favourite = favourites.get(layout, rounds.default_of(items).name)
        times |= {other.name: 9.0 if other.name == favourite else 99.0 for other in items}
    densities = tuple(round(value, 4) for value in item.densities)
    row = TableLayer(table_sizes(item.layer), densities, times)  # type: ignore[arg-type]
    machine = rig.machine
    table = Table(
        machine.isa, machine.vlen, machine.kernels, machine.cpu, 1, 30.0, (row,)
    )  # fmt: skip
    return table, definition


def test_what_is_slower_than_the_default_is_told(rig: Rig, model: Path, tmp_path: Path) -> None:
    # One row a block loads every column for each output channel anew.
    table, definition = table_for(rig, model, {})
    worst = max(rounds.by_layout(definition)["cnhw"], key=lambda item: item.predicted).name
    table, _ = table_for(rig, model, {"cnhw": worst})
    save_table(tmp_path / "a.tuning", table)
    done = subprocess.run(
        [sys.executable, verify_tuning.__file__, model, tmp_path / "a.tuning", "--processes", "2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "differ from the default: 1, 0 faster, 0 equal, 1 slower" in done.stdout
    assert worst in done.stdout


def test_a_table_of_defaults_has_nothing_to_verify(rig: Rig, model: Path) -> None:
    table, _ = table_for(rig, model, {})
    layers = verify_tuning.known_layers(str(model), table)
    assert len(layers) == 1
    assert verify_tuning.verify(layers, table, 1, 1) == []
    assert verify_tuning.known_layers(str(model), replace(table, layers=())) == []


def test_a_table_of_other_kernels_is_refused(rig: Rig, model: Path) -> None:
    table, _ = table_for(rig, model, {})
    with pytest.raises(NmpackError, match="a table of the kernels"):
        verify_tuning.verify([], replace(table, kernels="0" * 16), 1, 1)
