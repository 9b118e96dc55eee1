# SPDX-License-Identifier: BSD-3-Clause
"""Our own reader of model files, honest and hostile ones."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nmpack.detection import detect_pattern
from nmpack.errors import ModelError, NmpackError
from nmpack.inspection import inspect
from nmpack.names import short_names
from nmpack.tflite_file import TFLiteFile

pytestmark = pytest.mark.torch
Models = Callable[[str], Path]


def test_reads_every_convolution(models: Models) -> None:
    file = TFLiteFile(models("dense"))
    assert [file.tensors[i].shape for i in file.inputs] == [(1, 28, 28, 1)]
    assert [file.tensors[i].shape for i in file.outputs] == [(1, 10)]
    shapes = sorted(item.shape for item in file.convolutions if not item.depthwise)
    assert shapes == sorted(
        [(64, 3, 3, 64)] * 4 + [(64, 1, 1, 64), (128, 1, 1, 64), (128, 3, 3, 64), (128, 3, 3, 128)]
    )
    strides = {item.stride for item in file.convolutions}
    assert strides == {(1, 1), (2, 2)}


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("dense", "dense"),
        ("pruned", "25.0% of the row kept, tile 32"),
        ("nm", "2:4 kept, tile 8"),
    ],
)
def test_detects_the_pattern_in_a_converted_model(models: Models, kind: str, says: str) -> None:
    report = inspect(models(kind), delegate=False)
    rows = [row for row in report.convolutions if not row.depthwise]
    assert len(rows) == 8
    assert {str(row.fit) for row in rows} == {says}
    assert {row.operator for row in report.convolutions} == {None}
    names = [row.name for row in report.convolutions]
    assert "layer1.0.conv1" in names
    assert "layer2.0.downsample.0" in names
    assert len(set(names)) == len(names)
    assert report.partitions is None


def test_report_as_json(models: Models) -> None:
    value = inspect(models("nm"), delegate=False).to_dict()
    assert value["schema"] == 1
    row = next(row for row in value["convolutions"] if row["name"] == "layer1.0.conv2")
    assert row["pattern"] == "2:4 kept, tile 8"
    assert row["fit"]["element_density"] == pytest.approx(0.5)
    assert row["shape"] == (64, 3, 3, 64)


def read_all(path: Path) -> None:
    """Do with a file all that the reader can do."""
    file = TFLiteFile(path)
    short_names([item.name for item in file.convolutions])
    for item in file.convolutions:
        if item.weights is not None:
            detect_pattern(file.array(item.weights), groups=1 if item.depthwise else item.groups)


@pytest.fixture
def skeleton(models: Models) -> bytes:
    """The model's bytes."""
    return models("pruned").read_bytes()


def test_every_truncation_is_one_error(skeleton: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    sizes = [*range(0, 200, 7), *range(200, len(skeleton), max(1, len(skeleton) // 60))]
    for size in [*sizes, len(skeleton) - 1]:
        path.write_bytes(skeleton[:size])
        with pytest.raises(ModelError, match=r"cut\.tflite: "):
            read_all(path)


def test_flipped_bytes_end_in_a_result_or_one_error(skeleton: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped.tflite"
    generator = random.Random(11)
    # Weights make up most of a file, tables are at its ends.
    places = [*range(8, 4000), *range(len(skeleton) - 30000, len(skeleton))]
    messages = []
    for _ in range(400):
        damaged = bytearray(skeleton)
        for _ in range(generator.choice([1, 1, 4, 16])):
            damaged[generator.choice(places)] = generator.choice([0, 1, 0x7F, 0x80, 0xFF])
        path.write_bytes(damaged)
        try:
            read_all(path)
        except NmpackError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(str(path) in text and "\n" not in text for text in messages)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read"),
        (b"TFL3", "at least 8 bytes"),
        (b"\x10\0\0\0ABCD" + bytes(64), "expected the file identifier b'TFL3', got b'ABCD'"),
        (struct.pack("<I4s", 0xFFFFFFFF, b"TFL3") + bytes(64), "truncated or damaged"),
        (struct.pack("<I4si", 8, b"TFL3", 0x7FFFFFFF) + bytes(64), "truncated or damaged"),
        (struct.pack("<I4si", 8, b"TFL3", 0) + bytes(64), "impossible length"),
        (b"PK\x03\x04 not a model at all", "file identifier"),
    ],
)
def test_hostile_headers(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=says):
        TFLiteFile(path)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.tflite", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            TFLiteFile(path)


def test_arrays_are_read_only_views(models: Models) -> None:
    file = TFLiteFile(models("pruned"))
    array = file.array(file.convolutions[1].weights)
    assert not array.flags.writeable
    assert array.dtype == np.float32


def test_short_names_are_distinct_and_bounded() -> None:
    names = short_names(["a/conv1/BiasAdd", "b/conv1/Conv2D", "", "x" * 500, "plain"])
    assert names == ["conv1", "conv1#2", "unnamed", "x" * 60, "plain"]
