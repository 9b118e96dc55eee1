# SPDX-License-Identifier: BSD-3-Clause
"""The demo's parts that need neither minutes nor a delegate."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from nmpack.datasets import fashion as data
from nmpack.demo.stages import Stages
from nmpack.errors import MissingError, NmpackError
from nmpack.locations import ROOT


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
        stages = Stages(tmp_path, Console(quiet=True), 1)
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
        Stages(tmp_path, Console(quiet=True), 1).run("stage", "title", {}, [], action)
    assert not (tmp_path / "stages").exists()


@pytest.mark.torch
def test_an_interrupted_training_resumes_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from nmpack.demo import train as training
    from nmpack.models import fashion_resnet

    generator = np.random.default_rng(0)
    images = generator.normal(size=(64, 28, 28, 1)).astype(np.float32)
    some = data.Images(images, generator.integers(0, 10, 64))
    monkeypatch.setattr(training, "_BATCH", 32)

    def run(name: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = fashion_resnet()
        training.train(
            model, some, epochs=3, rate=0.05, seed=1, title="t",
            checkpoint=tmp_path / name, key="k",
        )  # fmt: skip
        return model.state_dict()

    expected = run("whole")
    saves: list[int] = []
    real = torch.save

    def interrupt(content: object, path: object) -> None:
        real(content, path)
        saves.append(1)
        if len(saves) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("cut")
    assert (tmp_path / "cut").exists()
    resumed = run("cut")
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert list(tmp_path.iterdir()) == []


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
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["from_an_earlier_run"]) >= {"train", "prune", "convert", "host", "riscv64"}
