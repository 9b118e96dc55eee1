# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack report``: what the page, the tables and the overlay say; no test depends on a time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from int8_samples import int8_network
from report_samples import FILE, NAMES, bytes_by_hand, network, written
from subgraph_files import two_signatures
from tflite_graph import Graph, options

from nmpack.cli import main
from nmpack.errors import NmpackError
from nmpack.measure.bandwidth import buffer_size, largest_cache, measure_bandwidth
from nmpack.report import Report, build, csv_text, overlay, page, read_accuracy
from nmpack.report.charts import milliseconds
from nmpack.report.data import BOUND, OWN, SPARSE, UPSTREAM
from nmpack.report.markup import Markup, element
from nmpack.report.matching import Places, joined
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.storage import to_sparse_storage

pytestmark = [pytest.mark.delegate, pytest.mark.usefixtures("delegate")]
VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """Reads a page, and fails where a tag is closed that is not the last one open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1], data))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("report")
    model, baseline = written(folder)
    known = {"schema": 1, "dense": 0.9, "pruned": 0.5, "tuned": 0.89}
    (folder / "result.json").write_text(json.dumps(known))
    return build(model, baseline=baseline, accuracy=folder / "result.json", runs=4, warmup=1)


def test_every_layer_has_each_way(report: Report) -> None:
    assert len(report.layers) == 4
    assert report.peaks["f32"]
    for layer in report.layers:
        assert set(layer.seconds) == {UPSTREAM, OWN, SPARSE}
        assert min(layer.seconds.values()) > 0
        assert layer.bound == 2e-9 * layer.computed / report.peaks["f32"]
        assert layer.element_type == "f32"
        assert layer.multiplications == 14 * 14 * 32 * 9 * 32
        assert len(layer.choices) == 1
    (layer,) = [layer for layer in report.layers if len(layer.rows[-1].nodes) == 1][-1:]
    kept = layer.computed / layer.multiplications
    assert layer.traffic == pytest.approx(bytes_by_hand(14, kept))
    assert layer.dense_traffic == bytes_by_hand(14, 1.0)


def test_the_page_is_sound(report: Report) -> None:
    found = Page(page(report))
    assert len(found.of("h1")) == 1
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {item["aria-labelledby"] for item in found.of("section")} == set(ids)
    assert all(item["scope"] in ("col", "row") for item in found.of("th"))
    bars = [item for item in found.of("rect") if "bar" in (item["class"] or "").split()]
    assert len(bars) == 4 * (len(report.layers) + 1)
    # One figure for each layer, one for the whole inference, and the roofline.
    assert len(found.of("figure")) == len(report.layers) + 2
    charts = [item for item in found.of("svg") if "aria-hidden" not in item]
    titles = [text for tag, text in found.texts if tag == "title"]
    assert len(charts) == len(found.of("figure"))
    assert all(item["role"] == "img" for item in charts)
    # Of the page, each chart, and each point of the roofline.
    assert len(titles) == 1 + len(charts) + 2 * len(report.layers)
    assert not any("style" in attributes for _, attributes in found.tags)


def test_nothing_a_file_names_is_markup(report: Report) -> None:
    text = page(report)
    found = Page(text)
    assert len(found.of("script")) == 1
    assert found.of("img") == []
    labels = {data.strip() for tag, data in found.texts if tag == "b"}
    assert labels == {UPSTREAM, OWN, SPARSE, BOUND, "NHWC"}
    for _, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert not {"src", "action"} & set(attributes)
    assert [item["href"] for item in found.of("link")] == ["data:,"]
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "\u202e" not in text
    assert ("h1", f"nmpack report: {Path(FILE).stem}") in found.texts
    captions = [data for tag, data in found.texts if tag == "figcaption"]
    assert captions == [layer.name for layer in report.layers]
    assert any(name in captions for name in NAMES)


def test_tables_agree(report: Report) -> None:
    values = json.loads(json.dumps(report.to_dict()))
    assert values["schema"] == 1
    rows = list(csv.DictReader(io.StringIO(csv_text(report))))
    assert len(rows) == len(values["layers"]) == len(report.layers)
    for row, layer in zip(rows, values["layers"], strict=True):
        assert list(row) == list(layer)
        for key, value in layer.items():
            if isinstance(value, float):
                assert float(row[key]) == value
            else:
                assert row[key].removeprefix("'") == ("" if value is None else str(value))
    assert any(row["layer"].startswith("'=") for row in rows)
    assert set(values["profiles"]) == {UPSTREAM, OWN, SPARSE}
    for layer, one in zip(report.layers, values["layers"], strict=True):
        assert one["sparse_ms"] == 1e3 * layer.seconds[SPARSE]


def test_the_overlay_has_the_tensors_of_the_file(report: Report, tmp_path: Path) -> None:
    found = overlay(report)
    file = TFLiteFile(written(tmp_path)[0])
    (graph,) = file.subgraphs
    outputs = {graph.tensors[index].name for one in graph.operators for index in one.outputs}
    assert set(found["results"]) <= outputs
    # The addition is part of the third convolution.
    assert {NAMES[0], NAMES[1], NAMES[3]} <= set(found["results"])
    assert [item["stop"] for item in found["gradient"]] == [0, 1]
    total = sum(item["value"] for item in found["results"].values())
    rows = report.sparse.rows
    assert total == pytest.approx(1e3 * sum(row.per_inference for row in rows if row.nodes))


def test_bytes_have_a_bound_of_their_own(tmp_path: Path) -> None:
    model = int8_network(tmp_path / "bytes.tflite")
    dense = int8_network(tmp_path / "dense.tflite", pruned=False)
    found = build(model, baseline=dense, options={"layout": "cnhw"}, runs=2, warmup=0)
    assert [layer.element_type for layer in found.layers] == ["qs8"] * 3
    for layer in found.layers:
        assert set(layer.seconds) == {UPSTREAM, OWN, SPARSE}
        assert layer.computed < layer.multiplications
        assert layer.traffic is not None
        # Images and weights of a byte, biases of four.
        assert layer.traffic == pytest.approx(bytes_by_hand(28, 0.25) / 4 + 3 * 32, rel=0.01)
    text = page(found)
    Page(text)
    assert "GFLOP/s" not in text
    if "qs8" in found.peaks:
        assert f"{found.peaks['qs8']:.1f} GOP/s of qs8" in text
        peak = found.peaks["qs8"]
        assert [x.bound for x in found.layers] == [2e-9 * x.computed / peak for x in found.layers]
    else:
        assert any("peak of qs8 was not measured" in gap for gap in found.gaps)
    values = json.loads(json.dumps(found.to_dict()))
    rows = list(csv.DictReader(io.StringIO(csv_text(found))))
    assert [row["element_type"] for row in rows] == ["qs8"] * 3
    assert [layer["element_type"] for layer in values["layers"]] == ["qs8"] * 3
    assert len(overlay(found)["results"]) >= 3


def test_what_is_not_measured_is_said(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(network(pruned=True, dynamic=True))
    found = build(path, runs=2, warmup=0)
    text = page(found)
    assert all(set(layer.seconds) == {UPSTREAM, SPARSE} for layer in found.layers)
    # The sizes that the file leaves open are those that it ran with.
    assert all(layer.traffic is not None for layer in found.layers)
    assert ' own"' not in text
    assert "Accuracy</h2>" not in text
    assert "Roofline</h2>" in text
    for word in ("no unpruned baseline", "was taken as 1x14x14x32", "accuracy is not known"):
        assert sum(word in gap for gap in found.gaps) == 1
        assert word in text
    assert {row["own_dense_ms"] for row in csv.DictReader(io.StringIO(csv_text(found)))} == {""}


def test_a_model_without_weights(tmp_path: Path) -> None:
    graph = Graph()
    image = graph.tensor((1, 8, 8, 4))
    output = graph.add("ABS", [image], graph.tensor((1, 8, 8, 4)), options("AbsOptions"))
    path = tmp_path / "abs.tflite"
    path.write_bytes(graph.model([image], [output]))
    found = build(path, runs=2, warmup=0)
    assert found.layers == ()
    assert found.bound is None
    assert len(Page(page(found)).of("figure")) == 1
    assert csv_text(found) == "\n"
    assert list(overlay(found)["results"]) == [f"t{output}"]


def test_a_pruned_baseline_is_said(tmp_path: Path) -> None:
    model, _ = written(tmp_path)
    found = build(model, baseline=model, runs=2, warmup=0)
    assert any("own dense computes with 25.0 % of the weights" in gap for gap in found.gaps)


def test_several_subgraphs(tmp_path: Path) -> None:
    path = tmp_path / "two.tflite"
    path.write_bytes(two_signatures().packed())
    found = build(path, runs=2, warmup=0)
    Page(page(found))
    values = overlay(found)
    assert list(values) == ["main", "other"]
    # Only the first is run; all of its tensors have one name.
    assert list(values["main"]["results"]) == ["same"]
    assert values["other"]["results"] == {}


@pytest.mark.torch
def test_a_sparsely_stored_model_beside_a_densely_stored_baseline(
    models: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "sparse.tflite"
    to_sparse_storage(models("pruned"), path)
    stored, dense = Places(TFLiteFile(path)), Places(TFLiteFile(models("dense")))
    assert stored.what == dense.what
    found = build(path, baseline=models("dense"), runs=2, warmup=0)
    assert all(set(layer.seconds) == {UPSTREAM, OWN, SPARSE} for layer in found.layers)
    assert found.layers[0].name == "conv1"


def test_what_cannot_be_reported_is_one_sentence(tmp_path: Path) -> None:
    model, baseline = written(tmp_path)
    baseline.write_bytes(network(pruned=False, size=12))
    with pytest.raises(NmpackError, match=r"operator 0 .* is CONV_2D of 1x14x14x32, in the base"):
        build(model, baseline=baseline)
    with pytest.raises(NmpackError, match="sets the option nm itself"):
        build(model, options={"nm": "off"})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not JSON of ours: "),
        ("[" * 100_000, "not JSON of ours: "),
        ("[]", "expected a JSON object, got '[]'"),
        ('{"schema": 2, "dense": 1}', "expected what 'nmpack finetune'"),
        ('{"schema": 1, "dense": 2}', "'dense', got 2"),
        ('{"schema": 1, "dense": true}', "'dense', got True"),
        ('{"schema": 1, "dense": NaN}', "expected numbers, got NaN"),
        ('{"schema": 1, "dense": 1}', "'pruned', got None"),
        ('{"schema": 1, "dense": 1, "plans": [1]}', "expected a list of plans"),
        ('{"schema": 1, "dense": 1, "plans": [{"front": true}]}', "'share', got None"),
    ],
)
def test_damaged_accuracy(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(NmpackError, match=r"a\.json: ") as error:
        read_accuracy(path)
    assert says in str(error.value)


def test_accuracy_of_a_search(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    plans = [
        {"share": 0.5, "accuracy": 0.8, "front": True},
        {"share": 0.6, "accuracy": 0.7, "front": False},
    ]
    path.write_text(json.dumps({"schema": 1, "dense": 0.9, "plans": plans}))
    assert read_accuracy(path).plans == ((0.5, 0.8),)


def test_the_command_writes_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, baseline = written(tmp_path)
    names = {key: tmp_path / f"out.{key}" for key in ("html", "csv", "json", "overlay")}
    arguments: list[Any] = ["report", model, "--baseline", baseline, "-o", names["html"]]
    for key in ("csv", "json", "overlay"):
        arguments += [f"--{key}", names[key]]
    assert main([*map(str, arguments), "--runs", "2", "--warmup", "0"]) == 0
    said = capsys.readouterr().out
    for text in ("upstream ms", "bound ms", "not profiled: upstream dense", "out.html"):
        assert text in said
    assert "\x1b" not in said
    Page(names["html"].read_text())
    assert json.loads(names["json"].read_text())["baseline"] == "dense"
    assert "results" in json.loads(names["overlay"].read_text())
    assert main(["report", str(model), "-o", str(model)]) == 1
    assert "expected a file of its own to write" in capsys.readouterr().err
    assert model.read_bytes() == network(pruned=True)


@given(st.lists(st.frozensets(st.tuples(st.integers(0, 2), st.integers(0, 9)))))
def test_joined_sets_are_the_smallest(sets: list[frozenset[tuple[int, int]]]) -> None:
    found = joined(sets)
    assert sum(map(len, found)) == len(frozenset().union(*found)) == len(frozenset().union(*sets))
    for each in sets:
        assert sum(bool(each & group) for group in found) == bool(each)
    for group in found:
        # Whatever splits a group splits one of the sets.
        reached = {min(group)}
        while grown := {
            place for each in sets if each & reached for place in each if place not in reached
        }:
            reached |= grown
        assert reached == group


@given(st.text(), st.text())
def test_elements_read_back(text: str, value: str) -> None:
    written = element("p", text, Markup("<br>"), title=value)
    assert written.count("<") == 3
    (paragraph,) = Page(written).of("p")
    kept = "".join(one if one.isprintable() else "\ufffd" for one in value)
    assert paragraph["title"] == kept


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1234, "123 ms"), (0.01, "10.0 ms"), (1e-3, "1.00 ms"), (1.23e-5, "0.0123 ms"),
     (1e-9, "0.0000 ms"), (0.0, "0 ms")],
)  # fmt: skip
def test_three_digits_that_matter(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text


def test_bandwidth_is_measured_outside_of_caches(tmp_path: Path) -> None:
    for name, size in (("index0", "48K"), ("index3", "36M"), ("index4", "odd")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "size").write_text(f"{size}\n")
    assert largest_cache(tmp_path) == 36 << 20
    assert largest_cache(tmp_path / "nowhere") == 0
    assert buffer_size(36 << 20) == 144 << 20
    assert buffer_size(0) == 64 << 20
    assert buffer_size(1 << 40) == 512 << 20
    found = measure_bandwidth(2, repeat=1)
    assert (found.threads, found.buffer) == (2, buffer_size(largest_cache()))
    assert found.bytes_per_second > 0


def test_a_bound_needs_a_peak(report: Report) -> None:
    text = page(report)
    assert f"{report.peaks['f32']:.1f} GFLOP/s of f32" in text
    assert f"<b>{BOUND}</b>" in text
