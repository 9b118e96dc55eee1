# SPDX-License-Identifier: BSD-3-Clause
"""scripts/build_wheels.py without building: what it refuses, and what it tells Meson."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import build_wheels as script
import pytest
from script_process import ROOT, Result

import nmpack
from nmpack.cli.version import built_of, version_text
from nmpack.runtime.interpreter import find_delegate

Run = Callable[..., Result]


def test_unknown_processor(run: Run) -> None:
    done = run("build_wheels.py", "sparc")
    assert done.status == 2
    assert "expected a processor of x86_64, aarch64, riscv64, got 'sparc'" in done.err


def test_without_its_environment_it_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(script, "BIN", tmp_path / ".venv-wheels/bin")
    monkeypatch.setattr(sys, "argv", ["build_wheels.py"])
    with pytest.raises(
        script.ToolError, match=r"expected the environment .*; run scripts/setup.sh --wheels"
    ):
        script.main()


@pytest.mark.parametrize("cpu", list(script.ARCHES))
def test_machine_files_are_what_meson_reads(cpu: str, tmp_path: Path) -> None:
    sysroot = tmp_path / "root"
    (option,) = script.machine_file(tmp_path, cpu, sysroot, tmp_path / "source")
    kind = "native" if cpu == os.uname().machine else "cross"
    assert option == f"-Csetup-args=--{kind}-file={tmp_path / cpu}.ini"
    read = configparser.ConfigParser()
    read.read(tmp_path / f"{cpu}.ini")
    assert f"--sysroot={sysroot}" in read["binaries"]["cpp"]
    assert "old_glibc.h" in read["built-in options"]["c_args"]
    assert ("host_machine" in read) == (kind == "cross")


def test_an_archive_is_unpacked_by_the_oldest_python_that_runs_scripts(tmp_path: Path) -> None:
    """Debian 12's, which knows no filters of archives."""
    oldest = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    (tmp_path / "nmpack-0").mkdir()
    (tmp_path / "nmpack-0/a").write_text("b")
    archive = shutil.make_archive(str(tmp_path / "x"), "gztar", tmp_path, "nmpack-0")
    code = "import sys, pathlib; import build_wheels as b; to = pathlib.Path(sys.argv[2])\n"
    code += "print((b.unpack(pathlib.Path(sys.argv[1]), to) / 'a').read_text())"
    (tmp_path / "to").mkdir()
    done = subprocess.run(
        [oldest, "-W", "ignore", "-c", code, archive, str(tmp_path / "to")],
        capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT / "scripts"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("b\n", "")


@pytest.mark.delegate
def test_a_version_is_said_in_one_place() -> None:
    version = (ROOT / "python/nmpack/version.txt").read_text().strip()
    assert nmpack.__version__ == version
    assert version_text(verbose=False) == f"nmpack {version}"
    described = subprocess.run(
        [sys.executable, str(ROOT / "meson/describe.py"), str(ROOT)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert re.fullmatch("XNNPACK [0-9a-f]{40}, patches [0-9a-f]{64}", described)
    built = built_of(find_delegate())
    assert built.startswith(f"nmpack {version}, {described}, clang ")
    whole = version_text(verbose=True)
    for text in (built, "ai-edge-litert", str(find_delegate())):
        assert text in whole


def test_what_is_no_delegate_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "libx.so").write_bytes(b"no library")
    with pytest.raises(nmpack.NmpackError, match="does not say what it was built of"):
        built_of(tmp_path / "libx.so")
