# SPDX-License-Identifier: BSD-3-Clause
"""A current directory full of a stranger's files: none of them is loaded or executed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import nmpack
from nmpack.errors import InterpreterError, MissingError
from nmpack.locations import LIBRARY, ROOT, cache_folder, data_folder, source_tree
from nmpack.runtime.interpreter import PACKAGES, Engine, find_delegate, load_delegate
from nmpack.runtime.process import EngineProcess

pytestmark = [pytest.mark.delegate, pytest.mark.torch]
Models = Callable[[str], Path]
PACKAGE = Path(nmpack.__file__).parent
# Each is imported early by the worker, by numpy or by an interpreter.
NAMES = ("numpy", "nmpack", "json", "socket", "tensorflow", "ai_edge_litert", "tflite_runtime")


@pytest.fixture
def hostile(tmp_path: Path, delegate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a stranger's folder current; what runs from it leaves the file 'executed'."""
    folder = tmp_path / "hostile"
    (folder / "build/host/delegate").mkdir(parents=True)
    shutil.copy(delegate, folder / "build/host/delegate" / LIBRARY)
    code = f"open({str(folder / 'executed')!r}, 'a').write(__name__ + ' ')\nraise SystemExit(7)\n"
    for name in NAMES:
        (folder / f"{name}.py").write_text(code)
    (folder / "nmpack").mkdir()
    for name in ("__init__", "worker"):
        (folder / "nmpack" / f"{name}.py").write_text(code)
    monkeypatch.chdir(folder)
    return folder


def installed(tmp_path: Path, *, where: str = "site") -> Path:
    """Copy the package to where it lies in no source tree; returns what goes on PYTHONPATH."""
    folder = tmp_path / where
    shutil.copytree(PACKAGE, folder / "nmpack", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def command(path: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command, as its entry point does: without the current directory."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NMPACK_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "nmpack", *map(str, arguments)],
        env=environment | {"PYTHONPATH": str(path)},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["inspect", "run", "bench"])
def test_the_delegate_of_the_current_directory_is_not_loaded(
    models: Models, hostile: Path, tmp_path: Path, verb: str
) -> None:
    done = command(installed(tmp_path), verb, models("pruned"))
    assert done.returncode == 1, done.stdout
    assert done.stderr.count("\n") == 1
    assert f"{LIBRARY} is not built" in done.stderr
    assert not (hostile / "executed").exists()


def test_a_package_two_folders_below_the_current_directory_does_not_make_it_a_source_tree(
    hostile: Path, models: Models
) -> None:
    """As ``pip install --target deps nmpack`` does, and with the files that mark a source tree."""
    for mark in ("meson.build", "pyproject.toml", "delegate/plugin.cc"):
        (hostile / mark).parent.mkdir(exist_ok=True)
        (hostile / mark).touch()
    done = command(installed(hostile, where="deps"), "inspect", models("pruned"))
    assert done.returncode == 1, done.stdout
    assert f"{LIBRARY} is not built" in done.stderr


def test_an_installed_delegate_is_found(delegate: Path, models: Models, tmp_path: Path) -> None:
    path = installed(tmp_path)
    (path / "nmpack/lib").mkdir()
    shutil.copy(delegate, path / "nmpack/lib" / LIBRARY)
    done = command(path, "inspect", models("pruned"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "in 1 partition" in done.stdout


@pytest.mark.parametrize("path", ["", os.pathsep, f"{os.pathsep}/nowhere{os.pathsep}"])
@pytest.mark.parametrize("interpreter", PACKAGES)
def test_a_worker_imports_nothing_from_the_current_directory(
    models: Models,
    hostile: Path,
    monkeypatch: pytest.MonkeyPatch,
    interpreter: str,
    path: str,
) -> None:
    monkeypatch.setenv("PYTHONPATH", path)
    with EngineProcess(models("pruned"), Engine("stock", interpreter)) as child:
        assert [item.shape for item in child.inputs] == [(1, 28, 28, 1)]
    assert not (hostile / "executed").exists()


def test_a_source_tree_is_only_that_of_the_package(tmp_path: Path) -> None:
    assert source_tree(PACKAGE) == ROOT
    assert (ROOT / "python/nmpack") == PACKAGE
    package = tmp_path / "python" / "nmpack"
    package.mkdir(parents=True)
    assert source_tree(package) is None


def test_relative_names_become_absolute(delegate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(delegate.parent)
    monkeypatch.setenv("NMPACK_DELEGATE", LIBRARY)
    assert find_delegate() == delegate.resolve()
    assert load_delegate(library=LIBRARY) is not None
    monkeypatch.chdir("/")
    with pytest.raises(MissingError, match=f"names /{LIBRARY}, which is not a file"):
        find_delegate()
    with pytest.raises(MissingError, match=f"the delegate {LIBRARY} is not a file"):
        load_delegate(library=LIBRARY)


def test_a_relative_python_is_the_file_that_was_looked_at(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a program of that name on PATH."""
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho I was asked\nexit 9\n")
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NMPACK_TFLITE_RUNTIME_PYTHON", "python3")
    with pytest.raises(InterpreterError, match="ended with status 9: I was asked"):
        EngineProcess(models("pruned"), Engine("stock", "tflite-runtime"))


def test_a_relative_cache_is_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "cache", "../cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == tmp_path / ".cache/nmpack"
        monkeypatch.setenv("XDG_DATA_HOME", value)
        assert data_folder() == tmp_path / ".local/share/nmpack"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere/nmpack"
