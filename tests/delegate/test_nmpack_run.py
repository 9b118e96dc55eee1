# SPDX-License-Identifier: BSD-3-Clause
"""nmpack-run under QEMU."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import parity
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from sound_models import small_network
from tflite_graph import Graph

from nmpack.errors import MissingError
from nmpack.runtime.delegate_profile import read_profile
from nmpack.runtime.elf import read_functions
from nmpack.runtime.inputs import prepare_inputs
from nmpack.runtime.qemu import Target, cpu, find_target, run_emulated
from nmpack.runtime.sizes import sized, stored
from nmpack.tflite.file import TFLiteFile

pytestmark = pytest.mark.riscv64
IMAGE = (np.arange(9 * 9 * 8) % 11 - 5).reshape(1, 9, 9, 8).astype(np.float32)


@pytest.fixture(scope="module")
def target() -> Target:
    """The riscv64 build, sysroot and QEMU; their absence is a failure, not a skip."""
    try:
        return find_target()
    except MissingError as error:
        pytest.fail(f"this test needs riscv64: {error}", pytrace=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small network in a folder with its input."""
    path = tmp_path / "model.tflite"
    path.write_bytes(small_network())
    IMAGE.tofile(tmp_path / "image.bin")
    return path


def nmpack_run(
    target: Target, *arguments: object, vlen: int = 256
) -> subprocess.CompletedProcess[str]:
    """Run the program under QEMU."""
    return subprocess.run(
        [target.emulator, "-L", target.sysroot, target.program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "QEMU_CPU": cpu(vlen)},
    )


def reference(model: Path) -> np.ndarray:
    """The host's reference kernels' output."""
    interpreter = Interpreter(str(model), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], IMAGE)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


@pytest.mark.parametrize("vlen", [128, 256, 512, 1024])
@pytest.mark.parametrize("nm", ["off", "force", None])
def test_outputs_equal_the_reference(
    target: Target, model: Path, nm: str | None, vlen: int
) -> None:
    folder = model.parent / "out"
    delegate = ["--delegate", target.library, "--delegate-options", f"nm:{nm}"]
    done = nmpack_run(
        target,
        *["--graph", model, "--input", model.parent / "image.bin", "--output-dir", folder],
        *(delegate if nm else ["--no-delegate"]),
        vlen=vlen,
    )
    assert done.returncode == 0, done.stderr
    (output,) = json.loads((folder / "outputs.json").read_text())["outputs"]
    assert (output["dtype"], output["shape"]) == ("float32", [1, 4])
    values = np.fromfile(folder / output["file"], "<f4").reshape(output["shape"])
    np.testing.assert_allclose(values, reference(model), rtol=1e-5, atol=1e-6)
    assert sorted(path.name for path in folder.iterdir()) == ["output-0.bin", "outputs.json"]


def test_times(target: Target, model: Path) -> None:
    done = nmpack_run(
        target, "--graph", model, "--num-runs", 3, "--warmup-runs", 1, "--print-times", "--json"
    )
    assert done.returncode == 0, done.stderr
    text, line = done.stdout.splitlines()
    assert text.startswith("count=3 first=")
    times = json.loads(line)
    assert times["count"] == 3
    assert times["min_us"] <= times["median_us"] <= times["max_us"]
    assert times["peak_rss_kib"] > 0


def test_profile(target: Target, model: Path) -> None:
    path = model.parent / "profile.json"
    delegate = ["--delegate", target.library, "--delegate-options", "nm:force"]
    done = nmpack_run(
        target, "--graph", model, *delegate, "--num-runs", 2, "--warmup-runs", 1, "--profile", path
    )
    assert done.returncode == 0, done.stderr
    found = read_profile(path)
    (partition,) = found.partitions
    assert (partition.runs, len(partition.nanoseconds)) == (3, 3)
    layer, _ = [item for item in partition.operators if item.choice is not None]
    assert layer.choice is not None
    assert layer.choice.node == 2
    assert "_rvv" in str(read_functions(target.library).at(layer.kernel))
    # Of vectors nobody knows the peak.
    assert found.peaks == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected --graph MODEL.tflite, got no model"),
        (["--graph", "none.tflite"], "cannot read 'none.tflite': No such file or directory"),
        (["--graph", "{cut}"], "found a file that is not one, or is cut off or damaged"),
        (["--graph", "{empty}"], "found an empty one"),
        (["--graph"], "--graph: expected a value, got nothing"),
        (["--graph", "{cut}", "--profile", "x"], "--profile: expected --delegate FILE with it"),
        (["--speed", "9"], "unknown argument '--speed'"),
        (
            ["--graph", "{model}", "--num-runs", "0"],
            "expected an integer from 1 to 1000000, got '0'",
        ),
        (["--graph", "{model}", "--num-threads=x"], "--num-threads: expected an integer"),
        (["--graph", "{model}", "--no-delegate=1"], "--no-delegate takes no value, got '1'"),
        (["--graph", "{model}", "--delegate", "{empty}"], "cannot load the delegate"),
        (["--graph", "{model}", "--delegate-options", "nm:off"], "expected --delegate FILE"),
        (
            ["--graph", "{model}", "--delegate", "{delegate}", "--delegate-options", "nm"],
            "expected key:value pairs separated by ';', got 'nm'",
        ),
        (
            ["--graph", "{model}", "--delegate", "{delegate}", "--delegate-options", "nm:on"],
            "option 'nm': expected auto, off or force, got 'on'",
        ),
        (["--graph", "{model}", "--input", "{model}"], "expected 2592 bytes in"),
        (
            ["--graph", "{model}", "--input", "{image}", "--input", "{image}"],
            "expected --input FILE for each of the model's 1 inputs or for none, got 2",
        ),
        (
            ["--graph", "{model}", "--shape", "1x9x8"],
            "--shape: expected 1x9x9x8 for the input 't0', in which only ? is open, got 1x9x8",
        ),
        (["--graph", "{model}", "--shape", "1x0x9x8"], "--shape: expected an integer from 1 to"),
        (["--graph", "{model}", "--shape", "2147483648"], "from 1 to 2147483647, got '2147483648'"),
        (["--graph", "{model}", "--shape", "2147483647"], "only ? is open, got 2147483647"),
        (["--graph", "{nothing}"], "expected a tensor as input #1 of the model, found none"),
        (["--graph", "{nowhere}"], "expected a tensor as output #0 of the model, found none"),
        (["--graph", "{model}", "--shape", "x=1x9x9x8"], "the inputs 't0' at most, got another of"),
        (["--graph", "{model}", "--shape=1x9x9x8", "--shape=t0=1x9x9x8"], "got another of 't0'"),
        (["--graph", "{model}", "--runtime", "none.so"], "expected a library with TFLite's C"),
        (["--graph", "{model}", "--output-dir", "{model}/x"], "cannot create the folder"),
    ],
)
def test_bad_input_is_one_sentence(
    target: Target, model: Path, arguments: list[str], says: str
) -> None:
    names = {
        "model": model,
        "image": model.parent / "image.bin",
        "cut": model.parent / "cut.tflite",
        "empty": model.parent / "empty",
        "delegate": target.library,
        "nothing": model.parent / "nothing.tflite",
        "nowhere": model.parent / "nowhere.tflite",
    }
    graph = Graph()
    x = graph.tensor((1, 4))
    y = graph.add("RELU", [x], graph.tensor((1, 4)))
    names["nothing"].write_bytes(graph.model([x, -1], [y]))
    names["nowhere"].write_bytes(graph.model([x], [-1]))
    names["cut"].write_bytes(model.read_bytes()[:700])
    names["empty"].touch()
    before = sorted(model.parent.iterdir())
    done = nmpack_run(target, *(argument.format(**names) for argument in arguments))
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]
    assert len(lines) == 1
    assert lines[0].startswith("nmpack-run: ")
    assert says in lines[0]
    assert sorted(model.parent.iterdir()) == before


def test_of_inputs_with_one_name_the_open_one_is_resized(target: Target, tmp_path: Path) -> None:
    path, graph = tmp_path / "model.tflite", Graph()
    inputs = [graph.tensor(shape) for shape in ((2, 6), (), (1, 3))]
    for index in inputs:
        graph.tensors[index].name = "x"
    graph.tensors[inputs[2]].shapeSignature = [-1, 3]
    path.write_bytes(graph.model(inputs, [graph.add("RELU", [inputs[2]], graph.tensor((1, 3)))]))
    resized = sized(stored(TFLiteFile(path).primary), {"x#3": (5, 3)}, 0)
    arrays, _ = prepare_inputs(resized, parity.SEED)
    (output,) = run_emulated(
        target, cpu(256), path, arrays, delegate=False, resized=resized
    ).values()
    np.testing.assert_array_equal(output, np.maximum(arrays[2], 0))


def test_help_teaches(target: Target) -> None:
    done = nmpack_run(target, "--help")
    assert done.returncode == 0
    assert "--delegate-options" in done.stdout
    assert done.stderr == ""
