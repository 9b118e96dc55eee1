# SPDX-License-Identifier: BSD-3-Clause
"""Runs the scripts as a user does: as processes, with a home of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(Path(__file__).parent)]


class Result:
    """What a script printed and how it ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.out, self.err, self.status = done.stdout, done.stderr, done.returncode

    def ok(self) -> str:
        assert self.status == 0, self.out + self.err
        assert self.err == ""
        return self.out

    def error(self, status: int = 1) -> str:
        """The script must have failed with exactly one line."""
        assert self.status == status, self.out + self.err
        assert len(self.err.splitlines()) == 1, self.err
        assert "Traceback" not in self.err
        return self.err


Run = Callable[..., Result]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No proxies, no user settings, an own cache."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    return kept | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Iterator[Run]:
    def call(script: str, *args: object, **extra: str) -> Result:
        command = [sys.executable, str(ROOT / "scripts" / script), *map(str, args)]
        return Result(
            subprocess.run(
                command,
                env=environment | extra,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
                stdin=subprocess.DEVNULL,
            )
        )

    return call


@pytest.fixture
def server() -> Iterator[object]:
    from fetching import serve

    with serve() as state:
        yield state


@pytest.fixture
def place(tmp_path: Path, environment: dict[str, str], server: object) -> object:
    from fetching import Place

    return Place(tmp_path, environment, server)
