# SPDX-License-Identifier: BSD-3-Clause
"""Other runtimes beside ours: who takes part, why not, what is reported. No test needs a time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from int8_samples import int8_network

from nmpack.cli import main
from nmpack.cli.progress import console
from nmpack.cli.tables import peer_table
from nmpack.convert import torch_to_tflite
from nmpack.errors import MismatchError, MissingError, ModelError, NmpackError
from nmpack.peers.comparison import _Field, compare_peers
from nmpack.peers.contenders import BUILT_IN, OURS, PEERS, RUNTIMES, chosen
from nmpack.peers.network import Network
from nmpack.peers.process import peer_environment
from nmpack.peers.report import PeerReport, PeerTiming
from nmpack.runtime.interpreter import nmpack_engine
from nmpack.sources import load_source, save_source

pytestmark = [pytest.mark.torch, pytest.mark.delegate]
Models = Callable[[str], Path]
EAGER = "torch eager float32"
QUICK = {"rounds": 2, "repeat": 1, "warmup": 0}


@pytest.fixture
def without_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only PyTorch is there, as where scripts/setup.sh --peers was never run."""
    monkeypatch.setenv("NMPACK_PEERS_PYTHON", sys.executable)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("network") / "small.pt"
    save_source(load_source("fashion_resnet"), path)
    return str(path)


def timed(report: PeerReport) -> dict[str, bool]:
    return {item.contender.name: item.seconds is not None for item in report.timings}


def reasons(report: PeerReport) -> dict[str, str]:
    return {item.contender.name: item.reason for item in report.timings if item.reason}


@pytest.mark.usefixtures("delegate", "without_peers")
def test_who_is_not_installed_keeps_a_row_with_the_reason(checkpoint: str) -> None:
    opened: list[tuple[int, int]] = []
    seen: list[tuple[int, int]] = []
    report = compare_peers(
        checkpoint,
        [EAGER, "torch eager int8", "onnxruntime", "ncnn"],
        preparing=lambda done, total: opened.append((done, total)),
        progress=lambda done, total: seen.append((done, total)),
        **QUICK,
    )
    assert timed(report) == {
        BUILT_IN.name: True,
        OURS.name: True,
        "onnxruntime float32": False,
        "onnxruntime int8": False,
        "ncnn float32": False,
        "ncnn int8": False,
        EAGER: True,
        "torch eager int8": True,
    }
    said = reasons(report)
    assert "onnxscript is not installed" in said["onnxruntime float32"]
    assert "./scripts/setup.sh --peers" in said["onnxruntime int8"]
    assert "pnnx is not installed" in said["ncnn float32"]
    assert "ncnn2table" in said["ncnn int8"]
    assert (opened[0], opened[-1], seen[0], seen[-1]) == ((0, 6), (6, 6), (0, 2), (2, 2))

    value = json.loads(json.dumps(report.to_dict()))
    assert value["schema"] == 1
    assert value["model"] == "small"
    assert value["versions"].keys() == {"ai-edge-litert", "torch"}
    for item in value["timings"]:
        assert (item["milliseconds"] is None) == bool(item["reason"])
        if not item["reason"]:
            assert [len(row) for row in item["rounds_ms"]] == [1, 1]
            assert item["peak_memory_bytes"] > item["memory_before_bytes"] > 0
            assert item["cores_used"] > 0
    rows = {item["engine"]["name"]: item for item in value["timings"]}
    assert rows[EAGER]["difference"] < 1e-4 < rows["torch eager int8"]["difference"]
    assert rows[EAGER]["engine"]["settings"]["threads"] == "1"
    pairs = {(item["contender"], item["baseline"]) for item in value["ratios"]}
    assert (f"small/{OURS.name}", f"small/{EAGER}") in pairs
    assert (f"small/{EAGER}", f"small/{BUILT_IN.name}") in pairs
    assert len(pairs) == len(value["ratios"]) == 5
    console().print(peer_table(report))


@pytest.mark.usefixtures("delegate", "without_peers")
def test_a_tflite_file_alone_has_no_form_for_who_needs_pytorch(models: Models) -> None:
    report = compare_peers(models("pruned"), [EAGER, "onnxruntime", "openvino"], **QUICK)
    said = reasons(report)
    assert "needs the network in PyTorch" in said[EAGER]
    assert "needs the network in PyTorch" in said["onnxruntime int8"]
    assert "openvino is not installed" in said["openvino float32"]
    assert timed(report)[OURS.name]


@pytest.mark.usefixtures("delegate", "without_peers")
def test_a_float32_peer_that_disagrees_is_not_timed(checkpoint: str, tmp_path: Path) -> None:
    save_source(load_source("fashion_resnet", seed=1), tmp_path / "other.pt")
    with ExitStack() as stack:
        network = Network(checkpoint, tmp_path)
        network._found["torch"] = tmp_path / "other.pt"
        field = _Field(stack, network, threads=1, seed=0, tolerance=1e-4)
        field.add_ours(BUILT_IN, OURS, nmpack_engine())
        for contender in chosen([EAGER, "torch eager int8"]):
            field.add(contender)
        assert [item.name for item, _, _ in field.running][2:] == ["torch eager int8"]
        (refused,) = field.refused.values()
    assert f"{EAGER}: outputs differ by" in refused.reason
    assert refused.seconds is None


@pytest.mark.usefixtures("delegate")
def test_ours_has_to_agree(models: Models) -> None:
    with pytest.raises(MismatchError, match="float32: outputs differ"):
        compare_peers(models("dense"), ["ncnn"], tolerance=-1.0, **QUICK)


@pytest.mark.usefixtures("delegate", "without_peers")
def test_a_file_of_bytes_is_compared_in_bytes(tmp_path: Path) -> None:
    path = int8_network(tmp_path / "bytes.tflite")
    names = ["nmpack", "ai-edge-litert", "tflite-runtime", "openvino", EAGER]
    report = compare_peers(path, names, **QUICK)
    assert timed(report) == {
        "ai-edge-litert built-in int8": True,
        "nmpack int8": True,
        "tflite-runtime built-in int8": True,
        "openvino int8": False,
        EAGER: False,
    }
    said = reasons(report)
    assert "openvino is not installed" in said["openvino int8"]
    assert "needs the network in PyTorch" in said[EAGER]
    assert [item.difference for item in report.timings[:2]] == [0.0, pytest.approx(0, abs=0.01)]
    value = report.to_dict()
    assert [item["engine"]["precision"] for item in value["timings"][:3]] == ["int8"] * 3
    console().print(peer_table(report))


@pytest.mark.usefixtures("delegate", "without_peers")
def test_ours_takes_part_in_int8_beside_floats(checkpoint: str) -> None:
    report = compare_peers(checkpoint, ["nmpack"], **QUICK)
    assert list(timed(report).items()) == [
        (BUILT_IN.name, True), (OURS.name, True), ("nmpack int8", True)
    ]  # fmt: skip
    assert report.timings[2].difference


@pytest.mark.usefixtures("delegate")
def test_networks_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = torch_to_tflite(torch.nn.Linear(4, 3), tmp_path / "v.tflite", samples=torch.zeros(1, 4))
    with pytest.raises(ModelError, match=r"one image of float32 or int8, .*takes float32 \[1, 4\]"):
        compare_peers(path, ["ncnn"], **QUICK)


@pytest.mark.usefixtures("delegate")
def test_no_python_for_peers_is_one_reason(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMPACK_PEERS_PYTHON", "/nowhere/python")
    report = compare_peers(models("dense"), ["openvino float32", "openvino own"], **QUICK)
    assert set(reasons(report).values()) == {
        "NMPACK_PEERS_PYTHON names /nowhere/python, which is not a file"
    }
    with pytest.raises(MissingError):
        compare_peers("absent.tflite", ["openvino"], **QUICK)


def test_peers_are_chosen_by_runtime_or_whole_name() -> None:
    assert chosen() == PEERS
    assert {item.runtime for item in chosen(["ncnn", "torch"])} == {"ncnn", "torch"}
    assert [item.name for item in chosen([EAGER])] == [EAGER]
    assert len({item.name for item in (BUILT_IN, OURS, *PEERS)}) == len(PEERS) + 2
    for wrong in ([], ["tvm"], [""], ["torch", "onnx"]):
        with pytest.raises(NmpackError, match="expected peers out of ai-edge-litert"):
            chosen(wrong)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("bench a.tflite b.tflite --peers", "--peers takes one model, got 2"),
        ("bench a.tflite --peers --extra x=y.so", "--peers and --extra do not go together"),
        ("bench a.tflite --peers --interpreter tensorflow", "got --interpreter tensorflow"),
        ("bench a.tflite --peers torch,tvm", "got 'tvm'"),
        ("bench a.tflite --peers ,", "got ''"),
        ("bench a.tflite --peers --warmup -1", "warmup must be at least 0"),
        ("bench absent.tflite --peers --delegate text.so", "absent.tflite is not a file"),
        ("bench resnet51 --peers --delegate text.so", "got 'resnet51'"),
    ],
)
def test_refusals_are_one_line(
    arguments: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.so").write_text("no library")
    assert main(arguments.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith("nmpack bench: error: ")
    assert error.count("\n") == 1
    assert says in error


def test_what_tunes_single_peers_stays_out_of_their_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("HOME", "/somewhere")
    found = peer_environment(2)
    assert found["OMP_NUM_THREADS"] == "2"
    assert not {"OMP_WAIT_POLICY", "KMP_BLOCKTIME", "ONEDNN_MAX_CPU_ISA"} & found.keys()
    assert found["HOME"] == "/somewhere"


def test_more_cores_than_threads_are_remarked() -> None:
    def said(cores: float) -> str:
        rows = [PeerTiming(item, ((0.1,),), cores_used=cores) for item in (BUILT_IN, OURS)]
        machine = {"processor": "p", "features": [], "cores": 2, "load_average": 0.0}
        table = peer_table(PeerReport(tuple(rows), "m", 1, 0, {}, machine))
        return str(list(table.columns[-1].cells)[1])

    assert said(1.0) == ""
    assert said(1.9) == "kept 1.90 cores busy with 1 asked for: does not compare"


@pytest.mark.peers
@pytest.mark.usefixtures("delegate")
def test_every_peer_takes_part(checkpoint: str) -> None:
    report = compare_peers(checkpoint, **QUICK)
    assert reasons(report).keys() == {"ncnn int8"}, reasons(report)
    assert report.versions.keys() == {*RUNTIMES}
    for item in report.timings:
        assert item.difference is None or item.difference < 0.2
        assert not item.used_more_cores(1), item


@pytest.mark.peers
@pytest.mark.usefixtures("delegate")
def test_openvino_reads_tflite_files(models: Models) -> None:
    report = compare_peers(models("pruned"), ["openvino"], **QUICK)
    assert timed(report)["openvino float32"]
    assert timed(report)["openvino own"]


@pytest.mark.peers
@pytest.mark.usefixtures("delegate")
def test_a_network_of_the_zoo_goes_into_every_form() -> None:
    """MobileNet-V2 has what the small one lacks: colours, groups, clamps at 6, dropout."""
    names = ["onnxruntime", "openvino", "ncnn float32"]
    report = compare_peers("mobilenet_v2", names, **QUICK)
    assert not reasons(report)
