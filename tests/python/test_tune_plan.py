# SPDX-License-Identifier: BSD-3-Clause
"""Plans: what a network computes, what is proposed from times, files of others, the commands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nmpack.budget import costs_of, latency_costs
from nmpack.convert import torch_to_tflite
from nmpack.errors import ModelError, PatternError, SelectionError
from nmpack.plans import (
    PlanFile,
    load_plan,
    load_seconds,
    load_sensitivity,
    save_plan,
    save_sensitivity,
)
from nmpack.sources import Source, load_source
from nmpack.sparsity.pattern import NMPattern
from nmpack.tune.calls import calls_of
from nmpack.tune.layers import layers_of
from nmpack.tune.planning import (
    harm_of,
    patterns_of,
    propose,
    pruned,
    questions_of,
    to_measure,
)
from nmpack.tune.shapes import Layer

pytestmark = [
    pytest.mark.torch,
    pytest.mark.keras,
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]
EIGHT, SIXTEEN, WIDE = patterns_of(0.25, (8, 16, 32), (1,))
Command = Callable[..., subprocess.CompletedProcess[str]]


def same_layers(found: list[Layer], other: list[Layer]) -> bool:
    return sorted(map(str, found)) == sorted(map(str, other))


def test_a_torch_model_computes_what_its_converted_file_does(tmp_path: Path) -> None:
    source = load_source("fashion_resnet")
    torch_to_tflite(source.model.eval(), tmp_path / "m.tflite", source.input_shape)
    file = layers_of(tmp_path / "m.tflite")
    assert file.skipped == {}
    wanted = [row.layer for row in file.layers for _ in row.names]
    calls = calls_of(source)
    assert calls[0].note == "depthwise: each output channel reads one input channel"
    found = [layer for item in calls for layer in item.layers]
    assert found[-1] == Layer(1, 1, 1, 1, 128, 10, *(1,) * 6, 0, 0, 0, 0)
    assert same_layers(found, wanted)


def keras_source() -> Source:
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((15, 15, 8))
    x = shared = keras.layers.Conv2D(8, 3, padding="same", name="shared")(image)
    x = keras.layers.Conv2D(32, 3, strides=2, padding="same", name="down")(x)
    x = keras.layers.Conv2D(32, 3, dilation_rate=2, name="apart")(x)
    x = keras.layers.DepthwiseConv2D(3, name="deep")(x)
    x = keras.layers.Dense(10, name="head")(keras.layers.GlobalAveragePooling2D()(x))
    small = keras.layers.MaxPooling2D()(shared)
    again = keras.layers.Conv2D(32, 1, name="again")
    y = keras.layers.GlobalAveragePooling2D()(again(small))
    z = keras.layers.GlobalAveragePooling2D()(again(image))
    model = keras.Model(image, keras.layers.Concatenate()([x, y, z]))
    return Source("keras", model, None, 10, (15, 15, 8))


def test_a_keras_model_computes_what_its_converted_file_does(tmp_path: Path) -> None:
    from nmpack.convert import keras_to_tflite

    source = keras_source()
    keras_to_tflite(source.model, tmp_path / "m.tflite")
    wanted = [row.layer for row in layers_of(tmp_path / "m.tflite").layers for _ in row.names]
    calls = {item.weights.name: item.layers for item in calls_of(source)}
    assert len(calls["again"]) == 2
    assert calls["head"][0].label == "1 row, 32 to 10"
    assert same_layers([layer for name in calls for layer in calls[name]], wanted)
    assert not any("call" in vars(item.weights.module) for item in calls_of(source))


def test_which_patterns_a_layer_may_get() -> None:
    source = load_source("fashion_resnet")
    patterns = patterns_of(0.25, (8, 128), (1, 48))
    asked = {item.name: item for item in questions_of(source, patterns)}
    assert asked["conv1"].reason == "first convolution (stem)"
    assert asked["layer1.0.conv1"].patterns == (EIGHT,)
    assert asked["layer2.0.conv1"].patterns == (EIGHT, NMPattern(0.25, tile=128))
    work = to_measure(asked.values())
    assert set(work.skipped) == {"conv1"}
    row = next(x for x in work.layers if x.layer.tile == 8 and "layer1.1.conv1" in x.names)
    assert set(row.names) >= {"layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2"}
    with pytest.raises(SelectionError, match="no layer takes any of"):
        questions_of(source, patterns_of(0.25, (8,), (48,)))
    with pytest.raises(SelectionError, match="fewer than one tile of 999"):
        questions_of(source, patterns_of(0.25, (999,), (1,)))
    with pytest.raises(PatternError, match="above 0 and below 1, got 1"):
        patterns_of(1.0, (8,), (1,))


def test_a_pruned_layer_keeps_what_its_pattern_keeps() -> None:
    layer = Layer(1, 8, 8, 1, 7, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1)
    assert pruned(layer, None) is layer
    found = pruned(layer, NMPattern.from_density(0.25, tile=8))
    assert (found.density * 63, found.tile) == (16, 8)


@pytest.mark.parametrize(
    ("times", "harm", "wanted", "why"),
    [
        ((4.0, 1.029, 1.02, 1.0), {}, EIGHT, "smaller, 2.9% slower"),
        ((4.0, 1.04, 1.02, 1.0), {}, SIXTEEN, "smaller, 2.0% slower"),
        ((4.0, 1.0, 1.02, 1.1), {}, EIGHT, "the fastest"),
        ((1.02, 1.1, 1.1, 1.0), {}, None, "pruning gains nothing"),
        ((4.0, 1.02, 1.01, 1.0), (3, 2, 1), WIDE, "harms least of the fastest"),
        ((4.0, 1.02, 1.01, 1.0), (1, 1, 1), EIGHT, "harms least of the fastest"),
        ((4.0, 1.02, 1.01, 1.0), (3, 2), EIGHT, "smaller, 2.0% slower"),
        ((4.0, 1.5, 1.0, 1.2), (0, 1, 0), SIXTEEN, "the fastest"),
        ((4.0, 1.5, 1.0), {}, None, "not all measured"),
        ((), {}, None, "not measured"),
    ],
)
def test_proposals(times: Any, harm: Any, wanted: NMPattern | None, why: str) -> None:
    patterns = (EIGHT, SIXTEEN, WIDE)
    seconds = dict(zip((None, *patterns), times, strict=False))
    known = dict(zip(map(str, patterns), harm, strict=False))
    assert propose(seconds, patterns, known) == (wanted, why)


def test_harm_is_by_name_then_by_the_first_glob() -> None:
    rows = {"layer*": {"a": 1.0}, "*": {"a": 2.0}, "layer[1]": {"a": 3.0}}
    assert [harm_of(name, rows) for name in ("layer1", "stem", "layer[1]")] == [
        {"a": 1.0}, {"a": 2.0}, {"a": 3.0},
    ]  # fmt: skip
    assert harm_of("layer1", None) == harm_of("layer1", {"x": {}}) == {}


PLAN = PlanFile(
    {"a[0]": {"dense": 2e-3, str(EIGHT): 7e-4}, "b": {"dense": 1e-3}},
    {"a[0]": EIGHT, "b": None},
    "Some CPU",
    2,
)


def test_plans_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(path, PLAN)
    assert load_plan(path) == PLAN
    assert load_plan(path).mapping == {"a[[]0]": EIGHT, "b": None}
    assert load_seconds(path) == PLAN.seconds
    save_sensitivity(path, {"a": {EIGHT: 0.0, WIDE: 0.5}, "b": {}})
    assert load_sensitivity(path) == {"a": {str(EIGHT): 0.0, str(WIDE): 0.5}, "b": {}}
    save_sensitivity(path, {"a": {EIGHT: -0.1}})
    with pytest.raises(ModelError, match="of 'a' is to be a number above 0, got"):
        load_sensitivity(path)


def _changed(**changes: Any) -> Any:
    return lambda content: content | changes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_changed(schema=2), "its schema is '2'"),
        (_changed(schema=True), "its schema is 'True'"),
        (_changed(more=1), "it has an unknown 'more'"),
        (lambda c: {k: v for k, v in c.items() if k != "patterns"}, "it has no 'patterns'"),
        (_changed(threads=0), "'threads' is to be a whole number above 0"),
        (_changed(machine=7), "'machine' is to be a text"),
        (_changed(layers=[]), "'layers' is to be an object"),
        (_changed(layers={"b": {"dense": 0}}), "'dense' of 'b' is to be a number above 0"),
        (_changed(layers={"b": {"dense": -1e-3}}), "'dense' of 'b' is to be a number above 0"),
        (_changed(layers={"b": {"dense": 10**400}}), "'dense' of 'b' is to be a number above 0"),
        (_changed(layers={"b": {"dense": "1"}}), "'dense' of 'b' is to be a number"),
        (_changed(layers={"b": {"dense": True}}), "'dense' of 'b' is to be a number"),
        (_changed(layers={"b\n": {}}), "no printable name"),
        (_changed(patterns={"b": 3}), "'b' is to be an object"),
        (_changed(patterns={"b": {"n": 1}}), "the pattern of 'b': it has no 'block'"),
        (
            _changed(patterns={"b": {"n": 5, "m": 4, "tile": 8, "block": 1}}),
            "the pattern of 'b': n counts the columns kept",
        ),
        (
            _changed(patterns={"b": {"n": 0.5, "m": None, "tile": "8", "block": 1}}),
            "the pattern of 'b': tile must be a whole number",
        ),
    ],
)
def test_plans_of_others_are_read_strictly(change: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(path, PLAN)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ModelError) as caught:
        load_plan(path)
    assert str(caught.value).startswith(f"{path}: expected a plan of nmpack tune --density: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "expected JSON"),
        (b"\xff", "it is not UTF-8"),
        (b"[" * 100_000, "expected JSON"),
        (b'{"schema": 1, "schema": 1}', "'schema' twice"),
        (b'{"schema": 1, "layers": {"a": {"dense": NaN}}}', "expected numbers, got NaN"),
        (b" " * ((1 << 24) + 1), "more than 16777216 bytes"),
    ],
)
def test_no_file_breaks_a_reader(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(data)
    for load in (load_plan, load_seconds, load_sensitivity):
        with pytest.raises(ModelError) as caught:
            load(path)
        assert reason in str(caught.value)
    with pytest.raises(ModelError, match="cannot be read"):
        load_plan(tmp_path)


def test_from_tuning_to_a_pruned_network(tmp_path: Path, nmpack_command: Command) -> None:
    plan, pruned_model = tmp_path / "plan.json", tmp_path / "p.pt"
    database = ("--database", tmp_path / "r.sqlite")
    arguments = ("tune", "fashion_resnet", "--density", "0.25", "--tiles", "8,32", *database)
    done = nmpack_command(*arguments, "--budget", "15s", "-o", plan)
    assert done.returncode == 0, done.stderr
    for words in ("first convolution (stem)", "all layers, ms: dense ", f"wrote {plan}"):
        assert words in done.stdout
    found = load_plan(plan)
    row = found.seconds["layer1.1.conv1"]
    assert set(row) == {"dense", str(EIGHT), str(WIDE)}
    chosen = {name for name, item in found.patterns.items() if item is not None}
    assert "layer1.1.conv1" in chosen
    # Nothing that was measured once more is measured again.
    again = nmpack_command(*arguments, "--budget", "1ms", "-o", tmp_path / "again.json")
    assert load_plan(tmp_path / "again.json") == found, again.stderr

    done = nmpack_command(
        "prune", "fashion_resnet", "--plan", plan, "-o", pruned_model, "--json", tmp_path / "p.json"
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "p.json").read_text())["layers"]
    patterns = {name: item and str(item) for name, item in found.patterns.items()}
    assert {row["name"]: row["pattern"] for row in rows} == patterns

    costs = costs_of(load_source("fashion_resnet").model, torch.zeros(1, 1, 28, 28), [EIGHT, WIDE])
    seconds = latency_costs(plan, costs)
    assert seconds["layer1.1.conv1"] == {
        None: row["dense"], EIGHT: row[str(EIGHT)], WIDE: row[str(WIDE)],
    }  # fmt: skip
    done = nmpack_command(
        "search", "fashion_resnet", "--images", "32", "--budgets", "0.6", "--tiles", "8,32",
        "--densities", "0.25", "--record", plan, "--sensitivity", tmp_path / "harm.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    harm = load_sensitivity(tmp_path / "harm.json")
    assert set(harm["layer1.1.conv1"]) == {str(EIGHT), str(WIDE)}
    done = nmpack_command(*arguments, "--budget", "1ms", "--accuracy-model", tmp_path / "harm.json")
    assert done.returncode == 0, done.stderr


def test_a_keras_model_takes_a_plan(tmp_path: Path, nmpack_command: Command) -> None:
    source = keras_source()
    source.model.save(tmp_path / "m.keras")
    save_plan(tmp_path / "plan.json", PlanFile({}, {"down": EIGHT, "apart": WIDE}, "", 1))
    arguments = ("prune", tmp_path / "m.keras", "-o", tmp_path / "p.keras", "--plan")
    done = nmpack_command(*arguments, tmp_path / "plan.json", "--json", tmp_path / "p.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "p.json").read_text())["layers"]
    assert {row["name"]: row["pattern"] for row in rows if row["pattern"]} == {
        "down": str(EIGHT), "apart": str(WIDE),
    }  # fmt: skip
    done = nmpack_command(*arguments, tmp_path / "plan.json", "--tile", "8")
    assert "a plan has a tile and a block for each layer" in done.stderr
    save_plan(tmp_path / "plan.json", PlanFile({}, {"elsewhere": EIGHT}, "", 1))
    done = nmpack_command(*arguments, tmp_path / "plan.json")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "pattern 'elsewhere' matches no convolution" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["m.tflite", "--tiles", "8"], "--tiles is for a plan: give --density too"),
        (["m.tflite", "--density", "0.5"], "expected a model of the zoo"),
        (["resnet20", "--density", "0"], "above 0 and below 1, got 0"),
        (["resnet20", "--density", "0.5", "--embed"], "leave the others out"),
        (["resnet20", "--density", "0.5", "--target", "qemu"], "QEMU has none"),
        (["resnet20", "--density", "0.5", "--tiles", "99"], "fewer than one tile of 99"),
        (["resnet20", "--density", "0.5", "--accuracy-model", "/nowhere"], "cannot be read"),
    ],
)
def test_mistakes(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from nmpack.cli import main

    assert main(["tune", *arguments, "--database", str(tmp_path / "r.sqlite")]) == 1
    assert reason in capsys.readouterr().err
