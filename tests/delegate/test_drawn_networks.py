# SPDX-License-Identifier: BSD-3-Clause
"""Networks of convolutions and what is between them, resized, repeated, shared and in parallel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import parity
import pytest
from conv_models import input_image, model, numbers
from drawn_convolutions import draw
from drawn_networks import Network, network

pytestmark = pytest.mark.delegate
SLOW_FACTOR = 50


def _draws(count: int) -> list[object]:
    return [
        pytest.param(
            [parity.SEED + slow, number],
            id=f"seed{parity.SEED}-{'slow-' * slow}{number}",
            marks=[pytest.mark.slow] * slow,
        )
        for slow in (False, True)
        for number in range(count * (SLOW_FACTOR if slow else 1))
    ]


def _draw(seed: list[int]) -> tuple[Network, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return network(rng), rng


def _expect(
    drawn: Network, shapes: list[tuple[int, ...]], rng: np.random.Generator
) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Return an image and the reference's outputs for each shape."""
    images = [numbers(rng, shape, integers=True) for shape in shapes]
    reference = parity.Session(drawn.model)
    result = []
    for image in images:
        reference.resize(image.shape)
        result.append((image, reference.run([image])))
    return result


@pytest.mark.parametrize("seed", _draws(parity.COUNT // 3))
def test_drawn_network_is_one_partition_and_can_be_resized(seed: list[int], tmp_path: Path) -> None:
    drawn, rng = _draw(seed)
    expected = _expect(drawn, [*drawn.shapes, drawn.shapes[0]], rng)
    for nm, threads in parity.SETTINGS:
        session = parity.Session(
            drawn.model, nm=nm, threads=threads, report=tmp_path / "report.json"
        )
        (partition,) = session.partitions()
        assert partition["nodes"] == list(range(drawn.nodes))
        operators = [c["operator"] for c in partition["layers"]]
        assert len(operators) == drawn.convolutions + drawn.dense_convolutions
        if nm == "force":
            assert operators.count("nm") == drawn.convolutions
        for number, (image, outputs) in enumerate(expected):
            if number > 0:
                session.resize(image.shape)
            for time in ("first", "second"):
                worse = parity.difference(session.run([image]), outputs, 0.0)
                assert not worse, f"{worse}: nm={nm}, {threads} threads, {image.shape}, {time} run"


@pytest.mark.parametrize("seed", _draws(parity.COUNT // 3))
def test_drawn_network_is_the_same_in_every_layout(seed: list[int], tmp_path: Path) -> None:
    drawn, rng = _draw([*seed, 0])
    first = drawn.shapes[0]
    expected = _expect(drawn, [first, *((batch, *first[1:]) for batch in (4, 1, 2))], rng)
    for layout in parity.LAYOUTS:
        for nm, threads in parity.SETTINGS:
            session = parity.Session(
                drawn.model,
                nm=nm,
                layout=layout,
                threads=threads,
                report=tmp_path / "report.json",
            )
            (partition,) = session.partitions()
            layouts = {c["layout"] for c in partition["layers"] if c["reason"] == "chosen"}
            assert layout == "auto" or layouts <= {layout.upper()}
            for number, (image, outputs) in enumerate(expected):
                if number > 0:
                    session.resize(image.shape)
                worse = parity.difference(session.run([image]), outputs, 0.0)
                assert not worse, f"{worse}: {layout}, nm={nm}, {threads} threads, {image.shape}"


@pytest.mark.parametrize("seed", _draws(parity.COUNT // 12))
def test_interpreters_share_a_delegate(seed: list[int]) -> None:
    draws = [_draw([*seed, number]) for number in range(2)]
    expected = [_expect(drawn, list(drawn.shapes), rng) for drawn, rng in draws]
    delegate = parity.make_delegate("force", 2)
    sessions = [
        parity.Session(drawn.model, nm="force", threads=2, delegate=delegate) for drawn, _ in draws
    ]
    for turn in range(len(draws[0][0].shapes)):
        for session, results in zip(sessions, expected, strict=True):
            session.resize(results[turn][0].shape)
        # Both are planned before either runs: they share the memory between layers.
        for session, results in zip(sessions * 2, expected * 2, strict=True):
            image, outputs = results[turn]
            worse = parity.difference(session.run([image]), outputs, 0.0)
            assert not worse, f"{worse}: {image.shape}"


@pytest.mark.parametrize("seed", _draws(parity.COUNT // 12))
def test_interpreters_run_at_the_same_time(seed: list[int]) -> None:
    draws = [_draw([*seed, number]) for number in range(4)]
    expected = [_expect(drawn, list(drawn.shapes), rng) for drawn, rng in draws]

    def work(number: int) -> list[str]:
        session = parity.Session(draws[number][0].model, nm="force", threads=2)
        found = []
        for image, outputs in expected[number]:
            session.resize(image.shape)
            for _ in range(3):
                found.append(parity.difference(session.run([image]), outputs, 0.0))
        return found

    with ThreadPoolExecutor(len(draws)) as pool:
        for number, found in enumerate(pool.map(work, range(len(draws)))):
            assert not any(found), f"interpreter {number}: {found}"


def test_an_image_too_small_is_refused_and_a_larger_one_runs_again() -> None:
    """VALID convolutions of a shrinking image: the interpreter says no, and goes on after it."""
    base = draw("convolution", (0, 0))
    fields = {"kernel": (5, 5), "stride": (1, 1), "dilation": (1, 1), "same": False}
    drawn = replace(base, image=(9, 9), batch=1, activation="RELU", integers=True, **fields)
    for nm in ("auto", "force"):
        ours = parity.Session(model(drawn), nm=nm)
        reference = parity.Session(model(drawn))
        for size in (9, 3, 7, 5, 2, 12):
            shape = (1, size, 9, drawn.input_shape[3])
            sessions = (ours, reference)
            if size < 4:
                for session in sessions:
                    with pytest.raises(parity.Refused):
                        session.resize(shape)
                continue
            x = input_image(drawn, size, shape)
            results = []
            for session in sessions:
                session.resize(shape)
                results.append(session.run([x]))
            worse = parity.difference(*results, 0.0)
            assert not worse, f"{worse}: {shape}"
