# SPDX-License-Identifier: BSD-3-Clause
"""One seed for all processes of a run, so that each collects the same tests."""

from __future__ import annotations

import os
import random

import pytest

SEED = "NMPACK_TEST_SEED"


def pytest_configure() -> None:
    # Processes of pytest-xdist inherit the environment.
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(1, 2**31)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"{SEED}={os.environ[SEED]} draws the same again")
