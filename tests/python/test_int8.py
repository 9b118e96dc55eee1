# SPDX-License-Identifier: BSD-3-Clause
"""Int8 files: what they hold, what interpreters compute with them, and what is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema
from rich.console import Console

import nmpack
from nmpack.cli.tables import inspect_table
from nmpack.convert import keras_to_tflite
from nmpack.errors import MissingError, ModelError, NmpackError
from nmpack.quantize import Int8, to_int8
from nmpack.quantize.samples import read_batches
from nmpack.quantize.weights import require_zeros
from nmpack.runtime.child import Signature
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.runner import run
from nmpack.sparsity.detection import detect_pattern
from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.block_rows import block_rows
from nmpack.tflite.builder import packed, unpacked
from nmpack.tflite.ends import name_ends
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import LayerInfo, TensorInfo
from nmpack.tflite.network import Network
from nmpack.tflite.storage import to_sparse_storage

Array = npt.NDArray[np.float32]
INPUT = Signature("x", (1, 8, 8, 3), "float32")
ENGINES = {
    "built-in": lambda: Engine("built-in"),
    "reference": lambda: Engine("reference", resolver="reference"),
    "tensorflow": lambda: Engine("built-in", "tensorflow"),
    "tflite-runtime": lambda: Engine("built-in", "tflite-runtime"),
    "nmpack": nmpack_engine,
}


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


IMAGES = draw(4, 28, 28, 1)


def residual(path: Path, dying: float = 1.0) -> Path:
    """Write two convolutions around a sum; one channel's weights are multiplied by ``dying``."""
    network = Network()
    x = network.tensor((1, 8, 8, 16))
    first, bias = draw(16, 3, 3, 16), draw(16, seed=1)
    first[3] *= dying
    y = network.convolution(x, first, bias)
    z = network.convolution(y, draw(16, 1, 1, 16, seed=2), bias)
    content = network.finish(x, network.add(z, y, relu=True))
    path.write_bytes(name_ends(schema, flatbuffers, content, ["x"], ["y"]))
    return path


def filters(path: Path) -> list[tuple[LayerInfo, TensorInfo, Any]]:
    file = TFLiteFile(path)
    found = []
    for item in file.convolutions:
        assert item.weights is not None
        found.append((item, item.weights, file.array(item.weights)))
    return found


@pytest.fixture(scope="module")
def quantized(models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pruned ResNet for Fashion-MNIST, in int8."""
    path = tmp_path_factory.mktemp("int8") / "int8.tflite"
    told: list[tuple[int, int]] = []
    how = Int8(draw(20, 28, 28, 1), samples=12, progress=lambda *at: told.append(at))
    report = to_int8(models("pruned"), path, how)
    assert told == [(at, 12) for at in range(1, 13)]
    assert (report.samples, report.filters, report.left) == (12, 10, ())
    assert report.after == path.stat().st_size < 0.3 * report.before
    return path


@pytest.mark.torch
def test_weights_are_symmetric_for_each_channel_and_zeros_stay(
    models: Callable[[str], Path], quantized: Path
) -> None:
    for (_, _, plain), (item, tensor, small) in zip(
        filters(models("pruned")), filters(quantized), strict=True
    ):
        assert tensor.dtype == "int8"
        assert tensor.quantization is not None
        assert not tensor.quantization.zero_point.any()
        axis = 3 if item.depthwise else 0
        assert tensor.quantization.dimension == axis
        scales = np.moveaxis(tensor.quantization.scale.reshape(-1, 1, 1, 1), 0, axis)
        assert scales.size == item.shape[axis]
        assert np.abs(small.astype(int)).max() == 127
        assert not small[plain == 0].any()
        assert (np.abs(plain - scales * small) / scales).max() <= 0.501
    graph = TFLiteFile(quantized).primary
    kinds = {name: graph.operators[at].name for name, at in (("first", 0), ("last", -1))}
    assert kinds == {"first": "QUANTIZE", "last": "DEQUANTIZE"}
    between = [graph.tensors[at].dtype for op in graph.operators[:-1] for at in op.outputs]
    assert set(between) == {"int8"}
    biases = [graph.tensors[op.inputs[2]] for op in graph.operators if op.name == "CONV_2D"]
    assert {tensor.dtype for tensor in biases} == {"int32"}


@pytest.fixture(scope="module")
def expected(models: Callable[[str], Path]) -> Array:
    """What the float model gives for the images of the next tests."""
    (found,) = run(models("pruned"), IMAGES, engine=Engine("built-in")).outputs.values()
    return found


@pytest.fixture(scope="module")
def sparse(quantized: Path) -> Path:
    """The int8 file with sparse storage."""
    path = quantized.with_name("sparse.tflite")
    assert len(to_sparse_storage(quantized, path).stored) == 8
    return path


@pytest.mark.torch
@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(name, marks={"nmpack": [pytest.mark.delegate], "tensorflow": [
            pytest.mark.keras]}.get(name, []))
        for name in ENGINES
    ],
)  # fmt: skip
def test_every_interpreter_computes_what_the_float_model_does(
    quantized: Path, sparse: Path, expected: Array, engine: str
) -> None:
    (found,) = run(quantized, IMAGES, engine=ENGINES[engine]()).outputs.values()
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    (again,) = run(sparse, IMAGES, engine=ENGINES[engine]()).outputs.values()
    assert np.array_equal(again, found)


@pytest.mark.torch
def test_sparse_storage_gives_the_filters_back(quantized: Path, sparse: Path) -> None:
    assert sparse.stat().st_size < 0.5 * quantized.stat().st_size
    for one, two in zip(filters(quantized), filters(sparse), strict=True):
        assert np.array_equal(one[2], two[2])


@pytest.mark.torch
def test_inspection_finds_the_columns(models: Callable[[str], Path], quantized: Path) -> None:
    plain = nmpack.inspect(models("pruned"), delegate=False).layers
    small = nmpack.inspect(quantized, delegate=False).layers
    assert {row.dtype for row in small} == {"int8"}
    assert [str(row.fit) for row in small] == [str(row.fit) for row in plain]
    assert sum("tile" in str(row.fit) for row in small) == 8
    screen = Console(file=io.StringIO(), width=300)
    screen.print(inspect_table(nmpack.inspect(quantized, delegate=False)))
    assert screen.file.getvalue().count(" int8 ") == len(small)


@pytest.mark.parametrize("tile", [8, 32])
@pytest.mark.parametrize("kept", [0.25, 0.5, 0.9])
def test_patterns_are_found_although_rounding_made_zeros(tile: int, kept: float) -> None:
    weights = draw(64, 3, 3, 32)
    mask = compute_mask(weights, NMPattern.from_density(kept, tile=tile))
    exact = detect_pattern(weights * mask)
    # One of ten weights that are kept becomes 0, as with a few large ones in a row.
    coarse = np.where(np.abs(weights) < 0.126, 0, weights) * mask
    assert 0.05 < 1.0 - np.count_nonzero(coarse) / np.count_nonzero(mask) < 0.15
    found = detect_pattern(coarse, rounded=True)
    assert (found.tile, found.column_density) == (exact.tile, exact.column_density)


@pytest.mark.parametrize("kept", [0.25, 0.5])
def test_rows_of_their_own_are_found(kept: float) -> None:
    weights = draw(64, 3, 3, 32)
    weights *= compute_mask(weights, NMPattern.from_density(kept, tile=1))
    assert str(detect_pattern(weights, rounded=True)) == str(detect_pattern(weights))


def test_dense_and_unstructured_filters_are_not_taken_for_patterns() -> None:
    weights = draw(64, 3, 3, 32)
    few = np.abs(weights) < 0.126
    assert str(detect_pattern(np.where(few, 0, weights), rounded=True)) == "dense"
    half = np.random.default_rng(1).random(weights.shape) < 0.5
    assert str(detect_pattern(np.where(half, 0, weights), rounded=True)) == "unstructured"


def test_int8_block_rows_are_a_quarter_of_the_float_ones() -> None:
    weights = np.rint(draw(64, 3, 3, 64) * 30).astype(np.int8)
    weights *= compute_mask(weights.astype(np.float32), NMPattern.from_sparsity(0.75, tile=32))
    rows = block_rows(weights)
    assert rows is not None
    assert rows.values.dtype == np.int8
    assert np.array_equal(rows.dense(), weights)
    stored = rows.values.nbytes + rows.channels.nbytes + rows.segments.nbytes
    assert stored < 0.3 * weights.nbytes


@pytest.mark.parametrize("dying", [0.0, 1e-6])
def test_a_channel_that_died_keeps_its_bias(tmp_path: Path, dying: float) -> None:
    """Its scale would be so small that the bias saturates."""
    plain, small = residual(tmp_path / "plain.tflite", dying), tmp_path / "small.tflite"
    images = draw(6, 8, 8, 16, seed=5)
    to_int8(plain, small, Int8(images))
    (expected,) = run(plain, images, engine=Engine("built-in")).outputs.values()
    (found,) = run(small, images, engine=Engine("built-in")).outputs.values()
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_int8_inputs_and_outputs(tmp_path: Path) -> None:
    plain, small = residual(tmp_path / "plain.tflite"), tmp_path / "small.tflite"
    to_int8(plain, small, Int8({"x": draw(4, 16, 8, 8)}, io="int8"))
    graph = TFLiteFile(small).primary
    ends = [graph.tensors[at] for at in (*graph.inputs, *graph.outputs)]
    assert [tensor.dtype for tensor in ends] == ["int8", "int8"]
    with pytest.raises(ModelError, match="expected a float32 model to quantize, got int8"):
        to_int8(small, tmp_path / "again.tflite", Int8(draw(4, 8, 8, 16)))
    assert not (tmp_path / "again.tflite").exists()


def test_a_lost_zero_is_refused(tmp_path: Path) -> None:
    plain, small = residual(tmp_path / "plain.tflite", 0.0), tmp_path / "small.tflite"
    to_int8(plain, small, Int8(draw(4, 8, 8, 16)))
    assert require_zeros(TFLiteFile(plain), TFLiteFile(small)) == 2
    _, model = unpacked(small)
    place = filters(small)[0][1].buffer
    values = np.array(model.buffers[place].data, np.uint8)
    values.view(np.int8).reshape(16, 3, 3, 16)[3, 1, 1, :2] = 1
    model.buffers[place].data = values
    small.write_bytes(packed(model))
    with pytest.raises(ModelError, match=r"weights of this CONV_2D to stay 0 in int8, got 2 other"):
        require_zeros(TFLiteFile(plain), TFLiteFile(small))


@pytest.mark.keras
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_keras_network_with_a_sum(tmp_path: Path) -> None:
    import nmpack.keras
    from nmpack.quiet import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = keras.Input((12, 12, 3), name="image")
    y = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    z = layers.BatchNormalization()(layers.Conv2D(32, 3, padding="same", use_bias=False)(y))
    z = layers.MaxPooling2D(3, 2, padding="same")(layers.ReLU()(layers.add([y, z])))
    model = keras.Model(x, layers.Dense(5, name="head")(layers.GlobalAveragePooling2D()(z)))
    nmpack.keras.prune_(model, NMPattern.from_sparsity(0.75, tile=32))
    images = draw(8, 12, 12, 3)
    path = keras_to_tflite(
        model, tmp_path / "k.tflite", int8=Int8(images), storage="sparse", batch=4
    )
    (found,) = run(path, images, engine=Engine("built-in")).outputs.values()
    expected = np.asarray(model(images))
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    dense, pruned = nmpack.inspect(path, delegate=False).layers[:2]
    assert (dense.dtype, pruned.dtype) == ("int8", "int8")
    assert str(pruned.fit) == "25.0% of the row kept, tile 32"


def saved(folder: Path, name: str, *arrays: Any, **named: Any) -> Path:
    path = folder / name
    with path.open("wb") as file:
        if named:
            np.savez(file, **named)
        else:
            np.save(file, arrays[0])
    return path


def test_data_come_from_arrays_files_and_folders(tmp_path: Path) -> None:
    images = draw(7, 8, 8, 3)
    first = np.moveaxis(images, 3, 1)
    saved(tmp_path, "a.npy", images[:3])
    saved(tmp_path, "b.npz", x=first[3:5])
    saved(tmp_path, "c.npy", images[5])
    saved(tmp_path, "d.npy", images[6:].astype(np.float64))
    (tmp_path / "notes.txt").write_text("not looked at")
    for data in (tmp_path, str(tmp_path), images, first, {"x": images}):
        found = read_batches(data, [INPUT], 100)
        assert np.array_equal(np.concatenate([batch["x"] for batch in found]), images)
    assert len(read_batches(tmp_path, [INPUT], 4)) == 4
    pairs = read_batches(images, [replace(INPUT, shape=(3, 8, 8, 3))], 100)
    assert [batch["x"].shape for batch in pairs] == [(3, 8, 8, 3)] * 2
    two = [INPUT, Signature("n", (1, 2), "int32")]
    numbers = np.arange(14).reshape(7, 2)
    assert read_batches({"x": images, "n": numbers}, two, 9)[6]["n"].tolist() == [[12, 13]]


def test_fashion_mnist_is_at_hand() -> None:
    batches = read_batches("fashion-mnist", [Signature("x", (2, 28, 28, 1), "float32")], 5)
    assert [batch["x"].shape for batch in batches] == [(2, 28, 28, 1)] * 2


class Trap:
    """Says so if it is ever unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trap = np.array([Trap()], dtype=object)
    for path in (saved(tmp_path, "a.npy", trap), saved(tmp_path, "b.npz", x=trap)):
        with pytest.raises(NmpackError, match="not readable as plain arrays"):
            read_batches(path, [INPUT], 9)
    assert not (tmp_path / "unpickled").exists()


def test_what_is_in_a_file_counts_not_its_name(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.npy", x=draw(3, 8, 8, 3))
    with pytest.raises(NmpackError, match=r"a\.npy: not readable as plain arrays"):
        read_batches(path, [INPUT], 9)


def test_numbers_are_not_wrapped_and_inputs_have_elements() -> None:
    far = np.array([[1, 2**40 + 5]])
    with pytest.raises(NmpackError, match="n: expected values that fit int32, got 1 to 1099511"):
        read_batches(far, [Signature("n", (1, 2), "int32")], 9)
    with pytest.raises(NmpackError, match="expected inputs with elements and one batch"):
        read_batches(np.zeros((3, 0), np.float32), [Signature("x", (1, 0), "float32")], 9)


NAN = np.where(np.arange(3)[:, None, None, None] == 1, np.nan, draw(3, 8, 8, 3))
REFUSED: dict[str, tuple[Any, str]] = {
    "shape": (draw(3, 8, 9, 3), r"x: expected shape \[N, 8, 8, 3\], got \[3, 8, 9, 3\]"),
    "axes": (np.float32(3), r"expected shape \[N, 8, 8, 3\], got \[\]"),
    "nan": (NAN, "x: sample 1 holds NaN or infinity"),
    "overflow": (draw(2, 8, 8, 3).astype(np.float64) * 1e300, "sample 0 holds NaN or infinity"),
    "empty": (draw(0, 8, 8, 3), "expected at least 1 samples, a batch of the model, got 0 of"),
    "same": (np.ones((4, 8, 8, 3), np.float32), "got nothing but 1"),
    "bytes": (np.zeros((2, 8, 8, 3), np.uint8), "expected floating-point values, .* got uint8"),
    "objects": (np.array([None, "a"], dtype=object), "expected floating-point values"),
    "ragged": ([[1.0], [1.0, 2.0]], "expected an array, got"),
    "complex": (np.ones((1, 8, 8, 3), complex), "got complex128"),
    "names": ({"a": draw(1, 8, 8, 3), "b": draw(1)}, "expected arrays named x, got a, b"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_data_that_do_not_fit_are_one_sentence(kind: str) -> None:
    data, match = REFUSED[kind]
    with pytest.raises(NmpackError, match=match) as error:
        read_batches(data, [INPUT], 9)
    assert "\n" not in str(error.value)


def test_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    whole = saved(tmp_path, "whole.npy", draw(3, 8, 8, 3)).read_bytes()
    archive = saved(tmp_path, "whole.npz", x=draw(3, 8, 8, 3), y=draw(2)).read_bytes()
    huge = whole.replace(b"(3, 8, 8, 3), }", b"(3" + b"0" * 9 + b", 8, 8, 3), }", 1)
    contents = {
        "cut.npy": whole[:-7], "none.npy": b"", "text.npy": b"hello", "huge.npy": huge,
        "cut.npz": archive[: len(archive) // 2], "text.npz": b"hello" * 99,
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NmpackError, match=rf"{name}: not readable as plain arrays: ") as error:
            read_batches(tmp_path / name, [INPUT], 9)
        assert "\n" not in str(error.value)
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", whole)
    content = bytearray(bomb.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + 24 : central + 28] = (0xFFFFFF00).to_bytes(4, "little")
    bomb.write_bytes(content)
    with pytest.raises(NmpackError, match="not readable as plain arrays"):
        read_batches(bomb, [INPUT], 9)
    (tmp_path / "nothing").mkdir()
    for path in (tmp_path / "nothing", tmp_path / "absent.npy"):
        with pytest.raises(MissingError):
            read_batches(path, [INPUT], 9)


def test_models_that_cannot_be_quantized_are_refused(tmp_path: Path) -> None:
    plain, target = residual(tmp_path / "plain.tflite"), tmp_path / "t.tflite"
    with pytest.raises(ModelError, match="expected finite weights to quantize, got NaN"):
        to_int8(residual(tmp_path / "nan.tflite", np.nan), target, Int8(draw(4, 8, 8, 16)))
    _, model = unpacked(plain)
    model.signatureDefs = []
    plain.write_bytes(packed(model))
    with pytest.raises(ModelError, match="expected a model with one signature to quantize, got 0"):
        to_int8(plain, target, Int8(draw(4, 8, 8, 16)))
    with pytest.raises(NmpackError, match="io must be one of float32, int8, got 'int4'"):
        Int8(draw(1), io="int4")
    with pytest.raises(NmpackError, match="samples must be at least 1, got 0"):
        Int8(draw(1), samples=0)
    assert not target.exists()
