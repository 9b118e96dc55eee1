# SPDX-License-Identifier: BSD-3-Clause
"""nmpack.tune: the layers of a file, the compact table, and the table in a file's metadata."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tune_samples import filters, small_model

from nmpack.errors import ModelError
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.builder import packed, unpacked
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.network import Network, Steps
from nmpack.tune.embedding import NAME, embed, embedded
from nmpack.tune.layers import layers_of
from nmpack.tune.table import (
    MOST_BYTES,
    Table,
    TableCost,
    TableError,
    TableLayer,
    load_table,
    read_table,
    save_table,
    table_sizes,
    write_table,
)

SIZES = (1, 56, 56, 56, 56, 1, 64, 64, 3, 3, 1, 1, 1, 1)
TABLE = Table(
    "fma3", 0, "0123456789abcdef", "Some CPU @ 2 GHz", 2, 27.5,
    (
        TableLayer(SIZES, (0.25, 0.25, 0.2525), {"dense": 4000.5, "nhwc-6x16": 1500.0}),
        TableLayer(SIZES, (1.0, 1.0, 1.0), {"dense": 4100.0}),
        TableLayer(SIZES, (1.0, 1.0, 1.0), {"dense": 2100.0}, "qs8"),
    ),
    (
        TableCost("min_speedup", None, (1.1,)),
        TableCost("nmspmm_percent", 2, (120.0, 110.5, 0.0), "qs8"),
    ),
)  # fmt: skip
TEXT = write_table(TABLE)


def test_layers_of_a_file(tmp_path: Path) -> None:
    found = layers_of(small_model(tmp_path / "m.tflite"))
    assert found.skipped == {}
    first, second, third = found.layers
    assert [len(item.names) for item in found.layers] == [1, 2, 1]
    assert first.layer.label == "3x3 /2, 16 to 64, 28x28"
    layer = first.layer
    assert (layer.padding_top, layer.padding_right) == (0, 1)
    assert (layer.padding_bottom, layer.padding_left) == (1, 0)
    assert (layer.density, layer.tile, layer.block) == (1.0, 1, 1)
    assert (second.layer.density, second.layer.tile, second.layer.block) == (0.25, 32, 1)
    assert second.densities == pytest.approx((0.25, 0.25, 0.25), abs=0.01)
    assert (third.layer.density, third.layer.tile, third.layer.block) == (0.5, 8, 4)
    assert third.densities[2] > 0.8
    assert table_sizes(layer) == (1, 28, 28, 14, 14, 1, 16, 64, 3, 3, 2, 2, 1, 1)
    assert second.share == 2 * layer.macs * 4 * 0.25


def test_padding_in_front_belongs_to_the_layer(tmp_path: Path) -> None:
    network = Network()
    x = network.tensor((1, 14, 14, 16))
    bias = np.zeros(32, np.float32)
    padded = network.pad(x, 1)
    y = network.convolution(padded, filters(32, 3, 16, None), bias, 2, valid=True)
    path = tmp_path / "m.tflite"
    path.write_bytes(network.finish(x, y))
    (found,) = layers_of(path).layers
    layer = found.layer
    assert (layer.input_height, layer.padding_top, layer.padding_right) == (14, 1, 1)
    assert (layer.output_height, layer.output_width) == (7, 7)
    # Read by two, the padded image stays, and belongs to nobody.
    z = network.convolution(padded, filters(32, 3, 16, None), bias, 2, valid=True)
    path.write_bytes(network.finish(x, network.add(y, z, relu=False)))
    (found,) = layers_of(path).layers
    assert (found.layer.input_height, found.layer.padding_top, len(found.names)) == (16, 0, 2)


def quantized(path: Path, *, pad: int | None = None) -> Path:
    """Write a convolution of int8, behind zeros in steps of that zero point where it is stated."""
    network = Network()
    x = start = network.tensor((1, 14, 14, 16), steps=Steps(0.05, pad or 0))
    if pad is not None:
        x = network.pad(x, 1)
    weights = filters(32, 3, 16, NMPattern.from_density(0.25, tile=16))
    weights[0, 0, 0] = 1e-6  # rounded to zeros that are no part of the pattern
    bias = np.zeros(32, np.float32)
    y = network.convolution(x, weights, bias, 1, valid=pad is not None, steps=Steps(0.1))
    path.write_bytes(network.finish(start, y))
    return path


def test_layers_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    (found,) = layers_of(quantized(path)).layers
    layer = found.layer
    assert (layer.dtype, layer.density, layer.tile) == ("qs8", 0.25, 16)
    assert found.densities[0] < 0.25
    assert (layer.input_height, layer.padding_top) == (14, 1)
    # XNNPACK joins zeros to the layer, whatever byte stands for them.
    for zero_point in (3, -3, -128):
        (found,) = layers_of(quantized(path, pad=zero_point)).layers
        assert (found.layer.input_height, found.layer.padding_top) == (14, 1)


def test_other_types_are_skipped(tmp_path: Path) -> None:
    path = quantized(tmp_path / "m.tflite")
    schema, model = unpacked(path)
    tensors = model.subgraphs[0].tensors
    tensors[1].quantization.scale = tensors[1].quantization.scale[:1]
    tensors[1].quantization.zeroPoint = [0]
    path.write_bytes(packed(model))
    assert not layers_of(path).skipped
    tensors[1].quantization.zeroPoint = [1]
    path.write_bytes(packed(model))
    assert list(layers_of(path).skipped.values()) == [
        "only int8 weights without zero points are tuned"
    ]
    tensors[0].type = schema.TensorType.FLOAT32
    path.write_bytes(packed(model))
    assert list(layers_of(path).skipped.values()) == [
        "only stored weights of float32 or int8 on images of the same type are tuned"
    ]


def test_damaged_models(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"\0" * 64)
    with pytest.raises(ModelError):
        layers_of(tmp_path / "m.tflite")


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_table(TEXT, "x") == TABLE
    save_table(tmp_path / "t", TABLE)
    assert load_table(tmp_path / "t") == TABLE
    assert TEXT.decode("ascii").splitlines()[-1] == "end 12"


def test_an_older_table_is_of_f32() -> None:
    old = TEXT.decode("ascii").replace("nmpack-tuning 2", "nmpack-tuning 1")
    lines = [line for line in old.replace(" f32 ", " ").splitlines() if " qs8 " not in line]
    text = "\n".join([*lines[:-1], f"end {len(lines) - 1}", ""])
    expected = replace(TABLE, layers=TABLE.layers[:2], costs=TABLE.costs[:1])
    assert read_table(text.encode("ascii"), "x") == expected


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("nmpack-tuning 2", "nmpack-tuning 3", "expected the first line 'nmpack-tuning 2'"),
        # Rows of an older table have no type.
        ("nmpack-tuning 2", "nmpack-tuning 1", "line 8: expected a whole number"),
        ("end 12\n", "", "is it cut off"),
        ("end 12", "end 13", "is it cut off"),
        ("end 12\n", "end 12\nmore\n", "is it cut off"),
        ("layer f32 1 56", "layer f64 1 56", "line 10: expected an element type, one of f32, qs8"),
        ("layer f32 1 56", "layer %n%s 1 56", "line 10: expected an element type"),
        ("layer f32 1 56", "layer 1 56", "line 10: expected an element type"),
        ("cost f32 min", "cost F32 min", "line 8: expected an element type"),
        ("layer qs8", "layer f32", "two of its layers are the same"),
        ("isa fma3\n", "", "is it cut off"),
        ("vlen 0\n", "vlen 00\n", "line 3: expected a whole number from 0 to 65536, got 'vlen 00'"),
        ("vlen 0\n", "vlen -1\n", "line 3: expected a whole number"),
        ("vlen 0\n", "vlen 0 \n", "line 3: expected a whole number"),
        ("kernels 0", "kernels X", "line 4: expected a name"),
        ("cpu Some", "cpu \x1b[2J", "line 5: expected a short text"),
        ("threads 2", "threads 0", "line 6: expected a whole number from 1"),
        ("unit_ps 27.5", "unit_ps nan", "line 7: expected a number"),
        ("unit_ps 27.5", "unit_ps 0", "line 7: expected a number above 0"),
        ("unit_ps 27.5", "unit_ps 1e99", "line 7: expected a number from 0"),
        ("unit_ps 27.5", "unit_ps " + "1" * 4000, "line 7: expected a number"),
        ("cost f32 min_speedup 1.1", "cost f32 min_speedup", "line 8: expected a value"),
        ("cost f32 min_speedup 1.1", "cost f32 min_speedup -1", "line 8: expected a number"),
        ("cost f32 min_speedup 1.1", "cost f32 ../x 1", "line 8: expected a name"),
        ("cost f32 min_speedup 1.1", "isa fma3", "line 8: expected a cost, a layer or the end"),
        ("dense=4000.5", "dense=4000.5 dense=1", "line 10: expected NAME=NANOSECONDS"),
        ("dense=4000.5", "dense=inf", "line 10: expected a number"),
        ("dense=4000.5", "dense", "line 10: expected NAME=NANOSECONDS"),
        ("layer f32 1 56", "layer f32 0 56", "line 10: expected a whole number from 1"),
        ("layer f32 1 56", "layer f32 99999999999 56", "line 10: expected a whole number"),
        ("0.2500 0.2500 0.2525", "0.2500 0.2500 1.2525", "line 10: expected a number from 0 to 1"),
        ("0.2500 0.2500 0.2525", "1.0000 1.0000 1.0000", "two of its layers are the same"),
        ("\n", "\r\n", "expected the first line"),
        ("Some", "Sömé", "expected ASCII"),
    ],
)
def test_hostile_tables(old: str, new: str, reason: str) -> None:
    text = TEXT.decode("ascii")
    assert old in text
    with pytest.raises(TableError) as caught:
        read_table(text.replace(old, new).encode("utf-8"), "some.file")
    assert str(caught.value).startswith("some.file: not a usable tuning table: ")
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


def test_tables_that_are_too_large(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"x" * (MOST_BYTES + 1))
    with pytest.raises(TableError, match="at most"):
        load_table(tmp_path / "t")
    with pytest.raises(TableError, match="cannot be read"):
        load_table(tmp_path / "nothing")


@given(st.integers(0, len(TEXT) - 1), st.binary(max_size=3))
def test_no_damage_escapes(at: int, junk: bytes) -> None:
    with suppress(TableError):
        read_table(TEXT[:at] + junk + TEXT[at + len(junk) :], "x")


@given(st.binary(max_size=300))
def test_no_bytes_escape(content: bytes) -> None:
    with pytest.raises(TableError):
        read_table(content, "x")


def test_a_table_in_a_model(tmp_path: Path) -> None:
    model = small_model(tmp_path / "m.tflite")
    assert embedded(model) is None
    before = TFLiteFile(model)
    for table in (TABLE, replace(TABLE, cpu="any")):
        embed(model, table)
        assert embedded(model) == table
    after = TFLiteFile(model)
    assert len(after.primary.operators) == len(before.primary.operators)
    for old, new in zip(before.convolutions, after.convolutions, strict=True):
        assert old.weights is not None
        assert new.weights is not None
        np.testing.assert_array_equal(before.array(old.weights), after.array(new.weights))
    embed(model, TABLE, tmp_path / "other.tflite")
    assert embedded(tmp_path / "other.tflite") == TABLE
    content = (tmp_path / "other.tflite").read_bytes()
    assert content.count(NAME.encode()) == 1


def test_a_damaged_table_in_a_model(tmp_path: Path) -> None:
    model = small_model(tmp_path / "m.tflite")
    embed(model, TABLE)
    content = model.read_bytes()
    model.write_bytes(content.replace(b"nmpack-tuning 2", b"nmpack-tuning 9"))
    with pytest.raises(TableError, match="metadata nmpack_tuning: not a usable tuning table"):
        embedded(model)
