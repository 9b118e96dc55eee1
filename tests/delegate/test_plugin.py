# SPDX-License-Identifier: BSD-3-Clause
"""The library as an interpreter's loader sees it: symbols, options, reports."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate
from sound_models import depthwise_and_shapes, small_network
from tflite_graph import Graph, options

from nmpack.runtime.interpreter import find_delegate

pytestmark = pytest.mark.delegate
REPORT = ctypes.CFUNCTYPE(None, ctypes.c_char_p)
KNOWN = (
    "known options: num_threads=1..256, nm=auto|off|force, layout=auto|nhwc|cnhw, "
    "precision=model|f16, verbose=0|1, tuning=model|none|PATH, report=PATH, profile=PATH"
)


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    """The plugin, with the types of its two functions."""
    loaded = ctypes.CDLL(str(find_delegate()))
    loaded.tflite_plugin_create_delegate.restype = ctypes.c_void_p
    loaded.tflite_plugin_destroy_delegate.argtypes = [ctypes.c_void_p]
    return loaded


def create(library: ctypes.CDLL, *pairs: tuple[str | None, str | None]) -> tuple[int | None, str]:
    """Create a delegate from pairs of strings; returns it and what it reported."""
    said: list[str] = []
    report = REPORT(lambda text: said.append(text.decode()))
    array = ctypes.c_char_p * max(len(pairs), 1)
    keys = array(*(key.encode() if key is not None else None for key, _ in pairs))
    values = array(*(value.encode() if value is not None else None for _, value in pairs))
    delegate = library.tflite_plugin_create_delegate(
        keys, values, ctypes.c_size_t(len(pairs)), report
    )
    return delegate, "".join(said)


def test_exports_exactly_three_functions() -> None:
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", str(find_delegate())],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[1:] for line in sorted(listed.stdout.splitlines())] == [
        ["T", "nmpack_version"],
        ["T", "tflite_plugin_create_delegate"],
        ["T", "tflite_plugin_destroy_delegate"],
    ]


def test_needs_nothing_but_the_c_library() -> None:
    listed = subprocess.run(
        ["readelf", "-d", str(find_delegate())], capture_output=True, text=True, check=True
    )
    needed = {line.split("[")[1].rstrip("]") for line in listed.stdout.splitlines()
              if "(NEEDED)" in line}  # fmt: skip
    assert needed <= {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0",
                      "ld-linux-x86-64.so.2"}  # fmt: skip


@pytest.mark.parametrize("value", ["1", "2", "256"])
def test_creates_and_destroys(library: ctypes.CDLL, value: str) -> None:
    delegate, said = create(library, ("num_threads", value), ("nm", "off"), ("verbose", "0"))
    assert delegate
    assert said == ""
    library.tflite_plugin_destroy_delegate(delegate)


def test_destroys_nothing(library: ctypes.CDLL) -> None:
    library.tflite_plugin_destroy_delegate(None)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([("speed", "9")], f"unknown option 'speed'; {KNOWN}"),
        ([("nm", "auto"), ("nm", "auto")], f"option 'nm' is given twice; {KNOWN}"),
        ([(None, "1")], "option #0: expected two strings, got a null pointer"),
        ([("nm", None)], "option #0: expected two strings, got a null pointer"),
        ([("num_threads", "+1")], "expected an integer from 1 to 256, got '+1'"),
        ([("num_threads", " 1")], "got ' 1'"),
        ([("num_threads", "1.0")], "got '1.0'"),
        ([("num_threads", "99999999999999999999")], "got '99999999999999999999'"),
        ([("num_threads", "")], "got ''"),
        ([("verbose", "True")], "expected 0 or 1, got 'True'"),
        ([("nm", "AUTO")], "expected auto, off or force, got 'AUTO'"),
        (
            [("report", "/nowhere/at/all.json")],
            "cannot create a file beside '/nowhere/at/all.json'",
        ),
        ([("report", "/dev/null")], "cannot write '/dev/null': it is not a regular file"),
        ([("profile", "")], "option 'profile': expected the path of a file, got ''"),
        (
            [("profile", "/nowhere/at/all.json")],
            "cannot create a file beside '/nowhere/at/all.json'",
        ),
        ([("profile", "/")], "cannot write '/': it is not a regular file"),
        (
            [("report", "/tmp/same"), ("profile", "/tmp/same")],
            "option 'profile': expected another path than the report's, got '/tmp/same'",
        ),
    ],
)
def test_refuses_an_option_by_name(
    library: ctypes.CDLL, pairs: list[tuple[str | None, str | None]], says: str
) -> None:
    delegate, said = create(library, *pairs)
    assert delegate is None
    assert said.startswith("nmpack delegate: ")
    assert says in said
    assert "\n" not in said


def test_needs_no_one_to_report_to(library: ctypes.CDLL) -> None:
    keys = (ctypes.c_char_p * 1)(b"speed")
    size = ctypes.c_size_t(1)
    assert library.tflite_plugin_create_delegate(keys, keys, size, None) is None
    assert library.tflite_plugin_create_delegate(None, None, size, None) is None
    delegate = library.tflite_plugin_create_delegate(None, None, ctypes.c_size_t(0), None)
    assert delegate
    library.tflite_plugin_destroy_delegate(delegate)


def prepare(model: bytes, **settings: str) -> Interpreter:
    """An interpreter with our delegate alone, ready to run."""
    interpreter = Interpreter(
        model_content=model,
        experimental_delegates=[load_delegate(str(find_delegate()), settings)],
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


def partitions(report: Path) -> list[dict[str, object]]:
    """What a report says of each partition."""
    value = json.loads(report.read_text(encoding="utf-8"))
    assert value["schema"] == 3
    return list(value["partitions"])


@pytest.mark.parametrize(("model", "nodes"), [(small_network(), 7), (depthwise_and_shapes(), 7)])
def test_whole_models_are_one_partition(model: bytes, nodes: int, tmp_path: Path) -> None:
    """The first begins with the PADV2 of minus infinity that PyTorch's max pools become."""
    report = tmp_path / "report.json"
    prepare(model, report=str(report)).invoke()
    assert [partition["nodes"] for partition in partitions(report)] == [list(range(nodes))]
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_report_names_tensors_in_any_bytes(tmp_path: Path) -> None:
    graph = Graph()
    x = graph.tensor((1, 4, 4, 4))
    filters = [graph.constant(np.ones(shape, np.float32)) for shape in ((4, 1, 1, 4), (4,))]
    fields = options("Conv2DOptions", padding=0, strideH=1, strideW=1, dilationHFactor=1,
                     dilationWFactor=1, fusedActivationFunction=0)  # fmt: skip
    y = graph.add("CONV_2D", [x, *filters], graph.tensor((1, 4, 4, 4)), fields)
    graph.tensors[y].name = b'"\\\n\x01\xc3\xa9\xff\xe2\x82.'
    report = tmp_path / "report.json"
    prepare(graph.model([x], [y]), report=str(report))
    (partition,) = partitions(report)
    (convolution,) = partition["layers"]  # type: ignore[misc, attr-defined]
    assert convolution["name"] == '"\\\n\x01é���.'
    assert convolution["operator"] in ("dense", "nm")
    assert convolution["reason"]


def test_report_of_a_model_that_is_left_alone(tmp_path: Path) -> None:
    graph = Graph()
    x, y = graph.tensor((2, 3), np.int32), graph.tensor((3, 2), np.int32)
    order = graph.constant(np.array([1, 0], np.int32))
    graph.add("TRANSPOSE", [x, order], y, options("TransposeOptions"))
    report = tmp_path / "report.json"
    report.write_text("of an earlier run")
    prepare(graph.model([x], [y]), report=str(report)).invoke()
    assert partitions(report) == []
