# SPDX-License-Identifier: BSD-3-Clause
"""``precision=f16``: near the reference where XNNPACK can, and the model's own where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
from ai_edge_litert.interpreter import load_delegate
from conv_models import input_image, model, numbers, tolerance
from drawn_convolutions import draw
from sound_models import SAME, ramp, small_network, stored_filter
from tflite_graph import Graph, Quantization, options

from nmpack.runtime.interpreter import find_delegate

pytestmark = pytest.mark.delegate
#: A step of half precision in steps of single precision.
HALF = 2.0**13
COUNT = max(4, parity.COUNT // 6)


def _half(report: Path, **more: str) -> Any:
    values = {"precision": "f16", "report": str(report), "num_threads": "1", **more}
    return load_delegate(str(find_delegate()), values)


def _session(content: bytes, report: Path, **more: str) -> parity.Session:
    return parity.Session(content, nm="auto", delegate=_half(report, **more), report=report)


@pytest.mark.parametrize("number", range(COUNT))
@pytest.mark.parametrize("layout", ["auto", "cnhw"])
def test_drawn_convolutions_are_near_the_reference(
    number: int, layout: str, tmp_path: Path
) -> None:
    seed = [parity.SEED, number]
    drawn = next(
        c
        for c in (draw("convolution", (*seed, i)) for i in range(1000))
        if not c.integers and c.delegable
    )
    content, image = model(drawn), input_image(drawn)
    expected = parity.Session(content).run([image])
    for nm in ("auto", "force"):
        session = _session(content, tmp_path / "report.json", nm=nm, layout=layout)
        (partition,) = session.partitions()
        assert partition["precision"] == "f16", partition
        worse = parity.difference(session.run([image]), expected, tolerance(drawn) * HALF)
        assert not worse, f"{worse}: nm={nm}, seed {seed}"
        if nm == "force" and drawn.sparse_when_forced and layout == "cnhw":
            assert partition["layers"][0]["operator"] == "nm", partition


def _residual_network() -> bytes:
    """Two pruned convolutions, an addition, pooling, a mean and a matrix."""
    graph = Graph()
    image = graph.tensor((1, 16, 16, 3))
    setting = options("Conv2DOptions", padding=SAME, strideH=1, strideW=1, dilationHFactor=1,
                      dilationWFactor=1, fusedActivationFunction=1)  # fmt: skip

    def convolve(x: int, inputs: int, outputs: int) -> int:
        weights = [
            graph.constant(ramp(outputs, 3, 3, inputs) / inputs),
            graph.constant(ramp(outputs)),
        ]
        return graph.add("CONV_2D", [x, *weights], graph.tensor((1, 16, 16, outputs)), setting)

    x = convolve(image, 3, 24)
    y = convolve(convolve(x, 24, 32), 32, 24)
    y = graph.add("ADD", [x, y], graph.tensor((1, 16, 16, 24)), options("AddOptions"))
    pool = options("Pool2DOptions", padding=SAME, strideH=2, strideW=2, filterHeight=3,
                   filterWidth=3, fusedActivationFunction=0)  # fmt: skip
    y = graph.add("MAX_POOL_2D", [y], graph.tensor((1, 8, 8, 24)), pool)
    axes = graph.constant(np.array([1, 2], np.int32))
    mean = graph.add("MEAN", [y, axes], graph.tensor((1, 24)), options("ReducerOptions"))
    matrix = [graph.constant(ramp(10, 24)), graph.constant(ramp(10))]
    scores = graph.add("FULLY_CONNECTED", [mean, *matrix], graph.tensor((1, 10)),
                       options("FullyConnectedOptions"))  # fmt: skip
    return graph.model([image], [scores])


@pytest.mark.parametrize("layout", ["auto", "nhwc", "cnhw"])
@pytest.mark.parametrize(
    "content", [_residual_network(), small_network()], ids=["residual", "small"]
)
def test_a_network_is_one_partition_in_half_precision(
    content: bytes, layout: str, tmp_path: Path
) -> None:
    session = _session(content, tmp_path / "report.json", nm="force", layout=layout)
    reference = parity.Session(content)
    shape = session.interpreter.get_input_details()[0]["shape"]
    for batch in (1, 3):
        for each in (session, reference):
            each.resize((batch, *shape[1:]))
        image = numbers(np.random.default_rng(batch), (batch, *shape[1:]), integers=False)
        expected = reference.run([image])
        largest = max(float(np.abs(output).max()) for output in expected)
        got = session.run([image])
        worse = parity.difference(got, expected, 0.01 * largest)
        assert not worse, f"{worse}: batch {batch}"
        # It is half precision, not the model's own.
        assert parity.difference(got, expected, 1e-6 * largest)
        (partition,) = session.partitions()
        assert partition["precision"] == "f16"
        assert "why_not_f16" not in partition


def test_a_quantized_model_stays_what_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    drawn = next(c for c in (draw("int8", (parity.SEED, i)) for i in range(100)) if c.delegable)
    content, image = model(drawn), input_image(drawn)
    check_stays(content, image, tmp_path / "report.json")
    assert "1 nodes run in the model's precision: " in capfd.readouterr().err


def check_stays(content: bytes, image: np.ndarray, report: Path) -> None:
    """Check that a model asked for in half precision runs in its own, and says so."""
    plain = parity.Session(content, nm="auto").run([image])
    session = _session(content, report)
    (partition,) = session.partitions()
    assert partition["precision"] == "model"
    assert partition["why_not_f16"].startswith("XNNPACK does not plan it in half precision: ")
    assert not parity.difference(session.run([image]), plain, 0.0)


STEPS = Quantization([0.05], 3)
SHARES = Quantization([1 / 256], -128)


@pytest.mark.parametrize(
    "names",
    [
        ["QUANTIZE"],
        ["DEQUANTIZE"],
        ["SOFTMAX"],
        ["QUANTIZE", "DEQUANTIZE"],
        ["QUANTIZE", "SOFTMAX", "DEQUANTIZE"],
    ],
)
def test_conversions_of_quantized_values_stay_what_they_are(
    names: list[str], tmp_path: Path
) -> None:
    graph = Graph()
    floats = names[0] == "QUANTIZE"
    x = source = graph.tensor((4, 10)) if floats else graph.tensor((4, 10), np.int8, STEPS)
    for name in names:
        kind = SHARES if name == "SOFTMAX" else STEPS
        y = graph.tensor((4, 10)) if name == "DEQUANTIZE" else graph.tensor((4, 10), np.int8, kind)
        table = options("SoftmaxOptions", beta=1.0) if name == "SOFTMAX" else None
        x = graph.add(name, [x], y, table)
    content = graph.model([source], [x])
    generator = np.random.default_rng(1)
    if floats:
        image = generator.normal(size=(4, 10)).astype(np.float32)
    else:
        image = generator.integers(-128, 128, (4, 10)).astype(np.int8)
    check_stays(content, image, tmp_path / "report.json")


def test_sparse_storage_runs_in_half_precision(tmp_path: Path) -> None:
    graph = Graph()
    image = graph.tensor((1, 7, 7, 16))
    generator = np.random.default_rng(0)
    kept = generator.random((4, 1, 3, 3, 16)) < 0.25
    values = (generator.normal(size=(4, 8, 3, 3, 16)) * kept).reshape(32, 3, 3, 16)
    weights = stored_filter(graph, values, tile=8)
    setting = options("Conv2DOptions", padding=SAME, strideH=1, strideW=1, dilationHFactor=1,
                      dilationWFactor=1, fusedActivationFunction=0)  # fmt: skip
    bias = graph.constant(np.linspace(-1, 1, 32, dtype=np.float32))
    out = graph.add("CONV_2D", [image, weights, bias], graph.tensor((1, 7, 7, 32)), setting)
    content = graph.model([image], [out])
    pixels = numbers(generator, (1, 7, 7, 16), integers=False)
    expected = parity.Session(content).run([pixels])
    for nm in ("off", "force"):
        session = _session(content, tmp_path / "report.json", nm=nm, layout="auto")
        assert [p["precision"] for p in session.partitions()] == ["f16"]
        worse = parity.difference(session.run([pixels]), expected, 0.05)
        assert not worse, f"{worse}: nm={nm}"
