# SPDX-License-Identifier: BSD-3-Clause
"""riscv64 under QEMU: the same numbers as the host at several vector lengths."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from open_files import any_image

from nmpack.cli import main
from nmpack.errors import InterpreterError, MissingError, NmpackError
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.qemu import Target, _outputs, cpu, find_target, run_riscv64
from nmpack.runtime.runner import compare, run

Models = Callable[[str], Path]


@pytest.fixture(scope="session")
def target() -> Target:
    """The riscv64 build, sysroot and QEMU; their absence is a failure, not a skip."""
    try:
        return find_target()
    except MissingError as error:
        pytest.fail(f"this test needs riscv64: {error}", pytrace=False)


@pytest.mark.riscv64
@pytest.mark.torch
@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("vlen", [0, 128, 256, 512])
@pytest.mark.parametrize("kind", ["dense", "pruned"])
def test_riscv64_equals_the_host(models: Models, kind: str, vlen: int, tmp_path: Path) -> None:
    image = np.random.default_rng(4).normal(size=(1, 28, 28, 1)).astype(np.float32)
    stock = run(models(kind), image, engine=Engine("stock"))
    report = tmp_path / "report.json"
    outputs = run_riscv64(models(kind), [image], vlen=vlen, options={"report": report})
    gap = compare(stock.outputs, outputs)
    assert gap.relative < 1e-5
    assert gap.top1 == 1.0
    choices = json.loads(report.read_text())
    assert choices["riscv_vector"].startswith(
        "vector kernels run: " if vlen else "scalar kernels run: the processor has no vector"
    )
    kinds = {row["operator"] for part in choices["partitions"] for row in part["layers"]}
    assert kind == "dense" or "nm" in kinds


@pytest.mark.riscv64
@pytest.mark.torch
@pytest.mark.usefixtures("target")
def test_command_line(
    models: Models, nmpack_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = nmpack_command("run", models("pruned"), "--target", "riscv64", "--compare")
    assert done.returncode == 0, done.stderr
    assert "riscv64" in " ".join(done.args)
    assert "agrees with the stock" in done.stdout
    done = nmpack_command("run", models("pruned"), "--target", "riscv64", "--option", "x=1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "unknown option 'x'" in done.stderr


@pytest.mark.riscv64
@pytest.mark.usefixtures("target")
def test_open_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of an option and of the inputs, all at once and one after the other."""
    model, images = any_image(tmp_path / "m.tflite", valid=True), tmp_path / "images.npy"
    np.save(images, np.random.default_rng(4).normal(size=(3, 9, 7, 3)).astype(np.float32))
    there = ["run", str(model), "--target", "riscv64", "--compare"]
    given = ["--input", str(images)]
    for more in (["--shape", "image=2x9x7x3"], given, [*given, "--shape", "1x9x7x3"]):
        assert main([*there, *more]) == 0
        assert "agrees with the stock" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "makes"), [("riscv64", "setup.sh"), ("aarch64", "test_aarch64.sh")]
)
def test_what_to_build_first_is_said(
    target: str,
    makes: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / f"qemu-{target}").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(f"NMPACK_{target.upper()}_BUILD", str(tmp_path))
    model = any_image(tmp_path / "m.tflite")
    assert main(["run", str(model), "--shape", "1x9x9x3", "--target", target]) == 1
    said = capsys.readouterr().err
    assert f"nmpack-run is not built: run ./scripts/{makes}, or point NMPACK_" in said


def test_processor_strings() -> None:
    assert cpu(0) == "rv64,v=false"
    assert cpu(128) == "rv64,v=true,vext_spec=v1.0,vlen=128,elen=64"
    with pytest.raises(NmpackError, match="got 192"):
        cpu(192)


def test_missing_pieces_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NMPACK_RISCV64_BUILD", str(tmp_path))
    with pytest.raises(MissingError, match=r"nmpack-run is not built: run \./scripts/setup\.sh"):
        find_target()
    (tmp_path / "nmpack-run").touch()
    (tmp_path / "libnmpack_delegate.so").touch()
    monkeypatch.setenv("NMPACK_RISCV64_SYSROOT", str(tmp_path / "none"))
    with pytest.raises(MissingError, match=r"scripts/make_sysroot\.py"):
        find_target()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="apt-get install qemu-user"):
        find_target()


@pytest.mark.parametrize(
    "content",
    ["", "[", "{}", '[{"name": "a"}]', '[{"name":"a","shape":[3],"dtype":"float32","file":"x"}]'],
)
def test_unreadable_outputs_are_one_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "outputs.json").write_text(content)
    (tmp_path / "x").write_bytes(b"\0" * 8)
    with pytest.raises(InterpreterError, match="outputs cannot be read"):
        _outputs(tmp_path)


def test_outputs_are_read_by_name(tmp_path: Path) -> None:
    rows = [{"name": "a", "shape": [2, 1], "dtype": "float32", "file": "x"}]
    (tmp_path / "outputs.json").write_text(json.dumps(rows))
    np.array([1.0, 2.0], np.float32).tofile(tmp_path / "x")
    assert _outputs(tmp_path)["a"].tolist() == [[1.0], [2.0]]
