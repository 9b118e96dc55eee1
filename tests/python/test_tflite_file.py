# SPDX-License-Identifier: BSD-3-Clause
"""Our own reader of model files, honest and hostile ones."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from long_files import chain
from schema_objects import require_same, schema_of
from subgraph_files import Model, Part, branches, filters, sharing, two_signatures

from nmpack.errors import ModelError, NmpackError
from nmpack.measure.inspection import inspect
from nmpack.sparsity.detection import detect_pattern
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.names import short_names
from nmpack.tflite.operator_codes import CALLING, CONV_2D, DEPTHWISE_CONV_2D

pytestmark = pytest.mark.torch
Models = Callable[[str], Path]


def test_reads_every_convolution(models: Models) -> None:
    file = TFLiteFile(models("dense"))
    (graph,) = file.subgraphs
    assert graph is file.primary
    assert [graph.tensors[i].shape for i in graph.inputs] == [(1, 28, 28, 1)]
    assert [graph.tensors[i].shape for i in graph.outputs] == [(1, 10)]
    assert len(graph.operators) > len(graph.convolutions) == len(file.convolutions)
    for item in file.convolutions:
        operator = graph.operators[item.node]
        assert operator.code == (DEPTHWISE_CONV_2D if item.depthwise else CONV_2D)
        assert operator.outputs == (item.output.index,)
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
    rows = [row for row in report.layers if not row.depthwise and not row.linear]
    assert len(rows) == 8
    assert {str(row.fit) for row in rows} == {says}
    assert {row.operator for row in report.layers} == {None}
    names = [row.name for row in report.layers]
    assert "layer1.0.conv1" in names
    assert "layer2.0.downsample.0" in names
    assert len(set(names)) == len(names)
    assert report.partitions is None


def test_report_as_json(models: Models) -> None:
    value = inspect(models("nm"), delegate=False).to_dict()
    assert value["schema"] == 3
    row = next(row for row in value["layers"] if row["name"] == "layer1.0.conv2")
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
    names = short_names(["a/conv1/BiasAdd", "b/conv1/Conv2D", "", "x" * 500, "plain\x1b[2J"])
    assert names == ["conv1", "conv1#2", "unnamed", "x" * 60, "plain\ufffd[2J"]
    assert short_names(["a", "a#2", "a", "a"]) == ["a", "a#2", "a#3", "a#4"]


@pytest.mark.parametrize(
    "step", ["a." + "b_" * 200_000 + "!", "a." * 200_000 + "!", "a." * 200_000 + "b_" * 200_000]
)
def test_a_hostile_name_is_shortened_at_once(step: str) -> None:
    """A choice in the regular expression would take hours."""
    assert [len(name) for name in short_names([f"{step}/conv"])] == [4 if "!" in step else 60]


def read(model: Model, folder: Path) -> TFLiteFile:
    """Write a model and open it."""
    path = folder / "model.tflite"
    path.write_bytes(model.packed())
    return TFLiteFile(path)


def test_reads_every_subgraph(tmp_path: Path) -> None:
    file = read(two_signatures(), tmp_path)
    encode, decode = file.subgraphs
    assert [(graph.index, graph.name, graph.signatures) for graph in file.subgraphs] == [
        (0, "main", ("encode",)),
        (1, "other", ("decode",)),
    ]
    assert [len(graph.operators) for graph in file.subgraphs] == [3, 2]
    assert [(item.subgraph, item.node) for item in file.convolutions] == [
        (0, 0), (0, 2), (1, 0), (1, 1),
    ]  # fmt: skip
    assert [item.output.shape for item in file.convolutions] == [(1, 8, 8, 32)] * 2 + [
        (1, 6, 6, 32)
    ] * 2
    weights = [item.weights for item in file.convolutions]
    assert [item.buffer for item in weights if item] == [
        weights[0].buffer, weights[1].buffer, weights[0].buffer, weights[3].buffer,
    ]  # fmt: skip
    for item, seed in zip(weights, (0, 1, 0, 2), strict=True):
        assert np.array_equal(file.array(item), filters(seed, pruned=seed != 2))
    assert encode.tensors[encode.inputs[0]].shape == (1, 8, 8, 32)
    assert decode.tensors[decode.inputs[0]].shape == (1, 6, 6, 32)


def test_reads_bodies_of_control_flow(tmp_path: Path) -> None:
    file = read(branches(), tmp_path)
    assert [graph.signatures for graph in file.subgraphs] == [("serving_default",), (), ()]
    assert [item.code in CALLING for item in file.primary.operators] == [True]
    assert [(item.subgraph, item.node) for item in file.convolutions] == [(1, 0), (2, 1)]
    assert file.primary.convolutions == ()


def test_several_signatures_of_one_subgraph(tmp_path: Path) -> None:
    model = two_signatures()
    model.signatures = [("a", 1), ("b", 1)]
    assert [graph.signatures for graph in read(model, tmp_path).subgraphs] == [(), ("a", "b")]


def _bad_signature(model: Model) -> None:
    model.signatures.append(("third", 2))


def _bad_tensor(model: Model) -> None:
    model.parts[1].graph.operators[1].inputs[0] = 99


def _bad_buffer(model: Model) -> None:
    model.parts[1].graph.tensors[2].buffer = 99


def _bad_output(model: Model) -> None:
    model.parts[1].outputs = [99]


def _bad_code(model: Model) -> None:
    model.parts[1].graph.operators[0].opcodeIndex = 7


def _no_subgraph(model: Model) -> None:
    model.parts, model.signatures = [], []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_bad_signature, "the signature 'third' runs subgraph 2 of 2"),
        (_bad_tensor, "subgraph 1 of 2: an operator input is tensor 99 of 7"),
        (_bad_buffer, "subgraph 1 of 2: a tensor uses buffer 99 of 8"),
        (_bad_output, "subgraph 1 of 2: a graph output is tensor 99 of 7"),
        (_bad_code, "subgraph 1 of 2: an operator uses code 7 of 2"),
        (_no_subgraph, "expected at least one subgraph, got none"),
    ],
)
def test_a_lie_in_another_subgraph_is_one_error(
    damage: Callable[[Model], None], says: str, tmp_path: Path
) -> None:
    model = two_signatures()
    damage(model)
    with pytest.raises(ModelError, match=rf"model\.tflite: not a usable .*: {says}"):
        read(model, tmp_path)


@pytest.mark.parametrize(
    "counts",
    [(50_000, 1, 1, 1), (1000, 1000, 1, 1), (1000, 10, 1000, 1), (300, 1, 300, 300),
     (1, 1, 20_000, 1000), (1, 200_000, 1, 1)],
)  # fmt: skip
def test_subgraphs_that_share_their_lists_are_one_error(
    counts: tuple[int, int, int, int], tmp_path: Path
) -> None:
    path = tmp_path / "sharing.tflite"
    path.write_bytes(sharing(*counts))
    with pytest.raises(ModelError, match=r"it refers to its \d+ bytes more than any model does"):
        TFLiteFile(path)


@pytest.mark.parametrize("make", [two_signatures, branches])
def test_flipped_bytes_of_subgraphs_end_in_a_result_or_one_error(
    make: Callable[[], Model], tmp_path: Path
) -> None:
    file = read(make(), tmp_path)
    whole = file.path.read_bytes()
    values = [file.span(item.weights) for item in file.convolutions if item.weights]
    places = set(range(8, len(whole)))
    for offset, length in values:
        places -= set(range(offset, offset + length))
    generator = random.Random(7)
    path = tmp_path / "flipped.tflite"
    messages = []
    for _ in range(600):
        damaged = bytearray(whole)
        for place in generator.choices(sorted(places), k=generator.choice([1, 1, 3])):
            damaged[place] = generator.choice([0, 1, 2, 3, 0x7F, 0x80, 0xFF])
        path.write_bytes(damaged)
        try:
            read_all(path)
            inspect(path, delegate=False)
        except NmpackError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(str(path) in text and "\n" not in text for text in messages)


def test_thousands_of_honest_subgraphs_are_read(tmp_path: Path) -> None:
    model = Model()
    for index in range(3000):
        graph = model.graph()
        image = graph.tensor((1, 4, 4, 8))
        graph.tensors[0].name = f"image {index}"
        out = graph.add("ABS", [image], graph.tensor((1, 4, 4, 8)))
        model.parts.append(Part(graph, [image], [out], f"graph {index}"))
        model.signatures.append((f"run {index}", index))
    file = read(model, tmp_path)
    assert len(file.subgraphs) == 3000
    assert file.subgraphs[2999].signatures == ("run 2999",)
    assert inspect(tmp_path / "model.tflite", delegate=False).operators == 3000


@pytest.mark.parametrize("shape", [(-1, -1, 4), (-1, 0), (-1,), (0, 4)])
def test_sizes_below_one_are_no_array(shape: tuple[int, ...], tmp_path: Path) -> None:
    model = two_signatures()
    graph = model.parts[0].graph
    constant = graph.constant(np.ones(4, np.float32))
    graph.tensors[constant].shape = shape
    file = read(model, tmp_path)
    with pytest.raises(ModelError, match=r"expected each axis to be at least 1, got shape \("):
        file.array(file.primary.tensors[constant])


def test_a_hundred_thousand_operators_are_read(tmp_path: Path) -> None:
    path = tmp_path / "long.tflite"
    path.write_bytes(chain(100_000))
    file = TFLiteFile(path)
    last = file.primary.operators[-1]
    assert len(file.primary.operators) == 100_000
    assert (last.name, last.inputs, last.outputs) == ("ADD", (99_999, 99_999), (100_000,))
    assert file.primary.tensors[-1].buffer == 100_000


def test_a_chain_is_an_honest_file(tmp_path: Path) -> None:
    path = tmp_path / "chain.tflite"
    path.write_bytes(chain(3))
    require_same(TFLiteFile(path), schema_of("ai_edge_litert"))


def test_the_most_operators_are_said_and_what_is_left_out_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chain.tflite"
    path.write_bytes(chain(1000))
    # The tensors state no quantization and no sparsity, the operators one kind of options.
    monkeypatch.setattr("nmpack.tflite.file._MAX_BUDGET", 86 * 1000)
    assert len(TFLiteFile(path).primary.operators) == 1000
    monkeypatch.setattr("nmpack.tflite.file._MAX_BUDGET", 80 * 1000)
    with pytest.raises(ModelError, match=r"more operators and tensors, .* of 100,000 operators"):
        TFLiteFile(path)


def test_a_buffer_in_many_shapes_is_not_looked_at_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nmpack.measure.inspection._MOST_WEIGHTS", 0)
    model = Model()
    graph = model.graph()
    image, buffer = graph.tensor((1, 8, 8, 32)), graph.tensors[graph.constant(filters(0))].buffer
    outputs = []
    for rows, height in [
        (rows, height) for rows in (8, 16, 32, 64, 128) for height in (1, 3, 9)
    ] * 2:
        weights = graph.tensor((rows, height, 9 // height, 1024 // rows), buffer=buffer)
        outputs.append(graph.add("CONV_2D", [image, weights], graph.tensor((1, 8, 8, rows))))
    model.parts.append(Part(graph, [image], outputs))
    read(model, tmp_path)
    rows = inspect(tmp_path / "model.tflite", delegate=False).layers
    looked = [row.fit is not None for row in rows]
    assert looked[:15] == [True] * 4 + [False] * 11
    # A shape that was seen before costs nothing.
    assert looked[15:] == looked[:15]
    assert {row.reason for row in rows if row.fit is None} == {
        "not looked at: filters in front of it have more weights than any model"
    }
