# SPDX-License-Identifier: BSD-3-Clause
"""scripts/setup.sh on machines that lack something; none of these installs anything."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import machines
import pytest
from machines import end, program
from script_process import ROOT

PACKAGES = [
    line.split()
    for line in (ROOT / "scripts/packages.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(machine: Path, environment: dict[str, str]) -> Start:
    def call(*arguments: str, **extra: str) -> subprocess.Popen[str]:
        env = environment | {"PATH": str(machine / "bin")} | extra
        return machines.start(machine / "scripts/setup.sh", *arguments, env=env)

    return call


def test_a_missing_compiler_is_one_sentence_with_the_line_to_run(
    machine: Path, start: Start
) -> None:
    (machine / "bin/clang++-19").unlink()
    assert end(start(NMPACK_NO_APT="1")).error() == (
        "setup.sh: expected clang++-19, found none; "
        "run: apt-get install -y --no-install-recommends clang-19\n"
    )


def test_all_that_is_missing_is_said_at_once(machine: Path, start: Start) -> None:
    (machine / "bin/clang++-19").unlink()
    (machine / "bin/qemu-riscv64").unlink()
    said = end(start(NMPACK_NO_APT="1")).error()
    assert "expected clang++-19, qemu-riscv64, found none" in said
    assert said.endswith(" clang-19 qemu-user\n")


@pytest.mark.parametrize("part", ["--first", "--demo"])
def test_what_tests_need_is_not_asked_of_the_demo(machine: Path, start: Start, part: str) -> None:
    (machine / "bin/clang++-19").unlink()
    (machine / "bin/verilator").unlink()
    assert "expected clang++-19, verilator, found" in end(start(NMPACK_NO_APT="1")).error()
    assert "expected clang++-19, found none" in end(start(part, NMPACK_NO_APT="1")).error()


def test_a_user_who_may_not_install_is_told_to_use_sudo(machine: Path, start: Start) -> None:
    (machine / "bin/clang++-19").unlink()
    program(machine / "bin", "id", "echo 1000")
    assert "run: sudo apt-get install" in end(start()).error()


def test_sudo_without_a_password_is_used(machine: Path, start: Start) -> None:
    (machine / "bin/clang++-19").unlink()
    program(machine / "bin", "id", "echo 1000")
    called = machine / "sudo.txt"
    program(machine / "bin", "sudo", f'echo "$@" >>{called}')
    result = end(start())
    assert result.status == 1
    assert "expected clang++-19 after installing clang-19, found none" in result.err
    assert (
        called.read_text("utf-8")
        .splitlines()[-1]
        .endswith("install -y --no-install-recommends clang-19")
    )


def test_without_apt_the_packages_are_named(machine: Path, start: Start) -> None:
    (machine / "bin/clang++-19").unlink()
    (machine / "bin/apt-get").unlink()
    said = end(start()).error()
    assert "nor apt-get to install them; install what Debian calls clang-19" in said


def test_apt_that_fails_is_shown_and_named(machine: Path, start: Start) -> None:
    (machine / "bin/clang++-19").unlink()
    result = end(start())
    assert result.status == 1
    assert result.err.splitlines()[-2:] == [
        "      | no such archive",
        "setup.sh: apt-get update failed; all it printed is in build/logs/apt-update.log",
    ]


def test_another_python_is_refused_by_version(machine: Path, start: Start) -> None:
    program(machine / "bin", "mypython", "echo Python 3.9.2; exit 1")
    said = end(start(NMPACK_PYTHON="mypython")).error()
    assert "expected NMPACK_PYTHON to name a Python 3.11 with venv, got mypython" in said
    assert "3.9.2" in said


def test_a_distribution_without_the_right_python_is_told_so(machine: Path, start: Start) -> None:
    for name in ("python3", "python3.11"):
        program(machine / "bin", name, '[ "$1" != --version ] || echo Python 3.13.5; exit 1')
    program(machine / "bin", "apt-get", "exit 0")
    program(machine / "bin", "apt-cache", "echo 'E: No packages found' >&2; exit 100")
    said = end(start()).error()
    assert "expected Python 3.11, which the lock files are for, found Python 3.13.5" in said
    assert "NMPACK_PYTHON=" in said


def test_another_processor_is_refused_before_anything_is_done(machine: Path, start: Start) -> None:
    program(machine / "bin", "uname", "echo Linux aarch64")
    result = end(start())
    assert result.out == ""
    assert result.error() == (
        "setup.sh: expected Linux on x86-64, which builds for itself, riscv64 and aarch64, "
        "got Linux aarch64\n"
    )


def test_an_unknown_option_is_refused(start: Start) -> None:
    assert "got --fast" in end(start("--fast")).error(2)


def test_interrupted_it_says_what_to_do(machine: Path, start: Start) -> None:
    (machine / "bin/clang++-19").unlink()
    program(machine / "bin", "apt-get", f"touch {machine}/started; exec sleep 30")
    process = start()
    limit = time.monotonic() + 20
    while not (machine / "started").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    result = end(process)
    assert result.status == 130
    assert result.err.strip() == "setup.sh: interrupted; run it again to continue"


def test_packages_are_listed_once_in_order_with_what_shows_them() -> None:
    assert all(len(row) == 2 or row[2:] == ["tests"] for row in PACKAGES)
    names = [row[0] for row in PACKAGES]
    assert names == sorted(set(names))
