# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch models of every kind of input and output, converted, against the models themselves."""

from __future__ import annotations

import copy
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nmpack.torch
from nmpack.convert import torch_to_tflite
from nmpack.errors import ModelError, NmpackError
from nmpack.models import fashion_resnet
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.runner import run
from nmpack.sparsity.pattern import NMPattern

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::UserWarning")]
Pair = namedtuple("Pair", "boxes scores")


def run_signature(path: Path, inputs: dict[str, torch.Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    """Run a file in the stock interpreter by the names of its signature."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner("serving_default")
    assert set(runner.get_input_details()) == set(inputs)
    result: dict[str, np.ndarray[Any, Any]] = runner(**{k: v.numpy() for k, v in inputs.items()})
    return result


def last(image: torch.Tensor) -> torch.Tensor:
    return image.permute(0, 2, 3, 1).contiguous()


class Detector(nn.Module):
    """Two inputs, nested outputs whose names do not sort as they come."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(12, 5)
        nn.init.uniform_(self.norm.running_mean, -0.5, 0.5)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        return self.drop(torch.relu(self.norm(self.body(image))))


class ByPosition(Detector):
    def forward(self, image: torch.Tensor, extra: torch.Tensor) -> Any:
        x = self.features(image)
        return self.head(torch.cat([x.mean((2, 3)), extra], 1)), x


class ByName(Detector):
    def forward(self, *, image: torch.Tensor, side: dict[str, Any], scale: float) -> Any:
        x = self.features(image)
        y = self.head(torch.cat([x.mean((2, 3)), side["extra"][0]], 1))
        return {"zeta": y * scale, "alpha": {"map": [x, None]}, "pair": Pair(y + 1, y - 1)}


IMAGE = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))
EXTRA = torch.randn(2, 4, generator=torch.Generator().manual_seed(2))


def test_inputs_by_position_and_a_tuple_of_outputs(tmp_path: Path) -> None:
    model = ByPosition()
    path = torch_to_tflite(model, tmp_path / "m.tflite", samples=(IMAGE, EXTRA))
    assert model.training
    with torch.no_grad():
        expected = model.eval()(IMAGE, EXTRA)
    result = run_signature(path, {"args_0": last(IMAGE), "args_1": EXTRA})
    for name, tensor in zip(("output_0", "output_1"), expected, strict=True):
        np.testing.assert_allclose(result[name], tensor.numpy(), atol=1e-5)
    ordered = run(path, [last(IMAGE).numpy(), EXTRA.numpy()], engine=Engine("stock"))
    for array, tensor in zip(ordered.outputs.values(), expected, strict=True):
        np.testing.assert_allclose(array, tensor.numpy(), atol=1e-5)


def test_inputs_by_name_and_nested_outputs(tmp_path: Path) -> None:
    model = ByName().eval()
    samples = {"image": IMAGE, "side": {"extra": [EXTRA]}, "scale": 3.0}
    path = torch_to_tflite(model, tmp_path / "m.tflite", samples=samples)
    with torch.no_grad():
        expected = model(**samples)
    result = run_signature(path, {"image": last(IMAGE), "side_extra_0": EXTRA})
    assert set(result) == {"zeta", "alpha_map_0", "pair_boxes", "pair_scores"}
    np.testing.assert_allclose(result["zeta"], expected["zeta"].numpy(), atol=1e-5)
    np.testing.assert_allclose(
        result["alpha_map_0"], expected["alpha"]["map"][0].numpy(), atol=1e-5
    )
    np.testing.assert_allclose(result["pair_scores"], expected["pair"].scores.numpy(), atol=1e-5)


class Meeting(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return {"a": {"b": x * 2}, "a_b": x * 3}


class Straight(nn.Module):
    """Outputs that are an input, the same twice, or a constant; an input that is not used."""

    def forward(self, b: torch.Tensor, a: torch.Tensor, _: torch.Tensor) -> Any:
        twice = a * 2
        return twice, b, twice, b, torch.full((2,), 7.0)


def test_names_that_meet_stay_apart(tmp_path: Path) -> None:
    """Both outputs were the second one before, without a word."""
    path = torch_to_tflite(Meeting(), tmp_path / "m.tflite", samples=EXTRA)
    result = run_signature(path, {"args_0": EXTRA})
    np.testing.assert_array_equal(result["a_b"], 2 * EXTRA.numpy())
    np.testing.assert_array_equal(result["a_b_2"], 3 * EXTRA.numpy())


def test_outputs_that_are_inputs_and_constants_keep_their_places(tmp_path: Path) -> None:
    samples = (EXTRA, IMAGE[:, 0, 0], IMAGE[:, :, 0, 0])
    path = torch_to_tflite(Straight(), tmp_path / "m.tflite", samples=samples)
    result = run_signature(path, {f"args_{i}": sample for i, sample in enumerate(samples)})
    for index, tensor in enumerate(Straight()(*samples)):
        np.testing.assert_array_equal(result[f"output_{index}"], tensor.numpy())


def test_whole_numbers_come_in_32_bits(tmp_path: Path) -> None:
    model = nn.Embedding(10, 4)
    words = torch.tensor([[1, 9, 3]])
    path = torch_to_tflite(model, tmp_path / "m.tflite", samples=words)
    result = run_signature(path, {"args_0": words.int()})
    np.testing.assert_allclose(result["output_0"], model(words).detach().numpy())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_convert_in_float32(tmp_path: Path, kind: torch.dtype) -> None:
    model = ByPosition().to(kind).eval()
    before = copy.deepcopy(model.state_dict())
    samples = (IMAGE.to(kind), EXTRA.to(kind))
    path = torch_to_tflite(model, tmp_path / "m.tflite", samples=samples)
    inputs = {"args_0": last(IMAGE.to(kind).float()), "args_1": EXTRA.to(kind).float()}
    result = run_signature(path, inputs)
    wide = copy.deepcopy(model).float()
    with torch.no_grad():
        exact = wide(*(sample.float() for sample in samples))[0].numpy()
        rough = model(*samples)[0].float().numpy()
    np.testing.assert_allclose(result["output_0"], exact, atol=1e-5)
    np.testing.assert_allclose(result["output_0"], rough, atol=3e-2)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


def test_a_pruned_model_with_two_inputs_keeps_its_zeros(tmp_path: Path) -> None:
    from nmpack.tflite.file import TFLiteFile

    model = ByPosition()
    model.body = nn.Conv2d(3, 8, 4)
    nmpack.torch.prune_(model, NMPattern(2, 4, tile=8), select="body")
    path = torch_to_tflite(model, tmp_path / "m.tflite", samples=(IMAGE, EXTRA), storage="sparse")
    result = run_signature(path, {"args_0": last(IMAGE), "args_1": EXTRA})
    with torch.no_grad():
        np.testing.assert_allclose(
            result["output_0"], model.eval()(IMAGE, EXTRA)[0].numpy(), atol=1e-5
        )
    (convolution,) = TFLiteFile(path).convolutions
    assert np.count_nonzero(TFLiteFile(path).array(convolution.weights)) == 3 * 16 * 8 // 2


def test_a_compiled_model_converts_as_what_is_inside(tmp_path: Path) -> None:
    inner = nn.Conv2d(3, 4, 3)
    path = torch_to_tflite(torch.compile(inner), tmp_path / "m.tflite", (9, 9, 3), batch=2)
    result = run_signature(path, {"args_0": last(IMAGE)})
    np.testing.assert_allclose(result["output_0"], inner(IMAGE).detach().numpy(), atol=1e-5)


def test_a_model_without_parameters_converts(tmp_path: Path) -> None:
    path = torch_to_tflite(nn.MaxPool2d(3), tmp_path / "m.tflite", samples=IMAGE)
    result = run_signature(path, {"args_0": last(IMAGE)})
    np.testing.assert_array_equal(result["output_0"], nn.MaxPool2d(3)(IMAGE).numpy())


class Returns(nn.Module):
    """Returns what a function makes of its input."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


class Derived(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3)
        self.twice = self.body.weight * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, self.twice)


def meta() -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(8, 3)), "0: this lazy layer has no weights yet"),
    "lazy norm": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.LazyBatchNorm2d()), "1: this lazy"),
    "meta": (meta, "0: its weights are on the meta device, without values: load them onto the CPU"),
    "channels": (
        lambda: nn.Conv2d(4, 8, 3),
        r"the model itself fails on inputs of args_0 \[1, 3, 9, 9\]: RuntimeError: .* 4 channels",
    ),
    "complex": (lambda: Returns(lambda x: torch.fft.fft2(x).abs()), "complex numbers"),
    "complex output": (lambda: Returns(torch.fft.fft2), "output output_0: .*, got complex64"),
    "branch": (lambda: Returns(lambda x: x if x.sum() > 0 else -x), "depends on the values"),
    "size": (lambda: Returns(torch.nonzero), "a size in it depends on the values"),
    "operator": (
        lambda: Returns(torch.linalg.svd),
        r"the operator aten\._linalg_svd, which has no",
    ),
    "number": (lambda: Returns(lambda x: (x, 3)), "output output_1: expected tensors .* got int"),
    "object": (lambda: Returns(lambda _: {"a": object()}), "output a: .* got object"),
    "nothing": (lambda: Returns(lambda _: None), "expected a model with an output, got none"),
    "script": (lambda: torch.jit.script(nn.Conv2d(3, 8, 3)), "got TorchScript"),
    "copy": (Derived, "this model cannot be copied: RuntimeError: Only Tensors created explicitly"),
    "function": (lambda: lambda x: x, r"expected a torch\.nn\.Module, got function"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_what_cannot_be_converted_ends_in_one_sentence(tmp_path: Path, kind: str) -> None:
    build, says = REFUSED[kind]
    with pytest.raises(ModelError, match=says) as caught:
        torch_to_tflite(build(), tmp_path / "m.tflite", (9, 9, 3))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_samples_and_shapes_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    model = nn.Identity()
    with pytest.raises(NmpackError, match="either an input shape or samples"):
        torch_to_tflite(model, path)
    with pytest.raises(NmpackError, match="either an input shape or samples"):
        torch_to_tflite(model, path, (9, 9, 3), samples=IMAGE)
    with pytest.raises(NmpackError, match="a batch of their own: expected no other, got 2"):
        torch_to_tflite(model, path, batch=2, samples=IMAGE)
    with pytest.raises(ModelError, match="at least one tensor among the samples, got none"):
        torch_to_tflite(model, path, samples=(1,))
    with pytest.raises(ModelError, match="input args_0: expected real numbers, got complex64"):
        torch_to_tflite(model, path, samples=IMAGE.to(torch.complex64))


def test_a_model_in_channels_last_memory(tmp_path: Path) -> None:
    """As after training: a filter of one channel then has strides that its shape does not say."""
    torch.manual_seed(0)
    model = fashion_resnet().eval().to(memory_format=torch.channels_last)
    image = torch.randn(1, 1, 28, 28)
    path = torch_to_tflite(model, tmp_path / "m.tflite", (28, 28, 1))
    inputs = image.permute(0, 2, 3, 1).numpy()
    (found,) = run(path, inputs, engine=Engine("built-in")).outputs.values()
    np.testing.assert_allclose(found, model(image).detach().numpy(), rtol=0, atol=1e-4)
    assert model.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
