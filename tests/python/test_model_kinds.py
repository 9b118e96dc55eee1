# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch models as people have them: pruned, converted, run, and compared with themselves.

What each kind is, is in its name. Each runs with our delegate and in the stock interpreter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kind_samples import KINDS, QUARTER, Samples, assert_file_is_model, image
from torch import nn

import nmpack.torch
from nmpack.cli import main
from nmpack.convert import torch_to_tflite
from nmpack.errors import NmpackError
from nmpack.measure.benchmark import bench
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.runner import run
from nmpack.sparsity.pattern import NMPattern

pytestmark = [
    pytest.mark.torch,
    pytest.mark.delegate,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Nested(nn.Module):
    """An image, words, a sequence and truth values, in a dictionary, a tuple and alone."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.stem, self.body = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)
        self.sound = nn.Conv1d(4, 6, 3)
        self.mix, self.head = nn.Linear(38, 32), nn.Linear(32, 5)

    def forward(self, batch: dict[str, torch.Tensor], more: Any, flip: torch.Tensor) -> Any:
        seen = self.body(self.stem(batch["image"]).relu()).mean((2, 3))
        read, heard = self.words(batch["words"]).mean(1), self.sound(more[0]).mean(2)
        x = self.mix(torch.cat([seen, read, heard], 1)).relu()
        x = torch.where(flip.unsqueeze(1), x, -x)
        return {"scores": self.head(x), "best": (self.head(x).argmax(1), x > 0), "x": [x]}


def nested() -> tuple[nn.Module, Samples]:
    torch.manual_seed(0)
    words = torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(4))
    batch = {"image": image().repeat(2, 1, 1, 1), "words": words}
    return Nested(), (batch, (torch.randn(2, 4, 9),), torch.tensor([True, False]))


def test_nested_inputs_of_every_type_from_pruning_to_bench(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, samples = nested()
    nmpack.torch.prune_(model, {"body": QUARTER, "mix": NMPattern(1, 2, tile=8)})
    path = assert_file_is_model(model, samples, tmp_path)
    # Words are drawn from the table's 50 rows, or the interpreter would refuse them.
    report = bench(path, rounds=1, repeat=1, warmup=1)
    assert len(report.timings) == 2
    table = tmp_path / "inspect.json"
    for arguments in (["inspect", "--json", str(table)], ["run", "--compare"]):
        assert main([arguments[0], str(path), *arguments[1:]]) == 0
    capsys.readouterr()
    layers = json.loads(table.read_text())["layers"]
    assert [row["reason"] for row in layers if row["shape"][0] in (16, 32)] == [
        "too few columns are zero in every row of a tile", "chosen", "chosen"
    ]  # fmt: skip


#: Those that once went wrong; converting takes a second or two each.
ALWAYS = ("words and a mask", "used twice, tied, unused", "DataParallel", "orthogonal",
          "spectral_norm by a hook")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_model_is_pruned(kind: str) -> None:
    torch.manual_seed(5)
    build, samples, pruned = KINDS[kind]
    model = build().eval()
    model(*samples)  # what hooks compute has a gradient now
    report = nmpack.torch.prune_(model, QUARTER)
    assert [row.name for row in report.pruned] == pruned.split()
    assert all(row.density == pytest.approx(0.25, abs=0.02) for row in report.pruned)
    if kind != "compiled":  # which has to be compiled for it
        before = model(*samples)
        assert torch.equal(nmpack.torch.finalize_(model)(*samples), before)


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k in ALWAYS else pytest.mark.slow) for k in KINDS]
)
def test_a_kind_of_model_is_pruned_converted_and_run(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    build, samples, _ = KINDS[kind]
    model = build()
    if kind != "compiled":
        model(*samples)
    nmpack.torch.prune_(model, QUARTER)
    assert_file_is_model(model, samples, tmp_path)


@pytest.mark.parametrize(
    "kind",
    ["used twice, tied, unused", "transposed between", "pixel shuffle", "flattened with the batch",
     "norm over channels", "pools with ceil_mode", "weight_norm"],
)  # fmt: skip
def test_permutation_keeps_the_function_of_such_models(kind: str) -> None:
    torch.manual_seed(6)
    build, samples, _ = KINDS[kind]
    model = build().eval()
    with torch.no_grad():
        before = model(*samples)
        nmpack.torch.permute_(model, samples[0], QUARTER)
        assert torch.allclose(model(*samples), before, atol=1e-5)


def test_whole_numbers_of_another_width_run_where_they_fit(tmp_path: Path) -> None:
    torch.manual_seed(9)
    words = torch.tensor([[1, 9, 3]])
    model = nn.Embedding(10, 4)
    path = torch_to_tflite(model, tmp_path / "m.tflite", samples=words)
    (result,) = run(path, words.numpy(), engine=Engine("built-in")).outputs.values()
    np.testing.assert_allclose(result, model(words).detach().numpy())
    with pytest.raises(NmpackError, match=r"expected int32, -2147483648 to .*, got int64 from 4"):
        run(path, words.numpy() << 32 | 1, engine=Engine("built-in"))
    with pytest.raises(NmpackError, match="expected int32, got float32"):
        run(path, words.float().numpy(), engine=Engine("built-in"))
