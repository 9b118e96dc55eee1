# SPDX-License-Identifier: BSD-3-Clause
"""The delegate in drawn sequences of loads, resizes, runs, deletions, threads and forks.

A minute here, an hour at night: NMPACK_SOAK_SECONDS, and NMPACK_DRAW_SEED for other sequences.
soak.py says more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import parity
import pytest
import soak
import soak_memory
from soak_steps import CHANCES, Step, draw

SECONDS = float(os.environ.get("NMPACK_SOAK_SECONDS", "15"))


@pytest.mark.delegate
def test_soak(capfd: pytest.CaptureFixture[str]) -> None:
    program = Path(soak.__file__)
    command = [sys.executable, str(program), "--seconds", str(SECONDS), "--seed", str(parity.SEED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    with capfd.disabled():
        # Also where pytest runs in several processes, whose standard output goes nowhere.
        print(f"\n{done.stdout}", file=sys.stderr, flush=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f" sequences from seed {parity.SEED}, " in done.stdout


def _all_steps(steps: tuple[Step, ...]) -> list[Step]:
    return [one for step in steps for one in (step, *_all_steps(sum(step.branches, ())))]


def test_a_seed_says_what_a_sequence_does() -> None:
    names = set()
    for seed in range(50):
        sequence = draw(seed)
        assert str(draw(seed)) == str(sequence)
        assert draw(seed).models == sequence.models
        names |= {step.name for step in _all_steps(sequence.steps)}
    assert names == set(CHANCES)
    assert str(draw(1)) != str(draw(2))


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import os; os.abort()", "the process ended by SIGABRT"),
        # Not SIGSEGV, which AddressSanitizer turns into SIGABRT.
        ("import os; os.kill(os.getpid(), 15)", "the process ended by SIGTERM"),
        ("raise SystemExit(3)", "exit status 3"),
        ("import time; time.sleep(60)", "nothing happened for 2 s"),
    ],
)
def test_what_ends_a_soak_is_named_with_its_seed(code: str, fault: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"print('at 76 1\\nat 77 3', flush=True); {code}"]
    with (tmp_path / "errors").open("w+") as errors:
        watched = soak.Watched(command, errors, patience=2)
    assert (watched.fault, watched.seed, watched.step) == (fault, 77, 3)
    said = soak.report(watched, "")
    assert str(draw(77)) in said
    assert "--seed 77" in said


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("pass", ""),
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("assert False, 'a difference'", "exit status 1"),
        ("time.sleep(60)", "ended by SIGALRM"),
    ],
)
def test_what_ends_a_child_is_named(code: str, fault: str) -> None:
    # Other libraries in this process have threads that warn of forks.
    program = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
import soak_processes
soak_processes.CHILD_SECONDS = 1
def work():
    {code}
soak_processes.in_child([("nothing", lambda: None), ("work", work)])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == (not fault), done.stderr
    assert fault in done.stderr.splitlines()[-1] if fault else not done.stderr


def test_what_stays_behind_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)  # under a sanitizer growth is no complaint
    for grown, expected in ((0.0, 0), (3.0, 1)):
        memory = soak_memory.Memory()
        memory.seen = {
            "resident": [50.0] * 16,
            "allocated": [8.0] * 8 + [8.0 + grown] * 8,
            "threads": [1] * 16,
            "files": [6] * 16,
        }
        assert len(memory.complaints()) == expected
        memory.seen["threads"][-1] = 2
        assert len(memory.complaints()) == expected + 1
