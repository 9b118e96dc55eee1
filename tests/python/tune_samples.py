# SPDX-License-Identifier: BSD-3-Clause
"""Values for the tests of nmpack.tune: a machine, a layer, trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.measure.stats import Summary
from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.network import Network
from nmpack.tune.entries import Subject
from nmpack.tune.protocol import Candidate, Definition, Machine
from nmpack.tune.rounds import Trial
from nmpack.tune.session import Command, Session, explain_end
from nmpack.tune.shapes import Layer, Setting

MACHINE = Machine(
    2, "x86_64", "Some CPU", "fma3", 0, (32768, 524288), 2, "0123456789abcdef", "clang 19", ("f32",)
)
LAYER = Layer(1, 56, 56, 1, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 0.25, 32)
DEFINITION = Definition(
    LAYER.macs,
    LAYER.macs // 4,
    (0.25, 0.25, 0.25),
    (
        Candidate("dense", "nhwc", 4.0),
        Candidate("nhwc-6x16", "nhwc", 1.5),
        Candidate("cnhw-4x24", "cnhw", 1.0),
        Candidate("cnhw-8x16", "cnhw", 1.2),
    ),
)
SUBJECT = Subject(MACHINE, LAYER, Setting(), DEFINITION)
OTHER_BUILD = replace(SUBJECT, machine=replace(MACHINE, kernels="f" * 16))


def trial(
    candidate: str,
    value: float,
    number: int = 0,
    index: int = 0,
    stage: str = "race",
    session: str = "0" * 32,
) -> Trial:
    """Return a trial whose runs all took ``value``."""
    summary = Summary(3, value, value, value, value, value)
    return Trial(session, number, stage, index, candidate, "ns", summary, 1.7e9)


def race(rounds: Sequence[dict[str, float]], stage: str = "race") -> list[Trial]:
    """Return the trials of rounds, each given by its candidates' values; the first is repeated."""
    pairs = [
        (index, name, x)
        for index, row in enumerate(rounds)
        for name, x in [*row.items(), next(iter(row.items()))]
    ]
    return [trial(name, x, at, index, stage) for at, (index, name, x) in enumerate(pairs)]


def session_of(script: Path, code: str) -> Session:
    """Start a shell script in place of the measuring program."""
    script.write_text(code, encoding="utf-8")
    return Session(Command(["/bin/sh", str(script)], "here", explain_end("here")))


def filters(outputs: int, kernel: int, inputs: int, pattern: NMPattern | None) -> Any:
    """Draw weights OHWI, pruned."""
    generator = np.random.default_rng(outputs * kernel + inputs)
    weights = generator.standard_normal((outputs, kernel, kernel, inputs), dtype=np.float32)
    if pattern is not None:
        weights[~compute_mask(weights, pattern)] = 0.0
    return weights


def small_model(path: Path) -> Path:
    """Write a model of four convolutions, two of them alike."""
    network = Network()
    x = start = network.tensor((1, 28, 28, 16))
    rows = (
        (64, 3, 2, None),
        (64, 3, 1, NMPattern.from_density(0.25, tile=32)),
        (64, 3, 1, NMPattern.from_density(0.25, tile=32)),
        (96, 1, 1, NMPattern.from_density(0.5, tile=8, block=4)),
    )
    for outputs, kernel, stride, pattern in rows:
        weights = filters(outputs, kernel, network.shape(x)[3], pattern)
        x = network.convolution(x, weights, np.zeros(outputs, np.float32), stride)
    path.write_bytes(network.finish(start, x))
    return path
