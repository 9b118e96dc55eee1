# SPDX-License-Identifier: BSD-3-Clause
"""nmpack tune with the real program: on this machine and under QEMU, killed, without records."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tune_samples import LAYER, small_model

from nmpack.cli import main
from nmpack.cli.tune import duration
from nmpack.errors import MissingError
from nmpack.locations import find_measure
from nmpack.tune.budget import Budget
from nmpack.tune.embedding import embedded
from nmpack.tune.layers import layers_of
from nmpack.tune.measuring import Race, Rig
from nmpack.tune.protocol import RefusedError
from nmpack.tune.records import Database
from nmpack.tune.rounds import MOST_ROUNDS, Trial
from nmpack.tune.shapes import Setting
from nmpack.tune.store import Store
from nmpack.tune.table import load_table
from nmpack.tune.targets import NativeTarget, native_target, qemu_target
from nmpack.tune.tuner import TuneReport, tune

Command = Callable[..., subprocess.CompletedProcess[str]]
SETTING = Setting(evict=1 << 20)


@pytest.fixture(scope="module")
def target() -> NativeTarget:
    """The program of this machine; its absence is a failure, not a skip."""
    try:
        return native_target()
    except MissingError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three distinct layers."""
    return small_model(tmp_path_factory.mktemp("model") / "m.tflite")


@contextmanager
def race(target: NativeTarget, trials: list[Trial], seconds: float) -> Iterator[Race]:
    with Rig(target) as rig:
        definition = rig.define(LAYER, SETTING)
        budget = Budget(seconds, [1.0])
        budget.begin()
        yield Race(rig, LAYER, SETTING, definition, trials, trials.append, budget)


def test_a_layer_is_raced_until_it_is_decided(target: NativeTarget) -> None:
    trials: list[Trial] = []
    with race(target, trials, 60.0) as first:
        first.run()
    decision = first.decision
    # Or as often as a machine that drifts is given.
    assert decision.finished or trials[-1].round == 2 * MOST_ROUNDS - 1
    assert first.failed == {}
    assert {trial.candidate for trial in trials} == set(decision.levels)
    for layout, choice in decision.choices.items():
        gain = decision.gains[layout]
        if choice is not decision.defaults[layout]:
            assert gain is not None
            assert gain.median - 1.0 > gain.iqr
    # Recorded trials say the same, and nothing is measured again.
    if decision.finished:
        with race(target, list(trials), 60.0) as second:
            second.run()
        assert second.decision == decision
        assert len(second.trials) == len(trials)


def test_turns_of_a_round(target: NativeTarget) -> None:
    trials: list[Trial] = []
    with race(target, trials, 60.0) as found:
        found.run()
    rounds: dict[int, list[str]] = {}
    for trial in trials:
        if trial.stage == "race":
            rounds.setdefault(trial.round, []).append(trial.candidate)
    for names in rounds.values():
        assert names[0] == names[-1]
        assert len(set(names)) == len(names) - 1
    assert len({tuple(names) for names in rounds.values()}) > 1


def test_a_spent_budget_leaves_the_best_so_far(target: NativeTarget) -> None:
    trials: list[Trial] = []
    with race(target, trials, 1e-6) as found:
        found.run()
        decision = found.decision
    assert trials == []
    assert not decision.finished
    assert decision.choices == decision.defaults


def test_a_program_that_dies_is_started_again(target: NativeTarget) -> None:
    with Rig(target) as rig:
        definition = rig.define(LAYER, SETTING)
        for item in definition.candidates[:2]:
            child = rig._session._child
            child.kill()
            assert len(rig.run(item.name, 3, 0.0)) == 3
            assert rig._session._child.pid != child.pid
        with pytest.raises(RefusedError):
            rig.run("no-such-candidate", 1, 0.0)
        assert len(rig.run(definition.candidates[0].name, 1, 0.0)) == 1


def test_a_program_that_does_not_come_back_ends_the_tuning(
    target: NativeTarget, model: Path, tmp_path: Path
) -> None:
    script = tmp_path / "once"
    pid = tmp_path / "pid"
    script.write_text(
        f"#!/bin/sh\n[ -e {pid} ] && exit 7\necho $$ > {pid}\nexec {target.program}\n"
    )
    script.chmod(0o755)
    found = layers_of(model).layers

    def tell(done: int, *_: object) -> None:
        if done == 1:
            os.kill(int(pid.read_text()), signal.SIGKILL)

    store = Store(tmp_path / "r.sqlite", pytest.fail)
    report = tune(found, replace(target, program=script), store, budget=10.0, tell=tell)
    store.close()
    assert report.error == "this machine: nmpack-measure ended with status 7"
    done = [item for item in report.results if item.decision is not None]
    assert len(done) in (1, 2)
    # The last layers were never begun.
    assert report.results[-1].decision is None
    assert report.to_dict()["layers"][-1]["finished"] is False


def run_tune(
    target: NativeTarget, model: Path, database: Path, **changes: Any
) -> tuple[TuneReport, list[str]]:
    warnings: list[str] = []
    store = Store(database, warnings.append)
    report = tune(layers_of(model).layers, target, store, **{"budget": 60.0, **changes})
    store.close()
    return report, warnings


def test_what_is_recorded_is_not_measured_again(
    target: NativeTarget, model: Path, tmp_path: Path
) -> None:
    first, _ = run_tune(target, model, tmp_path / "r.sqlite")
    assert all(item.decision and item.decision.finished for item in first.results)
    assert first.used == 0
    second, _ = run_tune(target, model, tmp_path / "r.sqlite")
    assert sum(item.measured for item in second.results) == 0
    assert second.used == sum(item.measured for item in first.results)
    for old, new in zip(first.results, second.results, strict=True):
        assert old.decision == new.decision
    json.dumps(second.to_dict(), allow_nan=False)


def test_trouble_with_the_records_is_a_warning(
    target: NativeTarget, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.sqlite").write_text("no database, but long enough to be looked at " * 99)
    report, warnings = run_tune(target, model, tmp_path / "r.sqlite", budget=2.0)
    assert report.error == ""
    assert any(item.measured for item in report.results)
    assert len(warnings) == 1


def test_a_small_budget_is_kept(target: NativeTarget, model: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    report, _ = run_tune(target, model, tmp_path / "r.sqlite", budget=0.5)
    assert time.monotonic() - start < 10
    assert report.error == ""
    # One layer alone takes longer: six rounds of all its candidates, 10 ms each.
    unfinished = [x for x in report.results if x.decision is None or not x.decision.finished]
    assert len(unfinished) >= 2
    for item in report.results:
        if item not in unfinished:
            assert item.note == ""
        elif item.measured:
            assert item.note == "not decided: the budget is spent, or the machine too unsteady"
        else:
            assert item.note == "not measured: the budget is spent"


def test_a_budget_of_nothing_measures_nothing(
    target: NativeTarget, model: Path, tmp_path: Path
) -> None:
    report, _ = run_tune(target, model, tmp_path / "r.sqlite", budget=1e-9)
    found = [(item.measured, item.decision, item.note) for item in report.results]
    assert found == 3 * [(0, None, "not measured: the budget is spent")]


@pytest.mark.usefixtures("target")
def test_a_killed_tuning_goes_on(model: Path, tmp_path: Path, nmpack_command: Command) -> None:
    database = tmp_path / "r.sqlite"
    arguments = ["tune", str(model), "--database", str(database)]
    child = subprocess.Popen(
        [sys.executable, "-m", "nmpack", *arguments],
        cwd=Path(__file__).resolve().parents[2] / "python",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while trials_of(database) < 20:
        assert child.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = trials_of(database)
    done = nmpack_command(*arguments, "--json", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["records"] == {"used": kept, "stale": 0}
    assert all(row["finished"] for row in report["layers"])


def trials_of(database: Path) -> int:
    if not database.is_file():
        return 0
    try:
        with sqlite3.connect(database) as connection:
            return int(connection.execute("select count(*) from trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def test_a_table_takes_no_models_name(model: Path, tmp_path: Path, nmpack_command: Command) -> None:
    done = nmpack_command("tune", model, "--embed", "--output", tmp_path / "tuned.tflite")
    assert done.returncode == 1
    assert "expected a name for the table, such as model.tuning, got" in done.stderr
    done = nmpack_command("tune", "resnet18", "--density", "0.25", "-o", tmp_path / "tuned.tflite")
    assert done.returncode == 1
    assert "expected a name for the plan, such as plan.json, got" in done.stderr
    assert not (tmp_path / "tuned.tflite").exists()


def test_command_line(
    target: NativeTarget, model: Path, tmp_path: Path, nmpack_command: Command
) -> None:
    copy = tmp_path / "m.tflite"
    copy.write_bytes(model.read_bytes())
    database = ("--database", tmp_path / "a.sqlite")
    table = tmp_path / "t.tuning"
    done = nmpack_command("tune", copy, *database, "--output", table, "--embed", "--budget", "1m")
    assert done.returncode == 0, done.stderr
    for words in ("3x3 /2, 16 to 64, 28x28", "0.25 in 32", "0.5 in 8, runs of 4", "wrote "):
        assert words in done.stdout
    found = load_table(table)
    assert embedded(copy) == found
    assert found.threads == 1
    assert len(found.layers) == 3
    with Rig(target) as rig:
        assert (found.isa, found.kernels) == (rig.machine.isa, rig.machine.kernels)
    lines = tmp_path / "t.jsonl"
    assert nmpack_command("tune", "--export", lines, *database).returncode == 0
    done = nmpack_command("tune", "--import", lines, "--database", tmp_path / "b.sqlite")
    assert done.returncode == 0, done.stderr
    with Database(tmp_path / "a.sqlite") as first, Database(tmp_path / "b.sqlite") as second:
        assert first.count() == second.count() > 0
    lines.write_text(lines.read_text() + "{}\n")
    done = nmpack_command("tune", "--import", lines, "--database", tmp_path / "b.sqlite")
    assert done.returncode == 1
    assert "not taken: it is no record of version 1" in done.stderr
    assert "1 lines are no trials" in done.stderr


def test_the_table_states_what_was_decided(
    target: NativeTarget, model: Path, tmp_path: Path
) -> None:
    from nmpack.tune.tabulate import stated_times

    report, _ = run_tune(target, model, tmp_path / "r.sqlite")
    for item in report.results:
        assert item.decision is not None
        assert item.definition is not None
        times = stated_times(item)
        for layout, choice in item.decision.choices.items():
            names = {x.name for x in item.definition.candidates if x.layout == layout}
            assert min(names & times.keys(), key=lambda name: times[name]) == choice.name


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["tune"], "expected a MODEL.tflite, --export or --import"),
        (["tune", "x.tflite"], "cannot be read"),
        (["tune", "MODEL", "--export", "x"], "name no model"),
        (["tune", "MODEL", "--target", "moon"], "expected --target native, qemu or ssh:HOST"),
        (["tune", "MODEL", "--key", "x"], "are for --target ssh:HOST"),
        (["tune", "MODEL", "--program", "/nowhere"], "/nowhere is not a file"),
        (["tune", "MODEL", "--program", "/bin/false"], "nmpack-measure ended with status 1"),
        (["tune", "MODEL", "--program", "/bin/ls"], "answer is unusable: expected JSON"),
        (["tune", "MODEL", "--target", "qemu", "--embed"], "QEMU has none"),
        (["tune", "MODEL", "--target", "qemu", "--threads", "2"], "one thread"),
        (["tune", "--export", "/nowhere/x", "--database", "/nowhere"], "no records to export"),
    ],
)
def test_mistakes(
    arguments: list[str], reason: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(model) if word == "MODEL" else word for word in arguments]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert reason in said


def test_durations() -> None:
    assert [duration(text) for text in ("90", "60s", "1.5m", "2h", "500ms")] == [
        90.0, 60.0, 90.0, 7200.0, 0.5,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "0s", "-1", "1d", "nan", "1e9", "٣s", "1 s"])
def test_impossible_durations(text: str) -> None:
    import argparse

    with pytest.raises(argparse.ArgumentTypeError, match="expected a time as 60s or 5m"):
        duration(text)


@pytest.mark.riscv64
@pytest.mark.parametrize("vlen", [128, 256])
def test_counts_under_qemu(vlen: int, model: Path, tmp_path: Path) -> None:
    program = find_measure("riscv64")
    assert program.is_file()
    layers = layers_of(model).layers[2:]
    store = Store(tmp_path / "r.sqlite", pytest.fail)
    report = tune(layers, qemu_target(vlen), store)
    (first,) = report.results
    assert report.error == ""
    assert report.machine.vlen == vlen
    assert first.unit == ("x60-cycles" if vlen == 256 else "instructions")
    assert first.decision is not None
    assert first.decision.finished
    assert first.definition is not None
    assert set(first.decision.levels) == {item.name for item in first.definition.candidates}
    again = tune(layers, qemu_target(vlen), store).results[0]
    store.close()
    assert again.measured == 0
    assert again.decision == first.decision
    # Counts are exact: the same each time.
    other = Store(tmp_path / "other.sqlite", pytest.fail)
    fresh = tune(layers, qemu_target(vlen), other).results[0]
    other.close()
    assert fresh.decision is not None
    if vlen == 128:
        assert fresh.decision.levels == first.decision.levels
