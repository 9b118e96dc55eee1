# SPDX-License-Identifier: BSD-3-Clause
"""What is drawn gives the host's reference kernels' results under QEMU: convolutions on riscv64 and
aarch64; on aarch64 also networks and the other operators."""

from __future__ import annotations

import json
from pathlib import Path

import conv_models
import drawn_convolutions
import numpy as np
import parity
import pytest
from drawn_networks import network
from drawn_operators import OPERATORS
from drawn_transformers import TRANSFORMER_OPERATORS

from nmpack.errors import MissingError
from nmpack.runtime.qemu import ARM_PROCESSORS, VLENS, cpu, find_target, run_emulated

SLOW_FACTOR = 40
PROCESSORS = {"riscv64": tuple(map(cpu, VLENS)), "aarch64": ARM_PROCESSORS}
DRAWN = OPERATORS | TRANSFORMER_OPERATORS


def run(
    architecture: str, processor: str, path: Path, inputs: list[np.ndarray], **how: object
) -> list[np.ndarray]:
    """Run a model under QEMU; that the build is absent is a failure, not a skip."""
    try:
        target = find_target(architecture)
    except MissingError as error:
        pytest.fail(f"this test needs {architecture}: {error}", pytrace=False)
    threads = int(str(how.pop("threads", 1)))
    return list(
        run_emulated(target, processor, path, inputs, options=how, threads=threads).values()
    )


def _draws() -> list[object]:
    return [
        pytest.param(
            architecture,
            kind,
            (parity.SEED + slow, number),
            id=f"{architecture}-seed{parity.SEED}-{'slow-' * slow}{kind}-{number}",
            marks=[getattr(pytest.mark, architecture), *[pytest.mark.slow] * slow],
        )
        for architecture in PROCESSORS
        for slow in ((False, True) if architecture == "riscv64" else (False,))
        for kind in drawn_convolutions.KINDS
        for number in range(parity.COUNT // 30 * (SLOW_FACTOR if slow else 1))
        if drawn_convolutions.draw(kind, (parity.SEED + slow, number)).delegable
    ]


@pytest.mark.parametrize(("architecture", "kind", "seed"), _draws())
def test_drawn_convolution_equals_the_reference(
    architecture: str, kind: str, seed: tuple[int, int], tmp_path: Path
) -> None:
    convolution = drawn_convolutions.draw(kind, seed)
    inputs = [conv_models.input_image(convolution)]
    path, report = tmp_path / "model.tflite", tmp_path / "report.json"
    path.write_bytes(conv_models.model(convolution))
    expected = parity.Session(path.read_bytes()).run(inputs)
    modes = ("auto", "force") if seed[1] % 2 == 0 else ("force", "auto")
    settings = zip(modes * 2, PROCESSORS[architecture], (1, 1, 2, 2), strict=False)
    for nm, processor, threads in settings:
        what = f"nm={nm}, {processor}, {threads} threads, {convolution}"
        outputs = run(architecture, processor, path, inputs, threads=threads, nm=nm, report=report)
        worse = parity.difference(outputs, expected, conv_models.tolerance(convolution))
        assert not worse, f"{worse}: {what}"
        (partition,) = json.loads(report.read_text())["partitions"]
        operators = [c["operator"] for c in partition["layers"]]
        assert len(operators) == 1, what
        assert nm != "force" or (operators == ["nm"]) == convolution.sparse_when_forced, what


@pytest.mark.aarch64
@pytest.mark.parametrize("number", range(parity.COUNT // 2))
@pytest.mark.parametrize("processor", ARM_PROCESSORS)
def test_drawn_network_equals_the_reference(processor: str, number: int, tmp_path: Path) -> None:
    seed = [parity.SEED, number]
    random = np.random.default_rng(seed)
    drawn = network(random)
    inputs = [conv_models.numbers(random, drawn.shapes[0], integers=True)]
    path, report = tmp_path / "model.tflite", tmp_path / "report.json"
    path.write_bytes(drawn.model)
    expected = parity.Session(drawn.model).run(inputs)
    layout = parity.LAYOUTS[number % len(parity.LAYOUTS)]
    for nm, threads in (("auto", 2), ("force", 1)):
        outputs = run(
            "aarch64", processor, path, inputs, threads=threads, nm=nm, layout=layout, report=report
        )
        worse = parity.difference(outputs, expected, 0.0)
        assert not worse, f"{worse}: nm={nm}, {layout}, seed {seed}"
        (partition,) = json.loads(report.read_text())["partitions"]
        assert partition["nodes"] == list(range(drawn.nodes))
        operators = [c["operator"] for c in partition["layers"]]
        assert nm != "force" or operators.count("nm") == drawn.convolutions


@pytest.mark.aarch64
@pytest.mark.parametrize("number", range(max(1, parity.COUNT // 15)))
@pytest.mark.parametrize("name", DRAWN)
def test_drawn_operator_equals_the_reference(name: str, number: int, tmp_path: Path) -> None:
    seed = [parity.SEED, number]
    drawn = DRAWN[name](np.random.default_rng(seed))
    path, report = tmp_path / "model.tflite", tmp_path / "report.json"
    path.write_bytes(drawn.model)
    expected = parity.Session(drawn.model).run(drawn.inputs)
    for processor in ("cortex-a57", "max"):
        outputs = run("aarch64", processor, path, list(drawn.inputs), report=report)
        worse = parity.difference(outputs, expected, drawn.tolerance)
        assert not worse, f"{worse}: {processor}, seed {seed}, {drawn.what}"
        partitions = json.loads(report.read_text())["partitions"]
        taken = sum(len(partition["nodes"]) for partition in partitions)
        assert taken == drawn.nodes, f"nodes taken: {taken}, not {drawn.nodes}: {drawn.what}"
