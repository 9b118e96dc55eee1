# SPDX-License-Identifier: BSD-3-Clause
"""scripts/setup.sh and scripts/demo.sh run to their ends, again and again, where all pretend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from machines import LOCK, calls, end, lock, pretend, start
from script_process import Result

Run = Callable[..., Result]


@pytest.fixture
def run_here(machine: Path, environment: dict[str, str]) -> Run:
    pretend(machine)

    def call(script: str, *arguments: str, folder: Path = machine) -> Result:
        path = environment | {"PATH": str(machine / "bin")}
        return end(start(machine / "scripts" / script, *arguments, env=path, cwd=folder))

    return call


# Packages


@pytest.mark.parametrize("between", ["--first", "--demo"])
def test_an_earlier_lock_is_installed_again(machine: Path, run_here: Run, between: str) -> None:
    run_here("setup.sh").ok()
    lock(machine, "torch==1.0", "package==2")
    run_here("setup.sh", between).ok()
    assert "package==2" in (machine / ".venv/lock.txt").read_text()
    lock(machine, "torch==1.0", "package==1")
    run_here("setup.sh").ok()
    assert (machine / ".venv/lock.txt").read_text() == (machine / LOCK).read_text()


def test_what_is_there_is_not_installed_again(machine: Path, run_here: Run) -> None:
    for options in (["--first"], ["--demo"], []):
        run_here("setup.sh", *options).ok()
        assert any(" install " in call for call in calls(machine))
    for options in ([], ["--demo"], ["--first"], []):
        run_here("setup.sh", *options).ok()
        assert calls(machine) == []


def test_torch_for_cpus_is_installed_at_its_pin(machine: Path, run_here: Run) -> None:
    def installed() -> list[str]:
        return [word for call in calls(machine) for word in call.split() if "torch==" in word]

    run_here("setup.sh", "--demo").ok()
    assert installed() == ["torch==1.0+cpu"]
    lock(machine, "torch==1.0", "package==2")
    run_here("setup.sh", "--demo").ok()
    assert installed() == []
    lock(machine, "torch==2.0", "package==2")
    run_here("setup.sh", "--demo").ok()
    assert installed() == ["torch==2.0+cpu"]


def test_peers_are_installed_where_they_are_asked_for(machine: Path, run_here: Run) -> None:
    run_here("setup.sh").ok()
    assert not (machine / ".venv-peers").exists()
    calls(machine)
    assert "] other runtimes (.venv-peers)\n" in run_here("setup.sh", "--peers").ok()
    installs = [call for call in calls(machine) if " install " in call]
    assert any("torch==3.0+cpu" in call for call in installs)
    assert any("-r requirements/peers.lock" in call for call in installs)
    run_here("setup.sh", "--first", "--peers").ok()
    assert calls(machine) == []


@pytest.mark.parametrize("part", [[], ["--demo"]], ids=["all", "demo"])
def test_nothing_that_pip_does_waits_for_an_answer(
    machine: Path, run_here: Run, part: list[str]
) -> None:
    run_here("setup.sh", *part).ok()
    installs = [call for call in calls(machine) if " install " in call]
    assert any("torch==" in call for call in installs)
    for call in installs:
        assert " --no-input " in call
        assert call.endswith(" </dev/null")


# Builds


def test_a_build_that_was_not_configured_again_is_not_taken_as_it_was(
    machine: Path, run_here: Run
) -> None:
    run_here("setup.sh", "--first").ok()
    (machine / "meson-version.txt").write_text("2\n")
    (machine / "meson-fails").touch()
    assert "meson could not configure build/host again" in run_here("setup.sh", "--first").err
    (machine / "meson-version.txt").write_text("1\n")
    (machine / "meson-fails").unlink()
    calls(machine)
    run_here("setup.sh", "--first").ok()
    assert [call.split()[:3] for call in calls(machine)] == [["meson", "setup", "--reconfigure"]]


def test_sanitizers_can_be_built_beside_the_demo(run_here: Run) -> None:
    assert (
        "] sanitizer build (build/asan)\n"
        in run_here("setup.sh", "--demo", "--plan", "--sanitize").ok()
    )


# The demo


@pytest.mark.parametrize("quick", [False, True])
def test_the_plan_is_said_where_it_will_be_kept(run_here: Run, quick: bool) -> None:
    said = run_here("demo.sh", *(["--quick"] if quick else [])).ok()
    for sentence in ("minutes, in all", "to the end of the demo", "train a small ResNet"):
        assert (sentence in said) is not quick


def test_folders_are_where_they_were_typed(machine: Path, run_here: Run, tmp_path: Path) -> None:
    typed = tmp_path / "elsewhere"
    (typed / "some images").mkdir(parents=True)
    words = ["--output", "out", "--quick", "--data", "some images"]
    run_here("demo.sh", *words, folder=typed).ok()
    wanted = f"--output {typed}/out --quick --data {typed}/some images"
    shown = [call.split(" <")[0] for call in calls(machine) if "nmpack.demo" in call]
    assert shown == [
        f"python -m nmpack.demo --first {wanted}",
        f"python -m nmpack.demo {wanted}",
    ]
