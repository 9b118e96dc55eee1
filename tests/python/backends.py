# SPDX-License-Identifier: BSD-3-Clause
"""Tests of Keras on its other backend: the backend is chosen once a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_on_torch(file: str, caller: str) -> None:
    """Run all tests of ``file`` but ``caller`` in a process whose backend is torch."""
    this = f"tests/python/{Path(file).name}::{caller}"
    environment = os.environ | {"KERAS_BACKEND": "torch", "NMPACK_TEST_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file, "--deselect", this],
        capture_output=True, text=True, timeout=300, check=False, env=environment,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed, 1 deselected" in done.stdout
    assert "skipped" not in done.stdout


def wanted_backend() -> str:
    """Return the backend that the tests of this process are to run on."""
    return os.environ.get("NMPACK_TEST_BACKEND", "tensorflow")
