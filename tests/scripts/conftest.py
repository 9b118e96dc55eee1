# SPDX-License-Identifier: BSD-3-Clause
"""Runs the scripts as a user does: as processes, with a home of their own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(Path(__file__).parent)]

from fetching import Place, Server, serve  # noqa: E402
from machines import make_machine  # noqa: E402
from patching import Project, make_overlay  # noqa: E402
from script_process import Result, own_environment, run_script  # noqa: E402


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return own_environment(tmp_path)


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., Result]:
    def call(script: str, *args: object, **extra: str) -> Result:
        return run_script(environment | extra, script, *args)

    return call


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    return make_overlay(tmp_path)


@pytest.fixture
def machine(tmp_path: Path, environment: dict[str, str]) -> Path:
    return make_machine(tmp_path, environment["PATH"])


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as state:
        yield state


@pytest.fixture
def place(tmp_path: Path, environment: dict[str, str], server: Server) -> Place:
    return Place(tmp_path, environment, server)


@pytest.fixture
def project(tmp_path: Path, environment: dict[str, str]) -> Project:
    """Nothing built yet."""
    root = tmp_path / "project"
    root.mkdir()
    return Project(root, environment)


@pytest.fixture(scope="session")
def patched_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an overlay and two patches, built, exported and built from the export."""
    base = tmp_path_factory.mktemp("patched")
    environment = own_environment(base)
    project = Project(base, environment)
    project.overlay()
    run_script(environment, "apply_patches.py", *project.args).ok()
    project.edit("src/main.c", "line 5\n", "line five\n")
    project.commit("main: Count in words")
    project.edit("src/main.c", "line 30\n", "line 30\nline 30 and a half\n")
    project.commit("main: Add a line between two others")
    run_script(environment, "apply_patches.py", "--export", *project.args).ok()
    run_script(environment, "apply_patches.py", *project.args).ok()
    return base


@pytest.fixture
def patched(project: Project, patched_once: Path) -> Project:
    """A copy of ``patched_once``, file times included."""
    shutil.rmtree(project.root)
    shutil.copytree(patched_once, project.root, symlinks=True)
    return project
