# SPDX-License-Identifier: BSD-3-Clause
"""Whole networks on aarch64 under QEMU: the host's numbers on NEON, with dot products, in f16."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from open_files import any_image, two_inputs

from nmpack.cli import main
from nmpack.errors import MissingError
from nmpack.quantize import Int8, to_int8
from nmpack.runtime.delegate_profile import read_profile
from nmpack.runtime.elf import read_functions
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.qemu import ARM_PROCESSORS, Target, find_target, run_emulated
from nmpack.runtime.runner import compare, run

pytestmark = [pytest.mark.aarch64, pytest.mark.torch]
Models = Callable[[str], Path]


@pytest.fixture(scope="session")
def target() -> Target:
    """The aarch64 build, sysroot and QEMU; their absence is a failure, not a skip."""
    try:
        return find_target("aarch64")
    except MissingError as error:
        pytest.fail(f"this test needs aarch64: {error}", pytrace=False)


def images(count: int) -> np.ndarray:
    random = np.random.default_rng(4)
    return random.normal(size=(count, 28, 28, 1)).astype(np.float32)


def partition(report: Path) -> dict[str, Any]:
    """The only partition: the whole network, of which nothing is left to the interpreter."""
    found: dict[str, Any] = json.loads(report.read_text())
    assert found["left"] == []
    (only,) = found["partitions"]
    assert isinstance(only, dict)
    return only


def operators(report: Path) -> set[tuple[str, str]]:
    return {(row["operator"], row["layout"]) for row in partition(report)["layers"]}


@pytest.mark.parametrize("processor", ARM_PROCESSORS)
@pytest.mark.parametrize("kind", ["dense", "pruned", "nm"])
def test_a_network_equals_the_host(
    target: Target, models: Models, kind: str, processor: str, tmp_path: Path
) -> None:
    stock = run(models(kind), images(1), engine=Engine("stock"))
    report = tmp_path / "report.json"
    for layout in ("auto", "nhwc", "cnhw"):
        how = {"report": report, "layout": layout}
        outputs = run_emulated(target, processor, models(kind), [images(1)], options=how)
        gap = compare(stock.outputs, outputs)
        assert gap.relative < 1e-5, layout
        assert gap.top1 == 1.0
        found = operators(report)
        assert kind == "dense" or "nm" in {name for name, _ in found}, found
        assert layout != "nhwc" or {place for _, place in found} == {"NHWC"}


@pytest.mark.parametrize("processor", ARM_PROCESSORS)
@pytest.mark.parametrize("kind", ["dense", "pruned"])
def test_int8_equals_the_host_bit_for_bit(
    target: Target, models: Models, kind: str, processor: str, tmp_path: Path
) -> None:
    path, report = tmp_path / "int8.tflite", tmp_path / "report.json"
    to_int8(models(kind), path, Int8(images(8)))
    stock = run(path, images(1), engine=Engine("stock"))
    for nm in ("off", "auto", "force"):
        how = {"report": report, "nm": nm}
        outputs = run_emulated(target, processor, path, [images(1)], options=how)
        for name, expected in stock.outputs.items():
            np.testing.assert_array_equal(outputs[name], expected, err_msg=f"{name}, nm={nm}")
        names = {name for name, _ in operators(report)}
        assert ("nm" in names) == (nm == "force" or (nm, kind) == ("auto", "pruned")), nm


@pytest.mark.parametrize("processor", ARM_PROCESSORS)
@pytest.mark.parametrize("kind", ["dense", "pruned"])
def test_half_precision_is_near_the_host(
    target: Target, models: Models, kind: str, processor: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    stock = run(models(kind), images(1), engine=Engine("stock"))
    how = {"report": report, "precision": "f16"}
    outputs = run_emulated(target, processor, models(kind), [images(1)], options=how)
    gap = compare(stock.outputs, outputs)
    has_half = processor != "cortex-a57"
    assert partition(report)["precision"] == ("f16" if has_half else "model")
    assert gap.relative < (0.02 if has_half else 1e-5)
    assert not has_half or gap.relative > 1e-5, "it is the model's own precision"


def test_nmpack_run_profiles_neon(target: Target, models: Models, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    how = {"nm": "force", "layout": "cnhw", "profile": path}
    run_emulated(target, "max", models("pruned"), [images(1)], options=how)
    functions = read_functions(target.library)
    (found,) = read_profile(path).partitions
    kernels = [str(functions.at(item.kernel)) for item in found.operators if item.choice]
    assert any("nmspmm" in name and "__neonfma" in name for name in kernels), kernels


def test_the_interpreter_alone_takes_the_model(target: Target, models: Models) -> None:
    stock = run(models("dense"), images(1), engine=Engine("stock"))
    outputs = run_emulated(target, "cortex-a57", models("dense"), [images(1)], delegate=False)
    assert compare(stock.outputs, outputs).relative < 1e-5


@pytest.mark.usefixtures("target")
def test_command_line(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    run_there = ["run", str(models("pruned")), "--target", "aarch64"]
    for more in ([], ["--cpu", "cortex-a57", "--option", "nm=force"], ["--no-delegate"]):
        assert main([*run_there, *more, "--compare"]) == 0
        assert "agrees with the stock" in capsys.readouterr().out
    assert main([*run_there, "--option", "x=1"]) == 1
    said = capsys.readouterr().err
    assert "aarch64: " in said
    assert "unknown option 'x'" in said


@pytest.mark.usefixtures("target")
def test_open_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = any_image(tmp_path / "one.tflite", valid=True), two_inputs(tmp_path / "two.tflite")
    for model, *shapes in ((one, "3x9x7x3"), (two, "image=3x9x7x3", "side=3x6")):
        arguments = [word for shape in shapes for word in ("--shape", shape)]
        there = [*arguments, "--target", "aarch64", "--compare"]
        assert main(["run", str(model), *there]) == 0
        assert "agrees with the stock" in capsys.readouterr().out
