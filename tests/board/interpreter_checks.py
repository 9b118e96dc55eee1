# SPDX-License-Identifier: BSD-3-Clause
"""What holds of the interpreter of libtensorflow-lite, checked where that library is.

``NMPACK_CHECK_MODELS`` names a folder that ``check_models.py`` made: models, and what the Python
interpreter says of each and computes. This runs on a board, too, with numpy and pytest alone:
``python3 -m pytest -c /dev/null --noconftest interpreter_checks.py interpreter_lifetimes.py``.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interpreter_details import plain

import nmpack
from nmpack.errors import NmpackError
from nmpack.runtime.c_interpreter import Interpreter, OpResolverType, load_delegate
from nmpack.runtime.interpreter import C_LIBRARY, Engine, find_delegate, nmpack_engine

MODELS = Path(os.environ["NMPACK_CHECK_MODELS"])
SOUND = sorted(path.stem for path in MODELS.glob("*.json"))
HOSTILE = sorted((MODELS / "hostile").glob("*.tflite"))


def path_of(name: str) -> Path:
    return MODELS / f"{name}.tflite"


def opened(name: str, *, delegated: bool = False) -> Interpreter:
    delegates = [load_delegate(str(find_delegate()), {"nm": "force"})] if delegated else []
    interpreter = Interpreter(path_of(name), experimental_delegates=delegates)
    interpreter.allocate_tensors()
    return interpreter


def run(interpreter: Interpreter, arrays: Any) -> list[Any]:
    for place, item in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(item["index"], arrays[f"in{place}"])
    interpreter.invoke()
    return [interpreter.get_tensor(item["index"]) for item in interpreter.get_output_details()]


@pytest.mark.parametrize("delegated", [False, True])
@pytest.mark.parametrize("name", SOUND)
def test_computes_what_the_python_interpreter_does(name: str, delegated: bool) -> None:
    interpreter = opened(name, delegated=delegated)
    with np.load(path_of(name).with_suffix(".npz")) as arrays:
        for place, output in enumerate(run(interpreter, arrays)):
            expected = arrays[f"out{place}"]
            assert (output.dtype, output.shape) == (expected.dtype, expected.shape)
            scale = max(1e-6, float(np.abs(expected.astype(np.float64)).max()))
            steps = 1.0 if output.dtype.kind in "iu" else 2e-5 * scale
            gap = np.abs(output.astype(np.float64) - expected.astype(np.float64)).max()
            assert gap <= steps, f"{name}: output {place} differs by {gap}"


@pytest.mark.parametrize("name", SOUND)
def test_says_what_the_python_interpreter_says(name: str) -> None:
    known = json.loads(path_of(name).with_suffix(".json").read_text(encoding="utf-8"))
    interpreter = opened(name)
    assert plain(interpreter.get_input_details()) == known["inputs"]
    assert plain(interpreter.get_output_details()) == known["outputs"]
    assert interpreter.get_signature_list() == known["signatures"]
    # Kernels add tensors of their own, and rename some when they are prepared.
    found = [
        [item["name"], item["index"]] for item in Interpreter(path_of(name)).get_tensor_details()
    ]
    assert found[: len(known["tensors"])] == known["tensors"]


def test_takes_the_bytes_of_a_model_and_does_not_look_at_them_again() -> None:
    with np.load(path_of("small_network").with_suffix(".npz")) as arrays:
        content = bytearray(path_of("small_network").read_bytes())
        interpreter = Interpreter(model_content=content)  # type: ignore[arg-type]
        content[:] = bytes(len(content))
        interpreter.allocate_tensors()
        np.testing.assert_allclose(run(interpreter, arrays)[0], arrays["out0"], rtol=1e-4)


def test_refuses_what_does_not_fit() -> None:
    interpreter = opened("small_network")
    (item,) = interpreter.get_input_details()
    index, shape = item["index"], item["shape"]
    value = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=r"expected float32, got float64"):
        interpreter.set_tensor(index, value.astype(np.float64))
    with pytest.raises(ValueError, match=r"expected shape \[.*\], got \[.*\]"):
        interpreter.set_tensor(index, value[0])
    for wrong in (-1, 10**6, 2**31, 2**40):
        for call in (partial(interpreter.get_tensor, wrong), interpreter.tensor(wrong)):
            with pytest.raises(ValueError, match="expected the index of a tensor"):
                call()
    with pytest.raises(ValueError, match=r"expected dimensions of 0 to 2147483647, got \[-1\]"):
        interpreter.resize_tensor_input(index, [-1])
    for sizes in ([1.5], [True], ["1"], [float("inf")], np.ones(4), 4):
        with pytest.raises(ValueError, match="expected dimensions of whole numbers, got"):
            interpreter.resize_tensor_input(index, sizes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="where -1 is open"):
        interpreter.resize_tensor_input(index, [2, *shape[1:]], strict=True)
    output = interpreter.get_output_details()[0]["index"]
    with pytest.raises(ValueError, match="expected the index of an input"):
        interpreter.resize_tensor_input(output, [1])
    with pytest.raises(ValueError, match="expected a signature out of"):
        interpreter.get_signature_runner("nothing")
    constant = next(
        item["index"]
        for item in interpreter.get_tensor_details()
        if not interpreter.tensor(item["index"])().flags.writeable
    )
    with pytest.raises(ValueError, match="it is a constant of the model"):
        interpreter.set_tensor(constant, interpreter.get_tensor(constant))


def test_refuses_arguments() -> None:
    path = path_of("small_network")
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("expected one of model_path and model_content, got neither", {}),
        ("got both", {"model_path": path, "model_content": path.read_bytes()}),
        ("num_threads of 1 to 256, got 0", {"model_path": path, "num_threads": 0}),
        ("num_threads of 1 to 256, got '2'", {"model_path": path, "num_threads": "2"}),
        ("got 4294967297", {"model_path": path, "num_threads": 2**32 + 1}),
        ("expected what load_delegate returned", {"model_path": path,
                                                  "experimental_delegates": [7]}),
        ("reference kernels", {"model_path": path,
                               "experimental_op_resolver_type": OpResolverType.BUILTIN_REF}),
        ("cannot be opened: No such file", {"model_path": MODELS / "absent.tflite"}),
        ("cannot be opened: Is a directory", {"model_path": MODELS}),
        ("not a valid Flatbuffer", {"model_content": b"text"}),
    )  # fmt: skip
    for message, arguments in cases:
        with pytest.raises(ValueError, match=message):
            Interpreter(**arguments)
    with pytest.raises(ValueError, match="mn"):
        load_delegate(str(find_delegate()), {"mn": "off"})
    with pytest.raises(ValueError, match="is not a delegate"):
        load_delegate(str(path))


def test_nothing_is_read_or_run_before_tensors_are_allocated() -> None:
    interpreter = Interpreter(path_of("small_network"))
    (item,) = interpreter.get_input_details()
    with pytest.raises(ValueError, match="call allocate_tensors first"):
        interpreter.get_tensor(item["index"])
    with pytest.raises(RuntimeError, match="call allocate_tensors first"):
        interpreter.invoke()
    interpreter.allocate_tensors()
    interpreter.resize_tensor_input(item["index"], item["shape"])
    interpreter.invoke()
    interpreter.resize_tensor_input(item["index"], [3, *item["shape"][1:]])
    with pytest.raises(ValueError, match="call allocate_tensors first"):
        interpreter.tensor(item["index"])()


def test_an_open_dimension_takes_any_size() -> None:
    for delegated in (False, True):
        interpreter = opened("open_batch", delegated=delegated)
        (item,) = interpreter.get_input_details()
        assert item["shape_signature"][0] == -1
        for batch in (3, 1, 5):
            shape = [batch, *item["shape"][1:]]
            interpreter.resize_tensor_input(item["index"], shape, strict=True)
            interpreter.allocate_tensors()
            value = np.random.default_rng(batch).uniform(-1, 1, shape).astype(np.float32)
            (joined,) = run(interpreter, {"in0": value})
            assert joined.shape[0] == batch
            runner = interpreter.get_signature_runner("main")
            single = runner(x=value[-1:])["y"]
            np.testing.assert_allclose(joined[-1:], single, rtol=1e-4, atol=1e-5)
            # The signature has resized and run the graph that both share; a refused call does not.
            with pytest.raises(ValueError, match="expected float32, got float64"):
                runner(x=np.zeros([7, *item["shape"][1:]]))
            output = interpreter.get_output_details()[0]["index"]
            np.testing.assert_array_equal(interpreter.get_tensor(output), single)
            interpreter.invoke()


@pytest.mark.parametrize("delegated", [False, True])
def test_signatures_have_names(delegated: bool) -> None:
    interpreter = opened("two_signatures", delegated=delegated)
    keys = list(interpreter.get_signature_list())
    assert len(keys) == 2
    with pytest.raises(ValueError, match="expected a signature out of"):
        interpreter.get_signature_runner()
    for key in keys:
        runner = interpreter.get_signature_runner(key)
        (item,) = runner.get_input_details().values()
        value = np.ones(item["shape"], np.float32)
        assert np.isfinite(runner(x=value)["y"]).all()
        with pytest.raises(ValueError, match=r"expected the inputs \['x'\], got \['z'\]"):
            runner(z=value)
        with pytest.raises(ValueError, match="expected float32, got int8"):
            runner(x=value.astype(np.int8))
    interpreter.close()
    with pytest.raises(RuntimeError, match="one that was closed"):
        runner(x=value)


def test_truncated_models_are_refused() -> None:
    whole = path_of("small_network").read_bytes()
    for length in itertools.chain(range(0, 64, 7), range(64, len(whole), len(whole) // 20)):
        with pytest.raises(ValueError, match=r"[Ff]latbuffer|identifier|model"):
            Interpreter(model_content=whole[:length])


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_a_hostile_model_ends_in_an_error_or_a_result(path: Path) -> None:
    """TFLite's own kernels crash on some of these: nmpack.run loses no more than a process."""
    engines = Engine("alone", C_LIBRARY), nmpack_engine(interpreter=C_LIBRARY)
    for engine in engines:
        try:
            nmpack.run(path, engine=engine, timeout=60.0)
        except NmpackError as error:
            text = str(error)
        else:
            text = "ran"
        assert 0 < len(text) < 1500
        assert "\n" not in text


def test_the_command_line_runs_on_it() -> None:
    model = path_of("small_network")
    ours = ("--interpreter", C_LIBRARY)
    for arguments, expected in (
        (("run", model, "--compare", *ours), f"agrees with the stock {C_LIBRARY}"),
        (("inspect", model, *ours), "the delegate takes"),
        (("bench", model, "--rounds", "2", "--repeat", "1", *ours), "over built-in"),
        (("profile", model, "--runs", "2", *ours), "one inference takes"),
        (("inspect", path_of("two_signatures"), *ours), "the delegate takes"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "nmpack", *map(str, arguments)],
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
