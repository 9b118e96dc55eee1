# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark's report; no test depends on a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nmpack.cli.progress import console
from nmpack.cli.tables import bench_table
from nmpack.errors import MismatchError, NmpackError
from nmpack.measure.benchmark import bench
from nmpack.measure.stats import paired_ratios, summarise
from nmpack.runtime.interpreter import Engine

pytestmark = pytest.mark.torch
Models = Callable[[str], Path]
ENGINES = (Engine("built-in"), Engine("plain", resolver="plain"))


def test_report_schema(models: Models) -> None:
    seen: list[tuple[int, int]] = []
    report = bench(
        [models("dense"), models("pruned")],
        ENGINES,
        rounds=3,
        repeat=2,
        warmup=0,
        progress=lambda done, total: seen.append((done, total)),
    )
    value = json.loads(json.dumps(report.to_dict()))
    assert set(value) == {"schema", "threads", "machine", "versions", "timings", "ratios", "inputs"}
    assert value["schema"] == 1
    assert value["threads"] == 1
    assert {"processor", "cores", "features", "load_average"} <= set(value["machine"])
    assert value["versions"]["ai-edge-litert"] != "not installed"
    labels = [(item["model"], item["engine"]["name"]) for item in value["timings"]]
    assert labels == [(m, e) for m in ("dense", "pruned") for e in ("built-in", "plain")]
    for item in value["timings"]:
        assert item["milliseconds"]["n"] == 6
        assert [len(row) for row in item["rounds_ms"]] == [2, 2, 2]
        times = item["milliseconds"]
        assert 0 < times["least"] <= times["q1"] <= times["median"] <= times["q3"]
        assert item["peak_memory_bytes"] > item["memory_before_bytes"] > 0
        assert item["difference"] < 1e-4
    pairs = {(item["contender"], item["baseline"]) for item in value["ratios"]}
    assert pairs == {
        ("dense/plain", "dense/built-in"),
        ("pruned/built-in", "dense/built-in"),
        ("pruned/plain", "pruned/built-in"),
        ("pruned/plain", "dense/built-in"),
    }
    assert all(item["speedup"]["n"] == 3 for item in value["ratios"])
    assert seen[0] == (0, 3)
    assert seen[-1] == (3, 3)
    console().print(bench_table(report))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"repeat": 0}, "repeat must be at least 1"),
        ({"engines": ()}, "at least one model and one engine"),
        ({"engines": (Engine("a"), Engine("a"))}, "distinct names"),
        ({"engines": (Engine("a"), Engine("b", threads=2))}, "same number of threads"),
    ],
)
def test_bad_arguments_are_errors(models: Models, arguments: dict[str, object], says: str) -> None:
    with pytest.raises(NmpackError, match=says):
        bench(models("dense"), **({"engines": ENGINES} | arguments))


def test_engines_that_disagree_are_not_timed(models: Models) -> None:
    with pytest.raises(MismatchError, match=r"dense: .* against built-in: outputs differ"):
        bench(models("dense"), ENGINES, rounds=1, tolerance=-1.0)


def test_summaries() -> None:
    summary = summarise([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (summary.n, summary.median, summary.q1, summary.q3) == (5, 3.0, 2.0, 4.0)
    assert (summary.iqr, summary.least, summary.largest) == (2.0, 1.0, 5.0)
    # A slow phase of the machine hits both sides of a round alike.
    ratios = paired_ratios([[2.0], [20.0]], [[1.0], [10.0]])
    assert (ratios.median, ratios.iqr) == (2.0, 0.0)
