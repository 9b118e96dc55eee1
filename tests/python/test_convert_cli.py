# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack convert`` and ``nmpack prune`` on unusual models: a result, or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nmpack.cli import main
from nmpack.models import fashion_resnet
from nmpack.quiet import import_keras

pytestmark = [
    pytest.mark.keras,
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]


def functional(*, image: tuple[int | None, ...] = (9, 9, 4), policy: str = "float32") -> Any:
    """Return a model with one image and one output."""
    keras = import_keras()
    inputs = keras.Input(image)
    x = keras.layers.Conv2D(8, 3, dtype=policy)(inputs)
    x = keras.layers.Conv2D(16, 3, dtype=policy)(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(dtype=policy)(x))


def two_ends() -> Any:
    keras = import_keras()
    one, two = keras.Input((9, 9, 4), name="one"), keras.Input((7,), name="two")
    x = keras.layers.Conv2D(16, 3)(keras.layers.Conv2D(8, 3)(one))
    return keras.Model({"one": one, "two": two}, {"x": x, "y": keras.layers.Dense(3)(two)})


def sequential(*names: str) -> Any:
    keras = import_keras()
    layers = [getattr(keras.layers, name)(8, 3, name=f"layer{i}") for i, name in enumerate(names)]
    return keras.Sequential(layers, name="late")


MODELS: dict[str, Callable[[], Any]] = {
    "plain": functional,
    "mixed": lambda: functional(policy="mixed_float16"),
    "any": lambda: functional(image=(None, None, 3)),
    "two": two_ends,
    "late": lambda: sequential("Conv2D"),
    "up": lambda: import_keras().Sequential(
        [import_keras().Input((9, 9, 4)), import_keras().layers.Conv2DTranspose(8, 2, name="up")]
    ),
}


def ends_of(path: Path) -> tuple[list[Any], list[Any]]:
    """Return what the stock interpreter says of a file's inputs and outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    return interpreter.get_input_details(), interpreter.get_output_details()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("model", "more", "inputs"),
    [
        ("two", "", [(1, 9, 9, 4), (1, 7)]),
        ("two", "--batch 3", [(3, 9, 9, 4), (3, 7)]),
        ("mixed", "", [(1, 9, 9, 4)]),
        ("any", "--input-shape 20,30,3", [(1, 20, 30, 3)]),
        ("any", "--input-shape 20,30,3 --batch 2 --storage sparse", [(2, 20, 30, 3)]),
    ],
)
def test_keras_models_are_pruned_and_converted(
    folder: Path, model: str, more: str, inputs: list[tuple[int, ...]]
) -> None:
    MODELS[model]().save(folder / "m.keras")
    pattern = "--pattern 2:4 --tile 8 -o pruned.keras"
    assert main(["prune", "m.keras", *pattern.split()]) == 0
    assert main(["convert", "pruned.keras", "-o", "m.tflite", *more.split()]) == 0
    assert [tuple(item["shape"]) for item in ends_of(folder / "m.tflite")[0]] == inputs
    assert main(["run", "m.tflite", "--no-delegate", "--compare"]) == 0


def test_two_inputs_in_int8(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    MODELS["two"]().save(folder / "m.keras")
    generator = np.random.default_rng(0)
    images, rows = generator.normal(size=(5, 4, 9, 9)), generator.normal(size=(5, 7))
    np.savez(folder / "data.npz", one=images, two=rows)
    convert = "convert m.keras -o m.tflite --int8 --calibrate data.npz --samples 4 --io int8"
    assert main(convert.split()) == 0
    for ends in ends_of(folder / "m.tflite"):
        assert {item["dtype"] for item in ends} == {np.int8}
    assert main(["inspect", "m.tflite", "--no-delegate"]) == 0
    assert "8x3x3x4 int8" in capsys.readouterr().out
    np.save(folder / "data.npy", images)
    assert main(convert.replace("npz", "npy").split()) == 1
    assert "expected arrays named one, two, got one without a name" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_checkpoints_in_other_precisions_convert(folder: Path, kind: torch.dtype) -> None:
    torch.save(fashion_resnet().to(kind).state_dict(), folder / "m.pt")
    assert main(["convert", "m.pt", "--arch", "fashion_resnet", "-o", "m.tflite"]) == 0
    given, made = ends_of(folder / "m.tflite")
    assert {item["dtype"] for item in (*given, *made)} == {np.float32}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("convert any.keras", "must have a fixed size, got (None, None, 3): give samples"),
        ("convert any.keras --input-shape 20,30,4", "this Keras model takes one of any x any x 3"),
        ("convert plain.keras --input-shape 9,9,4", "this Keras model takes one of 9 x 9 x 4"),
        ("convert two.keras --input-shape 9,9,4", "takes other inputs than one image"),
        ("convert plain.keras --int8", "--int8 needs --calibrate DATA: fashion-mnist, a .npy or"),
        ("convert plain.keras --io int8", "--io belongs to --int8, which is not given"),
        ("convert late.keras", "late: has no weights yet: call the model once on a sample"),
        ("prune late.keras", "layer0: has no weights yet; call the model once"),
        ("prune up.keras", "no linear layer; cannot be pruned, being neither 2D convolutions nor"),
        (
            "convert meta.pt --arch fashion_resnet",
            "meta.pt: conv1.weight has no values: it was saved from the meta device",
        ),
        ("convert lazy.pt --arch fashion_resnet", "lazy.pt: not a checkpoint of plain tensors"),
    ],
)
def test_what_is_refused_ends_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, says: str
) -> None:
    verb, name, *more = command.split()
    if name.endswith(".keras"):
        MODELS[name.removesuffix(".keras")]().save(folder / name)
    else:
        with torch.device("meta" if name == "meta.pt" else "cpu"):
            model = nn.Sequential(nn.LazyLinear(8)) if name == "lazy.pt" else fashion_resnet()
        torch.save(model.state_dict(), folder / name)
    rest = ["-o", "x.tflite"] if verb == "convert" else ["--sparsity", "0.5", "-o", "x.keras"]
    assert main([verb, name, *more, *rest]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"nmpack {verb}: error: ")
    assert error.count("\n") == 1
    assert says in error
    assert [item.name for item in folder.iterdir()] == [name]
