# SPDX-License-Identifier: BSD-3-Clause
"""What a person or a service starts: the shell scripts, the container and the workflows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import run_tests
import yaml
from run_tests import Count, Outcome, Stage
from script_process import ROOT, Result

SHELL = sorted([*ROOT.glob("scripts/*.sh"), ROOT / ".ci/run"])
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def _run(path: Path, *arguments: str, **options: Any) -> Result:
    return Result(
        subprocess.run(
            [path, *arguments], capture_output=True, text=True, check=False, timeout=60, **options
        )
    )


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_shell_scripts_are_clean_and_can_be_run(script: Path) -> None:
    assert script.stat().st_mode & 0o111 == 0o111
    shellcheck = Path(sys.executable).with_name("shellcheck")
    assert _run(shellcheck, "--shell=bash", str(script)).ok() == ""


@pytest.mark.parametrize("name", ["setup.sh", "demo.sh", "test.sh"])
def test_help_needs_nothing_and_does_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
    said = _run(tmp_path / "scripts" / name, "--help", cwd="/").ok()
    assert said.startswith(f"usage: scripts/{name}")
    assert [path.name for path in tmp_path.rglob("*")] == ["scripts", name]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("test.sh", ["--fast"]),
        ("test.sh", ["--only"]),
        ("test.sh", ["--only", "everything"]),
        ("demo.sh", ["--fast"]),
        ("demo.sh", ["--quick", "--output"]),
        ("demo.sh", ["--output", ""]),
        ("demo.sh", ["--output", "--quick"]),
        ("demo.sh", ["--output", "-h"]),
        ("demo.sh", ["--output", "scripts/demo.sh"]),
        ("demo.sh", ["--data", "/nonexistent"]),
    ],
)
def test_options_are_refused_before_anything_is_set_up(
    name: str, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
    said = _run(tmp_path / "scripts" / name, *arguments, cwd=tmp_path).error(2)
    missing = arguments[-1] in ("--only", "--output", "")
    assert f"got {'nothing' if missing else arguments[-1]}" in said


def test_test_sh_knows_the_stages() -> None:
    text = (ROOT / "scripts/test.sh").read_text("utf-8")
    names = [stage.name for stage in run_tests.stages(slow=False)]
    helped = text.split("stage by stage:\n")[1].split("A stage runs")[0]
    assert [line.split()[0] for line in helped.splitlines()] == names
    chosen = [word for name in names for word in ("--only", name)]
    assert _run(ROOT / "scripts/test.sh", *chosen, "--help").ok().startswith("usage: ")


def test_set_up_and_container_install_the_same_packages() -> None:
    for path in ("scripts/setup.sh", "container/Containerfile"):
        assert "scripts/packages.txt" in (ROOT / path).read_text("utf-8")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_start_scripts_that_exist(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    text = ""
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] > 0
        text += str(job.get("strategy", ""))
        text += "".join(step.get("run", "") + "\n" for step in job["steps"])
    assert "--file container/Containerfile" in text
    scripts = re.findall(r"\./(scripts/[\w.]+)((?: --[\w-]+(?: \w+)?)*)", text)
    assert scripts
    for script, options in scripts:
        assert (ROOT / script).is_file()
        known = (ROOT / script).read_text("utf-8")
        assert all(option in known for option in re.findall(r"--[\w-]+", options))


def _stage(code: str, results: Path | None = None) -> Stage:
    return Stage("sample", "a stage", (sys.executable, "-c", code), results)


def test_a_stage_without_results_is_one_test() -> None:
    assert run_tests.run(_stage("")).count == Count(1, 0)
    assert run_tests.run(_stage("raise SystemExit(3)")).count == Count(0, 1)


def test_meson_and_pytest_results_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "testlog.json"
    log.write_text('{"result": "OK"}\n{"result": "OK"}\n{"result": "SKIP"}\n{"result": "FAIL"}\n')
    assert run_tests.read_results(log) == Count(2, 2)
    junit = tmp_path / "pytest.xml"
    junit.write_text(
        '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="1"/></testsuites>'
    )
    assert run_tests.read_results(junit) == Count(5, 4)


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("", Count(0, 1)),  # ran, and left nothing
        ("open({0!r}, 'w').write('')", Count(0, 1)),  # no test
        ("open({0!r}, 'w').write('{{\"result\"')", Count(0, 1)),  # cut off
        (
            "open({0!r}, 'w').write('{{\"result\": \"OK\"}}'); raise SystemExit(1)",
            Count(1, 1),
        ),
    ],
)
def test_a_stage_is_never_counted_as_passed_by_mistake(
    code: str, count: Count, tmp_path: Path
) -> None:
    log = tmp_path / "testlog.json"
    log.write_text('{"result": "OK"}\n')  # of an earlier run
    assert run_tests.run(_stage(code.format(str(log)), log)).count == count


def test_the_table_adds_up() -> None:
    outcomes = [Outcome(_stage(""), Count(3, 0), 1.0), Outcome(_stage(""), Count(1, 2), 2.5)]
    assert run_tests.totals(outcomes) == (4, 2)
    lines = run_tests.table(outcomes).splitlines()
    assert lines[-1].split() == ["all", "3.5", "s", "4", "2"]
    assert [line.split()[-1] for line in lines[1:3]] == ["ok", "FAILED"]
