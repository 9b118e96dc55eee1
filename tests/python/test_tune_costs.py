# SPDX-License-Identifier: BSD-3-Clause
"""The fit of costs: predictions are the program's, known costs are found again, files of others."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cost_fit
import cost_samples
import fit_costs
import numpy as np
import pytest
from cost_fit import Run
from cost_samples import Sample, as_layer
from cost_terms import KERNELS, Costs, predict, read_costs, terms

from nmpack.errors import ModelError, NmpackError
from nmpack.measure import drawn_layers
from nmpack.measure.drawn_layers import draw_layers
from nmpack.tune.measuring import Rig
from nmpack.tune.shapes import Layer, Setting
from nmpack.tune.targets import native_target, qemu_target

pytestmark = pytest.mark.torch
SHIPPED = Path(fit_costs.__file__).parent / "records/epyc-zen3-fma3.jsonl.gz"
MODELLED = SHIPPED.with_name("x60-modelled.jsonl.gz")
BATCH = Layer(3, 9, 7, 2, 12, 24, 3, 2, 2, 1, 1, 2, 1, 0, 1, 2, 0.25, 8, 4)


@pytest.fixture(scope="module")
def shipped() -> tuple[list[Sample], Costs]:
    samples, costs = cost_samples.load(SHIPPED)
    assert costs is not None
    return samples, costs


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """The measuring program with the costs that are fitted, also on a greater processor."""
    with Rig(native_target("fma3")) as rig:
        assert rig.machine.isa == "fma3"
        yield rig


def test_predictions_are_those_of_the_program(rig: Rig) -> None:
    check_predictions(rig, draw_layers(40, 1))


@pytest.mark.riscv64
def test_predictions_are_those_of_the_program_for_riscv() -> None:
    with Rig(qemu_target(256)) as rig:
        check_predictions(rig, draw_layers(20, 1, 8_000_000))


def check_predictions(rig: Rig, drawn: Sequence[drawn_layers.Layer]) -> None:
    misses = []
    isa = rig.machine.isa
    costs = read_costs(isa)
    for layer in (BATCH, *map(as_layer, drawn)):
        for item in rig.define(layer, Setting()).candidates:
            miss = predict(terms(isa, layer, item.name, costs), costs) / item.predicted - 1
            misses.append(abs(miss))
            # Where nothing is drawn nothing is left to chance; floats have seven digits.
            assert miss == pytest.approx(0.0, abs=1e-4 if layer.density == 1.0 else 0.12)
    assert np.median(misses) < 0.001
    assert np.quantile(misses, 0.9) < 0.01


def test_costs_that_made_the_times_are_found(shipped: tuple[list[Sample], Costs]) -> None:
    samples, table = shipped
    random = np.random.default_rng(3)
    names = cost_fit.fitted_names(table)
    truth = table | {name: table[name] * random.uniform(0.6, 1.6) for name in names}
    runs = [
        Run(
            {
                name: 0.03 * predict(paid, truth) * float(random.normal(1.0, 0.01))
                for name, paid in item.paid.items()
            },
            item.paid,
            item.layouts,
        )
        for item in cost_fit.runs_of(samples[:60], table)
    ]
    pairs = cost_fit.folds(runs)
    assert [len(far) for _, far in pairs] == [20, 20, 20]
    assert sorted(id(item) for _, far in pairs for item in far) == sorted(map(id, runs))
    near, far = pairs[0]
    assert not {id(item) for item in near} & {id(item) for item in far}
    found, unit = cost_fit.fit(near, table)
    before = cost_fit.judge(far, table, cost_fit.unit_of(far, table))
    after = cost_fit.judge(far, found, unit)
    assert after.error < 0.02 < before.error
    assert after.all >= max(0.9, before.all)
    assert after.loss < before.loss
    assert {name: found[name] for name in found if name not in names} == {
        name: table[name] for name in table if name not in names
    }


def test_costs_that_a_table_leaves_out_are_found() -> None:
    samples, table = cost_samples.load(MODELLED)
    assert table is not None
    assert {item.unit for item in samples} == {"x60-cycles"}
    names = ("nhwc_operator", "cnhw_operator", "nmspmm_call")
    assert not any(table[name] for name in names)
    truth = table | dict(zip(names, (3000.0, 1500.0, 20.0), strict=True))
    runs = [
        Run(
            {name: 0.3 * predict(paid, truth) for name, paid in item.paid.items()},
            item.paid,
            item.layouts,
        )
        for item in cost_fit.runs_of(samples, table)
    ]
    found, _ = cost_fit.fit(runs, table)
    for name in names:
        assert found[name] == pytest.approx(truth[name], rel=0.1)


@pytest.mark.parametrize("isa", ["fma3", "rvv"])
def test_the_fit_as_toml_is_read_again(isa: str, tmp_path: Path) -> None:
    costs = read_costs(isa)
    raised = cost_fit.raised(costs)
    name = next(name for name in costs if name.startswith("nmconv_percent"))
    assert raised[name] == pytest.approx(1.15 * costs[name])
    text = fit_costs.as_toml(isa, raised)
    content = tomllib.loads(text)["costs"][isa]
    assert content.keys() == set(cost_fit.FITTED)
    whole = KERNELS.read_text(encoding="utf-8")
    start = whole.index(f"[costs.{isa}]")
    rest = whole[whole.index("\nmeasured", start) :]
    (tmp_path / "kernels.toml").write_text(whole[:start] + text + rest, encoding="utf-8")
    again = read_costs(isa, tmp_path / "kernels.toml")
    for name in cost_fit.fitted_names(costs):
        assert again[name] == pytest.approx(raised[name], rel=0.01, abs=0.5)
    with pytest.raises(NmpackError, match="costs are fitted for fma3, rvv, got records of neonfma"):
        read_costs("neonfma")


def test_samples_are_read_as_they_were_written(
    shipped: tuple[list[Sample], Costs], tmp_path: Path
) -> None:
    samples, costs = shipped
    assert len(samples) >= 150
    cost_samples.save(tmp_path / "s.jsonl.gz", samples[:7], costs)
    assert cost_samples.load(tmp_path / "s.jsonl.gz") == (samples[:7], costs)


def test_samples_of_others_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    lines = gzip.decompress(SHIPPED.read_bytes()).decode().splitlines()[:2]
    for changed, reason in (
        ([], "line 1: expected costs: expected JSON"),
        (["{}"], "line 1: expected costs: it has no 'costs'"),
        ([lines[0], "7"], "line 2: expected a sample: expected a JSON object"),
        ([lines[0], lines[1].replace('"dense":[', '"dance":[')], "line 2: expected a sample: 'ns'"),
        ([lines[0], lines[1].replace('"dense":[', '"dense":[-')], "is to be a number above 0"),
        ([lines[0], lines[1].replace('"sample":1', '"sample":2')], "'sample' is to be a whole"),
    ):
        path.write_text("\n".join(changed))
        with pytest.raises(ModelError) as caught:
            cost_samples.load(path)
        assert reason in str(caught.value)
    path.write_bytes(SHIPPED.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be read"):
        cost_samples.load(path)


def test_records_of_other_costs_are_refused(shipped: tuple[list[Sample], Costs]) -> None:
    samples, costs = shipped
    dear = costs | {name: 2.0 * costs[name] for name in cost_fit.fitted_names(costs)}
    with pytest.raises(NmpackError, match="expected records of a program with these costs"):
        cost_fit.runs_of(samples[:5], dear)


@pytest.mark.usefixtures("rig")
def test_from_drawn_layers_to_a_fit(tmp_path: Path) -> None:
    database, samples = tmp_path / "r.sqlite", tmp_path / "s.jsonl.gz"
    done = subprocess.run(
        [
            sys.executable, fit_costs.__file__, database, "--draw", "8", "--budget", "24s",
            "--samples", samples,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "[costs.fma3]\ndense_column = " in done.stdout
    found, _ = cost_samples.load(samples)
    assert len(found) in (6, 7, 8)
    assert f"{len(found)} layers, each held out once" in done.stdout
    machine = replace(found[0].subject.machine, cpu="Other")
    mixed = [replace(found[0], subject=replace(found[0].subject, machine=machine)), *found]
    cost_samples.save(samples, mixed, read_costs("fma3"))
    with pytest.raises(NmpackError, match="records of one machine and build, got 2"):
        fit_costs.main([str(samples)])
    cost_samples.save(samples, found[:5], read_costs("fma3"))
    with pytest.raises(NmpackError, match="6 layers or more, got 5"):
        fit_costs.main([str(samples)])
