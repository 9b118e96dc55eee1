# SPDX-License-Identifier: BSD-3-Clause
"""A run draws from one seed, whatever number of processes it has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parent.parent / "conftest.py"
DRAWN = """
import os
import pytest

SEED = os.environ["NMPACK_TEST_SEED"]

@pytest.mark.parametrize("number", [SEED, "another"])
def test_drawn(number):
    assert number in ("7", "another")
"""


def collected(folder: Path, *words: str) -> str:
    """What pytest prints in two processes."""
    shutil.copyfile(CONFTEST, folder / "conftest.py")
    (folder / "test_drawn.py").write_text(DRAWN)
    environment = {key: value for key, value in os.environ.items() if key != "NMPACK_TEST_SEED"}
    environment |= dict(word.split("=") for word in words)
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "-q", "-c", os.devnull]
    done = subprocess.run(
        [*command, str(folder)], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    return done.stdout


def test_names_made_from_the_seed_are_the_same_in_all_processes(tmp_path: Path) -> None:
    output = collected(tmp_path)
    assert "Different tests were collected" not in output
    assert "1 failed, 1 passed" in output
    assert "draws the same again" in output


def test_a_seed_that_is_given_is_taken(tmp_path: Path) -> None:
    output = collected(tmp_path, "NMPACK_TEST_SEED=7")
    assert "2 passed" in output
    assert "NMPACK_TEST_SEED=7 draws" in output
