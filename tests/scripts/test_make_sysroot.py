# SPDX-License-Identifier: BSD-3-Clause
"""scripts/make_sysroot.py without a network: what it refuses, and how it tells a whole sysroot."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import make_sysroot as script
import pytest
from fetching import Server
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


@pytest.mark.parametrize("what", ["llvm", "sshd", "qemu", "glibc"])
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


def test_a_mirror_that_has_dropped_the_release_is_one_sentence(run: Run, server: Server) -> None:
    message = run("make_sysroot.py", "glibc", "--mirror", f"{server.url}/debian").error()
    assert "Mirrors drop old releases: name one that has bullseye" in message
    assert message.endswith("with --mirror URL\n")


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


def repository(folder: Path) -> Path:
    """An archive of one package, libx, that holds a link to /usr/lib."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    fields = "Package: libx\nVersion: 1-1\nArchitecture: all\nMaintainer: nobody <no@body>\n"
    fields += "Description: a library\n"
    (tree / "DEBIAN/control").write_text(fields)
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/lib/libx.so.1").write_bytes(b"\x7fELF")
    (tree / "usr/lib64").mkdir()
    (tree / "usr/lib64/libx.so").symlink_to("/usr/lib/libx.so.1")
    package = folder / "libx_1-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(tree), str(package)], check=True)
    content = package.read_bytes()
    fields += f"Filename: ./{package.name}\nSize: {len(content)}\n"
    fields += f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    (folder / "Packages").write_text(fields)
    return folder


def test_what_is_there_already_is_unpacked_again(tmp_path: Path) -> None:
    """As after an interruption: apt names what it would download, which is nothing then."""
    apt = script.PrivateApt(tmp_path / "apt", "amd64")
    source = f"deb [trusted=yes] copy:{repository(tmp_path / 'archive')} ./\n"
    (tmp_path / "apt/sources.list").write_text(source)
    apt._run(["apt-get", "update", "-qq"])
    first = apt.download("libx")
    assert [path.name for path in first] == ["libx_1-1_all.deb"]
    assert apt.download("libx") == first
    root = tmp_path / "root"
    root.mkdir()
    script.unpack(first, root)
    # A linker follows it inside the folder.
    assert (root / "usr/lib64/libx.so").resolve() == root / "usr/lib/libx.so.1"
