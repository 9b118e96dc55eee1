# SPDX-License-Identifier: BSD-3-Clause
"""Debian systems without one: what they need, and what is handed on to them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from machines import program
from nmpack_tools import debian_root, distribution
from nmpack_tools.console import ToolError
from script_process import Result

Run = Callable[..., Result]


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All programs that there are but the shell's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_what_is_missing_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, bin_folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolError, match=r"expected root.*; use sudo"):
        debian_root.require(("buildah",))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ToolError, match="expected the program mmdebstrap, found none"):
        debian_root.require(("mmdebstrap",))
    program(bin_folder, "mmdebstrap", "exit 1")
    debian_root.require(("mmdebstrap",))
    monkeypatch.setattr(debian_root, "BINFMT", tmp_path)
    with pytest.raises(ToolError, match="expected binfmt to start programs of vax in qemu-vax"):
        debian_root.require((), "vax")
    monkeypatch.setattr(debian_root, "OWN", "amd64")
    with pytest.raises(ToolError, match=r"of arm64 in qemu-aarch64, .*--enable qemu-aarch64"):
        debian_root.require((), "arm64")
    (tmp_path / "qemu-aarch64").touch()
    debian_root.require((), "arm64")


def test_the_mirror_is_the_given_one_or_one_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def mirrors(suites: tuple[str, ...]) -> list[str]:
        asked.append(suites)
        return ["mirror+file:/list", "http://second"] if suites == ("sid",) else ["file:/only"]

    monkeypatch.setattr(distribution, "mirrors", mirrors)
    assert distribution.mirror_of("sid", None) == "http://second"
    assert distribution.mirror_of("trixie", "file:/given") == "file:/given"
    assert asked == [("sid",)]
    with pytest.raises(ToolError, match="name one that has Debian trixie with --mirror URL"):
        distribution.mirror_of("trixie", None)


def test_only_a_setting_for_old_indices_is_handed_on(bin_folder: Path) -> None:
    assert debian_root.valid_until() == []  # no apt
    program(bin_folder, "apt-config", "echo 'Acquire::Check-Valid-Until \"false\";'")
    assert debian_root.valid_until() == ['Acquire::Check-Valid-Until "false"']
    program(bin_folder, "apt-config", "echo 'Acquire::Check-Valid-Until \"\";'")
    assert debian_root.valid_until() == []


@pytest.mark.parametrize("name", ["root", "root.tar"])
def test_a_system_that_fails_leaves_nothing_and_says_why(
    bin_folder: Path, tmp_path: Path, name: str
) -> None:
    program(bin_folder, "unshare", 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"')
    make = ": >" if name.endswith(".tar") else "/bin/mkdir"
    lines = "echo I: running; echo E: no such suite >&2; echo E: mmdebstrap failed >&2; exit 3"
    program(bin_folder, "mmdebstrap", f'echo "$@" >{tmp_path}/words; {make} "$5"; {lines}')
    target = tmp_path / "made" / name
    with pytest.raises(ToolError, match=r"could not make trixie for arm64: no such suite$"):
        debian_root.make_root(target, "trixie", "arm64", "http://mirror", ("one", "two"))
    words = "--architectures=arm64 --variant=minbase --include=one,two"
    assert (tmp_path / "words").read_text() == f"{words} trixie {target} http://mirror\n"
    assert list((tmp_path / "made").iterdir()) == []


def test_the_board_says_what_it_takes(run: Run, environment: dict[str, str]) -> None:
    said = run("test_board.py", "--help").ok()
    assert "test_board.py --arch aarch64" in said
    done = run("test_board.py", "--arch", "vax")
    assert done.status == 2
    assert "invalid choice: 'vax'" in done.err
    assert not Path(environment["XDG_CACHE_HOME"]).exists()
