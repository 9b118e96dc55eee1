# SPDX-License-Identifier: BSD-3-Clause
"""scripts/make_sysroot.py without a network: what it refuses, and how it tells a whole sysroot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import make_sysroot as script
import pytest
from script_process import Result

Run = Callable[..., Result]
WANTED = {"package": "libx", "version": "1-1", "suite": "sid", "file": "libx.so.1"}


def whole(folder: Path) -> Path:
    """A sysroot as the script leaves it."""
    library = folder / "usr/lib/riscv64-linux-gnu/libx.so.1"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"\x7fELF")
    (folder / "lib").symlink_to("usr/lib")
    stamp = {"package": "libx", "version": "1-1", "fingerprint": script._fingerprint(folder)}
    (folder / script.STAMP).write_text(json.dumps(stamp))
    return folder


def test_offline_and_check_need_a_sysroot(run: Run) -> None:
    for option in ("--offline", "--check"):
        message = run("make_sysroot.py", option).error()
        assert "found none or an incomplete one; run scripts/make_sysroot.py" in message


@pytest.mark.parametrize("what", ["llvm", "sshd", "qemu"])
def test_what_is_for_this_machine_is_asked_for_by_name(run: Run, what: str) -> None:
    message = run("make_sysroot.py", what, "--check").error()
    assert f"/{what}/" in message
    assert message.endswith(f"run scripts/make_sysroot.py {what}\n")
    done = run("make_sysroot.py", "gcc")
    assert done.status == 2
    assert "invalid choice: 'gcc'" in done.err


def test_unknown_architecture(run: Run) -> None:
    done = run("make_sysroot.py", "--arch", "vax")
    assert done.status == 2
    assert "invalid choice: 'vax'" in done.err


def test_unreachable_mirror_is_one_sentence(run: Run) -> None:
    message = run("make_sysroot.py", "--mirror", "http://127.0.0.1:9/debian").error()
    assert "apt-get update failed" in message


def test_whole_sysroot_is_recognised(tmp_path: Path) -> None:
    folder = whole(tmp_path / "root")
    assert script.problem(folder, WANTED) is None
    assert "expected liby" in str(script.problem(folder, WANTED | {"package": "liby"}))


@pytest.mark.parametrize("damage", ["remove", "truncate", "stamp"])
def test_damaged_sysroot_is_noticed(tmp_path: Path, damage: str) -> None:
    folder = whole(tmp_path / "root")
    library = folder / "usr/lib/riscv64-linux-gnu/libx.so.1"
    if damage == "remove":
        library.unlink()
    elif damage == "truncate":
        library.write_bytes(b"")
    else:
        (folder / script.STAMP).write_text("{")
    assert script.problem(folder, WANTED) is not None
