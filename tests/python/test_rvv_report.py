# SPDX-License-Identifier: BSD-3-Clause
"""nmpack rvv-report: variants, baselines, the command line, and the committed baseline itself."""

from __future__ import annotations

import copy
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from int8_samples import int8_network
from open_files import int8_batch

from nmpack.errors import MissingError, ModelError, NmpackError
from nmpack.locations import cache_folder
from nmpack.runtime.qemu import cpu, execute, find_target, nmpack_run
from nmpack.rvv import baseline
from nmpack.rvv.account import Operator, Totals
from nmpack.rvv.baseline import RegressionError, Settings
from nmpack.rvv.measure import _result, find_upstream, measure
from nmpack.rvv.plugin import half_options
from nmpack.rvv.report import zoo_model
from nmpack.rvv.variants import Variant, as_it_is, prune_file, pruned
from nmpack.sparsity.detection import detect_pattern
from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.file import TFLiteFile

Command = Callable[..., subprocess.CompletedProcess[str]]
Models = Callable[[str], Path]
BASELINE = Path(__file__).resolve().parents[1] / "baselines/rvv-resnet18.json"
ROWS: dict[str, Any] = {
    "net": {
        "own dense": {
            "conv1": {"instructions": 1000, "cycles": 3000, "kernel": "igemm"},
            "total": {"instructions": 1500, "cycles": 4000, "kernel": "igemm"},
        }
    }
}


def test_variants() -> None:
    names = [item.name for item in pruned([1.0, 0.5, 0.25], [32, 8], upstream=True)]
    assert names == [
        "upstream dense", "own dense NHWC", "own dense CNHW",
        "50% T=32", "50% T=8", "25% T=32", "25% T=8",
    ]  # fmt: skip
    dense, own, _, sparse = pruned([1.0, 0.25], [16], upstream=True)
    assert (dense.upstream, dense.pattern) == (True, None)
    assert (own.upstream, own.nm, own.layout, own.pattern) == (False, "force", "nhwc", None)
    assert (sparse.nm, sparse.pattern) == ("auto", NMPattern.from_density(0.25, tile=16))
    assert len(pruned([1.0], [32], upstream=False)) == 2
    assert [item.upstream for item in as_it_is(upstream=True)] == [True, False]


@pytest.mark.parametrize("densities", [[0.0], [1.5], [0.25, 0.25]])
def test_impossible_densities(densities: list[float]) -> None:
    with pytest.raises(NmpackError, match=r"a density is above 0|is given twice"):
        pruned(densities, [32], upstream=False)


@pytest.mark.torch
def test_a_copy_is_pruned_as_prune_does(models: Models, tmp_path: Path) -> None:
    source, target = models("dense"), tmp_path / "pruned.tflite"
    before = source.read_bytes()
    count = prune_file(source, target, NMPattern.from_density(0.25, tile=32))
    assert source.read_bytes() == before
    old, new = TFLiteFile(source), TFLiteFile(target)
    changed = 0
    for index, item in enumerate(new.convolutions):
        assert item.weights is not None
        weights, dense = new.array(item.weights), old.array(item.weights)
        if np.array_equal(weights, dense):
            assert index == 0 or item.shape[0] < 32
            continue
        changed += 1
        assert detect_pattern(weights).element_density == pytest.approx(0.25, abs=0.01)
        assert np.array_equal(weights[weights != 0], dense[weights != 0])
    assert changed == count > 0
    with pytest.raises(ModelError, match="no layer of 4096 channels to prune"):
        prune_file(source, target, NMPattern.from_density(0.25, tile=4096))


def test_a_copy_of_bytes_is_pruned_by_what_they_stand_for(tmp_path: Path) -> None:
    source = int8_network(tmp_path / "bytes.tflite", pruned=False)
    target = tmp_path / "pruned.tflite"
    assert prune_file(source, target, NMPattern.from_density(0.25, tile=16)) == 2
    old, new = TFLiteFile(source).convolutions, TFLiteFile(target).convolutions
    for index, (before, after) in enumerate(zip(old, new, strict=True)):
        assert before.weights is not None
        assert after.weights is not None
        dense, weights = (
            TFLiteFile(source).array(before.weights),
            TFLiteFile(target).array(after.weights),
        )
        assert weights.dtype == np.int8
        if index == 0:
            assert np.array_equal(weights, dense)
            continue
        assert before.weights.quantization is not None
        real = dense * before.weights.quantization.scale.reshape(-1, 1, 1, 1)
        mask = compute_mask(real.astype(np.float32), NMPattern.from_density(0.25, tile=16))
        assert np.array_equal(weights, np.where(mask, dense, 0))


def test_what_changed_since_a_baseline() -> None:
    now = copy.deepcopy(ROWS)
    assert baseline.changes(ROWS, now) == []
    now["net"]["own dense"]["conv1"] |= {"instructions": 1001, "cycles": 3100, "kernel": "new"}
    now["net"]["own dense"]["conv2"] = now["net"]["own dense"].pop("total")
    found = [str(change) for change in baseline.changes(ROWS, now)]
    assert found == [
        "net, own dense, conv1 (new): 1,001 instructions, 1,000 before (+0.10 %)",
        "net, own dense, conv1 (new): 3,100 modelled cycles, 3,000 before (+3.33 %)",
        "net, own dense, conv2 is new (igemm)",
        "net, own dense, total is gone (igemm before)",
    ]


def test_growth_beyond_the_tolerance_fails_and_names_the_row() -> None:
    now = copy.deepcopy(ROWS)
    row = now["net"]["own dense"]["conv1"]
    row["instructions"] = 1019
    baseline.require_no_regression(baseline.changes(ROWS, now), 0.02, "renew")
    row["instructions"], row["cycles"] = 1021, 100
    with pytest.raises(RegressionError) as caught:
        baseline.require_no_regression(baseline.changes(ROWS, now), 0.02, "the command")
    assert str(caught.value).splitlines() == [
        "1 counts are gone or over 2 % above the baseline:",
        "  net, own dense, conv1 (igemm): 1,021 instructions, 1,000 before (+2.10 %)",
        "if that is intended, renew it: the command",
    ]
    del now["net"]["own dense"]["conv1"]
    with pytest.raises(RegressionError, match=r"conv1 is gone \(igemm before\)"):
        baseline.require_no_regression(baseline.changes(ROWS, now), 0.02, "the command")


def test_growth_from_nothing_and_without_cycles() -> None:
    old, now = copy.deepcopy(ROWS), copy.deepcopy(ROWS)
    old["net"]["own dense"]["conv1"] |= {"instructions": 0, "cycles": None}
    (change,) = baseline.changes(old, now)
    assert (change.count, change.growth) == ("instructions", 1.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, "its schema is 2, not 1"),
        ({"settings": {}}, "not a usable baseline"),
        ({"rows": {"net": []}}, "not a usable baseline"),
        ({"rows": {"net": {"v": {"r": {"instructions": "many", "cycles": 1}}}}}, "no whole number"),
    ],
)
def test_a_broken_baseline_is_one_sentence(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(json.loads(BASELINE.read_text()) | change))
    with pytest.raises(NmpackError, match=says):
        baseline.read(path)
    path.write_text('{"schema"')
    with pytest.raises(NmpackError, match="cannot be read"):
        baseline.read(path)


def test_the_committed_baseline_is_usable() -> None:
    settings, rows = baseline.read(BASELINE)
    assert settings == Settings(("resnet18",), 112, (1.0, 0.5, 0.25), (32, 8), 256, False)
    variants = rows["resnet18@112"]
    assert len(variants) == 6
    for entries in variants.values():
        assert len(entries) == 22  # 20 convolutions, the rest, the total
        total = entries["total"]["instructions"]
        assert total == sum(row["instructions"] for row in entries.values()) - total


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected a MODEL.tflite, --networks or --baseline"),
        (["none.tflite"], "none.tflite is not a file"),
        (["--networks", "resnet19"], "got 'resnet19'"),
        (["--baseline", "none.json"], "none.json: the baseline cannot be read"),
        (["--write-baseline", "none.json"], "none.json is not there yet"),
        (["--baseline", str(BASELINE), "--vlen", "512"], "has its own settings: --vlen"),
        (["x.tflite", "--baseline", str(BASELINE)], "name no file"),
        (["--networks", "resnet18", "--density", "2"], "at most 1, got 2"),
        ([str(BASELINE), "--type", "int8"], "--type is of --networks"),
        (["--baseline", str(BASELINE), "--type", "int8"], "a baseline is of float32"),
        (["--networks", "resnet18", "--type", "int8", "--option", "precision=f16"], "nothing to"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    arguments: list[str], says: str, nmpack_command: Command
) -> None:
    done = nmpack_command("rvv-report", *arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.mark.parametrize("option", ["--density", "--tile"])
def test_numbers_are_numbers(option: str, nmpack_command: Command) -> None:
    done = nmpack_command("rvv-report", "x.tflite", option, "1,many")
    assert done.returncode == 2
    assert option in done.stderr


def test_missing_builds_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NMPACK_RISCV64_UNPATCHED", str(tmp_path))
    with pytest.raises(MissingError, match=r"is not built: meson setup .* --no-upstream"):
        find_upstream()


def test_unknown_networks_are_named() -> None:
    with pytest.raises(NmpackError, match=r"expected a network of .*resnet18.*, got 'x'"):
        zoo_model("x", None)


@pytest.mark.parametrize(
    ("kernel", "element_type", "weak"),
    [
        ("xnn_f32_igemm_minmax_ukernel_7x4v__rvv", "f32", False),
        ("xnn_f16_f32acc_igemm_minmax_ukernel_6x16__x", "f16", False),
        ("xnn_qs8_qc8w_igemm_minmax_fp32_ukernel_3x4__scalar_lrintf", "qs8", True),
    ],
)
def test_types_are_those_of_the_kernels_that_ran(
    kernel: str, element_type: str, weak: bool, tmp_path: Path
) -> None:
    graph = TFLiteFile(int8_network(tmp_path / "bytes.tflite")).primary
    multiplied = Totals(9, Counter({"float other": 9}))
    packed = {"xnn_x8_packim2col_ukernel__rvv": Totals(8)}
    operators = [Operator(0, Totals(), {})]
    operators += [Operator(n, multiplied, {kernel: multiplied} | packed) for n in (1, 2, 3)]
    operators.append(Operator(4, Totals(8), packed))
    result = _result(Variant("upstream", upstream=True), operators, graph)
    assert [row.element_type for row in result.rows] == [element_type] * 3 + ["", ""]
    assert result.label == f"upstream, {element_type}"
    assert ("a weak baseline" in result.note) == weak


@pytest.mark.riscv64
@pytest.mark.torch
def test_counts_repeat_and_add_up(models: Models) -> None:
    first, second = (
        measure(models("pruned"), Variant("nmpack"), vlen=512, prices=None) for _ in range(2)
    )
    assert first == second
    totals = first.totals
    assert totals.cycles is None
    assert totals.instructions == sum(totals.classes.values()) > 100_000
    assert totals.classes["vector fma"] > 10_000
    assert totals.loaded > 4 * totals.classes["float load"]
    assert totals.l2_misses <= totals.l1_misses
    assert totals.instructions == sum(item.instructions for item in first.functions.values())
    # Every convolution of the model is recognised.
    assert first.note == ""
    names = [row.name for row in first.rows if row.convolution]
    assert names == [item.name for item in TFLiteFile(models("pruned")).convolutions]
    assert any("nm" in row.kernel for row in first.rows if row.convolution)
    options = {"nm": "off"}
    off = measure(models("pruned"), Variant("nmpack"), vlen=512, prices=None, options=options)
    assert off.totals.classes["vector fma"] > totals.classes["vector fma"]
    assert not any("nmconv" in row.kernel for row in off.rows)


@pytest.mark.riscv64
@pytest.mark.torch
def test_what_the_delegate_refuses_is_one_sentence(models: Models, nmpack_command: Command) -> None:
    done = nmpack_command("rvv-report", models("dense"), "--no-upstream", "--option", "nm=on")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "expected auto, off or force, got 'on'" in done.stderr


@pytest.mark.riscv64
@pytest.mark.torch
def test_a_report_on_the_command_line(
    models: Models, nmpack_command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "report.json"
    arguments = ["--no-upstream", "--density", "1,0.25", "--tile", "32", "--json", file]
    done = nmpack_command("rvv-report", models("dense"), *arguments)
    assert done.returncode == 0, done.stderr
    assert "cycles: a model (spacemit-x60, LLVM 22" in done.stdout
    report = json.loads(file.read_text())
    own, _, sparse = report["networks"][0]["variants"]
    assert (own["name"], sparse["density"], sparse["tile"]) == ("own dense NHWC", 0.25, 32)
    for variant in (own, sparse):
        totals = variant["totals"]
        assert totals["cycles"] > 0
        assert totals["unpriced"] <= 0.0006 * totals["instructions"]
        parts = [row["totals"]["instructions"] for row in variant["operators"]]
        assert sum(parts) == totals["instructions"]
    assert sparse["totals"]["cycles"] < own["totals"]["cycles"]


@pytest.mark.riscv64
@pytest.mark.torch
def test_nothing_executes_more_than_the_committed_baseline(nmpack_command: Command) -> None:
    done = nmpack_command("rvv-report", "--baseline", BASELINE)
    assert done.returncode == 0, done.stderr
    assert "no row is worse than in" in done.stdout


@pytest.mark.riscv64
def test_open_sizes_are_counted_at_what_is_stored(nmpack_command: Command, tmp_path: Path) -> None:
    done = nmpack_command("rvv-report", int8_batch(tmp_path / "m.tflite"), "--no-upstream")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "input 'image' is of the open size ?x6x6x8 and was taken as 1x6x6x8" in said


@pytest.mark.riscv64
def test_layers_of_bytes_are_counted(nmpack_command: Command, tmp_path: Path) -> None:
    path, written = int8_network(tmp_path / "bytes.tflite", size=14), tmp_path / "report.json"
    arguments = ["--no-upstream", "--vlen", "512", "--json", written]
    done = nmpack_command("rvv-report", path, *arguments)
    assert done.returncode == 0, done.stderr
    assert "3x3 32-32 @14x14 (n=3)" in done.stdout
    assert "nmpack, qs8" in done.stdout
    (variant,) = json.loads(written.read_text())["networks"][0]["variants"]
    assert variant["element_types"] == ["qs8"]
    layers = [row for row in variant["operators"] if row["convolution"]]
    assert [row["element_type"] for row in layers] == ["qs8"] * 3
    assert all("qs8_qc8w_nmspmm" in row["kernel"] for row in layers)
    # With all weights, in both layouts.
    dense = int8_network(tmp_path / "dense.tflite", pruned=False, size=14)
    done = nmpack_command("rvv-report", dense, "--density", "1,0.25", "--tile", "16", *arguments)
    assert done.returncode == 0, done.stderr
    nhwc, cnhw, sparse = json.loads(written.read_text())["networks"][0]["variants"]
    assert (nhwc["note"], cnhw["note"], sparse["note"]) == ("", "", "")
    layers = [row for row in nhwc["operators"] if row["convolution"]]
    assert all("qs8_qc8w_nmconv" in row["kernel"] for row in layers)
    assert sparse["totals"]["instructions"] < cnhw["totals"]["instructions"]


@pytest.mark.riscv64
@pytest.mark.torch
def test_networks_are_counted_in_int8(nmpack_command: Command, tmp_path: Path) -> None:
    written = tmp_path / "report.json"
    done = nmpack_command(
        "rvv-report", "--networks", "fashion_resnet", "--type", "int8", "--density", "1,0.25",
        "--tile", "32", "--no-upstream", "--vlen", "512", "--json", written,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "25% T=32, qs8" in done.stdout
    nhwc, cnhw, sparse = json.loads(written.read_text())["networks"][0]["variants"]
    for variant in (nhwc, cnhw, sparse):
        assert variant["element_types"] == ["qs8"]
        assert variant["note"] == ""
    assert sparse["totals"]["classes"]["vector fma"] < cnhw["totals"]["classes"]["vector fma"] / 2


@pytest.mark.riscv64
@pytest.mark.torch
def test_half_precision_is_counted(models: Models, nmpack_command: Command, tmp_path: Path) -> None:
    written = tmp_path / "report.json"
    done = nmpack_command(
        "rvv-report", models("pruned"), "--option", "precision=f16", "--no-upstream",
        "--json", written,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nmpack, f16" in done.stdout
    (variant,) = json.loads(written.read_text())["networks"][0]["variants"]
    assert (variant["element_types"], variant["note"]) == (["f16"], "")
    multiplied = [row for row in variant["operators"] if row["element_type"]]
    assert {row["element_type"] for row in multiplied} == {"f16"}
    assert all("__rvvfp16arith" in row["kernel"] for row in multiplied)
    single = measure(models("pruned"), Variant("nmpack"), vlen=256, prices=None)
    assert (single.element_types, single.label) == (("f32",), "nmpack, f32")
    assert variant["totals"]["loaded"] < 0.7 * single.totals.loaded


@pytest.mark.riscv64
@pytest.mark.torch
def test_half_precision_is_what_the_emulator_that_knows_it_computes(
    models: Models, tmp_path: Path
) -> None:
    newer = next((cache_folder() / "qemu").glob("*/usr/bin/qemu-riscv64"), None)
    assert newer, "run python3 scripts/make_sysroot.py qemu"
    target = find_target()
    told = half_options(tmp_path, target.program)
    image = tmp_path / "image.bin"
    image.write_bytes(np.random.default_rng(1).standard_normal(28 * 28, np.float32).tobytes())
    found = []
    for emulator, words, processor, precision in (
        (target.emulator, told, cpu(256, half=True), "f16"),
        (newer, (), f"{cpu(256)},zfh=true,zvfh=true", "f16"),
        (target.emulator, (), cpu(256), "model"),
    ):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        program = [str(emulator), *words, "-L", str(target.sysroot), str(target.program)]
        options = {"precision": precision}
        command = nmpack_run(program, str(models("pruned")), str(target.library), options)
        command += ["--output-dir", str(folder), "--input", str(image)]
        execute(command, {"QEMU_CPU": processor}, 300.0, tmp_path)
        found.append([path.read_bytes() for path in sorted(folder.glob("*.bin"))])
    assert found[0] == found[1] != []
    assert found[0] != found[2]
