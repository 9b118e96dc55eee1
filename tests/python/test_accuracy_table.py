# SPDX-License-Identifier: BSD-3-Clause
"""The accuracy table: what its rows are, and that it is made and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import accuracy_table
import pytest
import torch
from accuracy_table import (
    PROMISE,
    QUICK,
    Setting,
    main,
    make,
    markdown,
    require_promise,
    rows,
    train_at_once,
)  # fmt: skip

from nmpack.errors import MismatchError
from nmpack.sparsity.pattern import NMPattern, Unstructured
from nmpack.training import TensorImages

PROGRAM = str(Path(accuracy_table.__file__))
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_the_rows_are_what_the_table_promises() -> None:
    known = {row.name: row.recipe for row in rows()}
    assert len(known) == len(rows())
    for tile in (8, 32):
        for text, pattern in (
            ("50%", NMPattern.from_density(0.5, tile=tile)), ("2:4", NMPattern(2, 4, tile)),
            ("25%", NMPattern.from_density(0.25, tile=tile)), ("1:4", NMPattern(1, 4, tile)),
        ):  # fmt: skip
            assert known[f"{text} T{tile}"].what() == pattern
            assert known[f"{text} T{tile} permuted"].permute
    assert known["1:4 rows"].what() == NMPattern(1, 4, 1)
    assert known["25% loose"].what() == Unstructured(0.25)
    assert known["25% T32 distilled"].distill > 0
    assert known["25% T32 feedback"].schedule == "dynamic"
    assert PROMISE in known
    assert set(QUICK) <= set(known)
    assert len({(r.epochs, r.batch, r.rate) for r in known.values()}) == 1


def test_it_is_made_resumed_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(128, 1, 28, 28, generator=generator)
    data = TensorImages(images, torch.arange(128) % 10, 10)
    setting = Setting(data, data, (0, 1), 1, 1)
    wanted = [row for row in rows() if row.name in (PROMISE, "25% loose")]
    found = make(wanted, setting, tmp_path)
    again = make(wanted, setting, tmp_path)
    assert again == found
    assert [len(found[PROMISE][key]) for key in ("dense", "pruned", "tuned")] == [2, 2, 2]
    assert found[PROMISE]["density"][0] == pytest.approx(0.25, abs=0.01)
    text = markdown(found, setting)
    assert text.count("\n| 25%") == 2
    assert "±" in text
    found[PROMISE]["dense"], found[PROMISE]["tuned"] = [93.0], [91.9]
    require_promise(found, 1.2)
    with pytest.raises(
        MismatchError, match=r"25% T32 long: expected at most 1.0 points .* got 1.10"
    ):
        require_promise(found, 1.0)
    assert main(["--list"]) == 0
    assert "25% T32 all" in capsys.readouterr().out
    assert main(["--only", "none", "--folder", str(tmp_path)]) == 1
    assert "expected rows that --list prints, got 'none'" in capsys.readouterr().err


def test_two_at_once_train_what_one_after_another_does(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    data = TensorImages(
        torch.randn(128, 1, 28, 28, generator=generator), torch.arange(128) % 10, 10
    )
    setting = Setting(data, data, (0,), 1, 1)
    wanted = [row for row in rows() if row.name in (PROMISE, "25% loose")]
    train_at_once(wanted, setting, tmp_path / "at-once", 2)
    final = sorted(path.parent.name for path in tmp_path.rglob("final.pt"))
    assert final == ["25-T32-long", "25-loose", "dense-start"]
    threads = torch.get_num_threads()
    torch.set_num_threads(max((os.cpu_count() or 1) // 2, 1))
    try:
        one = make(wanted, setting, tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
    assert make(wanted, setting, tmp_path / "at-once") == one


@pytest.mark.slow
def test_the_cut_down_table_keeps_its_promise_on_fashion_mnist(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, "--quick", "--folder", str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "quick/table.json").read_text())["rows"]
    assert list(found) == list(QUICK)
    assert "| 25% T32 long |" in done.stdout
    for name, row in found.items():
        # Chance is 10 %.
        assert row["tuned"][0] > 60.0, name
        assert row["density"][0] == pytest.approx(1.0 if name == "dense" else 0.25, abs=0.02)
