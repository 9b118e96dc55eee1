# SPDX-License-Identifier: BSD-3-Clause
"""What scripts/fetch_sources.py must refuse: wrong, truncated and hostile archives, bad pins."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fetching import (
    COMMIT,
    FILES,
    POOL,
    UPSTREAM,
    VERSION,
    Place,
    archive,
    hostile,
    member,
)
from nmpack_tools.githash import blob_id

Run = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]


def test_a_wrong_hash_says_expected_and_got(place: Place, run: Run) -> None:
    place.server.files[UPSTREAM] = archive(FILES | {"src/main.c": b"int evil;\n"})
    error = run("fetch_sources.py", *place.args).error()
    assert re.search(rf"expected git tree {place.tree}, got [0-9a-f]{{40}}", error)
    assert place.nothing_there()


def test_a_wrong_blob_of_a_subset_names_the_file(place: Place, run: Run) -> None:
    place.subset(FILES, LICENSE="f" * 40)
    place.server.files[UPSTREAM] = archive(FILES)
    error = run("fetch_sources.py", *place.args).error()
    assert f"LICENSE: expected blob {'f' * 40}, got {blob_id(FILES['LICENSE'])}" in error
    assert place.nothing_there()


def test_a_subset_file_that_the_archive_lacks(place: Place, run: Run) -> None:
    place.subset(FILES | {"src/other.c": b""})
    place.server.files[UPSTREAM] = archive(FILES)
    assert "src/other.c is missing" in run("fetch_sources.py", *place.args).error()


def test_a_bad_source_is_passed_over_for_a_good_one(place: Place, run: Run) -> None:
    place.apt_mirror()
    place.cached(archive(FILES)[:-5000])
    place.server.files[UPSTREAM] = archive({"LICENSE": b"something else\n"})
    place.server.files[POOL] = archive(FILES, mode="w:xz")
    out = run("fetch_sources.py", *place.args).ok()
    assert "truncated or damaged" in out
    assert f"expected git tree {place.tree}" in out
    assert "from the distribution's archive" in out


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_archive(place: Place, run: Run, mode: str, kept: float) -> None:
    whole = archive(FILES, mode=mode)
    size = int(kept * len(whole)) if isinstance(kept, float) else kept
    path = place.cached(whole[:size])
    error = run("fetch_sources.py", "--offline", *place.args).error()
    assert "truncated or damaged" in error
    assert place.nothing_there()
    assert not path.exists()


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([member("demo/../../evil")], "leads outside"),
        ([member("/tmp/evil")], "leads outside"),
        ([member("../evil")], "leads outside"),
        ([member("d/link", tarfile.SYMTYPE, "/etc"), member("d/link/evil")], "twice"),
        ([member("d/link", tarfile.SYMTYPE, "/etc/passwd")], "leads outside"),
        ([member("d/link", tarfile.SYMTYPE, "../../..")], "leads outside"),
        ([member("d/link", tarfile.SYMTYPE, "../secret")], "leads outside"),
        ([member("d/e/link", tarfile.SYMTYPE, "x/../../../../d/x")], "leads outside"),
        ([member("d/a", tarfile.SYMTYPE, "."), member("d/a/evil")], "twice"),
        ([member("d/hard", tarfile.LNKTYPE, "/etc/passwd")], "neither file"),
        ([member("d/fifo", tarfile.FIFOTYPE)], "neither file"),
        ([member("d/dev", tarfile.CHRTYPE)], "neither file"),
        ([member("d/x", size=3), member("d/x", size=4)], "twice"),
    ],
)
def test_a_hostile_archive_writes_nothing_outside(
    place: Place, run: Run, members: list[tarfile.TarInfo], reason: str
) -> None:
    before = {path for path in place.base.rglob("*") if "cache" not in path.parts}
    place.cached(hostile(*members))
    assert reason in run("fetch_sources.py", "--offline", *place.args).error()
    after = {path for path in place.base.rglob("*") if "cache" not in path.parts}
    assert {path.name for path in after - before} <= {"third_party", ".lock"}


def test_offline_with_nothing_cached(place: Place, run: Run) -> None:
    error = run("fetch_sources.py", "--offline", *place.args).error()
    assert "--offline was given" in error
    assert f"demo_{VERSION}.orig.tar.xz" in error
    assert place.server.log == []
    assert place.nothing_there()


def test_no_network_at_all(place: Place, run: Run) -> None:
    place.pin(url="http://127.0.0.1:1/demo")
    place.apt("deb http://127.0.0.1:1/debian stable main\n", "m.list")
    error = run("fetch_sources.py", *place.args).error()
    assert "127.0.0.1:1 is unreachable" in error
    assert "its mirror is unreachable" in error
    assert str(place.cache) in error


def test_a_version_that_the_distribution_dropped(place: Place, run: Run) -> None:
    place.apt_mirror()
    error = run("fetch_sources.py", *place.args).error()
    assert f"no longer holds demo_{VERSION}.orig.tar.xz" in error
    assert "HTTP 404" in error


def test_a_machine_without_apt(place: Place, run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    error = run("fetch_sources.py", *place.args, PATH=str(empty)).error()
    assert "apt sources name no distribution mirror" in error


def test_a_python_without_xz(place: Place, run: Run, tmp_path: Path) -> None:
    (tmp_path / "lzma.py").write_text("raise ImportError('built without lzma')\n")
    path = place.cached(archive(FILES, mode="w:xz"), f"demo_{VERSION}.orig.tar.xz")
    error = run("fetch_sources.py", "--offline", *place.args, PYTHONPATH=str(tmp_path)).error()
    assert "this Python cannot unpack" in error
    assert path.exists()


def test_a_full_disk(place: Place, environment: dict[str, str]) -> None:
    place.cached(archive(FILES))
    fetch = [sys.executable, ROOT / "scripts" / "fetch_sources.py", "--offline", *place.args]
    done = subprocess.run(
        ["prlimit", f"--fsize={1 << 20}", *fetch],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "fetch_sources.py: File too large\n"
    assert place.nothing_there()
    assert (place.cache / f"demo-{COMMIT}.tar.gz").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[source]\n", "not valid TOML"),
        pytest.param(f"a = {'9' * 5000}\n", "expected whole numbers of 64 bits", id="long"),
        ("", "must hold [[source]] tables"),
        ('[[source]]\nname = "Demo"\n', "'name' must be"),
        ('[[source]]\nname = "demo"\nnmae = "x"\n', "unknown key 'nmae'"),
        ('[[source]]\nname = "demo"\nurl = "ftp://h/x"\n', "'url' must start with"),
        ('[[source]]\nname = "demo"\nurl = "https://h/x"\n', "exactly one of 'commit' and 'tag'"),
        ('[[source]]\nname = "demo"\nurl = "https://h/x"\ncommit = "12"\n', "40 hexadecimal"),
        ('[[source]]\nname = "d"\nurl = "https://h/x"\ntag = "../.."\n', "'tag' may hold"),
        ('[[source]]\nname = "d"\nurl = "https://h/x"\ntag = "v1"\n', "'tree' (a whole tree)"),
        ('[[source]]\nname = "d"\nurl = "https://h/x"\ntag = "v1"\nfiles = "no.txt"\n', "missing"),
    ],
)
def test_malformed_pins(place: Place, run: Run, text: str, reason: str) -> None:
    place.pins.write_text(text)
    assert reason in run("fetch_sources.py", *place.args).error()


@pytest.mark.parametrize(
    "line", ["nothash  LICENSE", "f" * 40 + "  /abs", "f" * 40 + "  a/../../b"]
)
def test_malformed_file_lists(place: Place, run: Run, line: str) -> None:
    place.subset(FILES)
    (place.base / "list.txt").write_text(line + "\n")
    assert "list.txt:1: expected" in run("fetch_sources.py", *place.args).error()


def test_missing_pins_and_unknown_names(place: Place, run: Run) -> None:
    error = run("fetch_sources.py", "--only", "dmeo", *place.args).error()
    assert "--only dmeo: no such source, expected one of demo" in error
    place.pins.unlink()
    assert "is missing" in run("fetch_sources.py", *place.args).error()
