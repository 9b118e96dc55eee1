# SPDX-License-Identifier: BSD-3-Clause
"""Damaged models end in one sentence: cut, with flipped bytes, with fields that lie.

Each is compiled in this process, which has a limit of memory and of time meanwhile.
"""

from __future__ import annotations

import os
import resource
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_layers import KINDS, draw_layer
from small_networks import residual, two_ends
from tflite_graph import Graph, Quantization, options

from nmpack.errors import ModelError
from nmpack.mcu.compiler import Program, compile_model
from nmpack.mcu.emit_c import calls, header, weights, weights_header
from nmpack.mcu.operators import context
from nmpack.tflite.builder import packed, unpacked

SEED = int(os.environ.get("NMPACK_DRAWN_SEED", "0"))
FLIPS = int(os.environ.get("NMPACK_HOSTILE_FLIPS", "200"))
SECONDS, MEMORY = 20, 2 << 30


@contextmanager
def limited() -> Iterator[None]:
    """Raise MemoryError where 2 GiB more are taken, TimeoutError after 20 seconds."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"a model was not refused within {SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


def outcome(path: Path, content: bytes) -> Program | str:
    """Return a program, of which the C text is written, too; or the sentence of the refusal."""
    path.write_bytes(content)
    try:
        with limited():
            program = compile_model(path)
            for text in (header(program), calls(program), weights_header(program)):
                assert text.isascii()
            assert all(piece.isascii() for piece in weights(program))
            return program
    except ModelError as error:
        said = str(error)
        assert said.startswith(f"{path}: ")
        assert "\n" not in said
        assert len(said) < 3000
        return said


@pytest.fixture(scope="module")
def samples() -> list[bytes]:
    generator = np.random.default_rng(SEED)
    return [residual(), two_ends(), *(draw_layer(generator, kind).content for kind in KINDS)]


def test_cut_files_are_refused(tmp_path: Path, samples: list[bytes]) -> None:
    path = tmp_path / "cut.tflite"
    for content in samples:
        lengths = np.unique(np.linspace(0, len(content) - 1, 60).astype(int))
        for length in lengths:
            found = outcome(path, content[:length])
            # Weights at the end may be cut without a trace in files whose vectors come first.
            assert isinstance(found, str), f"{length} of {len(content)} bytes"


def test_flipped_bytes_are_refused_or_make_another_network(
    tmp_path: Path, samples: list[bytes]
) -> None:
    generator = np.random.default_rng(SEED)
    path = tmp_path / "flipped.tflite"
    refused = 0
    for turn in range(FLIPS):
        content = bytearray(samples[turn % len(samples)])
        for _ in range(int(generator.integers(1, 4))):
            place = int(generator.integers(0, len(content)))
            content[place] = int(generator.choice([0, 1, 127, 128, 255, content[place] ^ 1]))
        try:
            refused += isinstance(outcome(path, bytes(content)), str)
        except Exception as error:
            raise AssertionError(f"seed {SEED}, turn {turn}: {error!r}") from error
    assert 0 < refused < FLIPS


# What fields may say, honest or not.
_NUMBERS = (-(1 << 31), -129, -2, -1, 0, 1, 2, 3, 5, 127, 255, 1 << 16, (1 << 31) - 1)
_REALS = (0.0, -1.0, 1e-45, 1e-30, 1e30, 3e38, float("inf"), float("nan"), 0.5)


def _lie(value: Any, generator: np.random.Generator, depth: int = 0) -> Any:
    """Return a model's object with one field, chosen anywhere below, that says something else."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return int(generator.choice(_NUMBERS))
    if isinstance(value, float):
        return float(generator.choice(_REALS))
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return value[: int(generator.integers(0, len(value) + 1))]
    if isinstance(value, list | np.ndarray):
        items = list(value)
        change = int(generator.integers(0, 4))
        if not items or change == 0:
            return [*items, items[-1] if items else 0]
        place = int(generator.integers(0, len(items)))
        if change == 1:
            return items[:place] + items[place + 1 :]
        items[place] = _lie(items[place], generator, depth + 1)
        return items
    if hasattr(value, "__dict__"):
        fields = [name for name, item in vars(value).items() if item is not None]
        if fields:
            name = str(generator.choice(fields))
            setattr(value, name, _lie(getattr(value, name), generator, depth + 1))
    return value


def test_fields_that_lie_are_refused_or_make_another_network(
    tmp_path: Path, samples: list[bytes]
) -> None:
    generator = np.random.default_rng(SEED)
    source, path = tmp_path / "source.tflite", tmp_path / "lies.tflite"
    refused = tried = 0
    for turn in range(FLIPS):
        source.write_bytes(samples[turn % len(samples)])
        _, model = unpacked(source)
        for _ in range(int(generator.integers(1, 3))):
            model.subgraphs = [_lie(model.subgraphs[0], generator)]
        try:
            content = packed(model)
        except Exception:
            # What flatbuffers cannot say is no file.
            continue
        tried += 1
        try:
            refused += isinstance(outcome(path, content), str)
        except Exception as error:
            raise AssertionError(f"seed {SEED}, turn {turn}: {error!r}") from error
    assert tried > FLIPS / 2
    assert 0 < refused < tried


def test_a_tensor_of_terabytes_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.tflite"
    path.write_bytes(residual())
    _, model = unpacked(path)
    for tensor in model.subgraphs[0].tensors:
        tensor.shape, tensor.quantization = [(1 << 31) - 1] * 4, None
    said = outcome(path, packed(model))
    assert isinstance(said, str)
    assert "expected at most 67108864 bytes" in said


def chain(operators: int) -> bytes:
    """Return RELUs, one behind the other."""
    graph = Graph()
    steps = Quantization([0.05], 2)
    x = y = graph.tensor((1, 40), np.int8, steps)
    for _ in range(operators):
        y = graph.add("RELU", [y], graph.tensor((1, 40), np.int8, steps))
    return graph.model([x], [y])


def test_hundreds_of_operators_are_compiled_in_time(tmp_path: Path) -> None:
    program = outcome(tmp_path / "many.tflite", chain(900))
    assert isinstance(program, Program)
    assert len(program.steps) == 900
    assert program.plan.arena_bytes <= 80


def test_thousands_of_operators_are_refused(tmp_path: Path) -> None:
    said = outcome(tmp_path / "many.tflite", chain(4000))
    assert "expected at most 1000 operators, got 4000" in str(said)


@pytest.mark.parametrize(
    ("limit", "what"), [("_MOST_CHANNELS", "channels"), ("_MOST_WEIGHTS", "weights")]
)
def test_weights_that_many_operators_share_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, what: str
) -> None:
    """A small file says a lot of work: each of 900 layers packs the same weights."""
    monkeypatch.setattr(context, limit, 1000)
    graph = Graph()
    steps = Quantization([0.05], 2)
    w = graph.constant(np.ones((8, 8), np.int8), Quantization([0.05]))
    x = y = graph.tensor((1, 8), np.int8, steps)
    for _ in range(900):
        y = graph.tensor((1, 8), np.int8, steps)
        graph.add("FULLY_CONNECTED", [x, w], y, options("FullyConnectedOptions"))
    said = outcome(tmp_path / "shared.tflite", graph.model([x], [y]))
    assert f"expected at most 1000 {what} in all layers together, got 10" in str(said)


@pytest.mark.parametrize("kind", ["RESIZE_NEAREST_NEIGHBOR", "MIRROR_PAD", "TILE"])
def test_offsets_are_counted_before_they_are_made(tmp_path: Path, kind: str) -> None:
    size = 1 << 26
    graph = Graph()
    quantization = Quantization([0.1], 0)
    shapes, values, table = {
        "RESIZE_NEAREST_NEIGHBOR": (
            [(1, 1, 1, 1), (1, 1, size, 1)], [1, size], options("ResizeNearestNeighborOptions"),
        ),
        "MIRROR_PAD": (
            [(size // 2,), (size - 2,)], [[size // 4 - 1] * 2], options("MirrorPadOptions", mode=0),
        ),
        "TILE": ([(2, 2, 2, size >> 9), (4, 4, 4, size >> 8)], [2] * 4, None),
    }[kind]  # fmt: skip
    source, result = (graph.tensor(shape, np.int8, quantization) for shape in shapes)
    numbers = graph.constant(np.array(values, np.int32))
    graph.add(kind, [source, numbers], result, table)
    path = tmp_path / "offsets.tflite"
    path.write_bytes(graph.model([source], [result]))
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=r"expected at most \d+ places"):
            compile_model(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
