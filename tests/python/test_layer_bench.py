# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark of single layers; no test depends on a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nmpack.cli import main
from nmpack.cli.tables import layer_bench_table
from nmpack.errors import NmpackError
from nmpack.measure import layer_bench
from nmpack.measure.drawn_layers import Layer, draw_layers, layer_file
from nmpack.measure.layer_bench import LayerBenchReport, LayerTiming, bench_layers, geometric_mean
from nmpack.measure.stats import summarise
from nmpack.runtime.delegate_report import Choice
from nmpack.runtime.race import race
from nmpack.sparsity.mask import column_density
from nmpack.tflite.file import TFLiteFile
from nmpack.tune.layers import layers_of

DENSE = Choice(0, "dense", "because", "NHWC", False, 16, 1.0, 0.9)
NM = Choice(0, "nm", "chosen", "NHWC", False, 16, 0.5, 1.8)
# In CNHW an unpruned layer has the N:M operator, too.
UNPRUNED = Choice(0, "nm", "too few columns are zero", "CNHW", False, 16, 1.0, 1.0)


def test_layers_follow_from_the_seed_alone() -> None:
    layers = draw_layers(300, 5)
    assert layers[:20] == draw_layers(20, 5)
    assert layers[:20] != draw_layers(20, 6)
    assert {layer.kernel for layer in layers} == {1, 3, 5, 7}
    assert {layer.stride for layer in layers} == {1, 2}
    assert {layer.tile for layer in layers} == {1, 4, 8, 16, 32}
    assert {layer.density for layer in layers} >= {0.25, 0.5, 0.75, 1.0}
    assert min(layer.size for layer in layers) == 1
    assert max(layer.size for layer in layers) > 100
    channels = [size for layer in layers for size in (layer.inputs, layer.outputs)]
    assert 8 == min(channels) < max(channels) <= 2048
    assert any(size % 8 for size in channels)


@pytest.mark.parametrize("density", [0.25, 0.5, 1.0])
def test_a_layer_is_pruned_as_it_says(tmp_path: Path, density: float) -> None:
    layer = Layer(size=5, inputs=16, outputs=20, kernel=3, stride=2, density=density, tile=4)
    path = tmp_path / "layer.tflite"
    path.write_bytes(layer_file(layer, 1))
    assert path.read_bytes() == layer_file(layer, 1)
    assert path.read_bytes() != layer_file(layer, 2)
    file = TFLiteFile(path)
    (convolution,) = file.convolutions
    assert convolution.shape == (20, 3, 3, 16)
    assert convolution.stride == (2, 2)
    assert convolution.weights is not None
    weights = file.array(convolution.weights)
    assert column_density(weights, 4) == density
    assert np.count_nonzero(weights) == density * weights.size


def test_rivals_take_turns_in_both_orders() -> None:
    seen: list[str] = []
    times = race([lambda: seen.append("a"), lambda: seen.append("b")], rounds=4)
    assert [len(row) for row in times] == [4, 4]
    assert all(seconds > 0 for row in times for seconds in row)
    # Warming up aside, neighbouring turns of one rival merge: a, bb, aa, bb, a.
    changes = [index for index in range(1, len(seen)) if seen[index] != seen[index - 1]]
    assert [seen[index] for index in changes[-4:]] == ["b", "a", "b", "a"]
    lengths = np.diff([*changes[-4:], len(seen)])
    assert list(lengths[:3]) == [2 * lengths[3]] * 3


def _timing(choice: Choice, *speedups: float) -> LayerTiming:
    layer = draw_layers(1, 0)[0]
    one = summarise([1.0])
    return LayerTiming(layer, choice, one, one, tuple(summarise([value]) for value in speedups))


def _report(*timings: LayerTiming) -> LayerBenchReport:
    machine = {"processor": "x", "features": ["fma"], "cores": 2, "load_average": 0.1}
    return LayerBenchReport(timings, 3, 1.05, 1, {"numpy": "2"}, machine)


def test_slow_is_slow_each_time() -> None:
    once = _timing(NM, 0.5, 1.2)
    always = _timing(UNPRUNED, 0.5, 0.8, 0.7, 0.6)
    worse = _timing(NM, 0.4, 0.4, 0.4, 0.4)
    fast = _timing(NM, 2.0)
    dense = _timing(DENSE, 1.0)
    report = _report(once, always, fast, worse, dense)
    assert report.slower == (worse, always)
    assert report.chosen == (once, fast, worse)
    assert always.speedup == 0.8
    value = json.loads(json.dumps(report.to_dict()))
    assert [item["slower"] for item in value["layers"]] == [False, True, False, True, False]
    assert value["gain_of_chosen"] == pytest.approx((1.2 * 2.0 * 0.4) ** (1 / 3))
    assert geometric_mean([]) is None
    caption = str(layer_bench_table(report).caption)
    assert "2 slower than built-in by more than 5 %" in caption
    assert "N:M is chosen for 3 of 5 layers, 0.99x built-in" in caption
    assert "N:M is not chosen for 2 of 5 layers, 0.89x built-in" in caption
    assert "each time measured: 1 where N:M is chosen, 1 where it is not" in caption
    assert caption.index("0.400x") < caption.index("0.800x")


def test_a_suspect_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    races: list[int] = []

    def slower(_self: object, _layer: Layer, _child: object) -> list[list[float]]:
        races.append(1)
        return [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]

    monkeypatch.setattr(layer_bench._Bench, "_race", slower)
    monkeypatch.setattr(layer_bench._Bench, "_choice", lambda _self: NM)
    report = bench_layers(1, 0, rounds=3)
    assert len(races) == 4
    assert report.slower == report.timings
    assert report.timings[0].speedup == 0.5


def test_layers_are_raced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "layers.json"
    # No layer is a hundred times slower.
    arguments = ["--layers", "3", "--seed", "1", "--rounds", "3", "--limit", "100", "--check"]
    assert main(["bench-layers", *arguments, "--json", str(path)]) == 0
    value = json.loads(path.read_text(encoding="utf-8"))
    assert [item["layer"] for item in value["layers"]] == [
        layer.to_dict() for layer in draw_layers(3, 1)
    ]
    for item in value["layers"]:
        assert item["operator"] in ("nm", "dense")
        assert item["reason"]
        assert item["built_in_ms"] > 0
        assert item["nmpack_ms"] > 0
        assert [summary["n"] for summary in item["speedups"]] == [3]
    shown = capsys.readouterr().out
    assert draw_layers(1, 1)[0].shape in shown
    assert "0 slower than built-in" in shown


def test_layers_of_bytes_are_raced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "layers.json"
    arguments = ["--type", "int8", "--layers", "2", "--seed", "5", "--rounds", "3"]
    assert main(["bench-layers", *arguments, "--limit", "100", "--json", str(path)]) == 0
    layers = json.loads(path.read_text(encoding="utf-8"))["layers"]
    assert [item["layer"]["dtype"] for item in layers] == ["qs8", "qs8"]
    # The same shapes and patterns as of floats.
    assert [item["layer"] | {"dtype": "f32"} for item in layers] == [
        layer.to_dict() for layer in draw_layers(2, 5)
    ]
    assert "qs8" in capsys.readouterr().out


def test_a_layer_of_bytes_is_what_it_says(tmp_path: Path) -> None:
    layer = Layer(5, 16, 20, 3, 2, density=0.5, tile=4, dtype="qs8")
    path = tmp_path / "layer.tflite"
    path.write_bytes(layer_file(layer, 1))
    file = TFLiteFile(path)
    (convolution,) = file.convolutions
    assert convolution.weights is not None
    assert convolution.weights.quantization is not None
    weights = file.array(convolution.weights)
    assert weights.dtype == np.int8
    assert len(convolution.weights.quantization.scale) == 20
    assert np.abs(weights.astype(int)).max(axis=(1, 2, 3)).tolist() == [127] * 20
    assert column_density(weights, 4) == 0.5


def test_fully_connected_layers_follow_from_the_seed_alone() -> None:
    layers = draw_layers(200, 5, linear=True)
    assert layers[:20] == draw_layers(20, 5, linear=True)
    assert {(layer.kernel, layer.stride, layer.linear) for layer in layers} == {(1, 1, True)}
    assert 1 == min(layer.size for layer in layers) < max(layer.size for layer in layers) <= 512
    features = [size for layer in layers for size in (layer.inputs, layer.outputs)]
    assert 8 == min(features) < 2048 < max(features) <= 4096
    assert layers[0].multiply_adds == layers[0].size * layers[0].inputs * layers[0].outputs


@pytest.mark.parametrize("dtype", ["f32", "qs8"])
def test_a_fully_connected_layer_is_what_it_says(tmp_path: Path, dtype: str) -> None:
    layer = Layer(5, 16, 20, 1, 1, density=0.5, tile=4, dtype=dtype, linear=True)
    assert layer.shape == "5 rows, 16 to 20"
    path = tmp_path / "layer.tflite"
    path.write_bytes(layer_file(layer, 1))
    file = TFLiteFile(path)
    (item,) = file.layers
    assert (item.linear, item.shape, item.rows) == (True, (20, 1, 1, 16), 5)
    assert item.weights is not None
    weights = file.array(item.weights).reshape(item.shape)
    assert column_density(weights, 4) == 0.5
    if dtype == "qs8":
        assert item.weights.quantization is not None
        assert len(item.weights.quantization.scale) == 1
    (row,) = layers_of(path).layers
    assert (row.layer.input_height, row.layer.input_width) == (5, 1)
    assert (row.layer.density, row.layer.tile, row.layer.dtype) == (0.5, 4, dtype)
    assert row.layer.label == "5 rows, 16 to 20"
    assert row.layer.macs == layer.multiply_adds


def test_a_slower_layer_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = _report(_timing(NM, 0.5, 0.5, 0.5, 0.5))
    monkeypatch.setattr("nmpack.cli.bench_layers.bench_layers", lambda *_a, **_k: slow)
    assert main(["bench-layers"]) == 0
    assert main(["bench-layers", "--check"]) == 1
    assert "1 of 1 layers are slower" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"count": 0}, "at least one layer"),
        ({"rounds": 2}, "rounds must be at least 3, got 2"),
        ({"limit": 1.0}, "above 1, got 1.0"),
    ],
)
def test_bad_arguments_are_errors(arguments: dict[str, float], says: str) -> None:
    with pytest.raises(NmpackError, match=says):
        bench_layers(**arguments)  # type: ignore[arg-type]
