# SPDX-License-Identifier: BSD-3-Clause
"""The interpreter of libtensorflow-lite, run on this machine with Debian's library.

That library needs a newer libc than this machine's, so a Python is started through the loader of a
sysroot that ``scripts/make_sysroot.py --arch amd64`` unpacks. ``scripts/test_board.py`` runs the
same checks in a riscv64 system.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import check_models
import numpy as np
import pytest

import nmpack
from nmpack.locations import cache_folder
from nmpack.runtime.c_library import NAMES, PACKAGE
from nmpack.runtime.interpreter import find_delegate

pytestmark = pytest.mark.delegate
FOLDER = Path(nmpack.__file__).resolve().parent
SYSROOT = cache_folder() / "sysroot/amd64"
CHECKS = [Path(__file__).with_name(f"interpreter_{name}.py") for name in ("checks", "lifetimes")]


def test_the_package_is_that_of_the_sysroot() -> None:
    path = Path(__file__).parents[2] / "third_party/sysroot.toml"
    wanted = tomllib.loads(path.read_text(encoding="utf-8"))
    assert wanted["package"] == PACKAGE
    assert Path(wanted["file"]).name == NAMES[0]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that is Python with the sysroot's loader and libraries, its children too."""
    libraries = SYSROOT / "usr/lib/x86_64-linux-gnu"
    loader = libraries / "ld-linux-x86-64.so.2"
    assert loader.is_file(), f"{loader} is missing: run scripts/make_sysroot.py --arch amd64"
    own = sysconfig.get_config_var("LIBDIR")
    path = tmp_path_factory.mktemp("python") / "python"
    path.write_text(
        f'#!/bin/sh\nexec {loader} --argv0 "$0" --library-path {libraries}:{own}:'
        f'/usr/lib/x86_64-linux-gnu {os.path.realpath(sys.executable)} "$@"\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = tmp_path_factory.mktemp("models")
    check_models.make(result)
    return result


def call(
    python: Path, *arguments: str | Path, path: Path, **environment: str | Path
) -> subprocess.CompletedProcess[str]:
    variables = {name: str(value) for name, value in environment.items()}
    return subprocess.run(
        [str(python), *map(str, arguments)], capture_output=True, text=True, check=False,
        timeout=600, cwd=path,
        env=os.environ | {"PYTHONPATH": f"{FOLDER.parent}:{path}"} | variables,
    )  # fmt: skip


def test_checks_pass_with_the_system_library(python: Path, folder: Path) -> None:
    packages = Path(np.__file__).parents[1]
    options = ("-c", "/dev/null", "--noconftest", "-p", "no:cacheprovider", "-q")
    done = call(
        python, "-m", "pytest", *options, *CHECKS, path=packages, NMPACK_CHECK_MODELS=folder,
        NMPACK_DELEGATE=find_delegate(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder of packages with numpy alone: no rich, no interpreter of Python's."""
    packages = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):
        if (packages / name).exists():
            (tmp_path / name).symlink_to(packages / name)
    return tmp_path


def test_with_numpy_alone_the_system_library_is_the_default(
    python: Path, bare: Path, folder: Path
) -> None:
    model = folder / "small_network.tflite"
    code = "import nmpack, sys; print(nmpack.Interpreter.__module__, 'numpy' in sys.modules)"
    done = call(python, "-S", "-c", code, path=bare)
    assert done.stdout == "nmpack.runtime.c_interpreter True\n", done.stderr
    done = call(
        python, "-m", "nmpack", "run", model, "--compare", path=bare,
        NMPACK_DELEGATE=find_delegate(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "agrees with the stock libtensorflow-lite" in done.stdout
    assert "\u2502" not in done.stdout  # lines of rich's tables
    for shape, status in (("5x8x8x16", 0), ("5x8x8x15", 1)):
        done = call(
            python, "-m", "nmpack", "run", folder / "open_batch.tflite", "--compare",
            "--shape", shape, path=bare, NMPACK_DELEGATE=find_delegate(),
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert ("agrees" in done.stdout, "expected ?x8x8x16" in done.stderr) == (
            status == 0, status == 1
        )  # fmt: skip


def test_without_a_library_the_error_says_what_to_install(bare: Path, folder: Path) -> None:
    """This machine's own Python finds none; a variable that names nothing is said, too."""
    model = folder / "small_network.tflite"
    own = Path(sys.executable)
    arguments = ("-m", "nmpack", "run", model, "--interpreter", "libtensorflow-lite")
    for environment, message in (
        ({}, f"apt-get install {PACKAGE}"),
        ({"NMPACK_TFLITE_LIBRARY": "/absent.so"}, "names /absent.so, which is not a file"),
        ({"NMPACK_TFLITE_LIBRARY": str(model)}, "cannot be loaded"),
        ({"NMPACK_TFLITE_LIBRARY": str(find_delegate())}, "found no function TfLiteVersion"),
    ):
        done = call(own, *arguments, path=bare, NMPACK_DELEGATE=find_delegate(), **environment)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_the_next_name_is_tried_where_a_library_does_not_load(bare: Path, folder: Path) -> None:
    model, libraries = folder / "small_network.tflite", bare / "lib"
    libraries.mkdir()
    (libraries / NAMES[0]).write_text("no library", encoding="utf-8")
    arguments = ("-m", "nmpack", "run", model, "--interpreter", "libtensorflow-lite")
    environment = {"LD_LIBRARY_PATH": libraries, "NMPACK_DELEGATE": find_delegate()}
    done = call(Path(sys.executable), *arguments, path=bare, **environment)
    assert done.returncode == 1
    assert f"the TFLite library {NAMES[0]} cannot be loaded" in done.stderr
    (libraries / NAMES[1]).symlink_to(find_delegate())
    done = call(Path(sys.executable), *arguments, path=bare, **environment)
    assert done.returncode == 1
    assert f"in {NAMES[1]}, found no function TfLiteVersion" in done.stderr


def test_import_of_nmpack_imports_no_numpy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import nmpack, sys; print('numpy' in sys.modules)"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == "False\n", done.stderr
