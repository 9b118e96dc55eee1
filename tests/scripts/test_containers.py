# SPDX-License-Identifier: BSD-3-Clause
"""scripts/containers.py without a container: what it refuses, and what it copies."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import containers as script
import pytest
from nmpack_tools.tomlfile import read_toml
from script_process import ROOT, Result

Run = Callable[..., Result]


def test_help_teaches(run: Run) -> None:
    said = run("containers.py", "--help").ok()
    assert all(f"containers.py build {name}" in said for name in script.CONTAINERS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "the following arguments are required: verb"),
        (("build",), "expected build or run with one of ci, riscv64, or clean alone"),
        (("clean", "ci"), "expected build or run with one of ci, riscv64, or clean alone"),
        (("run", "vax"), "invalid choice: 'vax'"),
        (("start", "ci"), "invalid choice: 'start'"),
    ],
)
def test_wrong_words_are_refused(run: Run, words: tuple[str, ...], says: str) -> None:
    done = run("containers.py", *words)
    assert done.status == 2
    assert says in done.err


def test_the_copy_of_the_tree_has_its_files_and_goes_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["git", "init", "-q", tree], check=True)
    (tree / "kept").write_text("a")
    (tree / "link").symlink_to("kept")
    (tree / "ignored").write_text("b")
    (tree / ".gitignore").write_text("ignored\n")
    monkeypatch.setattr(script, "ROOT", tree)
    monkeypatch.setattr(script, "CACHE", tmp_path / "cache")
    with script.copied_tree() as copy:
        assert {path.name for path in copy.iterdir()} == {"kept", "link", ".gitignore"}
        assert (copy / "link").is_symlink()
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_containers_start_from_what_the_script_makes() -> None:
    for container in script.CONTAINERS.values():
        text = (ROOT / container.file).read_text("utf-8")
        assert re.findall(r"^FROM (\S+)$", text, re.MULTILINE) == [container.base]
        assert container.base.endswith(f":{container.suite}-slim")


def test_riscv64_takes_the_interpreter_of_the_sysroot() -> None:
    text = (ROOT / script.CONTAINERS["riscv64"].file).read_text("utf-8")
    wanted = read_toml(ROOT / "third_party/sysroot.toml", "sysroot.toml", "what it takes")
    assert dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE)) == {
        "SUITE": wanted["suite"],
        "PACKAGE": wanted["package"],
    }
