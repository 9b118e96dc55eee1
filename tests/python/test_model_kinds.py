# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch models as people have them: pruned, converted, run, and compared with themselves.

What each kind is, is in its name. Each runs with our delegate and in the stock interpreter.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils._pytree as pytree
from ai_edge_litert.interpreter import Interpreter
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

import nmpack.torch
from nmpack.cli import main
from nmpack.convert import torch_to_tflite
from nmpack.errors import ModelError, NmpackError, SelectionError
from nmpack.measure.benchmark import bench
from nmpack.runtime.interpreter import Engine, load_delegate
from nmpack.runtime.runner import run
from nmpack.sparsity.pattern import NMPattern

pytestmark = [
    pytest.mark.torch,
    pytest.mark.delegate,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
QUARTER = NMPattern.from_density(0.25, tile=8)
Samples = tuple[Any, ...]


def image(height: int = 12, width: int = 12, channels: int = 3) -> torch.Tensor:
    return torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(3))


def body(*more: nn.Module, wrap: Callable[[Any], Any] = lambda layer: layer) -> nn.Sequential:
    """Return three convolutions; ``wrap`` makes another layer of the second one."""
    layers = [nn.Conv2d(3, 16, 3), nn.ReLU(), wrap(nn.Conv2d(16, 16, 3)), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 16, 3), *more)


def on_interpreters(path: Path, samples: Samples) -> list[list[np.ndarray]]:
    """Run a file with our delegate and without: outputs in the model's order."""
    leaves = [leaf for leaf in pytree.tree_leaves(samples) if isinstance(leaf, torch.Tensor)]
    results = []
    for delegates in (None, [load_delegate()]):
        interpreter = Interpreter(str(path), experimental_delegates=delegates)
        interpreter.allocate_tensors()
        for detail, leaf in zip(interpreter.get_input_details(), leaves, strict=True):
            picture = leaf.ndim == 4 and leaf.is_floating_point()
            value = (leaf.permute(0, 2, 3, 1) if picture else leaf).numpy()
            interpreter.set_tensor(detail["index"], value.astype(detail["dtype"]))
        interpreter.invoke()
        details = interpreter.get_output_details()
        results.append([interpreter.get_tensor(detail["index"]) for detail in details])
    return results


def assert_file_is_model(model: nn.Module, samples: Samples, folder: Path) -> Path:
    """Convert ``model`` and compare outputs with the module's, in both interpreters."""
    path = torch_to_tflite(model, folder / "m.tflite", samples=samples)
    with torch.no_grad():
        expected = [leaf.numpy() for leaf in pytree.tree_leaves(model.eval()(*samples))]
    for outputs in on_interpreters(path, samples):
        for got, wanted in zip(outputs, expected, strict=True):
            assert got.shape == wanted.shape
            if np.issubdtype(wanted.dtype, np.floating):
                np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=2e-5)
            else:
                np.testing.assert_array_equal(got, wanted)
    return path


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


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(32, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 32, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.block(self.words(words)) * mask.unsqueeze(-1).float()
        result: torch.Tensor = self.head(x)
        return result


class Twice(nn.Module):
    """A layer that is called twice, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.one, self.two = nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3)
        self.two.weight = self.one.weight
        self.unused = nn.Conv2d(16, 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.twice(self.twice(self.stem(x)).relu())
        result: torch.Tensor = self.two(self.one(x).relu())
        return result


class Flat(nn.Module):
    """Flattens its batch as well, as networks for one image do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, stride=4)
        self.head = nn.Linear(64, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.body(self.stem(x)).flatten())
        return result


class Normed(nn.Module):
    """Divides by the norm over the channels, with a scale for each, as SSD does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)
        self.scale, self.last = nn.Parameter(torch.rand(16)), nn.Conv2d(16, 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(self.stem(x))
        x = x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) * self.scale[None, :, None, None]
        result: torch.Tensor = self.last(x)
        return result


class Recurrent(nn.Module):
    def __init__(self, kind: type) -> None:
        super().__init__()
        self.body, self.middle = kind(8, 16, batch_first=True), nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.middle(self.body(x)[0]))
        return result


def conv(inputs: int = 16, **how: Any) -> nn.Module:
    return nn.Conv2d(inputs, 16, 3, **how)


def frozen() -> nn.Module:
    return body().requires_grad_(requires_grad=False)


def in_inference_mode() -> nn.Module:
    """Return a module that was made in inference mode, copied outside of it."""
    with torch.inference_mode():
        model = body()
    return copy.deepcopy(model)


WORDS = (torch.tensor([[1, 30, 9]]), torch.tensor([[True, True, False]]))
#: How each kind is made, what it takes, and which layers are pruned without a selection.
KINDS: dict[str, tuple[Callable[[], nn.Module], Samples, str]] = {
    "words and a mask": (Text, WORDS, "block.self_attn.out_proj block.linear1 block.linear2"),
    "a sequence": (
        lambda: nn.Sequential(
            nn.Conv1d(4, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(160, 16), nn.Linear(16, 4)
        ),
        (torch.randn(2, 4, 12),),
        "3",
    ),
    "vectors": (
        lambda: nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 32), nn.Linear(32, 3)),
        (torch.randn(5, 24),),
        "0 2",
    ),
    "LSTM": (lambda: Recurrent(nn.LSTM), (torch.randn(1, 5, 8),), "middle"),
    "GRU": (lambda: Recurrent(nn.GRU), (torch.randn(1, 5, 8),), "middle"),
    "used twice, tied, unused": (Twice, (image(),), "twice one two unused"),
    "transposed between": (
        lambda: nn.Sequential(
            conv(3, padding=1), conv(padding=1), nn.ConvTranspose2d(16, 16, 3, padding=1), conv()
        ),
        (image(),),
        "1 3",
    ),
    "pixel shuffle": (
        lambda: nn.Sequential(conv(3), nn.Conv2d(16, 64, 3), nn.PixelShuffle(2), conv()),
        (image(),),
        "1 3",
    ),
    "flattened with the batch": (Flat, (image(),), "body"),
    "norm over channels": (Normed, (image(),), "body last"),
    "pools with ceil_mode": (
        lambda: nn.Sequential(
            conv(3), nn.MaxPool2d(2, 2, ceil_mode=True), conv(), nn.AvgPool2d(3, 2, ceil_mode=True)
        ),
        (image(13, 13),),
        "2",
    ),
    "one channel, channels last": (
        lambda: nn.Sequential(nn.Conv2d(1, 16, 1), conv()),
        (image(7, 5, 1).to(memory_format=torch.channels_last),),
        "1",
    ),
    "DataParallel": (lambda: nn.DataParallel(body()), (image(),), "2 4"),
    "averaged": (lambda: AveragedModel(body()), (image(),), "2 4"),
    "compiled": (lambda: torch.compile(body(), backend="eager"), (image(),), "2 4"),
    "traced by fx": (lambda: torch.fx.symbolic_trace(body()), (image(),), "2 4"),
    "frozen": (frozen, (image(),), "2 4"),
    "inference mode": (in_inference_mode, (image(),), "2 4"),
    "weight_norm": (lambda: body(wrap=parametrizations.weight_norm), (image(),), "4"),
    "spectral_norm": (lambda: body(wrap=parametrizations.spectral_norm), (image(),), "4"),
    "orthogonal": (lambda: body(wrap=parametrizations.orthogonal), (image(),), "4"),
    "weight_norm by a hook": (lambda: body(wrap=nn.utils.weight_norm), (image(),), "4"),
    "spectral_norm by a hook": (lambda: body(wrap=nn.utils.spectral_norm), (image(),), "4"),
}


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


def test_tied_weights_hold_one_mask_while_training_and_after(tmp_path: Path) -> None:
    torch.manual_seed(7)
    model = Twice()
    nmpack.torch.prune_(model, QUARTER)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model(image()).square().mean().backward()
        optimizer.step()
    assert torch.equal(model.one.weight, model.two.weight)
    assert (model.one.weight == 0).float().mean().item() == pytest.approx(0.75, abs=0.01)
    assert_file_is_model(model, (image(),), tmp_path)
    nmpack.torch.finalize_(model)
    assert torch.equal(model.one.weight, model.two.weight)


def test_of_tied_weights_one_may_stay_dense(tmp_path: Path) -> None:
    torch.manual_seed(8)
    model = Twice().eval()
    nmpack.torch.prune_(model, QUARTER, select="one")
    before = model(image())
    assert_file_is_model(model, (image(),), tmp_path)
    assert torch.equal(nmpack.torch.finalize_(model)(image()), before)
    assert (model.two.weight != 0).all()
    assert (model.one.weight == 0).float().mean().item() == pytest.approx(0.75, abs=0.01)


def test_of_tied_weights_torch_may_have_pruned_one() -> None:
    torch.manual_seed(8)
    model = Twice().eval()
    nn.utils.prune.l1_unstructured(model.one, "weight", 0.5)
    before = model(image())
    assert torch.equal(nmpack.torch.finalize_(model)(image()), before)
    assert (model.two.weight != 0).all()


@pytest.mark.parametrize("wrap", ["weight_norm", "spectral_norm"])
def test_weights_that_others_compute_say_so(wrap: str) -> None:
    for module in (nn.utils, parametrizations):
        model = body(wrap=getattr(module, wrap))
        rows = {row.name: row for row in nmpack.torch.prune_(model, QUARTER)}
        assert "another parametrization (" in rows["2"].reason
        assert wrap.replace("_", "") in rows["2"].reason.lower()
        with pytest.raises(SelectionError, match=r"2: its weight .* must be removed first"):
            nmpack.torch.prune_(body(wrap=getattr(module, wrap)), QUARTER, select="2")


def test_weights_of_inference_mode_say_what_to_do() -> None:
    with torch.inference_mode():
        model = body()
    with pytest.raises(ModelError, match=r"0: .* inference mode.*copy\.deepcopy"):
        nmpack.torch.prune_(model, QUARTER)


def test_a_model_that_was_pruned_in_inference_mode_can_be_trained() -> None:
    model = body()
    with torch.inference_mode():
        nmpack.torch.prune_(model, QUARTER)
    model(image()).sum().backward()
    assert model[4].parametrizations.weight.original.grad is not None


def test_a_script_among_ordinary_modules_is_named(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), torch.jit.script(nn.Conv2d(16, 16, 3)))
    with pytest.raises(ModelError, match="1: expected an ordinary module, got TorchScript"):
        torch_to_tflite(model, tmp_path / "m.tflite", (12, 12, 3))


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
