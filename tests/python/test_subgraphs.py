# SPDX-License-Identifier: BSD-3-Clause
"""The delegate's report on files of several subgraphs, and what ``nmpack inspect`` makes of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from subgraph_files import branches, filters, two_signatures

from nmpack.measure.inspection import ModelReport, inspect
from nmpack.quiet import import_tensorflow, silenced
from nmpack.runtime.interpreter import PACKAGES, load_delegate, nmpack_engine
from nmpack.tflite.storage import to_sparse_storage

pytestmark = [pytest.mark.delegate, pytest.mark.usefixtures("delegate")]


def rows(report: ModelReport) -> dict[tuple[int, int], str | None]:
    """Return the operator of each convolution by (subgraph, node)."""
    return {(row.subgraph, row.node): row.operator for row in report.layers}


@pytest.mark.parametrize("interpreter", PACKAGES)
@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_every_signature_is_planned_and_told_apart(
    storage: str, interpreter: str, tmp_path: Path
) -> None:
    """All tensors have one name; the filters of one signature are pruned, of the other partly."""
    path = tmp_path / "model.tflite"
    path.write_bytes(two_signatures().packed())
    if storage == "sparse":
        to_sparse_storage(path, path)
    report = inspect(path, engine=nmpack_engine(interpreter=interpreter, alone=True))
    # Our operator may be the faster one for an unpruned filter, too.
    assert list(rows(report).values())[:3] == ["nm", "nm", "nm"]
    moved = (2, 1) if storage == "sparse" else (0, 0)
    assert list(rows(report)) == [
        (0, 0 + moved[0]), (0, 2 + moved[0]), (1, 0 + moved[1]), (1, 1 + moved[1]),
    ]  # fmt: skip
    assert [row.column_density for row in report.layers] == [0.25, 0.25, 0.25, 1.0]
    assert [(graph.partitions, graph.delegated) for graph in report.subgraphs] == [
        (1, 3 + moved[0]),
        (1, 2 + moved[1]),
    ]
    assert (report.partitions, report.delegated, report.left) == (2, report.operators, ())


def test_the_branches_of_an_if(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(branches().packed())
    report = inspect(path)
    assert rows(report) == {(1, 0): "nm", (2, 1): "nm"}
    assert report.left is not None
    assert [(item.subgraph, item.node, item.operator) for item in report.left] == [(0, 0, "IF")]
    assert report.left[0].reason
    assert (report.operators, report.delegated) == (4, 3)


@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_signatures_that_share_a_filter_compute_the_same(storage: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(two_signatures().packed())
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    stock = Interpreter(str(path), experimental_op_resolver_type=plain)
    stored = tmp_path / "stored.tflite"
    stored.write_bytes(path.read_bytes())
    if storage == "sparse":
        to_sparse_storage(path, stored)
    delegate = load_delegate()
    ours = Interpreter(
        str(stored), experimental_op_resolver_type=plain, experimental_delegates=[delegate]
    )
    generator = np.random.default_rng(0)
    for key, size in [("encode", 8), ("decode", 6), ("encode", 8)]:
        x = generator.normal(size=(1, size, size, 32)).astype(np.float32)
        expected, found = (
            model.get_signature_runner(key)(in0=x)["out0"] for model in (stock, ours)
        )
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function to files of TensorFlow's converter: ``signatures`` or ``loop``."""
    folder = tmp_path_factory.mktemp("converted")
    with silenced():
        tf = import_tensorflow()
        kernels = [tf.constant(filters(seed).transpose(1, 2, 3, 0) / 8) for seed in range(3)]

        def conv(x: Any, index: int) -> Any:
            return tf.nn.conv2d(x, kernels[index], 1, "SAME")

        class Module(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 32), tf.float32)])
            def encode(self, x: Any) -> Any:
                return {"y": tf.nn.relu(conv(conv(x, 0), 1))}

            @tf.function(input_signature=[tf.TensorSpec((1, 6, 6, 32), tf.float32)])
            def decode(self, x: Any) -> Any:
                return {"y": conv(conv(x, 0), 2)}

            @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 32), tf.float32)])
            def loop(self, x: Any) -> Any:
                def body(i: Any, x: Any) -> Any:
                    return i + 1, tf.tanh(conv(x, 0))

                _, y = tf.while_loop(lambda i, _: i < 3, body, [tf.constant(0), conv(x, 1)])
                return {"y": y}

        module = Module()
        for name, keys in (("signatures", ("encode", "decode")), ("loop", ("loop",))):
            saved = str(folder / name)
            tf.saved_model.save(module, saved, {key: getattr(module, key) for key in keys})
            converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=keys)
            (folder / f"{name}.tflite").write_bytes(converter.convert())
    return lambda name: folder / f"{name}.tflite"


@pytest.mark.keras
def test_two_signatures_of_a_module(converted: Callable[[str], Path]) -> None:
    report = inspect(converted("signatures"))
    assert sorted(graph.signatures for graph in report.subgraphs) == [("decode",), ("encode",)]
    assert list(rows(report).values()) == ["nm"] * 4
    assert [str(row.fit) for row in report.layers] == ["1:4 kept, tile 32"] * 4
    assert (report.partitions, report.delegated, report.left) == (2, report.operators, ())


@pytest.mark.keras
@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_a_loop_of_a_module(converted: Callable[[str], Path], storage: str, tmp_path: Path) -> None:
    path = converted("loop")
    if storage == "sparse":
        path = tmp_path / "sparse.tflite"
        assert len(to_sparse_storage(converted("loop"), path).stored) == 2
    report = inspect(path)
    assert len(report.subgraphs) == 3
    assert list(rows(report).values()) == ["nm", "nm"]
    assert len({row.subgraph for row in report.layers}) == 2
    assert report.left is not None
    assert "WHILE" in {item.operator for item in report.left if item.subgraph == 0}
    assert report.operators == report.delegated + len(report.left)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 32)).astype(np.float32)
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    outputs = []
    for name, delegates in ((converted("loop"), None), (path, [load_delegate()])):
        interpreter = Interpreter(
            str(name), experimental_op_resolver_type=plain, experimental_delegates=delegates
        )
        outputs.append(interpreter.get_signature_runner("loop")(x=x)["y"])
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=0, atol=1e-5)


def test_the_command_line_tells_subgraphs_apart(
    nmpack_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(branches().packed())
    done = nmpack_command("inspect", path, "--json", tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    assert "1 then" in done.stdout
    assert "2 else" in done.stdout
    assert "2 layers among 4 operators of 3 subgraphs; the delegate takes 3" in done.stdout
    assert "left to the interpreter: 1 IF: " in done.stdout
    value = json.loads((tmp_path / "report.json").read_text())
    assert value["schema"] == 3
    assert [graph["signatures"] for graph in value["subgraphs"]] == [["serving_default"], [], []]
