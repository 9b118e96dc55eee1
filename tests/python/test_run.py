# SPDX-License-Identifier: BSD-3-Clause
"""Conversion, execution in a process of its own, comparison: with the stock interpreter alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from tflite_graph import Graph, options

import nmpack.torch
from nmpack.convert import torch_to_tflite
from nmpack.errors import InterpreterError, MismatchError, MissingError, ModelError, NmpackError
from nmpack.models import fashion_resnet
from nmpack.runtime.child import Signature
from nmpack.runtime.interpreter import Engine, load_delegate, nmpack_engine, option_strings
from nmpack.runtime.process import EngineProcess
from nmpack.runtime.runner import (
    compare,
    load_inputs,
    prepare_inputs,
    require_close,
    run,
    save_outputs,
)
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.lookups import table_rows

pytestmark = pytest.mark.torch
Models = Callable[[str], Path]
STOCK = Engine("built-in")


def test_conversion_keeps_the_function_and_leaves_the_model_alone(tmp_path: Path) -> None:
    model = fashion_resnet()
    nmpack.torch.prune_(model, NMPattern.from_sparsity(0.5, tile=16))
    names = list(model.state_dict())
    path = torch_to_tflite(model, tmp_path / "model.tflite", (28, 28, 1), batch=3)
    assert list(model.state_dict()) == names
    assert model.training
    images = np.random.default_rng(0).normal(size=(3, 28, 28, 1)).astype(np.float32)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    result = run(path, images, engine=STOCK)
    np.testing.assert_allclose(next(iter(result.outputs.values())), expected, atol=1e-5)


def test_a_model_that_cannot_be_converted_writes_nothing(tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[x > x.mean()]

    with pytest.raises(ModelError, match="litert-torch cannot convert this model"):
        torch_to_tflite(Odd(), tmp_path / "odd.tflite", (8, 8, 3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(0, 8, 3), (8, 8), (8, 8, 3, 1)])
def test_a_bad_input_shape_is_an_error(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(NmpackError, match="input shape"):
        torch_to_tflite(fashion_resnet(), tmp_path / "model.tflite", shape)


def test_many_samples_equal_single_ones(models: Models) -> None:
    images = np.random.default_rng(2).normal(size=(5, 28, 28, 1)).astype(np.float32)
    joined = run(models("pruned"), images, engine=STOCK)
    assert joined.samples == 5
    rows = [run(models("pruned"), images[i : i + 1], engine=STOCK).outputs for i in (0, 4)]
    for name, array in joined.outputs.items():
        assert np.array_equal(array[0], rows[0][name][0])
        assert np.array_equal(array[4], rows[1][name][0])


@pytest.mark.parametrize(
    "engine",
    [
        Engine("plain", resolver="plain"),
        Engine("reference", resolver="reference"),
        Engine("threads", threads=2),
    ],
    ids=lambda engine: engine.name,
)
def test_engines_agree(models: Models, engine: Engine) -> None:
    one = run(models("pruned"), 7, engine=STOCK)
    two = run(models("pruned"), 7, engine=engine)
    assert compare(one.outputs, two.outputs).relative < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int32", "uint8", "bool"])
def test_random_values_of_any_number_are_one_stream(dtype: str) -> None:
    """They are drawn piece by piece, which changes none of them."""
    (drawn,), _ = prepare_inputs([Signature("x", (3, 700_001), dtype)], 7)
    generator, kind = np.random.default_rng(7), np.dtype(dtype)
    if kind.kind == "f":
        expected = generator.uniform(-1.0, 1.0, drawn.shape)
    else:
        low, high = {"int8": (-128, 128), "int32": (0, 100), "uint8": (0, 256), "bool": (0, 2)}[
            dtype
        ]
        expected = generator.integers(low, high, drawn.shape)
    np.testing.assert_array_equal(drawn, expected.astype(kind))


def test_inputs_that_no_memory_holds_are_one_error() -> None:
    with pytest.raises(NmpackError, match=r"'x': no memory for random values of 2x17592186044416 "):
        prepare_inputs([Signature("x", (2, 1 << 44), "float64")], 0)


def test_a_child_that_is_left_while_it_loads_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere a profiled one may take as long to end as a request: it writes its times then."""
    slow, ended = tmp_path / "python", tmp_path / "ended"
    slow.write_text(
        f"#!{sys.executable}\nimport pathlib, time\ntime.sleep(10)\n"
        f"pathlib.Path({str(ended)!r}).touch()\n"
    )
    slow.chmod(0o755)
    monkeypatch.setenv("NMPACK_TFLITE_RUNTIME_PYTHON", str(slow))
    engine = Engine("slow", "tflite-runtime", options={"profile": str(tmp_path / "p.json")})

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            EngineProcess(slow, engine)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not ended.exists()


def test_a_seed_gives_the_same_inputs(models: Models) -> None:
    outputs = [run(models("dense"), seed, engine=STOCK).outputs for seed in (1, 1, 2)]
    assert compare(outputs[0], outputs[1]).largest == 0.0
    assert compare(outputs[0], outputs[2]).largest > 0.0


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (np.zeros((1, 28, 28), np.float32), r"expected shape \[1, 28, 28, 1\]"),
        (np.zeros((1, 28, 28, 1), np.float64), "expected float32, got float64"),
        (np.zeros((0, 28, 28, 1), np.float32), "expected shape"),
        ([], "expected 1 inputs, got 0"),
        ({"x": np.zeros((1, 28, 28, 1), np.float32)}, r"expected the inputs \["),
    ],
)
def test_inputs_that_do_not_fit_are_errors(models: Models, inputs: object, says: str) -> None:
    with pytest.raises(NmpackError, match=says):
        run(models("dense"), inputs, engine=STOCK)


def test_a_damaged_model_is_one_error(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(models("dense").read_bytes()[:5000])
    with pytest.raises(InterpreterError, match="ai-edge-litert refuses"):
        run(path, engine=STOCK)
    with pytest.raises(MissingError, match="not a file"):
        run(tmp_path / "absent.tflite", engine=STOCK)


def test_a_crash_of_the_child_is_one_error(models: Models) -> None:
    with EngineProcess(models("dense"), STOCK) as child:
        os.kill(child._child.pid, signal.SIGSEGV)
        with pytest.raises(InterpreterError, match="crashed with SIGSEGV"):
            child.time(1)


def test_a_hanging_child_is_one_error(models: Models) -> None:
    with EngineProcess(models("dense"), STOCK, timeout=0.5) as child:
        os.kill(child._child.pid, signal.SIGSTOP)
        with pytest.raises(InterpreterError, match=r"did not answer within 0\.5 s"):
            child.time(1)


@pytest.mark.keras
@pytest.mark.slow
def test_an_input_of_a_type_that_numpy_has_not_is_one_error(tmp_path: Path) -> None:
    """In a process of its own: where ml_dtypes is imported, numpy has that type."""
    graph = Graph()
    image = graph.tensor((1, 4))
    graph.tensors[image].type = schema.TensorType.BFLOAT16
    types = options("CastOptions", inDataType=schema.TensorType.BFLOAT16, outDataType=0)
    output = graph.add("CAST", [image], graph.tensor((1, 4)), types)
    path = tmp_path / "m.tflite"
    path.write_bytes(graph.model([image], [output]))
    code = """if True:
        import os, sys
        from nmpack.errors import InterpreterError
        from nmpack.runtime.interpreter import Engine
        from nmpack.runtime.process import EngineProcess
        pids = []
        class Watched(EngineProcess):
            def _ask(self, *arguments, **values):
                pids.append(self._child.pid)
                return super()._ask(*arguments, **values)
        try:
            Watched(sys.argv[1], Engine("built-in", "tensorflow"))
        except InterpreterError as error:
            print(error, [os.path.exists(f"/proc/{pid}") for pid in pids])
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    expected = f"{path}: input 't0' is of bfloat16, a type that numpy has not [False]\n"
    assert done.stdout.endswith(expected), done.stdout + done.stderr


def test_compare_and_require_close() -> None:
    one = {"a": np.array([[1.0, 2.0], [5.0, 4.0]])}
    two = {"b": np.array([[1.0, 2.0], [5.0, 5.5]])}
    gap = compare(one, two)
    assert (gap.largest, gap.relative, gap.top1) == (1.5, 0.3, 0.5)
    with pytest.raises(MismatchError, match=r"here: outputs differ by 0\.3 .*at most 0\.1"):
        require_close(one, two, 0.1, "here")
    with pytest.raises(MismatchError, match="finite"):
        compare(one, {"a": np.array([[1.0, np.inf], [5.0, 4.0]])})
    with pytest.raises(MismatchError, match="expected 1 outputs, got 2"):
        compare(one, one | two)


def test_arrays_travel_through_files(tmp_path: Path) -> None:
    arrays = {"a/b": np.arange(6.0).reshape(2, 3), "file": np.ones(2, np.int8)}
    save_outputs(tmp_path / "out.npz", arrays)
    loaded = load_inputs(tmp_path / "out.npz")
    assert isinstance(loaded, dict)
    assert sorted(loaded) == ["a/b", "file_"]
    save_outputs(tmp_path / "one.npy", {"a": arrays["a/b"]})
    assert np.array_equal(load_inputs(tmp_path / "one.npy"), arrays["a/b"])
    assert load_inputs("random:42") == 42
    for text, says in (("random:x", "random:SEED"), (tmp_path / "none.npy", "not a readable")):
        with pytest.raises(NmpackError, match=says):
            load_inputs(text)
    with pytest.raises(NmpackError, match="one output"):
        save_outputs(tmp_path / "two.npy", arrays)


def test_a_pickled_input_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(NmpackError, match="not a readable"):
        load_inputs(tmp_path / "evil.npy")


def test_options_become_strings() -> None:
    assert option_strings({"verbose": True, "num_threads": 2, "nm": "force"}) == {
        "verbose": "1",
        "num_threads": "2",
        "nm": "force",
    }


def test_a_missing_delegate_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NMPACK_DELEGATE", str(tmp_path / "absent.so"))
    with pytest.raises(MissingError, match=r"NMPACK_DELEGATE names .*absent"):
        nmpack_engine()
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(InterpreterError, match=r"text\.so is not a delegate"):
        load_delegate(library=tmp_path / "text.so")


@pytest.mark.parametrize("fields", [{"interpreter": "x"}, {"resolver": "x"}, {"threads": 0}])
def test_an_engine_checks_its_fields(fields: dict[str, object]) -> None:
    with pytest.raises(InterpreterError, match="expected"):
        Engine("name", **fields)


def test_tables_that_inputs_are_looked_up_in(tmp_path: Path) -> None:
    """Through what makes whole numbers of them, and the smallest of several counts."""

    class Lookups(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large, self.small = torch.nn.Embedding(70, 4), torch.nn.Embedding(7, 4)

        def forward(self, words: torch.Tensor, kinds: torch.Tensor, count: torch.Tensor) -> Any:
            found = self.large(words.flip(1)) + self.small(kinds) + self.large(kinds)
            return found * count.float()

    words = torch.zeros(1, 5, dtype=torch.int32)
    samples = (words, words, torch.ones(1, dtype=torch.int32))
    path = torch_to_tflite(Lookups(), tmp_path / "m.tflite", samples=samples)
    assert table_rows(TFLiteFile(path).primary) == [70, 7, 0]
    with EngineProcess(path, STOCK) as child:
        assert [item.rows for item in child.inputs] == [70, 7, 0]
        drawn = [prepare_inputs(child.inputs, seed)[0] for seed in range(20)]
    assert max(int(kinds.max()) for _, kinds, _ in drawn) == 6
    assert 60 < max(int(words.max()) for words, _, _ in drawn) < 70
