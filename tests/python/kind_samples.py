# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch models of many kinds, and what a file of one has to be: the module's outputs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.utils._pytree as pytree
from ai_edge_litert.interpreter import Interpreter
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from nmpack.convert import torch_to_tflite
from nmpack.runtime.interpreter import load_delegate
from nmpack.sparsity.pattern import NMPattern

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
