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
import cost_terms
import fit_costs
import numpy as np
import pytest
from cost_fit import Run
from cost_samples import Sample, as_layer
from cost_terms import KERNELS, Costs, predict, read_costs, terms

from nmpack.element_types import NAMES, TYPES, ElementType
from nmpack.errors import ModelError, NmpackError
from nmpack.measure import drawn_layers
from nmpack.measure.drawn_layers import draw_layers
from nmpack.tune.measuring import Rig
from nmpack.tune.shapes import Layer, Setting
from nmpack.tune.targets import native_target, qemu_target

pytestmark = pytest.mark.torch
SHIPPED = Path(fit_costs.__file__).parent / "records/epyc-zen3-fma3.jsonl.gz"
MODELLED = SHIPPED.with_name("x60-modelled.jsonl.gz")
BYTES = ("epyc-zen3-qs8.jsonl.gz", "x60-modelled-qs8.jsonl.gz")
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
        assert rig.machine.isa == "fma3.avx2"
        yield rig


@pytest.mark.parametrize("kind", TYPES, ids=NAMES)
def test_predictions_are_those_of_the_program(rig: Rig, kind: ElementType) -> None:
    check_predictions(rig, draw_layers(40, 1, kind=kind))


@pytest.mark.riscv64
@pytest.mark.parametrize("kind", TYPES, ids=NAMES)
def test_predictions_are_those_of_the_program_for_riscv(kind: ElementType) -> None:
    with Rig(qemu_target(256)) as rig:
        check_predictions(rig, draw_layers(20, 1, 8_000_000, kind))


def check_predictions(rig: Rig, drawn: Sequence[drawn_layers.Layer]) -> None:
    misses = []
    isa = rig.machine.float_isa
    costs = read_costs(isa, dtype=drawn[0].dtype)
    for layer in (replace(BATCH, dtype=drawn[0].dtype), *map(as_layer, drawn)):
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


@pytest.mark.parametrize("name", BYTES)
def test_a_fit_of_bytes_errs_less_than_the_table_it_is_from(name: str) -> None:
    samples, table = cost_samples.load(SHIPPED.with_name(name))
    assert table is not None
    assert {item.subject.layer.dtype for item in samples} == {"qs8"}
    runs = cost_fit.runs_of(samples, table)
    costs, unit = cost_fit.fit(runs, table)
    before = cost_fit.judge(runs, table, cost_fit.unit_of(runs, table))
    assert cost_fit.judge(runs, costs, unit).error < before.error
    # What no layer of bytes pays for stays.
    assert costs["nmconv_call"] == pytest.approx(table["nmconv_call"], abs=1.0)


@pytest.mark.parametrize(
    ("name", "share"), [("xeon-avx512f.jsonl.gz", 0.8), ("xeon-avx512vnni-qs8.jsonl.gz", 0.9)]
)
def test_the_tables_of_avx512_choose_well_among_what_was_measured(name: str, share: float) -> None:
    """Choices within 10 % of the best of 200 drawn layers on a Xeon, as the documents state."""
    samples, cut_by = cost_samples.load(SHIPPED.with_name(name))
    assert cut_by is not None
    runs = cost_fit.runs_of(samples, cut_by)
    table = read_costs("avx512f", dtype=samples[0].subject.layer.dtype)
    assert cost_fit.judge(runs, table, cost_fit.unit_of(runs, table)).all >= share


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


@pytest.mark.parametrize("isa", ["fma3", "avx512f", "rvv"])
@pytest.mark.parametrize("dtype", NAMES)
def test_the_fit_as_toml_is_read_again(isa: str, dtype: str, tmp_path: Path) -> None:
    costs = read_costs(isa, dtype=dtype)
    raised = cost_fit.raised(costs)
    for name, factor in (("nmconv_percent", 1.15), ("nmspmm_percent", 1.25)):
        for kernel in (cost for cost in costs if cost.startswith(f"{name} ")):
            assert raised[kernel] == pytest.approx(factor * costs[kernel])
    text = fit_costs.as_toml(isa, raised, dtype)
    kind = cost_terms.KINDS[dtype]
    table = kind.tables.get(isa, isa)
    content = tomllib.loads(text)[kind.costs][table]
    missing = set(cost_fit.FITTED) - content.keys()
    assert not missing
    whole = KERNELS.read_text(encoding="utf-8")
    start = whole.index(f"[{kind.costs}.{table}]")
    rest = whole[whole.index("\nmeasured", start) :]
    (tmp_path / "kernels.toml").write_text(whole[:start] + text + rest, encoding="utf-8")
    again = read_costs(isa, tmp_path / "kernels.toml", dtype)
    for name in cost_fit.fitted_names(costs):
        assert again[name] == pytest.approx(raised[name], rel=0.01, abs=0.5)
    with pytest.raises(NmpackError, match="for fma3, avx512f, rvv, got records of neonfma"):
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
    subject = found[0].subject
    other = replace(subject, layer=replace(subject.layer, dtype="qs8"))
    cost_samples.save(samples, [replace(found[0], subject=other), *found], read_costs("fma3"))
    with pytest.raises(NmpackError, match="records of one element type, got f32, qs8"):
        fit_costs.main([str(samples)])
    cost_samples.save(samples, found[:5], read_costs("fma3"))
    with pytest.raises(NmpackError, match="6 layers or more, got 5"):
        fit_costs.main([str(samples)])
