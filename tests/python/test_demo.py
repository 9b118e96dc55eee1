# SPDX-License-Identifier: BSD-3-Clause
"""The demo's parts that need neither minutes nor a delegate."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from nmpack.datasets import fashion as data
from nmpack.demo import stages as stages_module
from nmpack.demo.effort import Effort
from nmpack.demo.fashion import Fashion
from nmpack.demo.plan import Plan, read_plan
from nmpack.demo.resnet50_file import resnet50_file
from nmpack.demo.stages import Stages
from nmpack.errors import MissingError, NmpackError
from nmpack.locations import ROOT
from nmpack.measure.inspection import inspect
from nmpack.progress import Progress
from nmpack.sparsity.pattern import NMPattern

STAGES = {"resnet50", "train", "prune", "convert", "host", "riscv64"}


def test_fashion_mnist_reads_as_published() -> None:
    test = data.load("test")
    assert test.images.shape == (10_000, 28, 28, 1)
    assert test.images.dtype == np.float32
    assert abs(float(test.images.mean())) < 0.01
    assert abs(float(test.images.std()) - 1.0) < 0.01
    assert np.bincount(test.labels).tolist() == [1000] * 10


def test_an_absent_folder_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="apt-get install dataset-fashion-mnist"):
        data.load("test", tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no gzip", "not a readable gzip file"),
        (gzip.compress(b"\0" * 100, mtime=0)[:-12], "not a readable gzip file"),
        (gzip.compress(bytes([0, 0, 8, 3]) + b"\0" * 40, mtime=0), "expected an idx file"),
        (gzip.compress(b"", mtime=0), "expected an idx file"),
    ],
    ids=["no-gzip", "cut", "short", "empty"],
)
def test_damaged_files_are_one_error(content: bytes, says: str, tmp_path: Path) -> None:
    for path in data.files():
        (tmp_path / path.name).write_bytes(content)
    with pytest.raises(NmpackError, match=says):
        data.load("test", tmp_path)


def test_a_stage_is_done_once_and_again_when_anything_changed(tmp_path: Path) -> None:
    calls: list[int] = []
    output = tmp_path / "output"

    def action() -> dict[str, object]:
        calls.append(1)
        output.write_text("written")
        return {"pair": (1, 2)}

    def once(key: int) -> dict[str, object]:
        stages = Stages(tmp_path, Console(quiet=True), 1, Plan({}))
        return stages.run("stage", "title", {"key": key}, [output], action)

    assert once(1) == {"pair": [1, 2]}
    assert once(1) == {"pair": [1, 2]}
    assert len(calls) == 1
    once(2)
    assert len(calls) == 2
    output.write_text("changed by someone")
    once(2)
    assert len(calls) == 3
    output.unlink()
    once(2)
    assert len(calls) == 4
    record = tmp_path / "stages" / "stage.json"
    record.write_text(record.read_text()[:20])
    once(2)
    assert len(calls) == 5
    assert json.loads(record.read_text())["result"] == {"pair": [1, 2]}


def test_a_stage_that_fails_leaves_no_record(tmp_path: Path) -> None:
    def action() -> dict[str, object]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stages(tmp_path, Console(quiet=True), 1, Plan({})).run("stage", "title", {}, [], action)
    assert not (tmp_path / "stages").exists()


def test_the_plan_has_every_stage_and_says_what_is_left() -> None:
    text = (ROOT / "scripts/demo_plan.txt").read_text(encoding="utf-8")
    rows = [line.split(maxsplit=2) for line in text.splitlines() if not line.startswith("#")]
    set_up = (ROOT / "scripts/setup.sh").read_text(encoding="utf-8")
    announced = re.findall(r'^ *begin "[^"]+" ([\w-]+)$', set_up, re.MULTILINE)
    assert {name for name, *_ in rows} == {*announced, *STAGES}
    seconds = [float(row[1]) for row in rows]
    plan = read_plan(ROOT / "scripts/demo_plan.txt")
    assert plan.after(rows[0][0]) == sum(seconds[1:])
    assert (
        plan.announce(rows[-1][0]) == f": about {seconds[-1]:.0f} s, {seconds[-1]:.0f} s to the end"
    )
    assert sum(seconds) <= 13 * 60


def test_a_plan_learns_how_fast_the_machine_is() -> None:
    plan = Plan({"one": 10.0, "two": 20.0, "three": 200.0})
    assert plan.announce("two") == ": about 20 s, 4 min to the end"
    plan.took("one", 5.0)
    assert plan.announce("two") == ": about 10 s, 2 min to the end"
    assert plan.announce("unknown") == ""


def test_without_a_terminal_a_long_stage_says_in_lines_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages_module, "_QUIET", 0.0)
    screen = Console(record=True, file=io.StringIO(), width=200)
    stages = Stages(tmp_path, screen, 1, Plan({"stage": 10.0, "later": 600.0}))

    def action() -> dict[str, object]:
        with stages.watch("counting") as tell:
            tell(3, 5)
            tell(4, 5)
            tell(5, 5)
        return {}

    stages.run("stage", "count", {}, [], action)
    said = screen.export_text().splitlines()
    assert said[0] == "[1/1] count: about 10 s, 10 min to the end"
    assert [line.strip() for line in said[1:3]] == [
        "counting (3 of 5)",
        "counting, 10 min to the end (4 of 5)",
    ]


@pytest.mark.slow
@pytest.mark.torch
def test_an_interrupted_training_goes_on_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nmpack.training import loop

    effort = Effort(images=512, epochs=2, tuning_epochs=1, rounds=1, repeat=1)

    def train(name: str) -> tuple[dict[str, object], list[int]]:
        steps: list[int] = []
        (tmp_path / name).mkdir(exist_ok=True)
        stages = Stages(tmp_path / name, Console(quiet=True), 1, Plan({}))

        @contextmanager
        def watch(_: str) -> Iterator[Progress]:
            yield lambda done, _: steps.append(done)

        monkeypatch.setattr(stages, "watch", watch)
        return Fashion(stages, data.FOLDER, effort).train(), steps

    expected, steps = train("whole")
    assert steps == [1, 2, 3, 4]
    real = loop._Run._one

    def interrupted(self: loop._Run, *batch: torch.Tensor) -> torch.Tensor:
        if self.step == 3:
            raise KeyboardInterrupt
        return real(self, *batch)

    monkeypatch.setattr(loop._Run, "_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train("cut")
    monkeypatch.setattr(loop._Run, "_one", real)
    resumed, steps = train("cut")
    assert (resumed, steps) == (expected, [3, 4])
    whole, cut = (
        torch.load(tmp_path / name / "dense.pt")["state_dict"] for name in ("whole", "cut")
    )
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["dense.pt", "stages"]


@pytest.mark.delegate
def test_the_written_resnet50_is_one_partition_of_sparse_convolutions(tmp_path: Path) -> None:
    path = tmp_path / "resnet50.tflite"
    path.write_bytes(resnet50_file(NMPattern.from_sparsity(0.75, tile=32)))
    report = inspect(path)
    assert report.partitions == 1
    # The first is not pruned: it may follow the others' layout. The last is the classifier.
    assert [row.operator for row in report.layers[1:]] == ["nm"] * 52 + ["dense"]


@pytest.mark.torch
@pytest.mark.delegate
def test_the_whole_demo_in_short_and_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nmpack.demo", "--quick", "--output", str(tmp_path)]
    path = {"PYTHONPATH": str(ROOT / "python")}
    first = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | path
    )
    assert first.returncode == 0, first.stderr[-2000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["schema"] == 1
    assert report["from_an_earlier_run"] == []
    assert [row["vlen"] for row in report["riscv64"]] == [128, 256, 512] * 2
    assert report["host"]["pruned"]["sparse_convolutions"] == 8
    assert report["host"]["pruned"]["same_top1"] > 0.999
    assert {item["model"] for item in report["resnet50"]["timings"]} == {
        "resnet50-dense", "resnet50-50", "resnet50-75",
    }  # fmt: skip
    assert f"wrote {tmp_path / 'report.json'}" in first.stdout.replace("\n", "")
    again = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | path
    )
    assert "resnet50-75" in again.stdout
    assert list((tmp_path).glob("training-*")) == []
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["from_an_earlier_run"]) == STAGES
