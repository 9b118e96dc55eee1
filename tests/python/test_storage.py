# SPDX-License-Identifier: BSD-3-Clause
"""Sparse storage: smaller files that every interpreter reads."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nmpack.torch
from nmpack.convert import require_storage, torch_to_tflite
from nmpack.errors import ModelError, NmpackError
from nmpack.measure.benchmark import bench
from nmpack.models import build
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.runner import run
from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.block_rows import BlockRows, block_rows, decode
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.flatbuffer import Table
from nmpack.tflite.model import Axis, Sparsity
from nmpack.tflite.storage import to_sparse_storage


def stored_bytes(rows: BlockRows) -> int:
    """Return what the three arrays of a filter take in a file."""
    return rows.segments.nbytes + rows.channels.nbytes + rows.values.nbytes


@given(
    outputs=st.integers(1, 40),
    taps=st.sampled_from([(1, 1), (3, 3), (2, 1)]),
    inputs=st.sampled_from([1, 3, 16, 255, 256, 257, 300]),
    tile=st.sampled_from([1, 2, 3, 8, 16, 32]),
    density=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_block_rows_give_the_filter_back_and_are_never_larger(
    outputs: int, taps: tuple[int, int], inputs: int, tile: int, density: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(outputs, *taps, inputs)).astype(np.float32)
    weights *= compute_mask(weights, NMPattern.from_density(density, tile=tile)) if density else 0.0
    rows = block_rows(weights)
    if rows is None:
        return
    assert np.array_equal(rows.dense(), weights)
    assert outputs % rows.tile == 0
    assert stored_bytes(rows) <= 0.9 * weights.nbytes
    assert rows.channels.dtype == (np.uint8 if inputs <= 256 else np.uint16)


def test_the_tile_of_the_pattern_is_found_and_dense_filters_stay() -> None:
    weights = np.random.default_rng(0).normal(size=(64, 3, 3, 64)).astype(np.float32)
    assert block_rows(weights) is None
    for tile in (8, 32):
        pattern = NMPattern.from_sparsity(0.75, tile=tile)
        rows = block_rows(weights * compute_mask(weights, pattern))
        assert rows is not None
        assert rows.tile == tile
        assert stored_bytes(rows) < 0.28 * weights.nbytes
    assert block_rows(np.zeros((7, 1, 1, 5), np.float32)) is not None


def test_a_filter_of_next_to_nothing_is_neither_stored_nor_read() -> None:
    """Zeros take no room in a file, but in memory they do."""
    one = np.zeros((1, 1, 1, 1 << 22), np.float32)
    one[..., 7] = 1.0
    rows = block_rows(one)
    assert rows is not None
    assert np.array_equal(rows.dense(), one)
    assert block_rows(np.concatenate([one, one], axis=3)) is None
    enough = np.zeros((1, 1, 1, 1 << 23), np.float32)
    enough[..., ::64] = 1.0
    assert block_rows(enough) is not None

    def read(inputs: int, kept: int) -> int:
        sizes = [Axis("DENSE", 1, None, None)] * 3
        segments, indices = np.array([0, kept], np.int32), np.arange(kept, dtype=np.int32)
        axes = (*sizes, Axis("SPARSE_CSR", 0, segments, indices), Axis("DENSE", 1, None, None))
        encoding = Sparsity(0, (0, 1, 2, 3, 4), (0,), axes)
        return decode(encoding, (1, 1, 1, inputs), np.zeros(4 * kept, np.uint8)).size

    assert read(1 << 22, 1) == 1 << 22
    assert read(1 << 23, 1 << 17) == 1 << 23
    for inputs, kept in ((1 << 23, 1), (1 << 23, (1 << 17) - 1), ((1 << 28) + 1, 1 << 22)):
        with pytest.raises(ModelError, match=rf"of which {kept} weights are stored: expected at "):
            read(inputs, kept)


@pytest.mark.torch
def test_a_resnet50_is_at_most_a_third_of_the_dense_file() -> None:
    # All that the file holds, but for its graph (30 kB): the weights, stored or dense.
    torch.manual_seed(0)
    model = build("resnet50")
    total = sum(value.numel() * 4 for value in model.parameters())
    pruned = {
        row.name
        for row in nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=32)).pruned
    }
    smaller = 0
    for name, layer in model.named_modules():
        if name in pruned:
            rows = block_rows(nmpack.torch.weights(layer))
            assert rows is not None, name
            smaller += layer.out_channels * layer.in_channels * 4 * layer.kernel_size[0] ** 2
            smaller -= stored_bytes(rows)
    assert len(pruned) == 52
    assert (total - smaller) / total < 0.325


@pytest.fixture(scope="module")
def stored(models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "sparse.tflite"
    report = to_sparse_storage(models("pruned"), path)
    assert len(report.stored) == 8
    assert report.kept == 2
    assert report.after == path.stat().st_size < 0.3 * report.before
    return path


@pytest.mark.torch
def test_the_weights_are_the_same_and_aligned(models: Callable[[str], Path], stored: Path) -> None:
    dense, sparse = TFLiteFile(models("pruned")), TFLiteFile(stored)
    for one, two in zip(dense.convolutions, sparse.convolutions, strict=True):
        assert one.shape == two.shape
        assert one.weights is not None
        assert two.weights is not None
        assert np.array_equal(dense.array(one.weights), sparse.array(two.weights))
        assert two.weights.sparse == (not one.depthwise)
        assert sparse.span(two.weights)[0] % 16 == 0


ENGINES = {
    "built-in": lambda: Engine("built-in"),
    "reference": lambda: Engine("reference", resolver="reference"),
    "tflite-runtime": lambda: Engine("built-in", "tflite-runtime"),
    "nmpack": nmpack_engine,
    "nmpack-alone": lambda: nmpack_engine(alone=True),
}


@pytest.mark.torch
@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(name, marks=pytest.mark.delegate if "nmpack" in name else ())
        for name in ENGINES
    ],
)
def test_every_interpreter_gives_the_same_outputs(
    models: Callable[[str], Path], stored: Path, engine: str
) -> None:
    images = np.random.default_rng(0).normal(size=(2, 28, 28, 1)).astype(np.float32)
    expected = run(models("pruned"), images, engine=Engine("built-in")).outputs
    found = run(stored, images, engine=ENGINES[engine]()).outputs
    for one, two in zip(expected.values(), found.values(), strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-5 * np.abs(one).max())


@pytest.mark.torch
@pytest.mark.delegate
def test_the_delegate_chooses_the_same_operators(
    models: Callable[[str], Path], stored: Path, delegate: Path
) -> None:
    dense, sparse = (nmpack.inspect(path).layers for path in (models("pruned"), stored))
    assert delegate.exists()
    assert [row.operator for row in sparse] == [row.operator for row in dense]
    assert sum(row.operator == "nm" for row in sparse) == 8
    assert [str(row.fit) for row in sparse] == [str(row.fit) for row in dense]


@pytest.mark.torch
@pytest.mark.delegate
@pytest.mark.parametrize("kind", ["convolution", "linear"])
def test_the_delegate_never_holds_the_dense_filters(tmp_path: Path, kind: str) -> None:
    layers: list[torch.nn.Module]
    if kind == "linear":
        layers = [torch.nn.Linear(1536, 1536) for _ in range(4)]
        model, shape = torch.nn.Sequential(torch.nn.Flatten(), *layers), (1, 1, 1536)
    else:
        layers = [torch.nn.Conv2d(512, 512, 3, padding=1) for _ in range(4)]
        model, shape = torch.nn.Sequential(*layers), (4, 4, 512)
    nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=32), select="*")
    path = torch_to_tflite(model, tmp_path / "model.tflite", shape, storage="sparse")
    weights = (item for layer in layers for item in layer.parameters() if item.ndim > 1)
    dense = sum(item.numel() * 4 for item in weights)
    assert path.stat().st_size < 0.3 * dense
    stock, ours = bench(path, (Engine("built-in"), nmpack_engine()), rounds=1, repeat=1).timings
    grown = [item.peak_memory - item.memory_before for item in (stock, ours)]
    # The file, a quarter of the dense weights, and as much for the packed ones.
    assert grown[1] < 0.75 * dense < dense < grown[0], grown


@pytest.mark.torch
def test_storing_twice_changes_nothing_and_dense_models_stay(
    models: Callable[[str], Path], stored: Path, tmp_path: Path
) -> None:
    again = to_sparse_storage(stored, tmp_path / "again.tflite")
    assert again.stored == ()
    assert again.after == pytest.approx(again.before, rel=0.01)
    assert to_sparse_storage(models("dense"), tmp_path / "dense.tflite").stored == ()


@pytest.mark.torch
def test_convert_writes_it(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(32, 32, 3))
    nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=32), select="0")
    path = torch_to_tflite(model, tmp_path / "one.tflite", (6, 6, 32), storage="sparse")
    file = TFLiteFile(path)
    (item,) = file.convolutions
    assert item.weights is not None
    assert np.array_equal(file.array(item.weights), nmpack.torch.weights(model[0]))
    with pytest.raises(NmpackError, match="a storage out of dense, sparse, got 'zip'"):
        require_storage("zip")


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_is_one_error_or_a_filter(stored: Path, tmp_path: Path, seed: int) -> None:
    content = stored.read_bytes()
    file = TFLiteFile(stored)
    weights = [item.weights for item in file.convolutions if not item.depthwise]
    assert all(item.encoding is not None for item in weights)
    encoding = Table._at(memoryview(content), weights[0].encoding.position)
    axis = list(encoding.tables(2))[3]
    spots = [encoding.position, encoding.vtable, axis.position, axis.vtable]
    spots += [axis.table(field).position for field in (3, 5)]
    generator = random.Random(seed)
    errors: list[str] = []
    for _ in range(150):
        damaged = bytearray(content)
        spot = generator.choice(spots) + generator.randrange(40)
        damaged[spot] = generator.randrange(256)
        path = tmp_path / "damaged.tflite"
        path.write_bytes(damaged)
        try:
            other = TFLiteFile(path)
            for item in weights:
                tensor = other.primary.tensors[item.index]
                assert other.array(tensor).shape == tensor.shape
        except ModelError as error:
            errors.append(str(error))
    assert len(errors) > 10, f"seed {seed}"
    assert all(str(path) in error for error in errors), f"seed {seed}"
